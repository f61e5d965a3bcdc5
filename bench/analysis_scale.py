"""Ten million calls counted on two cores: `CallLog` beside pandas that does the same work.

    python bench/analysis_scale.py [--quick]

A log is made up: 13 models with prices, 4 prompts, departments and projects, 90 days, lengths that are log-normal,
failed calls and cache hits. Cost by tag, by model and by day, the Pareto front, and cost drivers on a sample are asked
of 1, 3 and 10 million calls, each in a process of its own; seconds are from its first import to its answer, with the
files in the system's cache, memory is its peak. pandas reads the columns that it needs, as nullable integers, for its
floats lose pico-dollars. Both must give the same answers, p95 to 0.1 %; `money_error_pico` is the largest difference
of any sum. What 100 million calls would take is a line through the three sizes, not a measurement.
Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from paretoken.analysis.driver_shares import Drivers
    from paretoken.analysis.front import Standing

PARTS = 10
SIZES = (1, 3, 10)
"""In parts of the log."""
BEYOND = 100_000_000
CORES = 2
QUERIES = {"tag": "department", "model": "model", "day": "day", "front": "", "drivers": ""}
MINIMIZE, MAXIMIZE = ("list_usd",), ("quality",)
USD_PER_MTOK = {
    "nova-mini": (0.10, 0.40), "nova": (0.40, 1.60), "nova-large": (2.00, 8.00), "sage-lite": (0.15, 0.60),
    "sage": (2.50, 10.00), "sage-think": (1.10, 4.40), "river-7b": (0.20, 0.20), "river-70b": (0.70, 0.70),
    "tide-small": (0.25, 1.25), "tide": (3.00, 15.00), "tide-max": (15.00, 75.00), "jade-turbo": (0.05, 0.20),
    "jade-plus": (0.40, 1.20),
}  # fmt: skip
DEPARTMENTS = ("内容部", "客服部", "研发部", "sales", "legal", "operations")


class Measured(TypedDict):
    """What one process found, and what it took."""

    seconds: float
    rss_mb: float
    answer: Any


def make_part(n: int, seed: int) -> pa.Table:
    """Calls of 90 days, in the order of time."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    rates = np.array(list(USD_PER_MTOK.values())) * 1e6  # pico-dollars a token
    share = 1 / np.arange(1, len(rates) + 1)
    model, prompt = rng.choice(len(rates), n, p=share / share.sum()), rng.integers(0, 4, n)
    department, project = rng.choice(len(DEPARTMENTS), n, p=[0.3, 0.25, 0.2, 0.1, 0.1, 0.05]), rng.integers(0, 24, n)
    chars = np.minimum(rng.lognormal(6.5, 0.8, n), 100_000).astype(np.int64)
    tokens_in = chars // 4 + np.array([220, 120, 60, 20])[prompt]
    tokens_out = np.clip(rng.lognormal(5 + 0.3 * (department == 2), 0.6, n), 1, 4096).astype(np.int64)
    failed = rng.random(n) < 0.01
    list_pico = (np.round(rates[model, 0]) * tokens_in + np.round(rates[model, 1]) * tokens_out).astype(np.int64)
    free = failed | (rng.random(n) < 0.08)
    latency = 0.3 + tokens_out * rng.lognormal(-4.5, 0.4, n)
    quality = np.clip(0.5 + 0.02 * np.log(rates[model, 1]) - 0.01 * prompt + rng.normal(0, 0.1, n), 0, 1)
    at = np.sort(rng.integers(0, 90 * 86_400 * 10**6, n)) + 1_767_225_600 * 10**6

    def levels(codes: NDArray[np.int64], names: Sequence[str]) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), list(names)).cast(pa.string())

    return pa.table(
        {
            "at": pa.array(at, pa.timestamp("us", tz="UTC")),
            "model": levels(model, tuple(USD_PER_MTOK)),
            "prompt": levels(prompt, ("verbose", "points", "terse", "tiny")),
            "department": levels(department, DEPARTMENTS),
            "project": levels(project, tuple(f"project-{i:02}" for i in range(24))),
            "input_chars": chars,
            "input_tokens": pa.array(tokens_in, mask=failed),
            "output_tokens": pa.array(tokens_out, mask=failed),
            "list_pico": pa.array(list_pico, mask=failed),
            "billed_pico": np.where(free, 0, list_pico),
            "latency_s": pa.array(latency, mask=failed),
            "quality": pa.array(quality, mask=failed),
            "error": pa.array(np.full(n, "timeout"), mask=~failed),
        }
    )


def make_logs(folder: Path, n_part: int) -> dict[int, Path]:
    """One folder per size; the smaller ones are the first parts of the largest."""
    import pyarrow.parquet as pq

    logs = {size * n_part: folder / f"calls-{size * n_part}" for size in SIZES}
    for log in logs.values():
        log.mkdir()
    for i in range(PARTS):
        first, *others = [log for size, log in zip(SIZES, logs.values(), strict=True) if i < size]
        name = f"part-{i:02}.parquet"
        pq.write_table(make_part(n_part, i), first / name, row_group_size=250_000)
        for other in others:
            (other / name).hardlink_to(first / name)
    return logs


def with_duckdb(query: str, log: Path) -> Any:
    """What the tool finds."""
    from paretoken.analysis.call_log import CallLog

    calls = CallLog(log)
    if query == "front":
        return front_answer(calls.front(MINIMIZE, MAXIMIZE))
    if query == "drivers":
        return drivers_answer(calls.drivers())
    rows = cast("Iterable[Any]", calls.cost_by(QUERIES[query]).itertuples(index=False))
    return [[str(r[0]), r.calls, r.input_tokens, r.output_tokens, pico(r.list_usd), pico(r.billed_usd), r.error_rate,
             r.latency_s_p95] for r in rows]  # fmt: skip


def with_pandas(query: str, log: Path) -> Any:
    """The same, found by pandas."""
    return {"front": pandas_front, "drivers": pandas_drivers}.get(query, pandas_costs)(log, QUERIES[query])


def read(log: Path, columns: list[str]) -> pd.DataFrame:
    """Columns of a log, with integers that may be missing."""
    import pandas as pd

    return pd.read_parquet(log, columns=columns, dtype_backend="numpy_nullable")


def pandas_costs(log: Path, by: str) -> Any:
    """Sums, error rate and p95 of every group."""
    sums = ["input_tokens", "output_tokens", "list_pico", "billed_pico"]
    rows = read(log, ["at" if by == "day" else by, *sums, "latency_s", "error"])
    if by == "day":
        rows["day"] = rows["at"].dt.tz_convert(None).dt.floor("D")
    rows["failed"] = rows["error"].notna()
    groups = rows.groupby(by)
    found = groups[sums].sum()
    found.insert(0, "calls", groups.size())
    found["error_rate"], found["p95"] = groups["failed"].mean(), groups["latency_s"].quantile(0.95)
    return [[str(r[0])[:10] if by == "day" else str(r[0]), *map(int, r[1:6]), float(r[6]), float(r[7])]
            for r in found.itertuples()]  # fmt: skip


def pandas_front(log: Path, _: str) -> Any:
    """Means of every variant, and the front."""
    import numpy as np

    from paretoken.analysis.estimate import Estimate
    from paretoken.analysis.front import find_front
    from paretoken.analysis.objectives import LATENCY_QUANTILES, Objectives
    from paretoken.analysis.summary import VariantSummary
    from paretoken.core.usage import from_pico

    rows = read(log, ["model", "prompt", "list_pico", "latency_s", "quality", "error"])
    rows = rows[rows["error"].isna()]
    rows["list_usd"] = rows["list_pico"].astype(float) / 1e12
    groups = rows.groupby(["prompt", "model"])
    tails = groups["latency_s"].quantile(np.array(list(LATENCY_QUANTILES.values()))).unstack()
    names = ("list_usd", *MAXIMIZE)
    moments = groups[list(names)].agg(["mean", "std", "count"])
    summaries = [
        VariantSummary(
            "", "|".join(map(str, key)), n, 0, 0,
            {name: Estimate(float(cast("float", moments.at[key, (name, "mean")])), None, None, n) for name in names},
            dict(zip(LATENCY_QUANTILES, tails.loc[[key]].to_numpy(float)[0].tolist(), strict=True)),
            from_pico(int(total)), from_pico(0), None, {}, {}, n, 0,
        )
        for key, total, n in zip(tails.index, groups["list_pico"].sum(), groups.size(), strict=True)
    ]  # fmt: skip
    return front_answer(find_front(summaries, Objectives(MINIMIZE, MAXIMIZE, {})))


def pandas_drivers(log: Path, _: str) -> Any:
    """The same calls drawn, and the same surrogate."""
    import numpy as np

    from paretoken.analysis.call_log import DRAWN
    from paretoken.analysis.drivers import fit_drivers
    from paretoken.analysis.features import log_features

    rows = read(log, ["prompt", "model", "department", "project", "input_chars", "list_pico", "error"])
    drawn = rows.iloc[np.sort(np.random.default_rng(0).choice(len(rows), DRAWN, replace=False, shuffle=False))]
    drawn = drawn[drawn["error"].isna()].reset_index(drop=True)
    features = log_features(drawn, ["prompt", "model"], ["department", "project"])
    return drivers_answer(fit_drivers(features, drawn["list_pico"].to_numpy(np.float64) / 1e12))


def front_answer(standings: list[Standing]) -> Any:
    """What must be the same of a front."""
    return sorted([s.summary.label, s.on_front, pico(s.summary.list_usd_total), *s.summary.latency_s.values()]
                  for s in standings)  # fmt: skip


def drivers_answer(found: Drivers) -> Any:
    """What must be the same of drivers."""
    return [[share.driver, round(share.share, 9)] for share in sorted(found.shares)]


def pico(usd: Decimal) -> int:
    """Whole pico-dollars."""
    return int(usd.scaleb(12))


def measure(side: str, query: str, log: Path) -> Measured:
    """Ask one question in a process of its own."""
    command = [sys.executable, __file__, "--ask", side, query, str(log)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return cast("Measured", json.loads(done.stdout))


def answer(side: str, query: str, log: Path) -> None:
    """What such a process does."""
    started = perf_counter()
    found = (with_duckdb if side == "duckdb" else with_pandas)(query, log)
    seconds = perf_counter() - started
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"seconds": seconds, "rss_mb": int(peak.split()[1]) / 1024, "answer": found}))


def money_error(query: str, ours: Any, theirs: Any) -> int:
    """Largest difference of a sum of money [pico-USD]; everything else must be the same.

    Raises:
        SystemExit: It is not.
    """
    money = {"front": (2,), "drivers": ()}.get(query, (4, 5))
    worst = 0
    for a, b in zip(ours, theirs, strict=True):
        worst = max([worst, *(abs(a[i] - b[i]) for i in money)])
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same = abs(x - y) <= 1e-3 * abs(y) if isinstance(y, float) else x == y
            if i not in money and not same:
                raise SystemExit(f"{query}: {a} and {b} differ")
    return worst


def main() -> None:
    """Make the logs, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tenth of the calls, measured once, at one size")
    parser.add_argument("--ask", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ask:
        return answer(arguments.ask[0], arguments.ask[1], Path(arguments.ask[2]))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    rounds, n_part = (1, 100_000) if arguments.quick else (3, 1_000_000)
    say(f"load before the start: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory(prefix="paretoken-") as folder:
        started = perf_counter()
        logs = make_logs(Path(folder), n_part)
        if arguments.quick:
            logs = {max(logs): logs[max(logs)]}
        size_mb = sum(file.stat().st_size for file in list(logs.values())[-1].iterdir()) / 2**20
        say(f"{max(logs):,} calls made in {perf_counter() - started:.0f} s, {size_mb:.0f} MB of Parquet")
        report(logs, rounds)
    say(f"load at the end: {os.getloadavg()[0]:.1f}")
    return None


def report(logs: dict[int, Path], rounds: int) -> None:
    """Measure every question on both sides, in turns, and print."""
    largest = max(logs)
    label = f"{largest // 1_000_000}m"
    peaks: dict[str, list[float]] = {"duckdb": [], "pandas": []}
    errors: list[int] = []
    say(f"{'query':<9}{'calls':>12}{'CallLog s':>22}{'MB':>7}{'pandas s':>22}{'MB':>7}{'ratio':>7}")
    for query in QUERIES:
        medians: dict[int, float] = {}
        for n_calls, log in logs.items():
            times: dict[str, list[float]] = {"duckdb": [], "pandas": []}
            peak = dict.fromkeys(times, 0.0)
            for _ in range(rounds):
                found = {side: measure(side, query, log) for side in times}
                for side, one in found.items():
                    times[side].append(one["seconds"])
                    peak[side] = max(peak[side], one["rss_mb"])
                errors.append(money_error(query, found["duckdb"]["answer"], found["pandas"]["answer"]))
            for side in times:
                peaks[side].append(peak[side])
            ours, theirs = times["duckdb"], times["pandas"]
            medians[n_calls] = median(ours)
            ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
            say(f"{query:<9}{n_calls:>12,}{spread(ours):>22}{peak['duckdb']:>7.0f}{spread(theirs):>22}"
                f"{peak['pandas']:>7.0f}{median(ratios):>7.1f}")  # fmt: skip
            if n_calls == largest:
                tell(f"seconds_{label}.{query}", ours, "s", "<= 10")
                tell(f"ratio_to_pandas.{query}", ratios, "x as fast as pandas", "-")
        if len(logs) > 1:
            tell(f"seconds_100m_extrapolated.{query}", [line_through(medians, BEYOND)], "s, not measured", "-")
    if len(logs) == 1:
        say("left out: growth beyond, for which it takes three sizes")
    tell("rss_mb", [max(peaks["duckdb"])], "MB", "<= 2048")
    tell("rss_mb_pandas", [max(peaks["pandas"])], "MB", "-")
    tell("money_error_pico", [max(errors)], "pico-USD", "== 0")


def line_through(seconds: dict[int, float], n_calls: int) -> float:
    """What least squares on the sizes say of another one [s]; no less than the largest took."""
    import numpy as np

    slope, start = np.polyfit(list(seconds), list(seconds.values()), 1)
    return max(float(start + slope * n_calls), seconds[max(seconds)])


def spread(values: list[float]) -> str:
    """Median, and what it lies between."""
    return f"{median(values):.2f} [{min(values):.2f}, {max(values):.2f}]"


def say(text: str) -> None:
    """One line for the reader."""
    print(text, file=sys.stderr, flush=True)


def tell(figure: str, values: Sequence[float], unit: str, target: str) -> None:
    """One line of JSON."""
    low, middle, high = (float(f"{value:.4g}") for value in (min(values), median(values), max(values)))
    print(json.dumps({"bench": "analysis_scale", "figure": figure, "value": middle, "low": low, "high": high,
                      "unit": unit, "n": len(values), "target": target}), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
