"""A surrogate of gradient-boosted trees for what calls cost, and SHAP values of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from paretoken.analysis.treeshap import shap_interactions, shap_values

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    import pandas as pd
    from numpy.typing import NDArray
    from sklearn.ensemble import HistGradientBoostingRegressor
    from threadpoolctl import ThreadpoolController

FOLDS = 5
MOST_TREES = 30
WORTH_MORE_TREES = 0.02
"""Loss of R² that more trees are worth: few trees see the strong drivers, and only a part of the weak ones."""
MOST_STRETCHED = 1.5
BACKGROUND = 100
"""Rows that stand for what is not chosen: SHAP values say how a call differs from their mean."""


@dataclass(frozen=True)
class Encoder:
    """Features as numbers: a level without an order stands at its rank among the levels' mean targets.

    A tree can part levels at one threshold then, and every feature stays one column, so that SHAP values never mix
    levels which exclude each other.
    """

    ranks: Mapping[str, Mapping[object, float]]

    @classmethod
    def fit(cls, frame: pd.DataFrame, target: NDArray[np.float64]) -> Encoder:
        """Learn the ranks."""
        ranks: dict[str, Mapping[object, float]] = {}
        for column in frame:
            if frame[column].dtype.kind not in "fiu":
                means: dict[object, list[float]] = {}
                for level, value in zip(frame[column].tolist(), target.tolist(), strict=True):
                    means.setdefault(level, []).append(value)
                ordered = sorted(means, key=lambda level: (float(np.mean(means[level])), str(level)))
                ranks[str(column)] = {level: float(rank) for rank, level in enumerate(ordered)}
        return cls(ranks)

    def numbers(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Shape `(n, n_features)`; a level that was never seen is missing."""
        columns = [
            np.array([self.ranks[str(c)].get(level, np.nan) for level in frame[c].tolist()])
            if str(c) in self.ranks
            else frame[c].to_numpy(np.float64)
            for c in frame
        ]
        return np.column_stack(columns)


@dataclass(frozen=True)
class Surrogate:
    """Predicts the target from choices and inputs.

    Attributes:
        encoder: Makes numbers of features.
        trees: Fitted on the standardised target.
        centre: Mean of the target.
        scale: Its standard deviation, stretched where few trees fall short of the differences that they have found.
    """

    encoder: Encoder
    trees: HistGradientBoostingRegressor
    centre: float
    scale: float

    @classmethod
    def fit(
        cls, frame: pd.DataFrame, target: NDArray[np.float64], seed: int, trees: int = MOST_TREES, stretch: float = 1.0
    ) -> Surrogate:
        """Fit on calls.

        Args:
            frame: Features, `n` rows.
            target: Shape `(n,)`, not constant.
            seed: For the order of features.
            trees: How many.
            stretch: Of differences.
        """
        from sklearn.ensemble import HistGradientBoostingRegressor

        encoder = Encoder.fit(frame, target)
        centre, spread = float(target.mean()), float(target.std()) or 1.0
        leaf = int(np.clip(len(target) // 10, 5, 40))
        model = HistGradientBoostingRegressor(
            max_iter=trees, learning_rate=0.3, max_leaf_nodes=15, min_samples_leaf=leaf, early_stopping=False,
            random_state=seed,
        )  # fmt: skip
        with _one_thread():
            model.fit(encoder.numbers(frame), (target - centre) / spread)
        return cls(encoder, model, centre, spread * stretch)

    def predict(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """In the target's unit, shape `(n,)`."""
        with _one_thread():
            return np.asarray(self.trees.predict(self.encoder.numbers(frame))) * self.scale + self.centre

    def predict_by_stage(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """After each tree, in the target's unit, shape `(n_trees, n)`."""
        with _one_thread():
            stages = np.array(list(self.trees.staged_predict(self.encoder.numbers(frame))))
        return stages * self.scale + self.centre

    def attribute(self, frame: pd.DataFrame, background: pd.DataFrame) -> tuple[float, NDArray[np.float64]]:
        """SHAP values under interventions: what each feature adds when the others are as in the background.

        Returns:
            The mean prediction of the background, and the values, shape `(n, n_features)`, in the target's unit. Both
            add up to the predictions.
        """
        values = shap_values(self.trees, self.encoder.numbers(frame), self.encoder.numbers(background))
        return float(self.predict(background).mean()), values * self.scale

    def interact(self, frame: pd.DataFrame) -> NDArray[np.float64]:
        """Mean absolute SHAP interaction of each pair, both halves added, shape `(n_features, n_features)`.

        These follow the trees' own paths: the interventional form has no interactions.
        """
        pairs = np.abs(shap_interactions(self.trees, self.encoder.numbers(frame))).mean(axis=0) * self.scale
        np.fill_diagonal(pairs, 0.0)
        return np.asarray(pairs)


def prepare() -> None:
    """Import what takes longer than its use."""
    _threads()


def _one_thread() -> AbstractContextManager[object]:
    """Trees this small take longer with several threads, much longer on a busy machine."""
    return cast("AbstractContextManager[object]", _threads().limit(limits=1, user_api="openmp"))


@cache
def _threads() -> ThreadpoolController:
    import sklearn.ensemble  # noqa: F401  (brings the library whose threads are meant)
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class Unseen(NamedTuple):
    """How well samples are predicted that were not seen.

    Attributes:
        predicted: Each row as predicted by a surrogate that saw no row of its group, shape `(n,)`.
        trees: Most trees with which it does so well.
        stretch: By how much differences are larger than predicted.
    """

    predicted: NDArray[np.float64]
    trees: int
    stretch: float


def predict_unseen(frame: pd.DataFrame, target: NDArray[np.float64], groups: NDArray[np.int64], seed: int) -> Unseen:
    """Cross-validate by group, and choose how many trees a surrogate should have."""
    from sklearn.model_selection import GroupKFold

    folds = GroupKFold(min(FOLDS, len(np.unique(groups))), shuffle=True, random_state=seed)
    stages = np.empty((MOST_TREES, len(target)))
    for train, test in folds.split(frame, groups=groups):
        surrogate = Surrogate.fit(frame.iloc[train], target[train], seed)
        stages[:, test] = surrogate.predict_by_stage(frame.iloc[test])
    lost = ((stages - target) ** 2).sum(axis=1) / ((target - target.mean()) ** 2).sum()
    last = int(np.flatnonzero(lost <= lost.min() + WORTH_MORE_TREES)[-1])
    centred = stages[last] - stages[last].mean()
    slope = float(centred @ target / (centred @ centred)) if centred.any() else 1.0
    stretch = float(np.clip(slope, 1.0, MOST_STRETCHED))
    return Unseen(stages[last].mean() + stretch * centred, last + 1, stretch)
