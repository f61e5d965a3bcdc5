"""The space of variants: prompts x models x parameters, each a value, a set of values or an interval."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from decimal import Decimal
from difflib import get_close_matches
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.errors import SpecError
from paretoken.core.params import as_param, sent_value
from paretoken.core.registry import suggest
from paretoken.core.trials import Variant, label_variants
from paretoken.experiment.spec import MOST_TOKENS, OWN_FIELDS, is_number
from paretoken.models.chat_format import FIXED_FIELDS
from paretoken.prompts.edits import parse_edits

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from paretoken.core.calls import Scalar
    from paretoken.experiment.source import Source

KNOWN = (
    *OWN_FIELDS, "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "stop", "reasoning_effort",
)  # fmt: skip
"""Parameters whose misspellings are caught; any other goes to the provider as it is written."""
REAL = ("temperature", "top_p", "min_p", "frequency_penalty", "presence_penalty")
"""Parameters whose intervals have fractions, also where both ends are whole: `temperature: [0, 1]`."""
ENUMERABLE = 10_000
"""Points up to which a space is drawn from a list of all of them."""

_KEYS = ("choices", "low", "high", "step", "log", "when")


@dataclass(frozen=True, slots=True)
class Interval:
    """Numbers from `low` to `high`, both included.

    Attributes:
        step: Distance of its points; None for a continuum. Whole numbers always have one.
        log: Large values are as far apart as small ones by ratio, not by difference.
    """

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @property
    def size(self) -> int | None:
        """Number of points; None for a continuum."""
        if self.step is None:
            return None
        return int((Decimal(str(self.high)) - Decimal(str(self.low))) / Decimal(str(self.step))) + 1

    def at(self, k: int) -> float:
        """The k-th point, counted from 0, free of the noise of binary fractions."""
        if isinstance(self.low, int):
            return self.low + k * cast("int", self.step)
        return float(Decimal(str(self.low)) + k * Decimal(str(self.step)))

    def snap(self, value: float) -> float:
        """The nearest point; of a continuum a value that is short to write, so that a label can hold it exactly."""
        if self.step is not None:
            return self.at(min(max(round((value - self.low) / self.step), 0), cast("int", self.size) - 1))
        digits = 3 - math.floor(math.log10(self.high - self.low))
        short = float(f"{value:.4g}") if self.log else round(value, digits)
        return min(max(short, self.low), self.high)

    def draw(self, rng: random.Random) -> float:
        """A random point."""
        if self.log:
            return self.snap(math.exp(rng.uniform(math.log(self.low), math.log(self.high))))
        if self.size is not None:
            return self.at(rng.randrange(self.size))
        return self.snap(rng.uniform(self.low, self.high))


@dataclass(frozen=True, slots=True)
class Dimension:
    """One choice that makes a variant.

    Attributes:
        name: `prompt`, `model`, or a parameter.
        values: What it may be; prompts and models by id.
        when: It exists only where each of these dimensions has one of the values.
    """

    name: str
    values: tuple[Scalar, ...] | Interval
    when: tuple[tuple[str, tuple[Scalar, ...]], ...] = ()

    @property
    def choices(self) -> tuple[Scalar, ...]:
        """The values of a set; none of an interval."""
        return () if isinstance(self.values, Interval) else self.values

    @property
    def size(self) -> int | None:
        """Number of values; None for a continuum."""
        return self.values.size if isinstance(self.values, Interval) else len(self.values)

    @property
    def varies(self) -> bool:
        """There is something to choose."""
        return self.size != 1

    def exists(self, chosen: Mapping[str, Scalar]) -> bool:
        """Whether its condition holds."""
        return all(name in chosen and chosen[name] in values for name, values in self.when)

    def points(self) -> Iterator[Scalar]:
        """Every value, in order."""
        if isinstance(self.values, Interval):
            yield from map(self.values.at, range(cast("int", self.values.size)))
        else:
            yield from self.values


@dataclass(frozen=True)
class Space:
    """All variants that a spec allows.

    Attributes:
        dimensions: Prompt and model first, then every parameter after those that its condition names.
        own: Parameters that a model always has, by its id.
    """

    dimensions: tuple[Dimension, ...]
    own: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)

    @cached_property
    def varying(self) -> frozenset[str]:
        """What labels name: dimensions in which variants can differ."""
        return frozenset(d.name for d in self.dimensions if d.varies or d.when)

    @cached_property
    def endless(self) -> tuple[str, ...]:
        """Parameters with a continuum of values."""
        return tuple(d.name for d in self.dimensions if d.size is None)

    @cached_property
    def size(self) -> int | None:
        """Number of variants; None if it is endless."""
        if self.endless:
            return None
        asked = {name for d in self.dimensions for name, _ in d.when}

        def count(rest: tuple[Dimension, ...], chosen: dict[str, Scalar]) -> int:
            total = 1
            for i, d in enumerate(rest):
                if d.exists(chosen):
                    if d.name in asked:
                        return total * sum(count(rest[i + 1 :], {**chosen, d.name: value}) for value in d.choices)
                    total *= cast("int", d.size)
            return total

        return count(self.dimensions, {})

    def choices(self, name: str) -> tuple[Scalar, ...]:
        """The values of a dimension that is a set; none of an interval, or of one that is not there."""
        return next((d.choices for d in self.dimensions if d.name == name), ())

    def label(self, variant: Variant) -> str:
        """The variant's label, which no other variant of the space has."""
        return label_variants([variant], self.varying, cast("Collection[str]", self.choices("model")))[variant.id]

    def build(self, pick: Callable[[Dimension], Scalar]) -> Variant:
        """A variant, made of one choice after the other.

        Args:
            pick: Gives the value of a dimension; asked only where there is something to choose.
        """
        chosen: dict[str, Scalar] = {}
        for d in self.dimensions:
            if d.exists(chosen):
                value = pick(d) if d.varies else d.choices[0]
                chosen[d.name] = d.values.snap(cast("float", value)) if isinstance(d.values, Interval) else value
        return self._variant(chosen)

    def chosen(self, variant: Variant) -> dict[str, Scalar]:
        """What was chosen to make a variant, by dimension: `build` of it gives the variant again."""
        values = {"prompt": variant.prompt, "model": variant.model, **dict(variant.params)}
        return {d.name: values[d.name] for d in self.dimensions if d.varies and d.name in values}

    def points(self) -> Iterator[Variant]:
        """Every variant of a space that is not endless, in the order of the spec."""

        def extend(i: int, chosen: dict[str, Scalar]) -> Iterator[Variant]:
            if i == len(self.dimensions):
                yield self._variant(chosen)
            elif not (d := self.dimensions[i]).exists(chosen):
                yield from extend(i + 1, chosen)
            else:
                for value in d.points():
                    yield from extend(i + 1, {**chosen, d.name: value})

        return extend(0, {})

    def enumerate(self) -> list[Variant]:
        """Every variant, for a plan that tries all of them.

        Raises:
            SpecError: A parameter, the error's `field`, is an interval, which only a search can explore.
        """
        for d in self.dimensions:
            if isinstance(d.values, Interval):
                raise SpecError("an interval cannot be enumerated.", field=d.name, fix=f"Write {{choices: "
                                f"[{d.values.low}, {d.values.high}]}} for a set of values.")  # fmt: skip
        return list(self.points())

    def refuse_endless(self) -> None:
        """Make sure that the space has a last point.

        Raises:
            SpecError: A parameter, the error's `field`, has a continuum of values.
        """
        for name in self.endless:
            raise SpecError(f"a grid has no end where {name!r} is an interval without steps.", field=name,
                            fix="Write {low: ..., high: ..., step: ...}, or take another sampler.")  # fmt: skip

    def draw(self, rng: random.Random, n: int, but: Collection[str] = ()) -> list[Variant]:
        """Random variants, all different; more of them begin with the same ones.

        Args:
            rng: Chance.
            n: How many; fewer come if the space has no more.
            but: Ids that are left out.
        """
        found: dict[str, Variant] = {}
        for variant in self._shuffled(rng, 2 * (n + len(but)) + 100):
            if variant.id not in but:
                found.setdefault(variant.id, variant)
            if len(found) >= n:
                break
        return list(found.values())

    def _shuffled(self, rng: random.Random, most: int) -> Iterator[Variant]:
        """Every variant in random order; of a large space `most` random ones, which may be equal."""
        if self.size is not None and self.size <= ENUMERABLE:
            every = list(self._every)
            rng.shuffle(every)
            yield from every
        else:
            for _ in range(most):
                yield self.build(lambda d: _draw(d, rng))

    def _variant(self, chosen: Mapping[str, Scalar]) -> Variant:
        params = {**self.own.get(str(chosen["model"]), {}), **chosen}
        prompt, model = str(params.pop("prompt")), str(params.pop("model"))
        return Variant(prompt, model, tuple(sorted(params.items())))

    @cached_property
    def _every(self) -> tuple[Variant, ...]:
        return tuple(self.points())


def _draw(d: Dimension, rng: random.Random) -> Scalar:
    return d.values.draw(rng) if isinstance(d.values, Interval) else rng.choice(d.values)


def parse_space(
    space: Mapping[str, Any],
    prompts: Sequence[str],
    models: Sequence[str],
    source: Source,
    own: Mapping[str, Mapping[str, Any]] | None = None,
) -> Space:
    """The space of a spec.

    Args:
        space: `space:` as it is written.
        prompts: Prompt ids.
        models: Model ids.
        source: Where complaints point.
        own: `params:` of models as they are written, by id.

    Raises:
        SpecError: A parameter is misspelt, may not be chosen, or has values or a condition that cannot be.
    """
    base = [Dimension("prompt", tuple(prompts)), Dimension("model", tuple(models))]
    parsed = [Dimension(name, _values(name, value, source)) for name, value in space.items()]
    for d in parsed:
        _check(d, source)
    of_models = {id_: {name: as_param(value) for name, value in params.items()} for id_, params in (own or {}).items()}
    _check_own(of_models, parsed, source)
    known = {d.name: d for d in (*base, *parsed)}
    conditional = [
        Dimension(d.name, d.values, _when(d.name, space[d.name]["when"], known, source))
        if isinstance(space[d.name], dict) and "when" in space[d.name]
        else d
        for d in parsed
    ]
    return Space((*base, *_in_order(conditional, source)), of_models)


def _values(name: str, value: Any, source: Source) -> tuple[Scalar, ...] | Interval:
    takes_objects = name not in KNOWN or name == "stop"
    _check_text(name, value, source)
    if isinstance(value, list):
        is_pair = len(value) == 2 and all(map(is_number, value))
        if takes_objects and not is_pair:
            return (as_param(value),)
        if not is_pair:
            raise source.error("this is no interval.", "space", name,
                               fix=f"Write {{choices: {value}}} for a set of values.")  # fmt: skip
        return _interval(name, {"low": value[0], "high": value[1]}, source)
    if not isinstance(value, dict):
        return (value,)
    if takes_objects and not any(get_close_matches(key, _KEYS, n=1, cutoff=0.8) for key in value):
        return (as_param(value),)
    for key in value:
        if key not in _KEYS:
            raise source.error(f"unknown key {key!r}.", "space", name, key, fix=suggest(key, _KEYS))
    given = {key: part for key, part in value.items() if key != "when"}
    if {"low", "high"} <= set(given) and "choices" not in given:
        return _interval(name, given, source)
    values = given.get("choices")
    nested = isinstance(values, list) and any(isinstance(v, (list, dict)) for v in values)
    if len(given) > 1 or not isinstance(values, list) or not values or (nested and not takes_objects):
        raise source.error("this is neither a value, a set of values nor an interval.", "space", name,
                           fix="Write a value, {choices: [a, b]}, or [lowest, highest].")  # fmt: skip
    for v in values:
        _check_text(name, v, source)
    return tuple(map(as_param, values))


def _check_text(name: str, value: Any, source: Source) -> None:
    if isinstance(value, str) and isinstance(sent_value(value), (dict, list)):
        raise source.error("this is text that reads like an object or a list.", "space", name,
                           fix="Write it without quotes: it is sent as what it is.")  # fmt: skip


def _check_own(own: Mapping[str, Mapping[str, Scalar]], chosen: Sequence[Dimension], source: Source) -> None:
    """Parameters of models can be sent, and nothing else sets them."""
    for id_, params in own.items():
        place = ("models", next((i for i, m in enumerate(source.data["models"]) if m.get("id") == id_), 0), "params")
        for name, value in params.items():
            if name in ("prompt", "model", "max_tokens", "seed", "edits") or name in FIXED_FIELDS - {"temperature"}:
                raise source.error(f"{name!r} is no parameter of a model.", *place, name,
                                   fix="Give it under `space`, if it can be chosen.")  # fmt: skip
            if any(d.name == name for d in chosen):
                raise source.error(f"{name!r} is chosen under `space`, too.", *place, name,
                                   fix="Say it once; `when: {model: ...}` limits a choice to some models.")  # fmt: skip
            try:
                _check(Dimension(name, (value,)), source)
            except SpecError as error:
                raise source.error(error.problem, *place, name, fix=error.fix) from error


def _interval(name: str, given: Mapping[str, Any], source: Source) -> Interval:
    low, high, step, log = given["low"], given["high"], given.get("step"), given.get("log", False)
    for key in ("low", "high", "step"):
        if key in given and not is_number(given[key]):
            raise source.error(f"{key} must be a number, not {given[key]!r}.", "space", name, key)
    if not isinstance(log, bool):
        raise source.error("log must be true or false.", "space", name, "log")
    if not low < high:
        raise source.error(f"an interval runs upwards, and {low} is not below {high}.", "space", name,
                           fix="Write [lowest, highest].")  # fmt: skip
    if log and low <= 0:
        raise source.error(f"a logarithmic interval begins above 0, not at {low}.", "space", name,
                           fix="Raise low, or leave log out.")  # fmt: skip
    if log and step is not None:
        raise source.error("an interval has steps or is logarithmic, not both.", "space", name,
                           fix="Leave one of them out.")  # fmt: skip
    if step is not None and step <= 0:
        raise source.error(f"step must be above 0, not {step}.", "space", name, "step")
    if name not in REAL and all(isinstance(number, int) for number in (low, high, step or 1)):
        interval = Interval(low, high, step or 1, log)
    else:
        interval = Interval(float(low), float(high), None if step is None else float(step), log)
    last = high if interval.size is None else interval.at(interval.size - 1)
    if last != high:
        raise source.error(f"steps of {step} from {low} do not lead to {high}.", "space", name,
                           fix=f"End at {last}." if last > low else "Take smaller steps.")  # fmt: skip
    return interval


def _check(d: Dimension, source: Source) -> None:
    name, values = d.name, d.choices
    if name not in KNOWN and get_close_matches(name, KNOWN, cutoff=0.85):
        raise source.error(f"unknown parameter {name!r}.", "space", name, fix=suggest(name, KNOWN))
    if name == "prompt" or (name not in OWN_FIELDS and name in FIXED_FIELDS):
        raise source.error(f"{name!r} cannot be chosen: it is set by the experiment, or would break the bound of "
                           "a call's cost.", "space", name)  # fmt: skip
    if name == "extra_body":
        _check_extra(d, source)
    for i, value in enumerate(values):
        if any(value == other or _texts(value) & _texts(other) for other in values[:i]):
            raise source.error(f"the choice {value!r} stands twice.", "space", name)
    for value in (d.values.low, d.values.high) if isinstance(d.values, Interval) else values:
        if name == "edits":
            try:
                parse_edits(str(value))
            except SpecError as error:
                raise source.error(error.problem, "space", "edits", fix=error.fix) from error
        whole = isinstance(value, int) and not isinstance(value, bool)
        if name == "seed" and not whole:
            raise source.error(f"seed must be a whole number, not {value!r}.", "space", "seed")
        if name == "max_tokens" and not (whole and cast("int", value) >= 1):
            raise source.error(f"max_tokens must be a whole number above 0, not {value!r}.", "space", "max_tokens")
        if name == "max_tokens" and cast("int", value) > MOST_TOKENS:
            raise source.error(f"max_tokens is {value}, more than any model writes.", "space", "max_tokens",
                               fix=f"Give at most {MOST_TOKENS}.")  # fmt: skip
        if name == "temperature" and not (is_number(value) and 0 <= cast("float", value) <= 2):
            raise source.error(f"temperature must be a number from 0 to 2, not {value!r}.", "space", "temperature")


def _check_extra(d: Dimension, source: Source) -> None:
    for value in map(sent_value, d.choices):
        if not isinstance(value, dict):
            raise source.error("extra_body must be an object: its keys are sent beside the request's own.", "space",
                               d.name, fix="Write extra_body: {top_k: 20}.")  # fmt: skip
        for key in value:
            if key in FIXED_FIELDS:
                raise source.error(f"{key!r} cannot be set in extra_body: it is set by the experiment, or would break "
                                   "the bound of a call's cost.", "space", d.name, key)  # fmt: skip


def _texts(value: Scalar) -> set[str]:
    """How a value may be written."""
    return {str(value), str(value).lower()} if isinstance(value, bool) else {str(value)}


def _when(
    name: str, given: Any, known: Mapping[str, Dimension], source: Source
) -> tuple[tuple[str, tuple[Scalar, ...]], ...]:
    """A condition with prompts by id."""
    where = ("space", name, "when")
    if not isinstance(given, dict) or not given:
        raise source.error("this is no condition.", *where, fix="Write when: {model: [a, b]}.")
    condition: dict[str, tuple[Scalar, ...]] = {}
    for on, wanted in given.items():
        if on not in known:
            raise source.error(f"no parameter is called {on!r}.", *where, on, fix=suggest(on, known))
        if isinstance(known[on].values, Interval):
            raise source.error(f"a condition rests on named values, and {on!r} is an interval.", *where, on,
                               fix=f"Give {on} choices.")  # fmt: skip
        names = {v: str(v).partition("@")[0] if on == "prompt" else v for v in known[on].choices}
        found: list[Scalar] = []
        for value in map(as_param, wanted if isinstance(wanted, list) else [wanted]):
            meant = [v for v in names if value in (v, names[v])]
            if not meant:
                raise source.error(f"{value!r} is no value of {on!r}.", *where, on,
                                   fix=suggest(str(value), map(str, names.values())))  # fmt: skip
            found += meant
        if not found:
            raise source.error("this condition can never hold.", *where, on, fix="Name at least one value.")
        condition[on] = tuple(found)
    return tuple(condition.items())


def _in_order(dimensions: Sequence[Dimension], source: Source) -> list[Dimension]:
    """Sorted by name, but everything after what its condition names."""
    left = sorted(dimensions, key=lambda d: d.name)
    ordered: list[Dimension] = []
    while left:
        waiting = {d.name for d in left}
        free = next((d for d in left if not waiting & {name for name, _ in d.when}), None)
        if free is None:
            rounds = ", ".join(repr(d.name) for d in left)
            raise source.error(f"the conditions of {rounds} go in a circle.", "space", left[0].name, "when",
                               fix="Let one of them exist always.")  # fmt: skip
        ordered.append(free)
        left.remove(free)
    return ordered
