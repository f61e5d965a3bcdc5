"""Forecasts: what is counted, what recorded calls tell, and how both are judged against the caps."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from paretoken.analysis.prediction import Prediction
from paretoken.core.calls import Response
from paretoken.core.errors import BadResponse
from paretoken.core.registry import load
from paretoken.core.usage import Usage
from paretoken.experiment import recorded, resolve
from paretoken.experiment.api import plan, run
from paretoken.experiment.archive import open_run
from paretoken.experiment.forecast import Forecast, Room, predict_total, predict_variant
from paretoken.experiment.recorded import Recorded
from paretoken.experiment.tally import VariantForecast
from paretoken.models.echo import Echo
from paretoken.models.estimate import estimate_usage
from paretoken.report.estimate import cost_estimate
from paretoken.report.overview import describe_run

if TYPE_CHECKING:
    from conftest import Lab
    from paretoken.core.calls import Request
    from paretoken.core.protocols import Clock, ProviderConfig

OFF = "seed: 7\ncache: {mode: off}"


@dataclass
class Far:
    """A model whose tokeniser is elsewhere.

    Attributes:
        ratio: Prompt tokens it counts for each that is estimated.
        cached: Share of them that it reads from its own cache.
        tokens: Length of an answer, by sample; None draws one for each request.
        loses: Samples of which it bills a first answer that cannot be used.
    """

    ratio: float = 1.0
    cached: float = 0.0
    tokens: int | None = None
    loses: frozenset[str] = frozenset()

    def model(self, config: ProviderConfig, clock: Clock) -> Echo:
        far = self
        lost: set[str] = set()

        class Remote(Echo):
            async def generate(self, request: Request) -> Response:
                n = round(far.ratio * estimate_usage(request.messages, "").input_tokens)
                drawn = random.Random(request.key).randint(1, request.max_tokens)
                usage = Usage(n, far.tokens or drawn, cached_tokens=int(n * far.cached))
                if request.origin.sample in far.loses and request.key not in lost:
                    lost.add(request.key)
                    raise BadResponse("cut", billing="known", usage=usage)
                return Response("words", usage, latency_s=0.0)

            async def count_tokens(self, request: Request) -> None:
                return None

        return Remote(0.0, clock)


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch, lab: Lab) -> Far:
    """The lab's model, far away, for 40 samples; nothing is cached."""
    far = Far()

    def look_up(group: Any, name: str) -> Any:
        return far.model if name == "far" else load(group, name)

    monkeypatch.setattr(resolve, "load", look_up)
    lab.edit("echo/a", "far/a")
    lab.edit("seed: 7", OFF)
    write_samples(lab, 40)
    return far


def write_samples(lab: Lab, n: int, features: str = "small") -> None:
    rows = [f'{{"id": "s{i}", "product": "mug {i}", "features": "{features}", "copy": "A mug."}}\n' for i in range(n)]
    lab.write("data.jsonl", "".join(rows))


def predicted(lab: Lab, label: str = "terse") -> tuple[VariantForecast, Prediction]:
    variant = next(v for v in plan(lab.folder)[1].variants if v.label == label)
    assert variant.predicted is not None
    return variant, variant.predicted


def cost_of(lab: Lab, label: str = "terse") -> float:
    """Mean cost of a call of the last run [USD]."""
    summary = next(s for s in open_run("last", lab.root).summaries if s.label == label)
    return float(summary.billed_usd_total) / summary.n


def test_without_records_there_are_only_bounds(lab: Lab, far: Far) -> None:
    _, forecast = plan(lab.folder)
    assert forecast.predicted is None
    assert all(v.predicted is None and v.recorded == 0 and v.output_tokens is None for v in forecast.variants)
    assert 0 < forecast.total("low_usd") < forecast.total("high_usd") < forecast.total("certain_usd")


def test_recorded_calls_predict_the_next_run(lab: Lab, far: Far) -> None:
    run(lab.folder)
    mean_usd = cost_of(lab)
    write_samples(lab, 400)
    variant, found = predicted(lab)
    assert (variant.to_send, variant.recorded, variant.same, found.n) == (400, 40, True, 40)
    assert found.expected == pytest.approx(400 * mean_usd, rel=0.01)
    assert float(variant.low_usd) < found.low < found.expected < found.high < float(variant.high_usd)
    assert variant.output_tokens == pytest.approx(400 * 12.5, rel=0.3)
    run(lab.folder)
    whole = open_run("last", lab.root)
    estimate = cost_estimate(whole)
    assert estimate.predicted is not None
    assert estimate.predicted.low < estimate.billed_usd < estimate.predicted.high
    assert estimate.outcome == "inside the 90 % interval"
    rows = {row["what"]: row for row in describe_run(whole)["estimate against actual"]}
    assert (rows["calls sent"]["estimate"], rows["calls sent"]["actual"]) == ("800", "800")
    assert "inside" in rows["billed, USD, 90 % interval"]["actual"]


def test_recorded_tokens_are_taken_at_today_s_price(lab: Lab, far: Far) -> None:
    run(lab.folder)
    write_samples(lab, 400)
    _, before = predicted(lab)
    lab.edit('input_per_mtok: "1.00", output_per_mtok: "4.00"', 'input_per_mtok: "2.00", output_per_mtok: "8.00"')
    _, after = predicted(lab)
    assert (after.low, after.expected, after.high) == pytest.approx(
        (2 * before.low, 2 * before.expected, 2 * before.high)
    )


@pytest.mark.parametrize(("ratio", "cached"), [(1.0, 0.0), (1.7, 0.0), (1.7, 0.5)])
def test_prompts_are_scaled_by_the_recorded_ratio(ratio: float, cached: float, lab: Lab, far: Far) -> None:
    far.ratio, far.cached, far.tokens = ratio, cached, 10
    lab.edit('output_per_mtok: "4.00"', 'output_per_mtok: "4.00", cached_per_mtok: "0.10"')
    write_samples(lab, 40, features="small, " * 20)
    run(lab.folder)
    write_samples(lab, 40, features="small, " * 60)
    _, found = predicted(lab)
    run(lab.folder)
    assert found.expected / 40 == pytest.approx(cost_of(lab), rel=0.02)


def test_the_mean_prompt_need_not_be_whole(lab: Lab) -> None:
    lab.edit("seed: 7", OFF)
    lab.edit("max_tokens: 24", "max_tokens: 1")
    lab.write("data.jsonl", "".join(f'{{"id": "{i}", "product": "mug", "features": "{"a " * (1 + i % 2)}", '
                                    '"copy": "A mug."}\n' for i in range(20)))  # fmt: skip
    run(lab.folder)
    mean_usd = cost_of(lab)
    lab.edit("max_chars: 90", "max_chars: 91")
    assert predicted(lab)[1].expected == pytest.approx(20 * mean_usd)


@pytest.mark.parametrize("content", ["hash", "none"])
def test_texts_that_were_not_kept_do_not_spoil_the_ratio(content: str, lab: Lab, far: Far) -> None:
    far.ratio, far.tokens = 1.5, 10
    lab.edit("seed: 7", f"seed: 7\nstore: {{content: {content}}}")
    run(lab.folder)
    mean_usd = cost_of(lab)
    write_samples(lab, 400)
    assert predicted(lab)[1].expected == pytest.approx(400 * mean_usd, rel=0.02)


def test_what_failed_attempts_cost_is_expected_again(lab: Lab, far: Far) -> None:
    far.tokens = 10
    far.loses = frozenset(f"s{i}" for i in range(0, 40, 2))
    run(lab.folder)
    lost = cost_of(lab)
    write_samples(lab, 400)
    assert predicted(lab)[1].expected == pytest.approx(400 * lost, rel=0.02)
    far.loses = frozenset()
    run(lab.folder)
    assert cost_of(lab) == pytest.approx(lost / 1.5, rel=0.02)


def test_calls_of_an_older_prompt_stand_in_until_there_are_own_ones(lab: Lab, far: Far) -> None:
    run(lab.folder)
    lab.edit("Sell {{", "Please sell {{", "prompts/terse.md")
    variant, _ = predicted(lab)
    assert (variant.recorded, variant.same) == (40, False)
    assert predicted(lab, "long")[0].cached == 0
    run(lab.folder)
    write_samples(lab, 60)
    variant, found = predicted(lab)
    assert (variant.recorded, variant.same, found.n) == (40, True, 40)


@pytest.mark.parametrize(
    ("old", "new"),
    [("max_tokens: 24", "max_tokens: 20"), ("max_tokens: 24", "max_tokens: 24\n  effort: high"), ("far/a", "far/b"),
     ("far/a", "far/a\n    base_url: http://127.0.0.1:9")],
)  # fmt: skip
def test_other_settings_and_models_tell_nothing(old: str, new: str, lab: Lab, far: Far) -> None:
    run(lab.folder)
    lab.edit(old, new)
    assert plan(lab.folder)[1].total("recorded") == 0


def test_another_temperature_is_alike(lab: Lab, far: Far) -> None:
    run(lab.folder)
    lab.edit("temperature: 0.0", "temperature: 0.7")
    assert [(v.recorded, v.same) for v in plan(lab.folder)[1].variants] == [(40, False)] * 2


def test_repeats_of_a_sample_are_not_independent(lab: Lab, far: Far) -> None:
    write_samples(lab, 12)
    lab.edit("seed: 7", "seed: 7\nrepeats: 5")
    run(lab.folder)
    write_samples(lab, 100)
    variant, found = predicted(lab)
    assert (variant.recorded, found.n, variant.samples, variant.to_send) == (60, 12, 100, 500)


def test_only_the_latest_calls_are_read(lab: Lab, far: Far, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorded, "MAX_CALLS", 15)
    far.tokens = 3
    run(lab.folder)
    far.tokens = 9
    run(lab.folder, fresh=True)
    write_samples(lab, 50)
    variant, _ = predicted(lab)
    assert (variant.recorded, variant.output_tokens) == (15, 9 * 50)


@pytest.mark.parametrize("mode", ["off", "refresh", "read_write"])
def test_a_pilot_is_the_beginning_of_its_run_with_any_cache(mode: str, lab: Lab, far: Far) -> None:
    lab.edit("cache: {mode: off}", f"cache: {{mode: {mode}}}")
    pilot = run(lab.folder, pilot=13)
    assert (pilot.ending.status, pilot.progress.made, pilot.results.run.status) == ("stopped", 26, "stopped")
    piloted = {record.sample for record in pilot.results.records}
    _, forecast = plan(lab.folder)
    assert [(v.to_send, v.samples, v.recorded) for v in forecast.variants] == [(27, 27, 13)] * 2
    assert forecast.spent_usd == pilot.progress.billed_usd > 0
    assert forecast.predicted is not None
    kept = cost_estimate(pilot.results).predicted
    assert kept is not None, "the interval of the whole run is kept with it"
    assert kept.low == pytest.approx(float(forecast.spent_usd) + forecast.predicted.low)
    again = run(lab.folder, pilot=13)
    assert again.progress.made == 0
    assert cost_estimate(again.results).predicted == kept
    whole = run(lab.folder)
    assert (whole.progress.made, whole.results.run.id) == (54, pilot.results.run.id)
    assert cost_estimate(whole.results).predicted == kept
    assert {record.sample for record in whole.results.records[:26]} == piloted


def test_a_pilot_of_everything_leaves_a_run_that_only_has_to_be_closed(lab: Lab, far: Far) -> None:
    pilot = run(lab.folder, pilot=100)
    assert pilot.progress.made == 80
    _, forecast = plan(lab.folder)
    assert (forecast.total("to_send"), forecast.predicted) == (0, Prediction(0, 0, 0, 0))
    whole = run(lab.folder)
    assert (whole.progress.made, whole.ending.status) == (0, "finished")
    assert cost_estimate(whole.results).outcome == "inside the 90 % interval"


def test_free_and_recorded_models_need_no_records(lab: Lab, far: Far) -> None:
    lab.edit('price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}', "price: free")
    _, forecast = plan(lab.folder)
    assert (forecast.predicted, forecast.total("to_send")) == (Prediction(0, 0, 0, 0), 80)


def variant_of(name: str, to_send: int = 100, limit: int = 1000, longest_usd: int | None = None) -> VariantForecast:
    """A variant whose answers cost a dollar a token and whose prompts are free."""
    return VariantForecast(name, name, to_send, 0, to_send, to_send, output_tokens_max=to_send * limit,
                           low_usd=Decimal(to_send), high_usd=Decimal((longest_usd or limit) * to_send),
                           certain_usd=Decimal(4 * (longest_usd or limit) * to_send))  # fmt: skip


def calls_of(tokens: Any) -> Recorded:
    """Calls that cost a dollar a token."""
    return Recorded(same=True, calls={(f"s{i}", "key"): (float(t), int(t)) for i, t in enumerate(tokens)})


def both(x: Any, y: Any) -> tuple[list[VariantForecast], Prediction]:
    known = {"x": calls_of(x), "y": calls_of(y)}
    rows = [predict_variant(variant_of(name), known[name]) for name in known]
    total = predict_total(rows, known)
    assert total is not None
    return rows, total


def width(found: Prediction | None) -> float:
    assert found is not None
    return found.high - found.low


def test_the_total_knows_that_variants_meet_the_same_samples() -> None:
    x = np.random.default_rng(1).integers(50, 500, 40)
    rows, alike = both(x, x)
    assert width(alike) == pytest.approx(sum(width(row.predicted) for row in rows))
    rows, opposite = both(x, 550 - x)
    assert width(opposite) < 0.01 * width(rows[0].predicted)
    rows, apart = both(x, np.random.default_rng(2).integers(50, 500, 40))
    one = width(rows[0].predicted)
    assert 1.1 * one < width(apart) < 1.8 * one
    assert apart.expected == pytest.approx(sum(row.predicted.expected for row in rows if row.predicted))


def test_the_total_of_variants_without_common_samples_is_cautious() -> None:
    x = np.random.default_rng(1).integers(50, 500, 40)
    other = Recorded(same=True, calls={(f"o{i}", "key"): (float(t), int(t)) for i, t in enumerate(x)})
    known = {"x": calls_of(x), "y": other}
    rows = [predict_variant(variant_of(name), known[name]) for name in known]
    assert width(predict_total(rows, known)) == pytest.approx(sum(width(row.predicted) for row in rows))


def test_one_variant_without_records_leaves_the_total_open() -> None:
    known = {"x": calls_of(range(100, 140))}
    rows = [predict_variant(variant_of(name), known.get(name)) for name in "xy"]
    assert rows[0].predicted is not None
    assert predict_total(rows, known) is None


def test_answers_that_were_all_cut_leave_room_for_shorter_ones() -> None:
    row = predict_variant(variant_of("x", limit=64), calls_of([64] * 20))
    assert row.predicted is not None
    assert (row.predicted.expected, row.predicted.high) == (6400, 6400)
    assert 0.85 * 6400 < row.predicted.low < 0.87 * 6400, "14 % of other answers show in 20 calls, 19 times in 20"
    assert row.output_tokens == 6400


@pytest.mark.parametrize(("longest_usd", "most"), [(None, 30), (50, 20), (100_000, 30)])
def test_answers_of_one_length_leave_room_for_longer_ones(longest_usd: int | None, most: int) -> None:
    """`most`: what such an answer costs more, by its own price or in proportion where a time-out bounds the price."""
    row = predict_variant(variant_of("x", limit=60, longest_usd=longest_usd), calls_of([30] * 20))
    assert row.predicted is not None
    assert (row.predicted.high - 3000) / 3000 == pytest.approx(0.139 * most / 30, rel=0.01)


def test_too_few_calls_are_counted_but_predict_nothing() -> None:
    row = predict_variant(variant_of("x"), calls_of(range(100, 109)))
    assert (row.recorded, row.predicted) == (9, None)


def test_an_interval_keeps_within_what_is_possible() -> None:
    row = predict_variant(variant_of("x", limit=30), calls_of([1] * 19 + [30]))
    assert row.predicted is not None
    assert row.predicted.low >= row.low_usd
    assert row.predicted.high <= row.certain_usd


@pytest.mark.parametrize(
    ("left", "found", "words"),
    [
        (4000, (20, 10, 30), "fits the budget"),
        (0.5, (20, 10, 30), "cannot finish"),
        (30, (20, 10, 30), "expected to fit"),
        (29, (20, 10, 30), "may reach"),
        (9, (20, 10, 30), "expected to reach"),
        (1000, None, "expected to fit"),
        (999, None, "may reach"),
    ],
)
def test_the_verdict_goes_by_the_interval(left: float, found: tuple[float, ...] | None, words: str) -> None:
    row = replace(variant_of("x", to_send=1), predicted=None if found is None else Prediction(*found, 20))
    rooms = (Room("the wider cap", Decimal(10_000)), Room("the budget", Decimal(str(left))))
    verdict = Forecast((row,), row.predicted, rooms, Decimal(0)).verdict
    assert verdict.startswith(words)
    assert "the budget" in verdict
    assert ("90 %" in verdict) == (found is not None and words not in ("fits the budget", "cannot finish"))


def test_the_verdict_counts_what_was_spent_and_what_other_caps_leave(lab: Lab, far: Far) -> None:
    lab.edit('budget: {usd: "1.00"}', 'budget: {usd: "0.01"}')
    pilot = run(lab.folder, pilot=10)
    verdict = plan(lab.folder)[1].verdict
    left = Decimal("0.01") - pilot.progress.billed_usd
    assert f"what is left of the budget of $0.01, ${left.normalize():f}" in verdict
    (lab.root / ".paretoken" / "budgets.yaml").write_text(
        'caps:\n  - {scope: "experiment:copy", usd: "0.002", window: day}\n'
    )
    assert "the day cap on experiment:copy of $0.002" in plan(lab.folder)[1].verdict
