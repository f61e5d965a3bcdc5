"""Whether the A/B statistics keep their promises when a run is looked at after every sample.

    python bench/ab_validity.py [--quick] [--data DIR]

Simulated experiments of known truth: Gaussian, skewed, binary, heavy-tailed cost, clustered, and pairs resampled from
recorded answers. For each kind: how often a difference is found where there is none (betting, and the t test re-tested
at every sample), how often the true difference is inside the interval at every look, and after how many samples a
betting test stops, in units of the size that a t test of fixed size needs for the same effect with 80 % power. Prints
tables on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations, product
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import stats

from paretoken.analysis.abtest import AbTest
from paretoken.analysis.difference import FEW_DIFFER
from paretoken.analysis.paired import PairedT, bca_interval, expected_coverage
from paretoken.analysis.panel import Panel, drawn
from paretoken.analysis.power import fixed_size
from paretoken.analysis.sequences import Betting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from paretoken.analysis.abtest import Mode

ALPHA = 0.05
PEEKS = 1000
SIZES = (20, 50, 200)
HONEST = 0.93
PATIENCE = 5
"""Samples after which a simulated run is given up, in units of the fixed size."""
MODES: tuple[Mode, ...] = ("fixed", "continuous")
FIXED_SIZES = (20, 2500)
"""Recorded pairs are used whose effect a fixed test finds with so many samples."""


@dataclass(frozen=True)
class Kind:
    """A kind of experiment.

    Attributes:
        draw: `(rng, n, effect)` to sums of differences and sizes of n units; the mean difference is `effect`.
        spread: Standard deviation of the differences, per unit.
        bound: Largest absolute difference of one sample.
        largest: Samples of the largest unit.
        total: Size of the population, where it is drawn from without replacement; the effect is then `natural`.
        natural: The effect of recorded pairs as they are.
    """

    name: str
    draw: Callable[[np.random.Generator, int, float], tuple[NDArray[np.float64], NDArray[np.float64]]]
    spread: float
    bound: float = 1.0
    largest: int = 1
    total: int | None = None
    natural: float | None = None

    def betting(self, s: NDArray[np.float64], w: NDArray[np.float64], horizon: int) -> Betting:
        """The product's own sequence."""
        return Betting(s, w, -self.bound, self.bound, w_max=self.largest, horizon=horizon, total=self.total)

    @property
    def size(self) -> int:
        """The fixed size for the recorded effect, or for a third of a standard deviation."""
        return fixed_size(self.design, self.spread, ALPHA / 2)

    @property
    def design(self) -> float:
        """The effect that tests are planned for."""
        return self.natural if self.natural is not None else self.spread / 5


def _gaussian(rng: np.random.Generator, n: int, effect: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return rng.normal(effect, 0.15, n).clip(-1, 1), np.ones(n)


def _skewed(rng: np.random.Generator, n: int, effect: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return rng.beta(0.3, 6, n) - 0.3 / 6.3 + effect, np.ones(n)


def _binary(rng: np.random.Generator, n: int, effect: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return rng.choice([-1.0, 0.0, 1.0], n, p=[0.15 - effect / 2, 0.7, 0.15 + effect / 2]), np.ones(n)


def _cost(rng: np.random.Generator, n: int, effect: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Costs of two arms, log-normal, cut at a tenfold mean; the unit is the bound."""
    shared = rng.normal(0, 0.7, n)
    a, b = (np.minimum(np.exp(shared + rng.normal(0, 0.7, n)), 16.0) / 20 for _ in range(2))
    return b - a + effect, np.ones(n)


def _clustered(rng: np.random.Generator, n: int, effect: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    sizes = rng.integers(1, 9, n)
    common = rng.normal(0, 0.1, n)
    sums = [float(np.clip(rng.normal(effect + c, 0.12, k), -1, 1).sum()) for c, k in zip(common, sizes, strict=True)]
    return np.array(sums), sizes.astype(float)


def synthetic() -> list[Kind]:
    """Kinds of known distribution."""
    rng = np.random.default_rng(1)
    made = [("gaussian", _gaussian, 1), ("skewed", _skewed, 1), ("binary", _binary, 1), ("cost", _cost, 1),
            ("clustered", _clustered, 8)]  # fmt: skip
    kinds = []
    for name, draw, largest in made:
        s, w = draw(rng, 200_000, 0.0)
        spread = float(np.std(s - s.sum() / w.sum() * w) / w.mean())
        kinds.append(Kind(name, draw, spread, largest=largest))
    return kinds


def _resample(
    rng: np.random.Generator, n: int, effect: float, *, pairs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Recorded differences, of which as many are turned round as the effect asks for."""
    kept = (1 + effect / pairs.mean()) / 2
    d = rng.choice(pairs, n)
    return np.where(rng.random(n) < kept, d, -d), np.ones(n)


def _exhaust(
    rng: np.random.Generator, n: int, effect: float, *, pairs: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """All recorded differences in random order; without an effect, half of each is turned round and back."""
    d = rng.permutation(pairs if effect else np.concatenate([pairs, -pairs]))
    return d, np.ones(len(d))


def recorded(data: Path) -> Iterator[tuple[str, list[Kind]]]:
    """Pairs of recorded variants, by file."""
    path = data / "alpaca_eval_prompt_variants.parquet"
    if path.is_file():
        frame = pd.read_parquet(path)
        wide = frame.pivot_table(index="prompt_id", columns=["model", "prompt_variant"], values="judge_preference")
        found = [(f"{a} {b}", (wide[b] - wide[a]).dropna().to_numpy()) for a, b in combinations(wide.columns, 2)]
        yield "alpaca", list(_kinds("alpaca", found))
    path = data / "bbh_direct_vs_cot.parquet"
    if path.is_file():
        frame = pd.read_parquet(path).assign(correct=lambda f: f["correct"].astype(float))
        wide = frame.pivot_table(index=["task", "prompt_id"], columns="prompt_variant", values="correct").dropna()
        tasks = wide.groupby(level="task")
        yield "bbh", list(_kinds("bbh", [(str(t), (g["cot"] - g["direct"]).to_numpy()) for t, g in tasks]))


def _kinds(source: str, found: list[tuple[str, NDArray[np.float64]]]) -> Iterator[Kind]:
    for name, d in found:
        pairs = d if d.mean() > 0 else -d
        if len(pairs) < 80 or pairs.mean() == 0:
            continue
        kind = Kind(
            f"{source}/{name}", partial(_resample, pairs=pairs), float(pairs.std()), natural=float(pairs.mean())
        )
        if FIXED_SIZES[0] <= kind.size <= FIXED_SIZES[1]:
            yield kind


def first_look(wealth: NDArray[np.float64], threshold: float) -> float:
    """Number of the first sample at which a wealth reaches a threshold; infinite if none."""
    hits = wealth >= threshold
    return float(hits.argmax() + 1) if hits.any() else np.inf


def stop(betting: Betting, m: float) -> float:
    """Samples after which a two-sided betting test excludes m."""
    threshold = -np.log(ALPHA / 2)
    return min(first_look(betting.log_wealth(m, sign), threshold) for sign in (1, -1))


def naive_stop(s: NDArray[np.float64], w: NDArray[np.float64], m: float) -> bool:
    """Whether a t test that is repeated at every sample from the tenth on ever excludes m."""
    d = s - m * w
    n = np.arange(1, len(d) + 1)
    mean = np.cumsum(d) / n
    variance = np.maximum(np.cumsum(d * d) / n - mean**2, 1e-30) * n / np.maximum(n - 1, 1)
    t = np.abs(mean) / np.sqrt(variance / n)
    return bool(np.any(t[9:] > stats.t.ppf(1 - ALPHA / 2, n[9:] - 1)))


def validity(kind: Kind, runs: int, seed: int) -> dict[str, float]:
    """Type-I error under peeking at no effect, and miscoverage at any look at the design effect."""
    rng = np.random.default_rng([seed, 1])
    wrong = naive = missed = 0
    for _ in range(runs):
        s, w = kind.draw(rng, PEEKS, 0.0)
        betting = replace(kind, total=kind.total and len(s)).betting(s, w, PEEKS // 2)
        wrong += stop(betting, 0.0) < np.inf
        naive += naive_stop(s, w, 0.0)
        s, w = kind.draw(rng, PEEKS, kind.design)
        truth = float(s.sum() / w.sum()) if kind.total else kind.design
        missed += stop(kind.betting(s, w, PEEKS // 2), truth) < np.inf
    return {"type1": wrong / runs, "naive": naive / runs, "coverage": 1 - missed / runs}


def fixed_coverage(kind: Kind, runs: int, seed: int) -> list[tuple[int, float, float, float]]:
    """By size: coverage of t and of BCa, and how often the t interval comes with a warning."""
    rng = np.random.default_rng([seed, 2])
    rows = []
    for n in SIZES:
        t_hits = bca_hits = warned = 0
        for k in range(runs):
            s, w = kind.draw(rng, n, kind.design)
            found = PairedT(s, w)
            low, high = found.interval(ALPHA / 2)
            t_hits += low <= kind.design <= high
            few = np.count_nonzero(np.abs(s)) < FEW_DIFFER
            warned += bool(few or expected_coverage(found.residuals, ALPHA / 2) < HONEST)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # all differences equal: no interval
                low, high = bca_interval(s, w, ALPHA / 2, seed=k, n_resamples=999)
            bca_hits += low <= kind.design <= high
        rows.append((n, t_hits / runs, bca_hits / runs, warned / runs))
    return rows


def stops(kind: Kind, runs: int, seed: int, effect: float) -> NDArray[np.float64]:
    """Samples until a decision, in units of the fixed size, at a multiple of the design effect."""
    rng = np.random.default_rng([seed, 3])
    size = kind.size
    found = []
    for _ in range(runs):
        s, w = kind.draw(rng, PATIENCE * size, effect * kind.design)
        found.append(stop(kind.betting(s, w, size), 0.0) / size)
    return np.array(found)


def half(kind: Kind) -> Kind:
    """The same pairs, planned for half their effect, so that the recorded one is twice what was planned for."""
    if kind.natural is None:
        return kind
    effect = kind.natural / 2
    return replace(kind, natural=effect, spread=(kind.spread**2 + kind.natural**2 - effect**2) ** 0.5)


def fixed_power(kind: Kind, effect: float) -> float:
    """Power of the t test at its fixed size."""
    shift = effect * kind.design / kind.spread * kind.size**0.5
    t = stats.t.ppf(1 - ALPHA / 2, kind.size - 1)
    return float(1 - stats.nct.cdf(t, kind.size - 1, shift) + stats.nct.cdf(-t, kind.size - 1, shift))


def say(figure: str, values: NDArray[np.float64] | list[float], value: float, unit: str, target: str = "none") -> None:
    """Print a figure with its 95 % range over simulations or pairs."""
    low, high = (float(np.quantile(values, q, method="nearest")) for q in (0.025, 0.975))
    print(f"{figure:<36}{value:>8.4f}{low:>8.3f}{high:>8.3f}{len(values):>7}  {target}", file=sys.stderr)
    print(json.dumps({"bench": "ab_validity", "figure": figure, "value": round(value, 4), "low": round(low, 4),
                      "high": round(high, 4), "unit": unit, "n": len(values), "target": target}))  # fmt: skip


def decided(data: Path, seeds: int) -> tuple[int, int, Counter[str]]:
    """Verdicts on the recorded prompt variants under many orders of the samples.

    Returns:
        Verdicts that were reversed by another seed (better against worse, cheaper against dearer), verdicts in all, and
        how often each verdict of each arm came out.
    """
    frame = pd.read_parquet(data / "alpaca_eval_prompt_variants.parquet")
    told: Counter[str] = Counter()
    findings: dict[tuple[str, ...], set[str]] = {}
    for model, rows in frame.groupby("model"):
        scores = rows.pivot_table(index="prompt_id", columns="prompt_variant", values="judge_preference").dropna()
        chars = rows.pivot_table(index="prompt_id", columns="prompt_variant", values="output_chars")
        usd = (chars / 4 * 2e-6).loc[scores.index]
        if "default" not in scores or len(scores.columns) < 2 or len(scores) < 100:
            continue
        arms = list(scores.columns)
        for mode, seed in product(MODES, range(seeds)):
            order, cluster = drawn([str(id_) for id_ in scores.index], seed, None)
            if mode == "fixed":  # every seed reads another half of the samples
                order, cluster = order[: len(order) // 2], cluster[: len(order) // 2]
            values = {name: table.loc[order, arms].to_numpy().T for name, table in
                      (("judge_preference", scores), ("list_usd", usd))}  # fmt: skip
            panel = Panel(order, arms, cluster, np.ones((len(arms), len(order)), np.bool_), values)
            test = AbTest("default", tuple(a for a in arms if a != "default"), {a: a for a in arms},
                          ("judge_preference",), {"judge_preference": 0.05}, mode=mode,
                          ranges={a: {"judge_preference": (0.0, 1.0)} for a in arms})  # fmt: skip
            n = next((n for n in range(8, len(order), 8) if len(test.look(panel.seen(n))) == len(test.treatments)),
                     len(order)) if test.continuous else len(order)  # fmt: skip
            for comparison in test.compare(panel.seen(n)):
                told[f"{model} {comparison.treatment} ({mode}): {comparison.verdict}"] += 1
                for j in comparison.judged:
                    key = (str(model), comparison.treatment, j.difference.name)
                    findings.setdefault(key, set()).add(j.finding)
    reversed_ = sum({"better", "worse"} <= found or {"not worse", "worse"} <= found for found in findings.values())
    return reversed_, sum(told.values()), told


def difficulty(data: Path, runs: int) -> list[float]:
    """Samples a test of all of a dataset takes when it knows what the other variants scored, against one that does not.

    Returns:
        A ratio per pair of recorded variants.
    """
    frame = pd.read_parquet(data / "alpaca_eval_prompt_variants.parquet")
    wide = frame.pivot_table(index="prompt_id", columns=["model", "prompt_variant"], values="judge_preference").dropna()
    rng = np.random.default_rng(5)
    ratios = []
    for a, b in combinations(wide.columns, 2):
        d, others = (wide[b] - wide[a]).to_numpy(), wide.drop(columns=[a, b]).mean(axis=1).to_numpy()
        needed = {True: 0.0, False: 0.0}
        for _ in range(runs):
            order = rng.permutation(len(d))
            for known in needed:
                betting = Betting(d[order], np.ones(len(d)), -1, 1, horizon=len(d) // 2, total=len(d),
                                  difficulty=others[order] if known else None)  # fmt: skip
                needed[known] += min(stop(betting, 0.0), len(d))
        ratios.append(needed[True] / needed[False])
    return ratios


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 experiments a row instead of 2,000")
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    options = parser.parse_args()
    runs = 100 if options.quick else 2000
    sources: dict[str, list[Kind]] = {kind.name: [kind] for kind in synthetic()}
    for name, kinds in recorded(options.data):
        sources[name] = kinds[:5] if options.quick else kinds
    for name in {"alpaca", "bbh"} - set(sources):
        print(f"left out: there is no recording of {name} in {options.data}", file=sys.stderr)
    if "alpaca" in sources:
        widest = max(sources["alpaca"], key=lambda kind: kind.size)
        pairs = widest.draw.keywords["pairs"]  # type: ignore[attr-defined]
        sources["dataset"] = [replace(widest, draw=partial(_exhaust, pairs=pairs), total=len(pairs))]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        checked = {name: [pool.submit(validity, kind, runs, i) for i, kind in enumerate(kinds)]
                   for name, kinds in sources.items()}  # fmt: skip
        bench_kinds = {name: kinds for name, kinds in sources.items() if name != "dataset"}
        each = {name: max(runs // len(kinds), min(runs, 200)) for name, kinds in bench_kinds.items()}
        stopped = {
            (name, effect): [pool.submit(stops, half(kind) if effect == 2 else kind, each[name], i, float(effect))
                             for i, kind in enumerate(kinds)]
            for name, kinds in bench_kinds.items() for effect in (0.5, 1, 2)
        }  # fmt: skip
        covered = {name: pool.submit(fixed_coverage, kinds[0], runs, 9) for name, kinds in bench_kinds.items()}
        header = f"{'figure':<36}{'value':>8}{'low':>8}{'high':>8}{'n':>7}  target"
        print(f"looked at after each of {PEEKS} samples, {runs} experiments a pair\n{header}", file=sys.stderr)
        noise = 3 * (ALPHA * (1 - ALPHA) / runs) ** 0.5
        _say_validity({name: [job.result() for job in jobs] for name, jobs in checked.items()}, noise)
        print(f"\nsamples until a decision, in units of the fixed size\n{header}", file=sys.stderr)
        _say_stops({key: [job.result() for job in jobs] for key, jobs in stopped.items()}, bench_kinds)
        print(f"\nfixed size: coverage of 95 % intervals\n{header}", file=sys.stderr)
        for name, job in covered.items():
            for n, t, bca, warned in job.result():
                for figure, value in (("coverage_t", t), ("coverage_bca", bca), ("warned", warned)):
                    say(f"{figure}.{name}.{n}", [value], value, "rate")
    if "alpaca" in sources:
        ratios = difficulty(options.data, 3 if options.quick else 40)
        print(f"\na dataset whose difficulty is known\n{header}", file=sys.stderr)
        say("samples_with_difficulty", ratios, float(np.median(ratios)), "x without")
        reversed_, n, told = decided(options.data, 5 if options.quick else 20)
        print(f"\nverdicts on recorded prompt variants\n{header}", file=sys.stderr)
        say("reversed_verdicts", [float(reversed_)], float(reversed_), "verdicts", "0")
        say("verdicts", [float(n)], float(n), "verdicts")
        for words, count in sorted(told.items()):
            print(f"{count:>4} x {words}", file=sys.stderr)


def _say_validity(found: dict[str, list[dict[str, float]]], noise: float) -> None:
    for name, rows in found.items():
        for figure, key in (("type1_peeking", "type1"), ("type1_naive", "naive"), ("coverage", "coverage")):
            values = [row[key] for row in rows]
            worst = min(values) if key == "coverage" else max(values)
            say(f"{figure}.{name}", values, worst, "rate")
    rows = [row for own in found.values() for row in own]
    say("type1_peeking_max", [r["type1"] for r in rows], max(r["type1"] for r in rows), "rate",
        f"<= {ALPHA + noise:.3f}")  # fmt: skip
    say("type1_naive", [r["naive"] for r in rows], float(np.median([r["naive"] for r in rows])), "rate")
    say("coverage_min", [r["coverage"] for r in rows], min(r["coverage"] for r in rows), "rate",
        f">= {1 - ALPHA - noise:.3f}")  # fmt: skip


def _say_stops(found: dict[tuple[str, float], list[NDArray[np.float64]]], kinds: dict[str, list[Kind]]) -> None:
    real = [name for name in kinds if name in ("alpaca", "bbh")] or list(kinds)
    for (name, effect), samples in found.items():
        medians = [float(np.median(s)) for s in samples]
        say(f"median_stop.{name}.{effect:g}x", medians, float(np.median(medians)), "x fixed size")
        mean = [float(np.minimum(s, PATIENCE).mean()) for s in samples]
        say(f"mean_stop.{name}.{effect:g}x", mean, float(np.median(mean)), f"x fixed size, at most {PATIENCE}")
        power = [float((s <= 1).mean()) for s in samples]
        say(f"power_at_fixed_size.{name}.{effect:g}x", power, float(np.median(power)), "rate")
        own = [half(kind) if effect == 2 else kind for kind in kinds[name]]
        t_power = [fixed_power(kind, effect) for kind in own]
        say(f"power_t.{name}.{effect:g}x", t_power, float(np.median(t_power)), "rate")
    at = {effect: [s for name in real for s in found[name, effect]] for effect in (1, 2)}
    medians = [float(np.median(s)) for s in at[1]]
    say("median_stop_ratio", medians, float(np.median(medians)), "x fixed size", "<= 1.25")
    most = [float(np.quantile(s, 0.8)) for s in at[1]]
    say("p80_stop_ratio", most, float(np.median(most)), "x fixed size", "<= 2.1")
    double = [float(np.median(s)) for s in at[2]]
    say("double_effect_stop_ratio", double, float(np.median(double)), "x fixed size", "< 0.6")


if __name__ == "__main__":
    main()
