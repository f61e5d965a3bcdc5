"""The names that a spec gives, checked together: no two of them may become one in a table or in MLflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.core.names import OF_RECORDS, key_of
from paretoken.experiment.resolve_scorers import places_of_scorers

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from paretoken.core.protocols import Scorer
    from paretoken.experiment.source import Source
    from paretoken.experiment.spec import Spec

ENDS = ("", "_low", "_high")
"""What is put after a metric's name for itself and the ends of its interval."""
BESIDE = ("chars", "human", "flip", "failed")
"""What may stand beside a metric, as `metric.failed`."""
COSTS_OF_MLFLOW = ("usd_per_1k_calls", "billed_usd_per_1k_calls")
"""Metrics that every variant has in MLflow beside the spec's; all others are under `x/`, where no metric can be."""
OF_MLFLOW = ("n_samples", "scorers", "prompt", "prompt_version", "model", "plan")
"""Parameters that every run has in MLflow; its `seed` gives way to a variant's own."""


def check_names(spec: Spec, scorers: Sequence[Scorer], prompts: Iterable[str], source: Source) -> None:
    """Refuse names that would hide something, or each other.

    Raises:
        SpecError: With the line of the name, and what it would hide.
    """
    metrics = _Names("metric", source, COSTS_OF_MLFLOW)
    for place, scorer in zip(places_of_scorers(spec.scorers), scorers, strict=True):
        for name in scorer.metrics:
            if name in OF_RECORDS or name.startswith("latency_s."):
                raise source.error(f"{name!r} is a column that every record has.", "scorers", place,
                                   fix="Call the metric, or the column it is read from, something else.")  # fmt: skip
            metrics.take(name, [*(f"{name}{end}" for end in ENDS), *(f"{name}.{part}" for part in BESIDE)],
                         "scorers", place)  # fmt: skip
    parameters = _Names("parameter", source, OF_MLFLOW)
    places: list[tuple[tuple[str | int, ...], str]] = [(("space",), name) for name in spec.space]
    for i, model in enumerate(source.data["models"]):
        places += [(("models", i, "params"), name) for name in model.get("params", ())]
    for where, name in places:
        if name in OF_RECORDS:
            raise source.error(f"{name!r} is a column that every record has.", *where, name,
                               fix="It cannot be a parameter.")  # fmt: skip
        if metrics.knows(name):
            raise source.error(f"{name!r} is a metric as well as a parameter.", *where, name,
                               fix="Call the metric something else.")  # fmt: skip
        parameters.take(name, [name], *where, name)
    tags = _Names("tag", source)
    for name in spec.tags:
        if name.startswith("mlflow."):
            raise source.error(f"{name!r} is a name of MLflow's own.", "tags", name, fix="Call the tag something else.")
        tags.take(name, [name], "tags", name)
    named = _Names("prompt", source)
    for i, prompt in enumerate(dict.fromkeys(id_.partition("@")[0] for id_ in prompts)):
        named.take(prompt, [prompt], "prompts", min(i, len(spec.prompts) - 1))


class _Names:
    """Names of one kind, by the keys that stand for them; case makes no difference."""

    def __init__(self, kind: str, source: Source, taken: Iterable[str] = ()) -> None:
        self._kind, self._source = kind, source
        self._taken = dict.fromkeys(taken, "of every run")

    def knows(self, name: str) -> bool:
        return name in self._taken.values()

    def take(self, name: str, keys: Iterable[str], *location: str | int) -> None:
        if not name.isprintable() or name.strip() != name or not name:
            raise self._source.error(f"a {self._kind} cannot be named {name!r}.", *location,
                                     fix="Leave out control characters, and blanks at both ends.")  # fmt: skip
        for key in keys:
            other = self._taken.setdefault(key_of(key).casefold(), name)
            if other != name:
                raise self._source.error(f"the {self._kind}s {other!r} and {name!r} could not be told apart "
                                         "everywhere.", *location, fix="Call one of them something else.")  # fmt: skip
