"""Drivers recover what was planted, and say so where there is nothing to recover."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from paretoken.analysis.attribution import Encoder, Surrogate
from paretoken.analysis.drivers import fit_drivers
from paretoken.analysis.features import Features, language_of
from paretoken.core.errors import SpecError

PROMPTS = {"verbose": 0.0, "points": -1.0, "terse": -2.0}
MODELS = {"small": 0.0, "middle": 4.0, "large": 9.0}
USD = 1e-5


def planted(n_samples, noise, seed=0):
    """Every prompt, model and edit on every sample; cost is a sum of effects, and noise."""
    rng = np.random.default_rng(seed)
    length = rng.lognormal(5, 0.5, n_samples).round()
    rows = [
        (prompt, model, cap, length[s], s)
        for s in range(n_samples)
        for prompt in PROMPTS
        for model in MODELS
        for cap in (0.0, 1.0)
    ]
    frame = pd.DataFrame(rows, columns=["prompt", "model", "edit: length_cap", "input length", "s"])
    cost = (
        10 + frame["prompt"].map(PROMPTS) + frame["model"].map(MODELS) - 1.5 * frame["edit: length_cap"]
        + frame["input length"] / 100 + rng.normal(0, noise, len(frame))
    )  # fmt: skip
    kinds = dict.fromkeys(frame.columns[:4], "choice") | {"input length": "input"}
    return Features(frame.iloc[:, :4], kinds, frame["s"].to_numpy(), np.arange(len(frame))), cost.to_numpy() * USD


@pytest.fixture
def few_refits(monkeypatch):
    monkeypatch.setattr("paretoken.analysis.drivers.REFITS", 4)


@pytest.fixture(scope="module")
def found():
    return fit_drivers(*planted(60, 0.5))


def test_planted_effects_are_recovered(found):
    effects = {(e.driver, e.level): e.effect / USD for e in found.effects}
    span = max(MODELS.values())
    for driver, levels in (("prompt", PROMPTS), ("model", MODELS)):
        got = np.array([effects[driver, level] for level in levels])
        want = np.array(list(levels.values()))
        assert np.abs((got - got.mean()) - (want - want.mean())).max() < 0.05 * span
    assert effects["edit: length_cap", "1"] - effects["edit: length_cap", "0"] == pytest.approx(-1.5, rel=0.05)


def test_one_spike_does_not_hide_the_rest(few_refits):
    features, cost = planted(60, 0.5)
    spiked = cost.copy()
    spiked[7] = 400 * cost.mean()
    names = [(f"s{s}", "a", 0) for s in features.groups]
    found = fit_drivers(features, spiked, names=names)
    assert found.explained
    assert found.shares[0].driver == "model"
    assert (found.n, found.n_groups) == (len(cost) - 18, 59)
    assert found.spikes.value == pytest.approx(400 * cost.mean())
    assert "18 calls are left out" in found.sentences[-1]
    assert "a on sample s0" in found.sentences[-1]


def test_noise_without_spikes_loses_no_call(few_refits):
    features, cost = planted(60, 0.5)
    found = fit_drivers(features, np.random.default_rng(3).permutation(cost))
    assert not found.explained
    assert found.n == len(cost)
    assert found.spikes is None


def test_effects_are_measured_from_the_mean_call(few_refits):
    features, cost = planted(60, 0.5)
    found = fit_drivers(features, cost)
    assert np.abs(found.values.mean(axis=0)).max() < 1e-15
    assert found.base == pytest.approx(cost.mean(), rel=0.03)
    for driver in ("prompt", "model"):  # every level as often as another, but for the drawing of calls
        assert sum(e.effect for e in found.effects if e.driver == driver) == pytest.approx(0, abs=0.3 * USD)


def test_a_rare_level_has_an_interval_or_none(few_refits, monkeypatch):
    monkeypatch.setattr("paretoken.analysis.drivers.REEXPLAINED", 4)
    features, cost = planted(60, 0.5)
    effects = fit_drivers(features, cost).effects
    assert {e.low is None for e in effects} == {True, False}
    assert all((e.low is None) == (e.high is None) for e in effects)


def test_as_many_trees_as_pay(few_refits):
    """Noise of the inputs does not hide a choice that is plain to see."""
    rng = np.random.default_rng(5)
    rows = [(prompt, float(rng.integers(30, 90)), s) for s in range(48) for prompt in PROMPTS]
    frame = pd.DataFrame(rows, columns=["prompt", "input length", "s"])
    cost = frame["prompt"].map({"verbose": 48.0, "points": 48.0, "terse": 37.0}).to_numpy() + rng.normal(0, 5, 144)
    features = Features(frame.iloc[:, :2], {"prompt": "choice", "input length": "input"}, frame["s"].to_numpy(),
                        np.arange(144))  # fmt: skip
    found = fit_drivers(features, cost, target="output_tokens")
    plain = frame.assign(y=cost).groupby("prompt").y.transform("mean")
    in_sample = 1 - ((cost - plain) ** 2).sum() / ((cost - cost.mean()) ** 2).sum()
    assert found.r2[0] > in_sample - 0.1
    assert found.saver.level == "terse"


def test_a_call_that_is_asked_for_is_explained(few_refits, monkeypatch):
    monkeypatch.setattr("paretoken.analysis.drivers.MOST_EXPLAINED", 50)
    features, cost = planted(60, 0.5)
    names = [(f"s{s}", f"v{i % 18}", 0) for i, s in enumerate(features.groups)]
    found = fit_drivers(features, cost, names=names, sample="s33")
    assert sum(name[0] == "s33" for name in found.names) == 18
    steps = found.waterfall("s33", "v5")
    assert sum(step.effect for step in steps[:-1]) == pytest.approx(steps[-1].effect, rel=1e-12)


def test_levels_that_may_do_as_well_are_named(few_refits):
    features, cost = planted(60, 0.5)
    alike = cost - MODELS["middle"] * USD * (features.frame["model"] == "middle").to_numpy()
    found = fit_drivers(features, alike)
    assert {found.saver.level, *(rival.level for rival in found.rivals)} == {"small", "middle"}
    assert "may do as well" in found.sentences[1]
    assert fit_drivers(features, cost).rivals == []


def test_values_add_up_to_what_the_surrogate_says(found):
    for i, step in enumerate(found.actual[:20]):
        assert abs(step - found.base - found.values[i].sum()) < 4 * 0.5 * USD
    features, cost = planted(30, 0.0)
    surrogate = Surrogate.fit(features.frame, cost, 1)
    base, values = surrogate.attribute(features.frame, features.frame.iloc[:50])
    assert np.abs(base + values.sum(axis=1) - surrogate.predict(features.frame)).max() < 1e-10


def test_the_explainer_agrees_with_the_definition():
    """Shapley values by their definition, over every coalition of four features."""
    from itertools import combinations
    from math import factorial

    features, cost = planted(12, 1.0)
    surrogate = Surrogate.fit(features.frame, cost, 1, trees=20)
    background, row = features.frame.iloc[::9], features.frame.iloc[[5]]
    names = list(features.frame.columns)

    def worth(group):
        mixed = background.copy()
        for name in group:
            mixed[name] = row[name].iloc[0]
        return surrogate.predict(mixed).mean()

    _, values = surrogate.attribute(row, background)
    for i, name in enumerate(names):
        others = [n for n in names if n != name]
        expected = sum(
            factorial(k) * factorial(3 - k) / factorial(4) * (worth((*group, name)) - worth(group))
            for k in range(4)
            for group in combinations(others, k)
        )
        assert values[0, i] == pytest.approx(expected, abs=1e-10)


def test_shares_add_up_and_are_sure_of_the_large_ones(found):
    assert sum(s.share for s in found.shares) == pytest.approx(1)
    assert found.shares[0].driver == "model"
    assert all(s.low <= s.share <= s.high for s in found.shares)
    assert found.saver.driver == "model"
    assert "model drives" in found.sentences[0]
    assert "model small would save most" in found.sentences[1]


def test_inputs_that_tell_nothing_are_not_called_drivers():
    features, cost = planted(40, 1.0)
    rng = np.random.default_rng(3)
    found = fit_drivers(features, rng.permutation(cost))
    assert found.r2[0] < 0.3
    assert not found.explained
    assert found.shares == found.effects == ()
    assert "nothing of list_usd can be explained" in found.sentences[0]


def test_a_sample_is_never_used_to_predict_itself():
    """Cost differs between samples alone, by chance: no fold may know its own samples."""
    rng = np.random.default_rng(5)
    frame = pd.DataFrame({"input length": np.repeat(np.arange(40.0), 10)})
    cost = np.repeat(rng.normal(size=40), 10)
    features = Features(frame, {"input length": "input"}, np.repeat(np.arange(40), 10), np.arange(400))
    assert fit_drivers(features, cost).r2[0] < 0.3


def test_interactions_are_where_they_were_planted(few_refits):
    features, cost = planted(40, 0.2)
    frame = features.frame
    cost = cost + 6 * USD * ((frame["model"] == "large") & (frame["prompt"] == "terse")).to_numpy()
    found = fit_drivers(features, cost)
    assert {found.crossings[0].first, found.crossings[0].second} == {"prompt", "model"}


def test_the_same_seed_gives_the_same(few_refits):
    features, cost = planted(20, 0.5)
    one, two = fit_drivers(features, cost, seed=4), fit_drivers(features, cost, seed=4)
    assert one.shares == two.shares
    assert one.effects == two.effects


def test_levels_stand_in_the_order_of_their_costs():
    frame = pd.DataFrame({"model": ["b", "a", "c", "a"]})
    encoder = Encoder.fit(frame, np.array([1.0, 5.0, 3.0, 7.0]))
    assert encoder.numbers(frame)[:, 0].tolist() == [0.0, 2.0, 1.0, 2.0]
    assert np.isnan(encoder.numbers(pd.DataFrame({"model": ["d"]}))[0, 0])


def test_by_a_driver_the_shares_are_those_of_its_calls(found):
    parts = found.by("model")
    assert list(parts.columns) == ["large", "middle", "small"]
    assert parts.sum().tolist() == pytest.approx([1, 1, 1])
    with pytest.raises(SpecError, match="Did you mean 'model'"):
        found.by("modell")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f, y: (f, np.full(len(y), 3.0)), "every call has the same list_usd"),
        (lambda f, y: (Features(f.frame.iloc[:, :0], {}, f.groups, f.rows), y), "no choice and no input differs"),
        (lambda f, y: (Features(f.frame, f.kinds, f.groups % 5, f.rows), y), "has 5 samples"),
    ],
)
def test_nothing_to_explain_is_told(change, words):
    with pytest.raises(SpecError, match=words):
        fit_drivers(*change(*planted(12, 0.5)))


@pytest.mark.parametrize(
    ("text", "language"),
    [("A warm lamp", "latin"), ("暖色台灯", "cjk"), ("Лампа", "latin"), ("台灯 lamp", "mixed"), ("42", "latin")],
)
def test_languages(text, language):
    assert language_of(text) == language
