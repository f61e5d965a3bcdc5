"""Drivers: which choices and inputs make a call dear, and by how much, in USD per call."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from paretoken.analysis.attribution import BACKGROUND, Surrogate, predict_unseen
from paretoken.analysis.features import Features, Kind, build_features
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from paretoken.analysis.results import Results

TARGETS = {"list_usd": "USD", "output_tokens": "tokens", "latency_s": "s"}
"""What can be explained, beside the metrics, and its unit per call."""
LEAST_R2 = 0.3
FEWEST_GROUPS = 10
MOST_FITTED = 20_000
MOST_EXPLAINED = 500
MOST_CROSSED = 200
REFITS = 30
REFITTED_TREES = 40
REFITTED_ROWS = 3_000
REEXPLAINED = 100
_NORMAL_95 = 1.96


class Share(NamedTuple):
    """One driver.

    Attributes:
        driver: A feature.
        kind: Whether it is a choice or came with the input.
        effect: Mean absolute SHAP value [target's unit per call].
        share: Of the sum over all drivers, with a 95 % interval.
    """

    driver: str
    kind: Kind
    effect: float
    share: float
    low: float
    high: float


class Effect(NamedTuple):
    """What one level of a choice adds to the cost of a call.

    Attributes:
        driver, level: The choice.
        n: Calls.
        effect: Mean SHAP value against the mean of all calls [target's unit per call], with a 95 % interval.
    """

    driver: str
    level: str
    n: int
    effect: float
    low: float
    high: float


class Crossing(NamedTuple):
    """How much two drivers do together that neither does alone, mean absolute [target's unit per call]."""

    first: str
    second: str
    effect: float


class Step(NamedTuple):
    """One step of a waterfall: a name, the value it has in this call, and what that adds [target's unit]."""

    name: str
    value: str
    effect: float


@dataclass(frozen=True)
class Drivers:
    """What drives a number of the calls of a run.

    Attributes:
        title: What is explained, of which run.
        target, unit: The number, and its unit.
        r2: Out-of-fold R² of the surrogate, with a 95 % interval: how much of the differences can be explained at all.
        n, n_groups: Calls, and samples or clusters.
        notes: What else is to be known, one sentence each.
        mean: Mean of the target over all calls.
        base: Mean prediction that SHAP values start from.
        frame: Features of the explained calls, shape `(n_explained, n_features)`.
        kinds: By feature.
        values: SHAP values, shape `(n_explained, n_features)` [target's unit per call].
        actual: The target of the explained calls, shape `(n_explained,)`.
        names: Sample, label and repeat of the explained calls.
        shares: Drivers, largest first; none where the surrogate explains less than `LEAST_R2`.
        effects: Levels of choices.
        crossings: Pairs of drivers, largest first.
    """

    title: str
    target: str
    unit: str
    r2: tuple[float, float, float]
    n: int
    n_groups: int
    notes: tuple[str, ...]
    mean: float
    base: float
    frame: pd.DataFrame
    kinds: dict[str, Kind]
    values: NDArray[np.float64]
    actual: NDArray[np.float64]
    names: tuple[tuple[str, str, int], ...] = ()
    shares: tuple[Share, ...] = ()
    effects: tuple[Effect, ...] = ()
    crossings: tuple[Crossing, ...] = ()

    @property
    def explained(self) -> bool:
        """Whether the surrogate says enough to be explained."""
        return bool(self.shares)

    @cached_property
    def sentences(self) -> list[str]:
        """What is to be said, the answer first."""
        found, low, high = self.r2
        fit = f"out-of-fold R² {found:.2f} [{low:.2f}, {high:.2f}] on {self.n:,} calls of {self.n_groups:,} samples"
        if not self.explained:
            return [f"nothing of {self.target} can be explained by choices and inputs: {fit}, and it takes "
                    f"{LEAST_R2}", *self.notes]  # fmt: skip
        first = self.shares[0]
        told = [f"{first.driver} drives {first.share:.0%} [{first.low:.0%}, {first.high:.0%}] of the differences in "
                f"{self.target}: {fit}"]  # fmt: skip
        if (best := self.saver) is not None:
            told.append(f"{best.driver} {best.level} would {self._change_word} most: {self.amount(best.effect)} a call "
                        f"against the mean of those tried ({best.effect / self.mean:+.0%})")  # fmt: skip
        return [*told, *self.notes]

    @property
    def saver(self) -> Effect | None:
        """The level that is furthest on the better side: below the mean, or above it for a metric."""
        sign = 1 if self.target in TARGETS else -1
        best = min(self.effects, key=lambda effect: sign * effect.effect, default=None)
        return best if best is not None and sign * best.effect < 0 else None

    @property
    def _change_word(self) -> str:
        return "save" if self.target in TARGETS else "gain"

    def amount(self, value: float) -> str:
        """A number of the target with its sign and unit."""
        return f"{value:+.3g} {self.unit}".strip()

    def by(self, driver: str) -> pd.DataFrame:
        """Shares of mean absolute SHAP within each level of a driver, one column a level.

        Raises:
            SpecError: There is no such driver.
        """
        import pandas as pd

        if driver not in self.frame:
            raise SpecError(f"{driver!r} drives nothing here.", fix=suggest(driver, [str(c) for c in self.frame]))
        levels = self.frame[driver].map(shown)
        columns = {}
        for level in sorted(set(levels)):
            sizes = np.abs(self.values[(levels == level).to_numpy()]).mean(axis=0)
            columns[level] = sizes / sizes.sum() if sizes.sum() else sizes
        return pd.DataFrame(columns, index=pd.Index([str(c) for c in self.frame], name="driver"))

    def waterfall(self, sample: str, label: str | None = None) -> list[Step]:
        """From the mean call to one call: its drivers, largest first, and what the surrogate does not know of it.

        Raises:
            SpecError: This call was not explained.
        """
        found = [i for i, (s, v, _) in enumerate(self.names) if s == sample and label in (None, v)]
        if not found:
            known = list(dict.fromkeys(s for s, v, _ in self.names if label in (None, v)))
            raise SpecError(f"no explained call of {self.title} has sample {sample!r}"
                            + (f" and variant {label!r}." if label else "."), fix=suggest(sample, known))  # fmt: skip
        i = found[0]
        order = np.argsort(-np.abs(self.values[i]), kind="stable")
        steps = [Step("mean call", "", self.base)]
        for column in order:
            name = str(self.frame.columns[column])
            steps.append(Step(name, shown(self.frame.iloc[i, column]), float(self.values[i, column])))
        rest = float(self.actual[i]) - self.base - float(self.values[i].sum())
        return [*steps, Step("not explained", "", rest), Step("this call", self.names[i][1], float(self.actual[i]))]

    def table(self) -> pd.DataFrame:
        """Drivers with their shares, one row each."""
        import pandas as pd

        return pd.DataFrame(self.shares, columns=list(Share._fields)).set_index("driver")

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{sentence}</p>" for sentence in self.sentences)
        return said + (self.table().to_html(float_format=lambda x: f"{x:.3g}") if self.explained else "")


def explain_drivers(results: Results, target: str = "list_usd") -> Drivers:
    """What drives a number of a run's calls.

    Args:
        results: The run.
        target: `list_usd`, `output_tokens`, `latency_s`, a metric, or `quality` for the first metric to maximise.

    Raises:
        SpecError: The run has no such number, or nothing to explain it by: the message says which.
    """
    if target == "quality" and target not in results.metrics:
        wanted = [*results.objectives.maximize, *results.metrics]
        if not wanted:
            raise SpecError(f"{results.run.id} has no metric: its spec names no scorers.", fix="Explain list_usd.")
        target = wanted[0]
    known = (*TARGETS, *results.metrics)
    if target not in known:
        raise SpecError(f"{target!r} is nothing that {results.run.id} has.", fix=suggest(target, known))
    features = build_features(results)
    values = results.table.values.get(target, np.full(len(results.table), np.nan))[features.rows]
    has = ~np.isnan(values)
    if not has.any():
        raise SpecError(f"no call of {results.run.id} has a value of {target}.")
    notes = []
    if results.run.status != "finished":
        notes.append(f"{results.run.id} is {results.run.status}: this is what is recorded so far")
    if missing := int((~has).sum() + results.table.failed.sum()):
        notes.append(f"{missing} calls without {target} are left out")
    if len({*results.table.variant[features.rows].tolist()}) == 1:
        notes.append("there is one variant: only inputs can differ")
    rows = features.rows[has]
    table = results.table
    names = [
        (table.sample_ids[table.sample[i]], results.labels[table.variant_ids[table.variant[i]]], int(table.repeat[i]))
        for i in rows
    ]
    title = f"{target} of {results.run.id}"
    given = Features(features.frame[has], features.kinds, features.groups[has], rows)
    found = fit_drivers(given, values[has], target=target, title=title, seed=_seed(results), names=names)
    return replace(found, notes=(*notes, *found.notes))


def _seed(results: Results) -> int:
    return int(str(results.run.lock["seed"])) % 2**32


def fit_drivers(
    features: Features,
    values: NDArray[np.float64],
    *,
    target: str = "list_usd",
    title: str = "",
    seed: int = 0,
    names: Sequence[tuple[str, str, int]] = (),
) -> Drivers:
    """Fit a surrogate and attribute the target to features.

    Intervals come from surrogates that are fitted again on groups drawn with replacement.

    Args:
        features: Choices and inputs, `n` rows.
        values: The target, shape `(n,)`.
        target: Its name.
        title: What is explained, of which run.
        seed: For folds, draws and the order of features.
        names: Sample, label and repeat of each row.

    Raises:
        SpecError: The target does not vary, nothing else does, or there are too few groups to tell.
    """
    frame, groups = features.frame.reset_index(drop=True), features.groups
    where = title or target
    if np.ptp(values) <= 1e-12 * float(np.abs(values).max()):
        raise SpecError(f"every call has the same {target} ({values[0]:.6g}): there is nothing to explain in {where}.")
    if not frame.shape[1]:
        raise SpecError(f"no choice and no input differs between the calls of {where}: nothing can drive it.",
                        fix="Run two prompts, models or parameters.")  # fmt: skip
    if (n_groups := len(np.unique(groups))) < FEWEST_GROUPS:
        raise SpecError(f"{where} has {n_groups} samples: whether a driver holds for others cannot be told from fewer "
                        f"than {FEWEST_GROUPS}.", fix="Take more samples.")  # fmt: skip
    rng = np.random.default_rng(seed)
    notes = []
    whole = len(values)
    if whole > MOST_FITTED:
        kept = np.sort(rng.choice(whole, MOST_FITTED, replace=False))
        frame, groups, values = frame.iloc[kept].reset_index(drop=True), groups[kept], values[kept]
        names = [names[i] for i in kept] if names else names
        notes.append(f"fitted on {MOST_FITTED:,} of {whole:,} calls, drawn at random")
    r2 = _score(values, predict_unseen(frame, values, groups, seed), groups, rng)
    unit = TARGETS.get(target, "")
    chosen = np.sort(rng.choice(len(values), min(len(values), MOST_EXPLAINED), replace=False))
    found = Drivers(
        where, target, unit, r2, whole, n_groups, tuple(notes), float(values.mean()), float(values.mean()),
        frame.iloc[chosen].reset_index(drop=True), dict(features.kinds), np.zeros((len(chosen), frame.shape[1])),
        values[chosen], tuple(names[i] for i in chosen) if names else (),
    )  # fmt: skip
    if r2[0] < LEAST_R2:
        return found
    surrogate = Surrogate.fit(frame, values, seed)
    background = frame.iloc[np.sort(rng.choice(len(values), min(len(values), BACKGROUND), replace=False))]
    base, shap_values = surrogate.attribute(found.frame, background)
    found = replace(found, base=base, values=shap_values)
    refits = _refit(frame, values, groups, found.frame, rng)
    crossed = surrogate.interact(found.frame.iloc[:MOST_CROSSED])
    return replace(
        found,
        shares=_shares(found, refits),
        effects=_effects(found, refits),
        crossings=_crossings(found, crossed),
    )


def _score(
    values: NDArray[np.float64], predicted: NDArray[np.float64], groups: NDArray[np.int64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """R² with a 95 % interval from groups drawn with replacement."""
    number = np.unique(groups, return_inverse=True)[1]
    of_group = [np.bincount(number, x) for x in ((values - predicted) ** 2, np.ones_like(values), values, values**2)]
    sums = np.stack(of_group, axis=1)  # (n_groups, 4)

    def r2(errors: NDArray[np.float64]) -> NDArray[np.float64]:
        error, n, total, squares = np.moveaxis(errors, -1, 0)
        spread = squares - total**2 / n
        return np.asarray(1 - error / np.where(spread > 0, spread, np.inf))

    counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), 2_000).astype(float)
    low, high = np.quantile(r2(counts @ sums), (0.025, 0.975))
    return float(r2(sums.sum(axis=0))), float(low), float(high)


def _refit(
    frame: pd.DataFrame,
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    explained: pd.DataFrame,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """SHAP values of surrogates fitted on groups drawn with replacement, shape `(REFITS, n_few, n_features)`."""
    number = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(number.max() + 2))
    few = explained.iloc[:REEXPLAINED]
    found = []
    for _ in range(REFITS):
        drawn = rng.integers(0, number.max() + 1, number.max() + 1)
        rows = np.concatenate([order[starts[g] : starts[g + 1]] for g in drawn])[:REFITTED_ROWS]
        part = frame.iloc[rows]
        surrogate = Surrogate.fit(part, values[rows], int(rng.integers(2**31)), REFITTED_TREES)
        found.append(surrogate.attribute(few, part.iloc[: BACKGROUND // 2])[1])
    return np.stack(found)


def _shares(found: Drivers, refits: NDArray[np.float64]) -> tuple[Share, ...]:
    sizes = np.abs(found.values).mean(axis=0)
    shares = sizes / sizes.sum()
    again = np.abs(refits).mean(axis=1)
    error = _NORMAL_95 * (again / again.sum(axis=1, keepdims=True)).std(axis=0, ddof=1)
    rows = [
        Share(str(name), found.kinds[str(name)], float(size), float(share), max(0.0, share - e), min(1.0, share + e))
        for name, size, share, e in zip(found.frame.columns, sizes, shares.tolist(), error.tolist(), strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.share))


def _effects(found: Drivers, refits: NDArray[np.float64]) -> tuple[Effect, ...]:
    rows = []
    few = refits.shape[1]
    for column, name in enumerate(found.frame.columns):
        if found.kinds[str(name)] != "choice":
            continue
        levels = found.frame[name].map(shown)
        for level in dict.fromkeys(levels):
            here = (levels == level).to_numpy()
            mean = float(found.values[here, column].mean())
            again = refits[:, here[:few], column]
            error = _NORMAL_95 * float(again.mean(axis=1).std(ddof=1)) if again.shape[1] else float("nan")
            rows.append(Effect(str(name), level, int(here.sum()), mean, mean - error, mean + error))
    return tuple(sorted(rows, key=lambda row: row.effect))


def _crossings(found: Drivers, pairs: NDArray[np.float64]) -> tuple[Crossing, ...]:
    names = [str(name) for name in found.frame.columns]
    rows = [
        Crossing(names[i], names[j], float(pairs[i, j])) for i in range(len(names)) for j in range(i + 1, len(names))
    ]
    return tuple(sorted((row for row in rows if row.effect > 0), key=lambda row: -row.effect))


def shown(value: object) -> str:
    """A feature's value in words."""
    return f"{value:g}" if isinstance(value, (float, np.floating)) else str(value)
