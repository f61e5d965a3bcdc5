"""The selection matrix against a table by hand and slow loops; its ranking and its flips against ranking again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paretoken.analysis import matrix
from paretoken.analysis.matrix import weigh
from paretoken.analysis.scorecard import DIMENSIONS, Outcomes, Terms, measure, quantiles, score
from paretoken.analysis.weights import WEIGHTS, find_flips, resolve_weights, reweighted
from paretoken.core.errors import SpecError

TERMS = Terms(floor=0.5, sla_s=2.0)
NAN = float("nan")


@pytest.fixture(autouse=True, scope="module")
def _few_resamples():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matrix, "RESAMPLES", 60)
        yield


def table(**candidates):
    """Outcomes of candidates, each a list of `(quality, usd, seconds)`, one a sample; None for a failed call."""
    names = list(candidates)
    rows = [(v, s, row) for v, name in enumerate(names) for s, row in enumerate(candidates[name])]
    n_samples = max(map(len, candidates.values()))
    answers = [row or (NAN, 0.0, NAN) for _, _, row in rows]
    return Outcomes(
        candidates=names,
        candidate=np.array([v for v, _, _ in rows]),
        sample=np.array([s for _, s, _ in rows]),
        failed=np.array([row is None for _, _, row in rows]),
        list_usd=np.array([usd for _, usd, _ in answers]),
        latency_s=np.array([seconds for *_, seconds in answers]),
        quality=np.array([quality for quality, *_ in answers]),
        unit=np.arange(n_samples),
        scenarios={"half=a": np.arange(n_samples) % 2 == 0, "half=b": np.arange(n_samples) % 2 == 1},
    )


TINY = table(
    small=[(0.4, 1.0, 1.0), (0.6, 1.0, 1.0), (0.4, 1.0, 1.0), None],
    large=[(0.8, 4.0, 2.0), (0.8, 4.0, 2.0), (0.8, 4.0, 4.0), (0.8, 4.0, 2.0)],
)


def test_a_tiny_table_by_hand():
    found = weigh(TINY, TERMS)
    small, large = found.rows
    p99 = 2 + 2 * 0.97  # at place 2.97 of 2, 2, 2, 4
    assert [(small.label, small.rank), (large.label, large.rank)] == [("small", 1), ("large", 2)]
    assert {name: large.readings[name].value for name in DIMENSIONS} == pytest.approx(
        {"quality": 0.8, "latency": p99, "cost": 4.0, "stability": 0.75, "coverage": 1.0}
    )
    assert {name: small.readings[name].value for name in DIMENSIONS} == pytest.approx(
        {"quality": 1.4 / 3, "latency": 1.0, "cost": 3.0, "stability": 0.75, "coverage": 0.5}
    )
    assert large.total == pytest.approx(0.3 * 0.8 + 0.2 / p99 + 0.25 * 0.75 + 0.15 * 0.75 + 0.1)
    assert small.total == pytest.approx(0.3 * 1.4 / 3 + 0.2 + 0.25 + 0.15 * 0.75 + 0.05)
    assert (small.error_rate, small.usable_rate, small.failed_scenarios) == (0.25, 0.25, ("half=a",))
    assert (large.error_rate, large.sla_rate, large.usable_rate) == (0, 0.75, 1)


@st.composite
def outcomes(draw, least=2):
    """A few candidates with two calls to some samples, in clusters, some of them failed or without a score."""
    n_candidates, n_samples = draw(st.integers(least, 4)), draw(st.integers(2, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**31)))
    cells = [(v, s) for v in range(n_candidates) for s in range(n_samples) for _ in range(1 + s % 2)]
    failed = rng.random(len(cells)) < 0.2
    quality = np.where(failed | (rng.random(len(cells)) < 0.1), NAN, rng.choice([0.2, 0.5, 0.7, 0.9], len(cells)))
    return Outcomes(
        candidates=[f"c{v}" for v in range(n_candidates)],
        candidate=np.array([v for v, _ in cells]),
        sample=np.array([s for _, s in cells]),
        failed=failed,
        list_usd=np.where(failed, 0, rng.integers(0, 4, len(cells)) * 0.25),
        latency_s=np.where(failed, NAN, rng.choice([0.5, 1.0, 2.5], len(cells))),
        quality=quality,
        unit=np.sort(rng.permutation([*range(n_samples - 1), 0])),
        scenarios={"t=x": rng.random(n_samples) < 0.5, "t=y": np.ones(n_samples, bool)},
    )


def slowly(found, units, candidate):
    """One candidate's dimensions on drawn units, one record after the other."""
    calls, usd, answered, in_time, usable, latencies, means, scenes = 0, 0.0, 0, 0, 0, [], [], {}
    for unit in units:
        for sample in np.flatnonzero(found.unit == unit):
            scores = []
            for i in np.flatnonzero((found.candidate == candidate) & (found.sample == sample)):
                calls += 1
                if found.failed[i]:
                    continue
                answered, usd = answered + 1, usd + found.list_usd[i]
                latencies.append(found.latency_s[i])
                in_time += found.latency_s[i] <= TERMS.sla_s
                usable += found.quality[i] >= TERMS.floor
                scores += [] if np.isnan(found.quality[i]) else [found.quality[i]]
            means += [np.mean(scores)] if scores else []
            for name, samples in found.scenarios.items():
                if samples[sample]:
                    scenes.setdefault(name, []).extend([np.mean(scores)] if scores else [])
    passed = [bool(values) and np.mean(values) > TERMS.floor - 1e-9 for values in scenes.values()]
    return {
        "quality": np.mean(means) if means else NAN,
        "latency": np.quantile(latencies, 0.99) if latencies else NAN,
        "cost": usd / usable if usable else NAN,
        "stability": in_time / calls,
        "coverage": np.mean(passed) if passed else NAN,
        "error_rate": 1 - answered / calls,
    }


@given(outcomes(), st.randoms(use_true_random=False))
@settings(max_examples=30)
def test_dimensions_of_any_draw_are_those_of_slow_loops(found, random):
    draws = [random.choices(range(found.n_units), k=found.n_units) for _ in range(3)]
    counts = np.array([np.bincount(units, minlength=found.n_units) for units in draws], float)
    measured = measure(found, counts, TERMS)
    for b, units in enumerate(draws):
        for v in range(len(found.candidates)):
            slow = slowly(found, units, v)
            fast = {name: measured[name][b, v] for name in slow}
            assert fast == pytest.approx(slow, nan_ok=True)


@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 3)), min_size=1, max_size=8), st.floats(0, 1))
def test_weighted_quantiles_are_numpys_of_repeated_values(pairs, q):
    values, weights = np.array([v for v, _ in pairs]), np.array([w for _, w in pairs])
    repeated = np.repeat(values, weights)
    expected = np.quantile(repeated, q) if len(repeated) else NAN
    assert quantiles(values, weights[None].astype(float), q)[0] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def totals_of(selection):
    return {row.label: row.total for row in selection.rows}


def permuted(found, order):
    """The same candidates in another order."""
    place = np.argsort(order)
    return replace(found, candidates=[found.candidates[v] for v in order], candidate=place[found.candidate])


@given(outcomes(), st.data())
@settings(max_examples=30)
def test_the_order_of_candidates_changes_nothing(found, data):
    order = data.draw(st.permutations(range(len(found.candidates))))
    if found.failed.all():
        return
    one, other = weigh(found, TERMS), weigh(permuted(found, order), TERMS)
    for row in one.rows:
        (same,) = (r for r in other.rows if r.label == row.label)
        assert replace_order(same) == replace_order(row)
    assert {(f.dimension, f.at) for f in one.flips} == {(f.dimension, f.at) for f in other.flips} or ties(one)


def replace_order(row):
    return row._replace(dominated_by=frozenset(row.dominated_by))


def ties(selection):
    return len(selection.first) > 1


@given(outcomes(), st.floats(0.01, 100))
@settings(max_examples=30)
def test_the_scale_of_all_weights_changes_nothing(found, factor):
    one, other = weigh(found, TERMS, WEIGHTS), weigh(found, TERMS, {n: factor * w for n, w in WEIGHTS.items()})
    assert totals_of(one) == pytest.approx(totals_of(other), abs=1e-12)
    assert [row.label for row in one.rows] == [row.label for row in other.rows] or ties(one)
    assert one.weights == pytest.approx(dict(weigh(found, TERMS).weights), abs=1e-12)


@given(outcomes(), st.data())
@settings(max_examples=30)
def test_a_dominated_candidate_more_changes_nobodys_total(found, data):
    """A copy of a candidate that is slower, dearer and worse."""
    if found.failed.all():
        return
    model = data.draw(st.integers(0, len(found.candidates) - 1))
    mine = found.candidate == model
    more = replace(
        found,
        candidates=[*found.candidates, "worse"],
        candidate=np.append(found.candidate, np.full(mine.sum(), len(found.candidates))),
        sample=np.append(found.sample, found.sample[mine]),
        failed=np.append(found.failed, found.failed[mine]),
        list_usd=np.append(found.list_usd, 2 * found.list_usd[mine] + 0.1),
        latency_s=np.append(found.latency_s, found.latency_s[mine] + 1),
        quality=np.append(found.quality, found.quality[mine] - 0.1),
    )
    before, after = weigh(found, TERMS), weigh(more, TERMS)
    assert {name: total for name, total in totals_of(after).items() if name != "worse"} == totals_of(before)
    if not found.failed[mine].all():
        assert [row.label for row in after.first] == [row.label for row in before.first]
        (worse,) = (row for row in after.rows if row.label == "worse")
        assert found.candidates[model] in worse.dominated_by


SCORES = st.integers(2, 6).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 10), min_size=4, max_size=4), min_size=n, max_size=n)
)


@given(SCORES, st.lists(st.integers(0, 9), min_size=4, max_size=4).filter(any))
@settings(max_examples=150)
def test_at_each_flip_and_nowhere_nearer_the_winner_changes(scores, raw):
    """Ranked again on a grid, with weights that are built without the code under test."""
    scores, weights = np.array(scores) / 10, np.array(raw) / sum(raw)
    scores = scores[np.argsort(-(scores @ weights), kind="stable")]
    flips = {flip.dimension: flip for flip in find_flips(scores, dict(zip("abcd", weights, strict=True)))}

    def lead(i, x):
        """How far the first is before everybody else, and who is the best of these."""
        others = np.delete(weights, i)
        totals = x * scores[:, i] + (1 - x) * np.delete(scores, i, axis=1) @ (others / others.sum())
        return totals[0] - totals[1:].max(), 1 + np.flatnonzero(totals[1:] >= totals[1:].max() - 1e-10)

    for i, name in enumerate("abcd"):
        if weights[i] == 1:
            assert name not in flips
            continue
        flip = flips.get(name)
        reach = abs(flip.at - weights[i]) if flip else np.inf
        for x in np.linspace(0, 1, 21):
            if abs(x - weights[i]) < reach - 1e-9:
                assert lead(i, x)[0] >= -1e-9
        if flip is not None:
            way = 1 if flip.at > weights[i] or (flip.at == weights[i] and lead(i, flip.at + 1e-6)[0] < 0) else -1
            assert lead(i, flip.at)[0] == pytest.approx(0, abs=1e-9)
            assert lead(i, flip.at + way * 1e-6)[0] < 0
            assert flip.winner in lead(i, flip.at + way * 1e-7)[1]


def test_of_two_that_are_met_together_the_steeper_one_wins():
    scores = np.array([[1.0, 0.6], [0.4, 0.8], [0.1, 0.9]])  # all have 0.7 where the first weight is 0.25
    (flip,) = (flip for flip in find_flips(scores, {"a": 0.5, "b": 0.5}) if flip.dimension == "a")
    assert (flip.at, flip.winner) == (pytest.approx(0.25), 2)


@given(outcomes(), st.data())
@settings(max_examples=30)
def test_the_weight_that_a_sentence_names_makes_its_winner_first(found, data):
    if found.failed.all():
        return
    selection = weigh(found, TERMS)
    for flip in selection.flips:
        again = weigh(found, TERMS, {flip.dimension: float(selection.beyond(flip))})
        assert selection.rows[flip.winner].label in [row.label for row in again.first]
        assert selection.rows[0].label not in [row.label for row in again.first]


def test_a_round_flip_is_named_by_a_weight_beyond_it():
    good, quick = [(0.75, 1.0, 4.0)] * 2, [(0.0, 1.0, 1.0)] * 2  # alike where quality and latency weigh the same
    found = weigh(table(good=good, quick=quick), Terms(), {"quality": 0.6, "latency": 0.4})
    assert {flip.dimension: found.beyond(flip) for flip in found.flips} == {"quality": "0.49", "latency": "0.51"}


def test_shares_of_resamples_add_up_and_ties_share_them():
    twice = table(a=[(0.5, 1.0, 1.0)] * 4, b=[(0.5, 1.0, 1.0)] * 4, c=[(0.1, 2.0, 2.0)] * 4)
    found = weigh(twice, TERMS)
    assert [(row.label, row.rank, row.first_rate) for row in found.rows] == [("a", 1, 0.5), ("b", 1, 0.5), ("c", 3, 0)]
    assert found.rows[2].dominated_by == ("a", "b")
    assert (found.rows[0].rank_low, found.rows[0].rank_high) == (1, 1)
    assert found.sentences[0].startswith('"a" and "b" are first with')
    assert 'before "c"' in found.sentences[0]
    noisy = weigh(TINY, TERMS)
    assert sum(row.first_rate for row in noisy.rows) == pytest.approx(1)
    assert 0 < noisy.rows[0].first_rate < 1
    assert f'the noise leaves others a chance: "large" is first in {100 * noisy.rows[1].first_rate:.0f} %' in (
        noisy.sentences
    )
    rows = tuple(row._replace(first_rate=share) for row, share in zip(noisy.rows, (0.3, 0.7), strict=True))
    assert 'the totals are too close to tell: "large" is first in 70 %' in replace(noisy, rows=rows).sentences


def test_every_candidate_meets_the_same_resamples():
    """A candidate that is a little better on every sample is first in all of them, however much samples differ."""
    rng = np.random.default_rng(1)
    base = [(float(q), 1.0, 1.0) for q in rng.uniform(0, 0.9, 30)]
    found = weigh(table(a=base, b=[(q + 0.01, 1.0, 1.0) for q, *_ in base]), Terms(sla_s=2.0))
    assert (found.rows[0].label, found.rows[0].first_rate) == ("b", 1.0)


def test_clusters_are_drawn_whole():
    """Four samples of one document are one unit: nothing but it can be drawn, and no interval is wider than a point."""
    found = weigh(replace(TINY, unit=np.zeros(4, np.int64)), TERMS)
    assert all(reading.low == reading.high for row in found.rows for reading in row.readings.values())
    assert "of the one cluster" in found.sentences[0]


def test_what_cannot_be_measured_is_dropped_and_its_weight_shared_out():
    found = weigh(replace(TINY, latency_s=np.full(8, NAN)), Terms(sla_s=2.0))
    assert found.dropped == {"latency": "no call has one", "coverage": "no floor says which scenario is passed"}
    assert found.weights == pytest.approx({"quality": 3 / 7, "cost": 2.5 / 7, "stability": 1.5 / 7})
    assert "latency is not measured: no call has one; its weight goes to the others" in found.sentences
    assert any("stability counts errors alone" in sentence for sentence in found.sentences)
    part = np.where(TINY.candidate == 1, NAN, TINY.latency_s)
    assert weigh(replace(TINY, latency_s=part), TERMS).dropped == {"latency": "no call of large has one"}
    assert weigh(replace(TINY, scenarios={}), TERMS).dropped.keys() == {"coverage"}
    assert weigh(replace(TINY, quality=np.full(8, NAN)), Terms()).dropped.keys() == {"quality", "coverage"}


def test_a_candidate_without_usable_answers_has_no_cost_and_says_so():
    found = weigh(table(good=[(0.9, 1.0, 1.0)] * 4, bad=[(0.1, 0.1, 1.0)] * 4, dead=[None] * 4), TERMS)
    good, bad, dead = found.rows
    assert [row.label for row in found.rows] == ["good", "bad", "dead"]
    assert good.readings["cost"].score == 1
    assert bad.readings["cost"] == (None, None, None, 0.0, 0.0)
    assert '"bad": no answer is usable, so its cost is unknown and scores 0' in found.sentences
    assert (dead.total, dead.error_rate, dead.readings["latency"].score) == (0, 1, 0)
    assert len(dead.remarks) == 3


def test_a_metric_without_a_scale_is_scored_beside_the_best():
    found = weigh(table(a=[(40.0, 1.0, 1.0)] * 2, b=[(80.0, 1.0, 1.0)] * 2), Terms(scale=None))
    assert [row.readings["quality"].score for row in found.rows] == [1.0, 0.5]
    negative = weigh(table(a=[(-4.0, 1.0, 1.0)] * 2, b=[(8.0, 1.0, 1.0)] * 2), Terms(scale=None))
    assert negative.dropped["quality"] == "quality can be negative and states no range"


def test_what_is_free_is_best_and_nothing_is_divided_by_zero():
    found = weigh(table(free=[(0.5, 0.0, 0.0)] * 2, paid=[(0.5, 1.0, 1.0)] * 2), TERMS)
    assert [row.readings["cost"].score for row in found.rows] == [1.0, 0.0]
    assert [row.readings["latency"].score for row in found.rows] == [1.0, 0.0]
    both = score(measure(table(a=[(0.5, 0.0, 0.0)], b=[(0.5, 0.0, 0.0)]), np.ones((1, 1)), TERMS), ["cost"], TERMS)
    assert both.tolist() == [[[1.0], [1.0]]]


def test_a_weight_that_is_given_stands_and_the_others_share_the_rest():
    weights = resolve_weights({"quality": 0.65}, DIMENSIONS)
    assert weights == pytest.approx({"quality": 0.65, "latency": 0.1, "cost": 0.125, "stability": 0.075,
                                     "coverage": 0.05})  # fmt: skip
    assert resolve_weights({"quality": 1.0}, DIMENSIONS)["cost"] == 0
    assert resolve_weights({"coverage": 0.9, "quality": 0.5}, ["quality", "cost"]) == {"quality": 0.5, "cost": 0.5}
    assert reweighted(np.array([0.5, 0.3, 0.2]), 0, 0.0).tolist() == pytest.approx([0, 0.6, 0.4])


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"latensy": 1}, "'latensy' is no dimension. Did you mean 'latency'?"),
        ({"cost": -0.1}, "the weight of cost is -0.1"),
        ({"cost": NAN}, "the weight of cost is nan"),
        (dict.fromkeys(WEIGHTS, 0), "all weights are zero"),
        ({"cost": 0.8, "quality": 0.4}, "the weights of quality, cost add up to 1.2"),
    ],
)
def test_weights_that_make_no_sense_are_refused(weights, said):
    with pytest.raises(SpecError, match=said.replace("'", ".").replace("?", r"\?")):
        weigh(TINY, TERMS, weights)


def test_weights_of_what_is_not_measured_do_not_save_those_that_are_zero():
    with pytest.raises(SpecError, match="all that is measured has no weight: quality"):
        resolve_weights({"quality": 0, "latency": 1}, ["quality"])


def test_the_same_seed_gives_the_same():
    assert weigh(TINY, TERMS, seed=4) == weigh(TINY, TERMS, seed=4)
    assert weigh(TINY, TERMS, seed=4).rows != weigh(TINY, TERMS, seed=5).rows


def test_a_notebook_shows_sentences_and_table():
    html = weigh(table(**{"a<b": [(0.5, 1.0, 1.0)] * 2, "c": [(0.4, 1.0, 1.0)] * 2}), TERMS)._repr_html_()
    assert "a&lt;b" in html
    assert "a<b" not in html
    assert "first_rate" in html
