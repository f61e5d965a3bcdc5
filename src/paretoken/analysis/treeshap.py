"""SHAP values of gradient-boosted trees, exactly, leaf by leaf.

A leaf's part of a prediction is a product: its value, if the call has on every feature what the leaf's path asks for.
The Shapley values of a product are known in closed form, and few patterns of what is met occur.
"""

from __future__ import annotations

from math import factorial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from sklearn.ensemble import HistGradientBoostingRegressor


class Leaf(NamedTuple):
    """A leaf and the features that its path asks for, `d` of them; arrays of shape `(d,)`.

    Attributes:
        value: What it adds to a prediction.
        features: Columns, each once.
        low, high: What is met by values above `low` up to `high`.
        missing: Whether a missing value meets it.
        share: Share of the fitted rows that go this way at the feature's splits.
    """

    value: float
    features: NDArray[np.int64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    missing: NDArray[np.bool_]
    share: NDArray[np.float64]

    def patterns(self, rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
        """What rows meet: the distinct patterns as 0 and 1, shape `(k, d)`, which one each row has, and how many."""
        values = rows[:, self.features]
        met = np.where(np.isnan(values), self.missing, (values > self.low) & (values <= self.high))
        keys = met @ (1 << np.arange(len(self.features)))
        _, first, which, counts = np.unique(keys, return_index=True, return_inverse=True, return_counts=True)
        return met[first].astype(float), which, counts


def leaves_of(model: HistGradientBoostingRegressor) -> Iterator[Leaf]:
    """All leaves of all trees, those left out that stand alone in their tree: they tell nothing apart."""
    for (tree,) in model._predictors:  # scikit-learn has no other door to a fitted tree
        nodes = tree.nodes
        stack: list[tuple[int, dict[int, tuple[float, float, bool, float]]]] = [(0, {})]
        while stack:
            number, path = stack.pop()
            node = nodes[number]
            if node["is_leaf"]:
                if path:
                    columns = (np.array(column) for column in zip(*path.values(), strict=True))
                    yield Leaf(float(node["value"]), np.array(list(path)), *columns)
                continue
            feature, threshold = int(node["feature_idx"]), float(node["num_threshold"])
            low, high, missing, share = path.get(feature, (-np.inf, np.inf, True, 1.0))
            goes_left = bool(node["missing_go_to_left"])
            for child, ends, takes in (
                (node["left"], (low, min(high, threshold)), goes_left),
                (node["right"], (max(low, threshold), high), not goes_left),
            ):
                part = float(nodes[child]["count"]) / float(node["count"])
                stack.append((int(child), {**path, feature: (*ends, missing and takes, share * part)}))


def shap_values(
    model: HistGradientBoostingRegressor, rows: NDArray[np.float64], background: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each feature adds when the others are as in the background, shape `(n, n_features)`.

    Args:
        model: Trees without categorical splits.
        rows: What is explained, shape `(n, n_features)`.
        background: Rows that stand for what is not chosen.

    Source: Lundberg et al. 2020, From local explanations to global understanding, Algorithm 3 (interventional).
    """
    found = np.zeros(rows.shape)
    most = rows.shape[1] + 1
    weights = np.array([[factorial(max(a - 1, 0)) * factorial(b) / factorial(a + b) for b in range(most)]
                        for a in range(most)])  # fmt: skip
    for leaf in leaves_of(model):
        own, which, _ = leaf.patterns(rows)
        others, _, counts = leaf.patterns(background)
        here, there = own[:, None, :], others[None, :, :]
        gained, lost = here * (1 - there), there * (1 - here)
        n_gained, n_lost = gained.sum(axis=2).astype(int), lost.sum(axis=2).astype(int)
        reached = np.maximum(here, there).all(axis=2) * counts / len(background)
        added = gained * (reached * weights[n_gained, n_lost])[:, :, None]
        added -= lost * (reached * weights[n_lost, n_gained])[:, :, None]
        found[:, leaf.features] += leaf.value * added.sum(axis=1)[which]
    return found


def shap_interactions(model: HistGradientBoostingRegressor, rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """What each pair of features adds together, shape `(n, n_features, n_features)`, both halves in each place.

    What is not chosen follows the fitted rows' shares at the trees' splits. The diagonal has no meaning.

    Source: Lundberg et al. 2020, Algorithm 2 (path-dependent), and its SHAP interaction values.
    """
    n, n_features = rows.shape
    found = np.zeros((n, n_features, n_features))
    nodes, sizes = np.polynomial.legendre.leggauss(n_features // 2 + 1)
    at, sizes = (nodes + 1) / 2, sizes / 2  # the weights of Shapley values are integrals of polynomials over [0, 1]
    for leaf in leaves_of(model):
        if len(leaf.features) < 2:
            continue
        met, which, _ = leaf.patterns(rows)
        factors = leaf.share + (met - leaf.share) * at[:, None, None]  # (n_nodes, k, d), none is zero
        whole = factors.prod(axis=2) * sizes[:, None]
        change = (met - leaf.share) / factors
        pairs = leaf.value * np.einsum("tk,tki,tkj->kij", whole, change, change)
        found[:, leaf.features[:, None], leaf.features] += pairs[which]
    return found
