"""Models that answer at one temperature, whatever they are asked."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.experiment.model_design import ModelDesign
    from paretoken.experiment.source import Source
    from paretoken.experiment.space import Space


def fit_temperature(space: Space, models: Mapping[str, ModelDesign], source: Source) -> tuple[Space, tuple[str, ...]]:
    """The space without the temperature where it cannot be had, and what to tell of that.

    Raises:
        SpecError: A temperature is chosen for such a model, so that variants would differ in name only.
    """
    fixed = [id_ for id_, model in models.items() if _has_one(model)]
    for id_ in fixed:
        if space.own.get(id_, {}).get("temperature", 1) != 1:
            place = ("models", next(i for i, m in enumerate(source.data["models"]) if m.get("id") == id_), "params")
            raise source.error(f"{id_!r} takes no temperature but its own, 1.", *place, "temperature",
                               fix="Leave it out; `reasoning: false` says that the model takes one.")  # fmt: skip
    d = next((d for d in space.dimensions if d.name == "temperature"), None)
    if d is None or d.values == (1,):
        return space, ()
    allowed = dict(d.when).get("model", space.choices("model"))
    held = [id_ for id_ in allowed if id_ in fixed]
    free = tuple(id_ for id_ in allowed if id_ not in fixed)
    if not held:
        return space, ()
    names = " and ".join(map(str, held))
    if d.varies:
        fix = "Leave it out; `reasoning: false` at the model says that it takes one."
        if free:
            fix = f"Add `when: {{model: [{', '.join(map(str, free))}]}}` to it."
        raise source.error(f"{names} takes no temperature but its own: variants would differ in name only.", "space",
                           "temperature", fix=fix)  # fmt: skip
    when = (*((name, values) for name, values in d.when if name != "model"), ("model", free))
    kept = (replace(d, when=when),) if free else ()
    dimensions = (*(other for other in space.dimensions if other is not d), *kept)
    caution = f"{names} takes no temperature but its own: {d.choices[0]} is not sent"
    return replace(space, dimensions=dimensions), (caution,)


def _has_one(model: ModelDesign) -> bool:
    dialect = getattr(model.provider, "dialect", None)
    return dialect is not None and bool(dialect.one_temperature)
