"""A YAML file that remembers its lines, so that every complaint can name one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.constructor import DuplicateKeyError
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SPEC_NAME = "spec.yaml"


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
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise SpecError("this is not UTF-8 text.", file=path,
                            line=error.object[: error.start].count(b"\n") + 1) from error  # fmt: skip
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
        if not isinstance(self._tree, CommentedMap):
            raise SpecError("the spec is not a mapping.", fix="Begin with `experiment: name`.", file=path, line=1)
        self.data: dict[str, Any] = _plain(self._tree)

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


def _plain(node: Any) -> Any:
    if isinstance(node, dict):
        return {str(key): _plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_plain(value) for value in node]
    for kind in (bool, int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return node
