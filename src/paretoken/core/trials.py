"""What an experiment is made of: variants, trials, and the records they leave."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from paretoken.core.calls import Call, Scalar, Score


@dataclass(frozen=True, slots=True)
class Variant:
    """Prompt x model x parameters.

    Attributes:
        prompt: Name and content version, `terse@3f9a1c`.
        model: Model id.
        params: Generation parameters, sorted by name.
        copy: Tells otherwise equal variants apart that are tried against each other; each has its own seeds and cache.
        id: Six hex digits of the content hash.
    """

    prompt: str
    model: str
    params: tuple[tuple[str, Scalar], ...] = ()
    copy: int = 0
    id: str = field(init=False)

    def __post_init__(self) -> None:
        parts = [self.prompt, self.model, self.params, *([self.copy] if self.copy else [])]
        text = json.dumps(parts, ensure_ascii=False)
        object.__setattr__(self, "id", hashlib.sha256(text.encode()).hexdigest()[:6])

    @property
    def prompt_name(self) -> str:
        """The prompt's name without its version."""
        return self.prompt.partition("@")[0]


def label_variants(
    variants: Sequence[Variant], varying: Collection[str] | None = None, models: Collection[str] = ()
) -> dict[str, str]:
    """Short labels made of the parts that vary: `terse`, `terse|gpt-4o-mini|temperature=0`.

    Args:
        variants: All variants of one run, or some of them if it is said what varies.
        varying: `prompt`, `model` and the parameters that vary in the run; None is what differs between `variants`.
        models: Further models of the run, from which short names must differ.

    Returns:
        Label by variant id. Labels are unique: where two would be equal, both get their id appended.
    """
    parts_of = _varying(variants) if varying is None else varying
    short_model = _short_names({*models, *(v.model for v in variants)})

    def label(variant: Variant) -> str:
        parts = [variant.prompt_name] if "prompt" in parts_of else []
        parts += [short_model[variant.model]] if "model" in parts_of else []
        parts += [f"{name}={value}" for name, value in variant.params if name in parts_of]
        parts += [f"copy {variant.copy}"] if variant.copy else []
        return "|".join(parts) or variant.prompt_name

    labels = {v.id: label(v) for v in variants}
    taken = list(labels.values())
    return {id_: text if taken.count(text) == 1 else f"{text}|{id_}" for id_, text in labels.items()}


def _varying(variants: Sequence[Variant]) -> set[str]:
    """What differs between variants; a parameter that only some have does."""
    choices: dict[str, set[Scalar]] = {}
    for variant in variants:
        for name, value in (("prompt", variant.prompt), ("model", variant.model), *variant.params):
            choices.setdefault(name, set()).add(value)
    everywhere = [{"prompt", "model", *dict(variant.params)} for variant in variants]
    return {name for name, values in choices.items() if len(values) > 1 or any(name not in has for has in everywhere)}


def _short_names(models: set[str]) -> dict[str, str]:
    """Model ids without their provider, where that stays unique."""
    tails = [model.rpartition("/")[2] for model in models]
    return {m: m.rpartition("/")[2] if tails.count(m.rpartition("/")[2]) == 1 else m for m in models}


def draw_order(samples: Iterable[str], seed: int, clusters: Mapping[str, str] | None = None) -> list[str]:
    """Samples in the order in which they are drawn: random, and a function of their ids and the seed alone.

    More samples, or fewer, leave the order of the others.

    Args:
        samples: Ids.
        seed: The run's seed.
        clusters: Cluster by sample id; samples of one cluster are drawn one after the other.
    """

    def rank(text: str) -> bytes:
        return hashlib.blake2b(f"order/{seed}/{text}".encode(), digest_size=8).digest()

    if clusters:
        return sorted(samples, key=lambda id_: (rank(f"cluster/{clusters[id_]}"), rank(id_)))
    return sorted(samples, key=rank)


@dataclass(frozen=True, slots=True)
class Cell:
    """One sample, one repetition."""

    sample: str
    repeat: int = 0


@dataclass(frozen=True, slots=True)
class Trial:
    """A variant put to one block of cells; many trials make up what is known of a variant."""

    variant: Variant
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Wait:
    """The planner needs the records of trials in flight before it can go on."""


@dataclass(frozen=True, slots=True)
class Done:
    """The planner has no more questions."""

    reason: str = "complete"


@dataclass(frozen=True, slots=True)
class Record:
    """Sample x variant x repeat: its subject call and its scores.

    Attributes:
        call: The subject call; with an `error` if it failed.
        scores: By metric.
    """

    sample: str
    variant: str
    repeat: int
    call: Call
    scores: Mapping[str, Score]

    @property
    def error(self) -> str | None:
        """Why there is no answer, or None."""
        return self.call.error


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One execution of an experiment.

    Attributes:
        id: `<experiment>-<6 hex of the identity>`, with `-2`, `-3`, ... for fresh runs of the same identity.
        identity: Hash of the lock less budget, tags and track.
        lock: Everything that determines the run, as JSON: spec, prompts, hashes, prices, versions, seed, estimate.
        status: `running`, `finished`, `stopped` (budget, interruption) or `failed`.
        reason: Why it is in that status.
    """

    id: str
    experiment: str
    identity: str
    started_at: str
    status: str
    reason: str
    lock: Mapping[str, object]
    finished_at: str | None = None

    @property
    def scope(self) -> str:
        """The budget scope of this run alone."""
        return f"run:{self.id}"
