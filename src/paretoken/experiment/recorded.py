"""What earlier runs recorded of the calls that are to be sent."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.prediction import MIN_SEEN
from paretoken.core.usage import ZERO
from paretoken.models.estimate import estimate_tokens
from paretoken.records import RunBook, SqlJournal

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paretoken.core.calls import Call
    from paretoken.core.trials import RunInfo
    from paretoken.core.usage import Price, Usage
    from paretoken.experiment.design import Design
    from paretoken.records import Database

MAX_CALLS = 1000
"""Recorded calls of one variant that are read, latest run first: more would hardly narrow an interval."""
FREE_PARAMS = ("temperature", "seed")
"""What alike variants may differ in besides the prompt's version: it hardly changes how long answers are."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """Prompts of the calls to be sent.

    Attributes:
        mean_tokens: Tokens of one.
        exact: Whether they were counted by the provider's own tokeniser, and not estimated.
    """

    mean_tokens: float
    exact: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """Recorded calls that tell what a variant's calls will cost.

    Attributes:
        same: They are of this very variant; else of one that is alike.
        calls: Cost at today's price with a prompt as long as those to be sent [USD], and answer tokens, by sample and
            request key: an answer that several runs share is one call.
    """

    same: bool
    calls: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)

    @property
    def is_full(self) -> bool:
        """No more calls are needed."""
        return len(self.calls) >= MAX_CALLS

    @property
    def usd_by_sample(self) -> dict[str, float]:
        """Mean cost of each sample's calls [USD]: repeats of one sample are not independent."""
        groups: dict[str, list[float]] = {}
        for (sample, _), (usd, _) in self.calls.items():
            groups.setdefault(sample, []).append(usd)
        return {sample: sum(group) / len(group) for sample, group in groups.items()}

    @property
    def output_tokens(self) -> list[int]:
        """Answer tokens of each call."""
        return [tokens for _, tokens in self.calls.values()]


def read_recorded(design: Design, database: Database, prompts: Mapping[str, Prompts]) -> dict[str, Recorded]:
    """Recorded calls of every variant; those of alike variants where its own are too few.

    Args:
        design: What is to be run.
        database: Where runs are recorded.
        prompts: What is to be sent, by variant id; other variants are not looked up.
    """
    own = {id_: Recorded(same=True) for id_ in prompts}
    alike = {id_: Recorded(same=False) for id_ in prompts}
    journal = SqlJournal(database)
    models = {variant.id: design.models[variant.model] for variant in design.variants}
    for run in reversed(RunBook(database).all()):
        kept = cast("dict[str, Any]", run.lock["store"])["content"] == "full"
        told = {
            source: [(id_, own[id_] if id_ == source else alike[id_]) for id_ in ids]
            for source, ids in _alike(run, design, prompts).items()
        }
        pools = [pool for targets in told.values() for _, pool in targets]
        if all(pool.is_full for pool in pools):
            continue
        for _, entry in journal.read(run.id, kind=["call"], role=["subject"], variant=list(told)):
            call = cast("Call", entry)
            targets = [(id_, pool) for id_, pool in told[call.origin.variant] if not pool.is_full]
            if not targets and all(pool.is_full for pool in pools):
                break
            for id_, pool in targets if call.response is not None or call.billed_usd else ():
                found = _cost_now(call, models[id_].price, prompts[id_], kept)
                pool.calls[call.origin.sample, call.request.key] = found
    return {
        id_: pool
        if len(pool.usd_by_sample) >= MIN_SEEN or not alike[id_].calls
        else Recorded(same=False, calls={**alike[id_].calls, **pool.calls})
        for id_, pool in own.items()
    }


def _alike(run: RunInfo, design: Design, wanted: Iterable[str]) -> dict[str, list[str]]:
    """The wanted variants that each variant of a run is, or is alike to, by its id."""
    lock = cast("dict[str, Any]", run.lock)
    variants = {variant.id: variant for variant in design.variants}
    kinds: dict[str, list[str]] = {}
    for id_ in wanted:
        variant = variants[id_]
        base_url = design.models[variant.model].base_url
        kinds.setdefault(_kind(variant.prompt, variant.model, base_url, dict(variant.params)), []).append(id_)
    found = {}
    for row in lock["variants"]:
        model = lock["models"][row["model"]]
        ids = kinds.get(_kind(row["prompt"], row["model"], model["base_url"], row["params"]))
        if ids and not model["recorded"]:
            found[row["id"]] = ids
    return found


def _kind(prompt: str, model: str, base_url: str, params: Mapping[str, object]) -> str:
    """What alike variants have in common."""
    fixed = sorted((name, value) for name, value in params.items() if name not in FREE_PARAMS)
    return repr((prompt.partition("@")[0], model, base_url, fixed))


def _cost_now(call: Call, price: Price, prompts: Prompts, kept: bool) -> tuple[float, int]:
    """Cost of a recorded call at today's price, with a prompt as long as those to be sent [USD]; its answer's tokens.

    The prompt is scaled by its recorded tokens over what is counted before sending. What failed attempts were billed
    on the way to the answer, or without one, is taken as it was.
    """
    response = call.response
    if response is None:
        return float(call.billed_usd), 0
    usage = response.usage
    counted: float = usage.input_tokens
    if not prompts.exact:  # a text that was not kept cannot be estimated: then prompts count as being as long as ever
        counted = sum(estimate_tokens(message.content) for message in call.request.messages) if kept else 0
    tokens = usage.input_tokens * (prompts.mean_tokens / counted if counted else 1.0)
    whole, part = divmod(tokens, 1)
    below, above = (float(price.cost(_with_prompt(usage, int(whole) + more))) for more in (0, 1))
    failed_usd = max(call.billed_usd - response.billed_usd, ZERO)
    return below + part * (above - below) + float(failed_usd), usage.output_tokens


def _with_prompt(usage: Usage, tokens: int) -> Usage:
    """What a call would have used with a prompt of another length, of which the vendor's cache holds the same share."""
    share = tokens / usage.input_tokens if usage.input_tokens else 0.0
    return replace(
        usage,
        input_tokens=tokens,
        cached_tokens=int(usage.cached_tokens * share),
        cache_write_tokens=int(usage.cache_write_tokens * share),
    )
