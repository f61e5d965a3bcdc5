"""SHAP values by leaves against their definition, over every coalition."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import HistGradientBoostingRegressor

from paretoken.analysis.treeshap import leaves_of, shap_interactions, shap_values

N_FEATURES = 5


def fitted(seed):
    """Trees that mix all features, some of whose values are missing."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(400, N_FEATURES))
    rows[:, 0] = rng.integers(0, 3, 400)
    rows[rng.random(rows.shape) < 0.1] = np.nan
    filled = np.nan_to_num(rows, nan=0.7)
    target = filled[:, 0] * filled[:, 1] + np.sin(filled[:, 2]) + filled[:, 3] * filled[:, 4]
    model = HistGradientBoostingRegressor(max_iter=12, learning_rate=0.3, max_leaf_nodes=15, min_samples_leaf=5,
                                          early_stopping=False, random_state=seed)  # fmt: skip
    return model.fit(rows, target), rows


def coalitions(left_out):
    others = [k for k in range(N_FEATURES) if k not in left_out]
    return [group for size in range(len(others) + 1) for group in combinations(others, size)]


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1_000), row=st.integers(0, 399))
def test_values_are_those_of_the_definition_and_add_up(seed, row):
    model, rows = fitted(seed)
    background = rows[:30]

    def worth(group):
        mixed = background.copy()
        mixed[:, list(group)] = rows[row, list(group)]
        return model.predict(mixed).mean()

    found = shap_values(model, rows[[row]], background)[0]
    for feature in range(N_FEATURES):
        expected = sum(
            factorial(len(group)) * factorial(N_FEATURES - 1 - len(group)) / factorial(N_FEATURES)
            * (worth((*group, feature)) - worth(group))
            for group in coalitions({feature})
        )  # fmt: skip
        assert found[feature] == pytest.approx(expected, abs=1e-10)
    assert found.sum() == pytest.approx(worth(range(N_FEATURES)) - worth(()), abs=1e-10)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 1_000), row=st.integers(0, 399))
def test_interactions_are_those_of_the_definition(seed, row):
    model, rows = fitted(seed)
    leaves = list(leaves_of(model))
    met = [dict(zip(leaf.features.tolist(), leaf.patterns(rows[[row]])[0][0], strict=True)) for leaf in leaves]

    def worth(group):
        return sum(
            leaf.value
            * np.prod([m[f] if f in group else share for f, share in zip(m, leaf.share, strict=True)])
            for leaf, m in zip(leaves, met, strict=True)
        )  # fmt: skip

    found = shap_interactions(model, rows[[row]])[0]
    for pair in combinations(range(N_FEATURES), 2):
        expected = sum(
            factorial(len(group)) * factorial(N_FEATURES - 2 - len(group)) / factorial(N_FEATURES - 1)
            * (worth((*group, *pair)) - worth((*group, pair[0])) - worth((*group, pair[1])) + worth(group))
            for group in coalitions(set(pair))
        )  # fmt: skip
        assert found[pair] == pytest.approx(expected, abs=1e-10)
        assert found[pair[::-1]] == pytest.approx(expected, abs=1e-10)


def test_leaves_are_where_the_trees_predict():
    model, rows = fitted(3)
    told = np.zeros(len(rows))
    for leaf in leaves_of(model):
        patterns, which, counts = leaf.patterns(rows)
        told += leaf.value * patterns.all(axis=1)[which]
        assert counts.sum() == len(rows)
    assert told + float(model._baseline_prediction[0, 0]) == pytest.approx(model.predict(rows), abs=1e-10)
