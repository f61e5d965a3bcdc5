"""What a run found, for a program to read, and how it came about."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from paretoken.analysis.abtest import AbTest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.raced import RaceOutcome
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison


@dataclass(frozen=True, slots=True)
class Course:
    """How a comparison came about.

    Attributes:
        asked, planned: Samples put to both variants up to the first that was not; samples planned.
        paths: Confidence sequence of each judged quantity by name: `(samples, difference)`; empty where there is none.
    """

    asked: int
    planned: int
    paths: Mapping[str, Sequence[tuple[int, PairedDifference]]]


def course_of(results: Results, comparison: Comparison) -> Course:
    """Follow a comparison from its first samples to its last.

    Args:
        results: The run.
        comparison: One of its comparisons, or its confirmation.
    """
    control, treatment = (results.variant_id(label) for label in (comparison.control, comparison.treatment))
    test = AbTest.of(results.run.lock, control, [treatment])
    panel, n_units = results.panel, results.panel.n_units
    if comparison.part:
        selection, held_out = test.parts(panel)
        panel = selection if held_out is None or comparison.part == "selection" else held_out
    if not {control, treatment} <= set(panel.variants):
        return Course(0, len(panel.samples), {})
    paths = {
        j.difference.name: test.path(panel, treatment, j.difference.name, n_units=n_units) for j in comparison.judged
    }
    return Course(panel.whole(control, treatment), len(panel.samples), paths)


def courses_of(results: Results) -> dict[str, Course]:
    """How each comparison of an A/B test came about, by the treatment's label; nothing for other plans."""
    tested = results.comparisons if results.test is not None else []
    return {comparison.treatment: course_of(results, comparison) for comparison in tested}


def verdict_body(results: Results) -> dict[str, Any]:
    """All that a run's comparisons found, as plain JSON values.

    Args:
        results: The run.

    Returns:
        `verdicts`: one sentence each; `comparisons`; `confirmation`, the winner's on held-out samples, or None;
        `prompt_segments`: what each segment of the prompt costs and buys, where the plan asks for it;
        `segments`: of each a `column`, its `value` and the `comparison` within, for exploring; `plan`: what was
        declared; `false_difference_rate`: of an A/A test, else None; `race`: what became of every variant, what was
        saved, the front on held-out samples and its hypervolume, or None for other plans. A comparison has its
        attributes, `verdict` and `sentence`.
    """
    confirmation = results.confirmation
    return {
        "verdicts": results.verdicts,
        "comparisons": [_body(comparison) for comparison in results.comparisons],
        "confirmation": None if confirmation is None else _body(confirmation),
        "prompt_segments": [effect.body() for effect in results.prompt_segments],
        "segments": [
            {"column": column, "value": value, "comparison": _body(comparison)}
            for column, value, comparison in results.segments()
        ],
        "plan": results.plan,
        "false_difference_rate": results.false_difference_rate,
        "race": None if results.race is None else _race_body(results, results.race),
    }


def _race_body(results: Results, race: RaceOutcome) -> dict[str, Any]:
    volume = race.hypervolume if race.plan.kind != "cheapest" else None
    return {
        "samples": len(race.selection.samples),
        "held_out": 0 if race.held_out is None else len(race.held_out.samples),
        "chosen": [results.labels[id_] for id_ in race.chosen],
        "departures": [
            {"variant": results.labels[id_], "id": id_, **asdict(left)} for id_, left in race.departures.items()
        ],
        "saving": asdict(race.saving) | {"rate": race.saving.rate},
        "confirmed": [asdict(confirmed) for confirmed in race.confirmed],
        "hypervolume": None if volume is None else dict(zip(("value", "low", "high"), volume, strict=True)),
    }


def _body(comparison: Comparison) -> dict[str, Any]:
    return asdict(comparison) | {"verdict": comparison.verdict, "sentence": comparison.sentence}
