"""The spec: what one YAML file may say, and what is wrong with it if it says something else."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from paretoken.core.registry import suggest
from paretoken.core.text import comparable
from paretoken.experiment.source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from paretoken.core.errors import SpecError

MAX_TOKENS = 256
"""Length limit of an answer where the spec names none: without one a call has no upper bound of cost."""

REQUEST_FIELDS = ("temperature", "max_tokens", "seed")
"""Parameters that are fields of a request."""
OWN_FIELDS = (*REQUEST_FIELDS, "edits")
"""Parameters that the request is made with; all others go to the provider by name."""

MOST_TOKENS = 10_000_000
"""Largest `max_tokens` that may be asked for; no model writes as much."""

MAX_USD = 9_000_000
"""Largest amount whose pico-dollars fit a 64-bit integer of the ledger, rounded down."""

_MESSAGES = {
    "missing": "this key is missing.",
    "string_type": "this must be text; put it in quotes.",
    "int_type": "this must be a whole number.",
    "float_type": "this must be a number.",
    "bool_type": "this must be true or false.",
    "list_type": "this must be a list.",
    "dict_type": "this must be a mapping.",
    "model_type": "this must be a mapping.",
}


class Strict(BaseModel):
    """A part of a file in which every key is known and every value has its type."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _name_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, dict) and cls.model_config.get("extra") == "forbid":
            for key in data:
                if key not in cls.model_fields:
                    raise PydanticCustomError("unknown_key", "unknown key '{key}'. {fix}",
                                              {"key": key, "fix": suggest(key, cls.model_fields)})  # fmt: skip
        return data


def _decimal(value: Any) -> Decimal:
    if not isinstance(value, str):
        raise PydanticCustomError("money", 'money must be text, so that it is exact: write usd: "{value}".',
                                  {"value": value})  # fmt: skip
    try:
        amount = Decimal(value)
    except InvalidOperation:
        raise PydanticCustomError("money", "'{value}' is not an amount.", {"value": value}) from None
    if not amount.is_finite() or not 0 <= amount <= MAX_USD:
        raise PydanticCustomError("money", "'{value}' is not an amount: it must be 0 or more, at most {most}.",
                                  {"value": value, "most": f"{MAX_USD:,}"})  # fmt: skip
    return amount


Usd = Annotated[Decimal, BeforeValidator(_decimal)]


class DatasetSpec(Strict):
    """`dataset:` where the samples are."""

    path: str
    take: int | None = Field(None, ge=1)
    fields: dict[Literal["id", "input", "reference", "cluster"], str | None] = {}
    language: str | None = None


class LimitsSpec(Strict):
    """`limits:` what a model may be asked."""

    rpm: float | None = Field(None, gt=0)
    tpm: float | None = Field(None, gt=0)
    concurrency: int | None = Field(None, ge=1)


def _price(value: Any) -> Any:
    if value != "free" and not isinstance(value, dict):
        example = '{input_per_mtok: "0.15", output_per_mtok: "0.60"}'
        raise PydanticCustomError("price", "this is no price: write {example}, or free.", {"example": example})
    return value


PriceSpec = Annotated[Literal["free"] | dict[str, Any], BeforeValidator(_price)]


class ModelSpec(Strict):
    """One entry of `models:`; keys not named here are options of its provider, which refuses those it lacks."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True)

    id: str = Field(pattern=r"^[^/]+/.+$")
    price: PriceSpec | None = None
    base_url: str = ""
    api_key_env: str = ""
    params: dict[str, Any] = {}
    limits: LimitsSpec = LimitsSpec()
    timeout_s: float = Field(120.0, gt=0)
    think: Literal["keep", "cut"] = "keep"


class ReplaySpec(Strict):
    """An entry of `models:` that turns recorded answers into models, one per value of the column `by`."""

    replay: str
    by: str
    key: str
    output: str = "output"
    usage: list[str] | Literal["estimate"] = "estimate"
    latency: str = "none"
    only: list[str] | None = None
    prices: dict[str, PriceSpec] = {}


def _treatments(value: Any) -> Any:
    value = [value] if isinstance(value, str) else value
    if value == []:
        raise PydanticCustomError("treatment", "a control alone is no test: name at least one treatment.")
    return value


def is_number(value: Any) -> bool:
    """Whether a value of a file is a number that can be reckoned with."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _margin(value: Any) -> Any:
    if not is_number(value) or value <= 0:
        message = "'{value}' is no margin: it is the largest loss that still counts as not worse, a number above 0."
        raise PydanticCustomError("margin", message, {"value": value})
    return float(value)


def _alpha(value: Any) -> Any:
    if not is_number(value) or not 0 < value < 0.5:
        message = "'{value}' is no error rate: it must lie between 0 and 0.5, e.g. 0.05."
        raise PydanticCustomError("alpha", message, {"value": value})
    return float(value)


def _range(value: Any) -> Any:
    if not (isinstance(value, list) and len(value) == 2 and all(map(is_number, value)) and value[0] < value[1]):
        raise PydanticCustomError("range", "'{value}' is no range: write [lowest, highest].", {"value": value})
    return [float(end) for end in value]


class AbTestSpec(Strict):
    """`plan: {abtest: ...}`: treatments against a control, each a label or id of a variant."""

    control: str
    treatment: Annotated[list[str], BeforeValidator(_treatments)]
    margin: dict[str, Annotated[float, BeforeValidator(_margin)]] = {}
    alpha: Annotated[float, BeforeValidator(_alpha)] = 0.05
    mode: Literal["fixed", "continuous"] = "fixed"
    sequence: Literal["betting", "asymptotic"] = "betting"
    population: Literal["beyond", "dataset"] = "beyond"
    confirm: float | None = Field(None, gt=0, lt=1)
    range: dict[str, Annotated[list[float], BeforeValidator(_range)]] = {}
    segments: list[Annotated[str, AfterValidator(comparable)]] = []


class SegmentsSpec(Strict):
    """`plan: {segments: ...}`: a prompt is tested against itself without a segment, for every one that it may lose."""

    prompt: str | None = None
    keep: list[str] = []
    margin: dict[str, Annotated[float, BeforeValidator(_margin)]] = {}
    alpha: Annotated[float, BeforeValidator(_alpha)] = 0.05
    population: Literal["beyond", "dataset"] = "beyond"


class GridSpec(Strict):
    """`plan: grid`: every variant on every sample."""


def _epsilon(value: Any) -> Any:
    if not is_number(value) or value < 0:
        message = "'{value}' is no difference: it is the largest one that does not matter, a number from 0 up."
        raise PydanticCustomError("epsilon", message, {"value": value})
    return float(value)


def _tolerance(value: Any) -> Any:
    percent = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", value) if isinstance(value, str) else None
    share = float(percent[1]) / 100 if percent else value
    if not is_number(share) or not 0 <= share <= 1:
        raise PydanticCustomError("tolerance", "'{value}' is no share: write \"10%\", or a number from 0 to 1.",
                                  {"value": value})  # fmt: skip
    return float(share)


def _storage(value: Any) -> Any:
    if isinstance(value, str) and value and not re.match(r"\w+(\+\w+)?://", value):
        message = "'{value}' is no URL of a database: write e.g. sqlite:///studies.db or postgresql://user@host/name."
        raise PydanticCustomError("storage", message, {"value": re.sub(r".*@", "***@", value)})
    if value == "sqlite://":
        raise PydanticCustomError("storage", "a database in memory is lost when the run ends: name a file.")
    return value


class RaceSpec(Strict):
    """`plan: {race: ...}`: variants see the same samples until others are, with confidence, at least as good."""

    alpha: Annotated[float, BeforeValidator(_alpha)] = 0.05
    epsilon: dict[str, Annotated[float, BeforeValidator(_epsilon)]] = {}
    tolerance: dict[str, Annotated[float, BeforeValidator(_tolerance)]] = {}
    range: dict[str, Annotated[list[float], BeforeValidator(_range)]] = {}
    confirm: float | None = Field(None, gt=0, lt=1)


Sampler = Literal["surrogate", "tpe", "nsga2", "nsga3", "gp", "random", "grid"]


class SearchSpec(RaceSpec):
    """`plan: {search: ...}`: variants are proposed one after the other, and race unless they are told not to."""

    sampler: Sampler = "surrogate"
    trials: int = Field(ge=1)
    race: bool = True
    parallel: int = Field(4, ge=1)
    storage: Annotated[str, BeforeValidator(_storage)] = ""
    study: str = ""

    @field_serializer("storage")
    def _without_password(self, storage: str) -> str:
        return hide_password(storage)


def hide_password(url: str) -> str:
    """A database's URL as it may be shown and recorded."""
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"(://[^:/@]*):[^@]*@", r"\1:***@", url))


class CheapestSpec(Strict):
    """`plan: {cheapest: ...}`: the cheapest variant that is good enough.

    Good enough is at most `within` below `of` by `metric`, or above the floors of `subject_to`, or both.
    """

    metric: str | None = None
    within: Annotated[float | None, BeforeValidator(lambda value: value if value is None else _margin(value))] = None
    of: str = "best"
    alpha: Annotated[float, BeforeValidator(_alpha)] = 0.05
    tolerance: dict[str, Annotated[float, BeforeValidator(_tolerance)]] = {}
    range: dict[str, Annotated[list[float], BeforeValidator(_range)]] = {}
    confirm: float | None = Field(None, gt=0, lt=1)

    @model_validator(mode="after")
    def _both_or_none(self) -> CheapestSpec:
        if (self.metric is None) != (self.within is None):
            message = "metric and within go together: the metric, and the largest loss that is still good enough."
            raise PydanticCustomError("cheapest", message)
        return self


def _expand_plan(data: Any) -> Any:
    return {data: {}} if isinstance(data, str) else data


class PlanSpec(Strict):
    """`plan:` exactly one planner."""

    abtest: AbTestSpec | None = None
    segments: SegmentsSpec | None = Field(None, exclude_if=lambda plan: plan is None)  # older runs keep their identity
    grid: GridSpec | None = None
    race: RaceSpec | None = None
    cheapest: CheapestSpec | None = None
    search: SearchSpec | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> PlanSpec:
        if len(self.model_fields_set) != 1:
            raise PydanticCustomError(
                "plan", "name exactly one planner: grid, abtest, segments, race, cheapest, or search."
            )
        return self


class BudgetSpec(Strict):
    """`budget:` the run's cap."""

    usd: Usd


class StoreSpec(Strict):
    """`store:` how much of prompts and answers is kept."""

    content: Literal["full", "hash", "none"] = "full"


class CacheSpec(Strict):
    """`cache:` whether equal requests are answered from earlier paid answers."""

    mode: Literal["read_write", "off", "refresh"] = "read_write"
    max_age_days: float | None = Field(None, gt=0)

    @property
    def max_age(self) -> timedelta | None:
        """Age above which answers are asked again."""
        return None if self.max_age_days is None else timedelta(days=self.max_age_days)


class Spec(Strict):
    """A whole spec file; paths are still as written."""

    experiment: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*$")
    question: str = ""
    seed: int = 0
    dataset: DatasetSpec
    prompts: list[str] = Field(min_length=1)
    models: list[Any] = Field(min_length=1)
    space: dict[str, Any] = {}
    repeats: int = Field(1, ge=1)
    scorers: list[str | dict[str, Any]] = []
    minimize: list[str] = ["list_usd"]
    maximize: list[str] = []
    subject_to: dict[str, str] = {}
    plan: Annotated[PlanSpec, BeforeValidator(_expand_plan)] = PlanSpec(grid=GridSpec())
    budget: BudgetSpec | None = None
    tags: dict[str, str] = {}
    track: dict[str, str] = {}
    store: StoreSpec = StoreSpec()
    cache: CacheSpec = CacheSpec()
    concurrency: int = Field(64, ge=1)
    attempts: int = Field(4, ge=1)

    def limits(self) -> dict[str, tuple[str, str]]:
        """`subject_to` as `(">=" or "<=", number)` by name."""
        return {name: (text[:2], text[2:].strip()) for name, text in self.subject_to.items()}


def load_spec(
    path: Path, instead: Mapping[str, object] | None = None
) -> tuple[Spec, list[ModelSpec | ReplaySpec], Source]:
    """Read and check a spec file.

    Args:
        path: The file or its folder.
        instead: A plan to take in place of the file's.

    Returns:
        The spec, its entries of `models` in order, and the source for further complaints.

    Raises:
        SpecError: With file, line, field and the nearest valid key.
    """
    source = Source(path)
    data = source.data if instead is None else {**source.data, "plan": dict(instead)}
    try:
        spec = Spec.model_validate(data)
    except ValidationError as error:
        raise complaint(source, error) from error
    models: list[ModelSpec | ReplaySpec] = []
    for i, entry in enumerate(spec.models):
        kind = ReplaySpec if isinstance(entry, dict) and "replay" in entry else ModelSpec
        try:
            models.append(kind.model_validate(entry))
        except ValidationError as error:
            raise complaint(source, error, "models", i) from error
    for name, text in spec.subject_to.items():
        if not re.fullmatch(r"(>=|<=)\s*-?\d+(\.\d+)?", text):
            raise source.error(f"{text!r} is not a limit.", "subject_to", name, fix='Write e.g. ">= 0.60".')
    cheapest = spec.plan.cheapest
    if cheapest is not None and cheapest.metric is None and all(sign != ">=" for sign, _ in spec.limits().values()):
        raise source.error("nothing says what is good enough.", "plan", "cheapest", fix="Write {metric: NAME, within: "
                           '0.02}, or a floor: subject_to: {NAME: ">= 0.60"}.')  # fmt: skip
    return spec, models, source


def complaint(source: Source, error: ValidationError, *prefix: str | int) -> SpecError:
    """The first validation error in the words of the file."""
    first = error.errors(include_url=False)[0]
    location = (*prefix, *first["loc"])
    if first["type"] == "unknown_key":
        return source.error(first["msg"], *location, str(first["ctx"]["key"]))
    known = tuple(part for part in location if part not in ("str", "dict[str,any]"))
    message = _MESSAGES.get(first["type"], f"{first['msg'][0].lower()}{first['msg'][1:]}.".replace("..", "."))
    return source.error(message, *known)
