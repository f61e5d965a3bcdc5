"""A YAML file that remembers its lines, so that every complaint can name one."""

from __future__ import annotations

import math
from datetime import date
from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.scalarbool import ScalarBoolean

from paretoken.core.errors import SpecError
from paretoken.core.files import read_text
from paretoken.core.text import well_formed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEC_NAME = "spec.yaml"
MOST = 2**63 - 1
"""Largest whole number that databases and tables hold."""


class Source:
    """The parsed text of a spec.

    Args:
        path: A YAML file, or a folder with a `spec.yaml`.

    Raises:
        SpecError: It does not exist, is not YAML, or not a mapping.

    Attributes:
        data: Plain Python values.
    """

    def __init__(self, path: Path) -> None:
        if path.is_dir():
            if not (path / SPEC_NAME).is_file():
                raise SpecError(f"the folder has no {SPEC_NAME}.", fix="Name a spec file, or write one with "
                                "`paretoken init`.", file=path)  # fmt: skip
            path = path / SPEC_NAME
        if not path.is_file():
            raise SpecError("the spec does not exist.", fix="`paretoken init` writes one to start from.", file=path)
        self.path = path
        text = read_text(path)
        try:
            self._tree = YAML(typ="rt", pure=True).load(text)
        except ReaderError as error:
            raise SpecError(f"not valid YAML: {error.reason}.", file=path,
                            line=text[: error.position].count("\n") + 1) from error  # fmt: skip
        except DuplicateKeyError as error:
            raise SpecError(error.problem.splitlines()[0] + ".", file=path, line=_line(error)) from error
        except MarkedYAMLError as error:
            raise SpecError(f"not valid YAML: {error.problem or error.context}.", file=path,
                            line=_line(error)) from error  # fmt: skip
        except (ValueError, RecursionError) as error:  # a day that no calendar has; brackets without end
            raise SpecError(f"not valid YAML: {error}.", fix="Put dates in quotes.", file=path) from error
        if not isinstance(self._tree, CommentedMap):
            raise SpecError("the spec is not a mapping.", fix="Begin with `experiment: name`.", file=path, line=1)
        try:
            self.data: dict[str, Any] = self._plain(self._tree, ())
        except RecursionError as error:
            raise SpecError("this is nested too deeply, or an alias holds itself.", file=path) from error

    def _plain(self, node: Any, location: tuple[str | int, ...]) -> Any:
        """A node as plain Python values: texts, true and false, null, and numbers that every later reader takes."""
        if isinstance(node, dict):
            return {well_formed(str(key)): self._plain(value, (*location, key)) for key, value in node.items()}
        if isinstance(node, list):
            return [self._plain(value, (*location, i)) for i, value in enumerate(node)]
        if node is None or isinstance(node, str):
            return node if node is None else well_formed(str(node))
        if isinstance(node, ScalarBoolean | bool):
            return bool(node)
        if isinstance(node, int) and -MOST <= node <= MOST:
            return int(node)
        if isinstance(node, float) and math.isfinite(node):
            return float(node)
        if isinstance(node, int | float):
            raise self.error(f"{str(node)[:40]} is no number that can be worked with.", *location,
                             fix=f"Write one of at most {MOST} in size, or put it in quotes.")  # fmt: skip
        kind = "a date" if isinstance(node, date) else "of a kind that a spec cannot hold"
        raise self.error(f"this value is {kind}.", *location, fix="Put it in quotes.")

    def line(self, location: Sequence[str | int]) -> int:
        """Line of the deepest part of a location that exists in the file, counted from 1."""
        node: Any = self._tree
        line = 1
        for part in location:
            if isinstance(node, CommentedMap) and part in node:
                line = node.lc.key(part)[0] + 1
            elif isinstance(node, CommentedSeq) and isinstance(part, int) and part < len(node):
                line = node.lc.item(part)[0] + 1
            else:
                continue
            node = node[part]
        return line

    def error(self, problem: str, *location: str | int, fix: str = "") -> SpecError:
        """An error about a part of this file."""
        dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
        return SpecError(problem, fix=fix, file=self.path, line=self.line(location), field=dotted)


def _line(error: MarkedYAMLError) -> int | None:
    return None if error.problem_mark is None else error.problem_mark.line + 1
