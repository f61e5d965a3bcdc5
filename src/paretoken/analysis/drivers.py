"""Drivers: which choices and inputs make a call expensive, and by how much, in USD per call."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from paretoken.analysis.attribution import BACKGROUND, Surrogate, predict_unseen
from paretoken.analysis.driver_shares import LEAST_R2, TARGETS, Crossing, Drivers, Effect, Share, Spikes, shown
from paretoken.analysis.features import NothingToExplain, build_features
from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from paretoken.analysis.attribution import Unseen
    from paretoken.analysis.features import Features
    from paretoken.analysis.results import Results

FEWEST_GROUPS = 10
MOST_FITTED = 20_000
MOST_EXPLAINED = 600
MOST_CROSSED = 200
RESAMPLES = 2_000
MOST_COUNTS = 1_000_000
"""Most numbers that a part of the resamples takes at once."""
REFITS = 8
REFITTED_ROWS = 3_000
REEXPLAINED = 100
MOST_SPIKES = 0.02
"""Share of samples that may be left out as spikes, where nothing can be explained with them."""
SPIKE = 0.1
"""Share of all squared error from which on one sample is a spike."""


def explain_drivers(results: Results, target: str = "list_usd", sample: str | None = None) -> Drivers:
    """What drives a number of a run's calls.

    Args:
        results: The run.
        target: `list_usd`, `output_tokens`, `latency_s`, a metric, or `quality` for the first metric to maximise.
        sample: One whose calls are explained in any case; of large runs only some calls are.

    Raises:
        SpecError: The run has no such number.
        NothingToExplain: There is nothing to explain, or nothing to explain it by: the message says which.
    """
    if target == "quality" and target not in results.metrics:
        metric = results.objectives.quality(results.metrics)
        if metric is None:
            raise SpecError(f"{results.run.id} has no metric of which more is better.", fix="Explain list_usd.")
        target = metric
    known = (*TARGETS, *results.metrics)
    if target not in known:
        raise SpecError(f"{target!r} is nothing that {results.run.id} has.", fix=suggest(target, known))
    features = build_features(results)
    values = results.table.values.get(target, np.full(len(results.table), np.nan))[features.rows]
    has = ~np.isnan(values)
    if not has.any():
        raise NothingToExplain("values", f"no call of {results.run.id} has a value of {target}.")
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
    given = replace(features, frame=features.frame[has], groups=features.groups[has], rows=rows)
    found = fit_drivers(given, values[has], target=target, title=title, seed=_seed(results), names=names, sample=sample)
    less = target in TARGETS or target in results.objectives.minimize
    return replace(found, notes=(*notes, *found.notes), wanted="less" if less else "more")


def find_drivers(results: Results) -> Drivers | NothingToExplain:
    """What drives the cost of a run's calls, or why that cannot be told."""
    try:
        return explain_drivers(results)
    except NothingToExplain as error:
        return error


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
    sample: str | None = None,
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
        sample: One whose calls are explained in any case.

    Raises:
        NothingToExplain: The target does not vary, nothing else does, or there are too few groups to tell.
    """
    frame, groups = features.frame.reset_index(drop=True), features.groups
    where = title or target
    if np.ptp(values) <= 1e-12 * float(np.abs(values).max()):
        raise NothingToExplain("differences", f"every call has the same {target} ({values[0]:.6g}): there is nothing "
                               f"to explain in {where}.")  # fmt: skip
    if not frame.shape[1]:
        raise NothingToExplain("features", f"no choice and no input differs between the calls of {where}: nothing can "
                               "drive it.", fix="Run two prompts, models or parameters.")  # fmt: skip
    if (n_groups := len(np.unique(groups))) < FEWEST_GROUPS:
        raise NothingToExplain("samples", f"{where} has {n_groups} {features.grouped_by}: whether a driver holds for "
                               f"others cannot be told from fewer than {FEWEST_GROUPS}.",
                               fix=f"Take more {features.grouped_by}.")  # fmt: skip
    rng = np.random.default_rng(seed)
    notes = []
    whole = len(values)
    if whole > MOST_FITTED:
        kept = _draw(groups, MOST_FITTED, names, sample, rng)
        frame, groups, values = frame.iloc[kept].reset_index(drop=True), groups[kept], values[kept]
        names = [names[i] for i in kept] if names else names
        notes.append(f"fitted on {len(kept):,} of {whole:,} calls, drawn at random")
    unseen = predict_unseen(frame, values, groups, seed)
    r2, left_out = _score(values, unseen.predicted, groups, rng), None
    if r2[0] < LEAST_R2 and (spikes := _find_spikes(values, unseen.predicted, groups)).any():
        calm = ~spikes
        part, own, of = frame[calm].reset_index(drop=True), values[calm], groups[calm]
        without = predict_unseen(part, own, of, seed)
        if (again := _score(own, without.predicted, of, rng))[0] >= LEAST_R2:
            left_out = _describe_spikes(spikes, values, names, r2[0])
            whole -= int(spikes.sum())
            names = [name for name, kept in zip(names, calm, strict=True) if kept] if names else names
            frame, values, groups, r2, n_groups = part, own, of, again, len(np.unique(of))
            unseen = without
    unit = TARGETS.get(target, "")
    chosen = _draw(groups, MOST_EXPLAINED, names, sample, rng)
    found = Drivers(
        where, target, unit, r2, whole, n_groups, tuple(notes), float(values.mean()), float(values.mean()),
        frame.iloc[chosen].reset_index(drop=True), dict(features.kinds), np.zeros((len(chosen), frame.shape[1])),
        values[chosen], tuple(names[i] for i in chosen) if names else (), spikes=left_out,
        wanted="less" if target in TARGETS else "more", grouped_by=features.grouped_by,
    )  # fmt: skip
    if r2[0] < LEAST_R2:
        return found
    surrogate = Surrogate.fit(frame, values, seed, unseen.trees, unseen.stretch)
    background = frame.iloc[np.sort(rng.choice(len(values), min(len(values), BACKGROUND), replace=False))]
    base, shap_values = surrogate.attribute(found.frame, background)
    centre = shap_values.mean(axis=0)  # a background of few rows lies beside the mean call
    found = replace(found, base=base + float(centre.sum()), values=shap_values - centre)
    few = _pick_few(found)
    refits = _refit(frame, values, groups, found.frame.iloc[few], unseen, rng)
    crossed = surrogate.interact(found.frame.iloc[:MOST_CROSSED])
    return replace(
        found,
        shares=_shares(found, refits),
        effects=_effects(found, refits, few, frame),
        crossings=_crossings(found, crossed),
    )


def _draw(
    groups: NDArray[np.int64],
    most: int,
    names: Sequence[tuple[str, str, int]],
    sample: str | None,
    rng: np.random.Generator,
) -> NDArray[np.intp]:
    """About so many rows of whole groups, so that levels are seen on the same inputs, and those asked for, in order."""
    number = np.unique(groups, return_inverse=True)[1]
    order = rng.permutation(number.max() + 1)
    n_groups = max(1, int(np.searchsorted(np.cumsum(np.bincount(number)[order]), most, side="right")))
    asked = [i for i, name in enumerate(names) if name[0] == sample]
    return np.union1d(np.flatnonzero(np.isin(number, order[:n_groups])), np.array(asked, np.intp))


def _pick_few(found: Drivers) -> NDArray[np.intp]:
    """Explained rows that are explained by every refit: of each level of a choice some, as far as there are any."""
    place = np.full(len(found.frame), len(found.frame))
    for name in found.frame:
        if found.kinds[str(name)] == "choice":
            place = np.minimum(place, found.frame.groupby(str(name), dropna=False).cumcount().to_numpy())
    return np.sort(np.argsort(place, kind="stable")[:REEXPLAINED])


def _find_spikes(
    values: NDArray[np.float64], predicted: NDArray[np.float64], groups: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Calls of the few groups that each make up a good part of all squared error, shape `(n,)`."""
    number = np.unique(groups, return_inverse=True)[1]
    error = np.bincount(number, (values - predicted) ** 2)
    most = np.argsort(-error, kind="stable")[: int(len(error) * MOST_SPIKES)]
    return np.isin(number, most[error[most] >= SPIKE * error.sum()])


def _describe_spikes(
    spikes: NDArray[np.bool_], values: NDArray[np.float64], names: Sequence[tuple[str, str, int]], r2: float
) -> Spikes:
    dearest = int(np.flatnonzero(spikes)[np.argmax(values[spikes])])
    value = float(values[dearest])
    called = names[dearest][:2] if names else ("", "")
    return Spikes(int(spikes.sum()), value, value / float(values[~spikes].mean()), r2, *called)


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

    chance = np.full(len(sums), 1 / len(sums))
    at_once = max(RESAMPLES // (1 + RESAMPLES * len(sums) // MOST_COUNTS), 1)
    drawn = [
        r2(rng.multinomial(len(sums), chance, min(at_once, RESAMPLES - start)).astype(float) @ sums)
        for start in range(0, RESAMPLES, at_once)
    ]
    low, high = np.quantile(np.concatenate(drawn), (0.025, 0.975))
    return float(r2(sums.sum(axis=0))), float(low), float(high)


def _refit(
    frame: pd.DataFrame,
    values: NDArray[np.float64],
    groups: NDArray[np.int64],
    explained: pd.DataFrame,
    unseen: Unseen,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """SHAP values of surrogates fitted on groups drawn with replacement, shape `(REFITS, n_few, n_features)`."""
    number = np.unique(groups, return_inverse=True)[1]
    order = np.argsort(number, kind="stable")
    starts = np.searchsorted(number[order], np.arange(number.max() + 2))
    found = []
    for _ in range(REFITS):
        drawn = rng.integers(0, number.max() + 1, number.max() + 1)
        rows = np.concatenate([order[starts[g] : starts[g + 1]] for g in drawn])[:REFITTED_ROWS]
        part = frame.iloc[rows]
        surrogate = Surrogate.fit(part, values[rows], int(rng.integers(2**31)), unseen.trees, unseen.stretch)
        values_again = surrogate.attribute(explained, part.iloc[: BACKGROUND // 2])[1]
        found.append(values_again - values_again.mean(axis=0))
    return np.stack(found)


def _shares(found: Drivers, refits: NDArray[np.float64]) -> tuple[Share, ...]:
    sizes = np.abs(found.values).mean(axis=0)
    shares = sizes / sizes.sum()
    again = np.abs(refits).mean(axis=1)
    error = _half_width(again / again.sum(axis=1, keepdims=True))
    rows = [
        Share(str(name), found.kinds[str(name)], float(size), float(share), max(0.0, share - e), min(1.0, share + e))
        for name, size, share, e in zip(found.frame.columns, sizes, shares.tolist(), error.tolist(), strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.share))


def _effects(
    found: Drivers, refits: NDArray[np.float64], few: NDArray[np.intp], frame: pd.DataFrame
) -> tuple[Effect, ...]:
    rows = []
    for column, name in enumerate(found.frame.columns):
        if found.kinds[str(name)] != "choice":
            continue
        calls = {shown(level): int(n) for level, n in frame[name].value_counts(dropna=False).items()}
        levels = found.frame[name].map(shown, na_action=None)
        for level in dict.fromkeys(levels):
            here = (levels == level).to_numpy()
            mean = float(found.values[here, column].mean())
            again = refits[:, here[few], column]
            error = float(_half_width(again.mean(axis=1))) if again.shape[1] else None
            ends = (None, None) if error is None else (mean - error, mean + error)
            rows.append(Effect(str(name), level, calls[level], mean, *ends))
    return tuple(sorted(rows, key=lambda row: row.effect))


def _half_width(refitted: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of 95 % intervals by Student's t over the refits, which are the first axis."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(len(refitted) - 1, 0.975) * refitted.std(axis=0, ddof=1))


def _crossings(found: Drivers, pairs: NDArray[np.float64]) -> tuple[Crossing, ...]:
    names = [str(name) for name in found.frame.columns]
    rows = [
        Crossing(names[i], names[j], float(pairs[i, j])) for i in range(len(names)) for j in range(i + 1, len(names))
    ]
    return tuple(sorted((row for row in rows if row.effect > 0), key=lambda row: -row.effect))
