"""Whether cost drivers are what was planted, and add up.

    python bench/drivers.py [--quick]

Runs of calls are made up with known effects of prompt, model, an edit and the input's length, additive and with an
interaction, with every level equally often and with levels as a search leaves them, without noise and with noise of
half the spread. `planted_effect_error_rate` is the largest error of any attributed difference between two levels of a
choice, as a share of the choice's planted range; `additivity_error_usd` the largest amount by which SHAP values and
their base miss what the surrogate says of a call. Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from time import perf_counter

import numpy as np
import pandas as pd

from paretoken.analysis.attribution import Surrogate
from paretoken.analysis.drivers import fit_drivers
from paretoken.analysis.features import Features, Kind

PROMPTS = {"verbose": 0.0, "points": -2e-4, "terse": -5e-4}
MODELS = {"mini": 0.0, "small": 1e-4, "middle": 6e-4, "large": 2.4e-3}
CAP = -3e-4
PER_CHAR = 6e-7
CROSSED = 2e-4
CHOICES = ("prompt", "model", "edit: length_cap")


def make(n_samples: int, noise: float, searched: bool, crossed: bool, seed: int) -> tuple[Features, np.ndarray]:
    """Calls and their costs [USD]."""
    rng = np.random.default_rng(seed)
    length = rng.lognormal(6, 0.5, n_samples).round()
    cells = [(p, m, c) for p in PROMPTS for m in MODELS for c in (0.0, 1.0)]
    weight = rng.dirichlet(np.full(len(cells), 2.0)) if searched else None
    rows = []
    for s in range(n_samples):
        asked = range(len(cells)) if weight is None else rng.choice(len(cells), len(cells) // 2, False, weight)
        rows += [(*cells[i], length[s], s) for i in asked]
    frame = pd.DataFrame(rows, columns=[*CHOICES, "input length", "sample"])
    cost = (
        1e-3
        + frame["prompt"].map(PROMPTS)
        + frame["model"].map(MODELS)
        + CAP * frame["edit: length_cap"]
        + PER_CHAR * frame["input length"]
        + crossed * CROSSED * ((frame["prompt"] == "terse") & (frame["model"] == "large"))
    ).to_numpy(np.float64)
    cost = cost + rng.normal(0, noise * cost.std(), len(cost)) if noise else cost
    kinds: dict[str, Kind] = {**dict.fromkeys(CHOICES, "choice"), "input length": "input"}
    return Features(frame[list(kinds)], kinds, frame["sample"].to_numpy(), np.arange(len(frame))), cost


def planted(crossed: bool) -> dict[str, dict[str, float]]:
    """Effect of each level on a call whose other choices are drawn evenly [USD]."""
    prompts, models = dict(PROMPTS), dict(MODELS)
    if crossed:
        prompts["terse"] += CROSSED / len(MODELS)
        models["large"] += CROSSED / len(PROMPTS)
    return {"prompt": prompts, "model": models, "edit: length_cap": {"0": 0.0, "1": CAP}}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one design of each kind")
    quick = parser.parse_args().quick
    errors, misses, seconds = [], [], []
    for seed in range(1 if quick else 3):
        for noise in (0.0, 0.5):
            for searched, crossed in ((False, False), (True, False), (False, True)):
                features, cost = make(200, noise, searched, crossed, seed)
                started = perf_counter()
                found = fit_drivers(features, cost, seed=seed)
                seconds.append(perf_counter() - started)
                effects = {(e.driver, e.level): e.effect for e in found.effects}
                worst = 0.0
                for driver, levels in planted(crossed).items():
                    got = np.array([effects[driver, level] for level in levels])
                    want = np.array(list(levels.values()))
                    gaps = np.abs((got[:, None] - got) - (want[:, None] - want))
                    worst = max(worst, float(gaps.max() / np.ptp(want)))
                errors.append(worst)
                surrogate = Surrogate.fit(features.frame, cost, seed)
                rows = features.frame.iloc[:500]
                base, values = surrogate.attribute(rows, features.frame.iloc[-100:])
                misses.append(float(np.abs(base + values.sum(axis=1) - surrogate.predict(rows)).max()))
                kind = f"{'searched' if searched else 'even'}{' with an interaction' if crossed else ''}"
                print(f"{kind}, noise {noise:g}: R2 {found.r2[0]:.2f}, worst error {worst:.1%}, "
                      f"adds up to {misses[-1]:.1e} USD, {seconds[-1]:.1f} s", file=sys.stderr)  # fmt: skip
    tell("planted_effect_error_rate", float(np.mean(errors)), min(errors), max(errors), len(errors), "<= 0.05")
    tell("additivity_error_usd", max(misses), min(misses), max(misses), len(misses), "<= 1e-6")
    tell("seconds", float(np.median(seconds)), min(seconds), max(seconds), len(seconds), "-")


def tell(figure: str, value: float, low: float, high: float, n: int, target: str) -> None:
    """One line of JSON."""
    unit = {"additivity_error_usd": "USD", "seconds": "s"}.get(figure, "share of the planted range")
    print(json.dumps({"bench": "drivers", "figure": figure, "value": float(f"{value:.3g}"), "low": float(f"{low:.3g}"),
                      "high": float(f"{high:.3g}"), "unit": unit, "n": n, "target": target}))  # fmt: skip


if __name__ == "__main__":
    main()
