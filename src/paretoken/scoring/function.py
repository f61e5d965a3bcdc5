"""A user's own metric: a Python function of the answer, from a file or an installed package."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import inspect
import json
import math
import reprlib
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import LARGEST_SCORE, Scored, ScoreItem
from paretoken.core.registry import suggest
from paretoken.scoring.column import rising

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from paretoken.core.protocols import Scorer

GIVEN = ("answer", "reference", "references", "input", "fields")
"""What a function is given of an item, by the names of its parameters."""
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_FAILURES = (Exception, SystemExit)
"""What a user's code may raise and must not end the run without a word."""
_PROMISED = ("name", "metrics", "needs_reference", "ranges", "provenance", "score")


class FunctionScorer:
    """A plain function as a scorer.

    Args:
        function: Takes `answer` and, by name, any of `reference`, `references`, `input` and `fields`; returns a number,
            a bool, None, or one of them with a reason. It may be async; if not, it runs in a worker thread.
        name: The metric's name; default: the function's.
        range: Least and largest value, if it has bounds; default: the function's attribute `range`.
        arguments: What else it is called with.

    Raises:
        SpecError: It does not take what it is to be given.
    """

    def __init__(
        self,
        function: Callable[..., object],
        *,
        name: str | None = None,
        range: Sequence[float] | None = None,  # noqa: A002 - the spec's word
        arguments: Mapping[str, object] | None = None,
    ) -> None:
        self.name = function.__name__ if name is None else name
        if not isinstance(self.name, str) or not self.name or any(map(str.isspace, self.name)):
            raise SpecError(f"metric {function.__name__!r} is named {name!r}.", fix="Give a name without spaces.")
        self.metrics: tuple[str, ...] = (self.name,)
        self._function, self._arguments = function, dict(arguments or {})
        signature = inspect.signature(function).parameters
        parameters = {p: of for p, of in signature.items() if of.kind in _BY_NAME}
        own = [p for p in parameters if p not in GIVEN]
        if "answer" not in parameters:
            raise SpecError(
                f"metric {function.__name__!r} does not take an answer by name.", fix="Give it a parameter `answer`."
            )
        takes_any = any(of.kind is inspect.Parameter.VAR_KEYWORD for of in signature.values())
        for argument in self._arguments:
            if argument in GIVEN or (argument not in own and not takes_any):
                raise SpecError(f"metric {function.__name__!r} does not take {argument!r} from the spec.",
                                fix=suggest(argument, [*own, "name", "range"]))  # fmt: skip
        empty, positional = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_ONLY
        bare = [p for p, of in signature.items() if of.kind is positional and of.default is empty]
        needed = [*bare, *(p for p in own if parameters[p].default is empty)]
        lacking = [p for p in needed if p not in self._arguments]
        if lacking:
            raise SpecError(f"metric {function.__name__!r} needs {lacking[0]!r}, which no sample has.",
                            fix=f"It may take {', '.join(GIVEN)}; other arguments stand in the spec.")  # fmt: skip
        self._given = [p for p in GIVEN if p in parameters]
        wanted = [p for p in ("reference", "references") if p in parameters]
        self.needs_reference = any(parameters[p].default is inspect.Parameter.empty for p in wanted)
        self.ranges = _ranges(self.name, getattr(function, "range", None) if range is None else range)
        source = inspect.unwrap(function)
        self._awaited = inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(source)
        self._file = inspect.getsourcefile(source) or "-"
        self._line = getattr(getattr(source, "__code__", None), "co_firstlineno", 0)
        # Now and not when asked: the file may be edited while a run goes on with the function it has loaded.
        digest = hashlib.sha256(Path(self._file).read_bytes()).hexdigest()[:12] if Path(self._file).is_file() else "-"
        written = json.dumps(self._arguments, sort_keys=True, default=str, ensure_ascii=False)
        self.provenance = f"{Path(self._file).name}:{function.__name__} sha256:{digest} {written}"

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Call the function for every item, shape `(n, 1)`.

        Raises:
            ScoreError: It fails, or returns what is no score; names the line and the sample.
        """
        if self._awaited:
            return [[self._scored(item, await self._await(item))] for item in items]
        return await asyncio.to_thread(lambda: [[self._scored(item, self._call(item))] for item in items])

    def _call(self, item: ScoreItem) -> object:
        if self.needs_reference and not item.references:
            return None, "the sample has no reference"
        given = {name: getattr(item, name) for name in self._given}
        try:
            return self._function(**given, **self._arguments)
        except _FAILURES as error:
            raise self._failure(item, error) from error

    async def _await(self, item: ScoreItem) -> object:
        called = self._call(item)
        try:
            return await called if inspect.isawaitable(called) else called
        except _FAILURES as error:
            raise self._failure(item, error) from error

    def _failure(self, item: ScoreItem, error: BaseException) -> ScoreError:
        """What went wrong, at the line of the user's file that led there, however deep it then went."""
        frames = traceback.extract_tb(error.__traceback__)
        frame = next((f for f in reversed(frames) if f.filename == self._file), frames[-1])
        where = f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}"
        return ScoreError(f"metric {self.name!r} failed{_of(item)}: {type(error).__name__}: {error} ({where})")

    def _scored(self, item: ScoreItem, returned: object) -> Scored:
        value, reason = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
        if value is None:
            return Scored(self.name, None, str(reason or f"{self.name} gave no value"))
        try:
            number = float(cast("Any", value)) if not isinstance(value, str) else math.nan
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not abs(number) <= LARGEST_SCORE or not (reason is None or isinstance(reason, str)):
            line = f"{Path(self._file).name}:{self._line}"
            raise ScoreError(f"metric {self.name!r} returned {_shown(returned)}{_of(item)} ({line}): it must "
                             f"return a number of at most {LARGEST_SCORE:g} in size, a bool, None or "
                             "(value, reason)")  # fmt: skip
        low, high = self.ranges.get(self.name, (-math.inf, math.inf))
        if not low <= number <= high:
            raise ScoreError(
                f"metric {self.name!r} returned {number:g}{_of(item)}, outside its range [{low:g}, {high:g}]"
            )
        return Scored(self.name, number, reason)


def load_metric(
    reference: str, folder: Path | str = ".", told: Mapping[str, object] | None = None, /, **arguments: Any
) -> Scorer:
    """The scorer that a spec means by `path.py:name`.

    The file stands alone: it may import installed packages, but not its neighbours, whose changes its hash, and so the
    provenance of its scores, would not show.

    Args:
        reference: A Python file and, after a colon, a function in it, or a class that makes scorers.
        folder: What the path is relative to.
        told: What a class is told of the experiment where it takes it, e.g. `language`.
        arguments: Of a function `name`, `range` and its own; of a class all that it takes.

    Raises:
        SpecError: The file is missing or broken, or has no such function; says where.
    """
    path, _, attribute = reference.rpartition(":")
    module = _load_module(Path(folder) / path)
    found = getattr(module, attribute, None)
    known = [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]
    if not callable(found):
        raise SpecError(f"{path} has no function {attribute!r}.", fix=suggest(attribute, known or ["nothing"]))
    return make_scorer(found, arguments, told)


def make_scorer(
    found: Callable[..., Any], arguments: Mapping[str, Any], told: Mapping[str, object] | None = None
) -> Scorer:
    """A scorer of a class that makes scorers, or of a plain function.

    Raises:
        SpecError: It does not take the arguments, or is neither.
    """
    if inspect.isclass(found):
        return _of_class(found, arguments, told or {})
    if not inspect.isfunction(inspect.unwrap(found)):
        raise SpecError(f"{found!r} is no function.", fix="Write `def`, and call it from there.")
    options = {option: arguments[option] for option in ("name", "range") if option in arguments}
    rest = {name: value for name, value in arguments.items() if name not in options}
    return FunctionScorer(found, **options, arguments=rest)


def _of_class(found: type, arguments: Mapping[str, Any], told: Mapping[str, object]) -> Scorer:
    accepted = inspect.signature(found).parameters
    given = {**{name: value for name, value in told.items() if name in accepted}, **arguments}
    try:
        inspect.signature(found).bind(**given)
    except TypeError as error:
        takes = ", ".join(name for name in accepted if name not in told) or "nothing"
        raise SpecError(f"{found.__name__}: {error}.", fix=f"It takes: {takes}.") from error
    try:
        scorer = found(**given)
    except SpecError:
        raise
    except _FAILURES as error:
        raise SpecError(f"{found.__name__} cannot be made: {type(error).__name__}: {error}.") from error
    if lacking := [name for name in _PROMISED if not hasattr(scorer, name)]:
        raise SpecError(f"{found.__name__} is no scorer: it has no {', '.join(lacking)}.", fix="See `ScorerSuite` in "
                        "paretoken.testing.scorers, or write a plain function.")  # fmt: skip
    return cast("Scorer", scorer)


def is_metric(found: object) -> bool:
    """Whether an entry point names a plain function of an answer, and not a factory of scorers."""
    return inspect.isfunction(found) and "answer" in inspect.signature(found).parameters


def _load_module(file: Path) -> Any:
    """A file's module, by its content: files of one name do not clash, and a changed one is loaded anew."""
    if not file.is_file():
        raise SpecError(f"the metric's file {str(file)!r} does not exist.", fix="Paths are relative to the spec.")
    source = file.read_bytes()
    name = f"paretoken_metric_{hashlib.sha256(str(file.resolve()).encode() + source).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise SpecError(f"{file} is no Python file.", fix="Give a file that ends in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except _FAILURES as error:
        del sys.modules[name]
        if isinstance(error, SyntaxError):
            line, said = error.lineno, error.msg
        else:
            frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
            line, said = frames[-1].lineno if frames else None, str(error)
        problem = f"{file}:{line}: {type(error).__name__}: {said}."
        raise SpecError(problem, fix="Correct the metric.") from error
    return module


def _ranges(name: str, given: Sequence[float] | None) -> Mapping[str, tuple[float, float]]:
    if given is None:
        return {}
    if not rising(given):
        raise SpecError(f"metric {name!r} has the range {given!r}.", fix="Give its lowest and highest value: [0, 1].")
    return {name: (float(given[0]), float(given[1]))}


def _shown(value: object) -> str:
    try:
        return reprlib.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a huge {type(value).__name__}"


def _of(item: ScoreItem) -> str:
    return f" on sample {item.origin.sample!r}" if item.origin.sample else ""
