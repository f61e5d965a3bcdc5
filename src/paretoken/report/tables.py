"""Tables and findings of a run, rounded for reading."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.usage import ZERO
from paretoken.records import project_root
from paretoken.report.cautions import score_cautions
from paretoken.report.estimate import cost_estimate
from paretoken.report.markdown import bullets, line, picture
from paretoken.report.prompt_segments import segment_sections
from paretoken.report.race_findings import race_cautions, race_sections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from paretoken.analysis.baseline import Held
    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.estimate import Estimate
    from paretoken.analysis.front import Standing
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison, Judgement

Cell = str | float | None
CHOSEN = ("front", "cheapest")
"""How variants stand that are to be chosen from."""
MOST_RELATIVE = 10.0
"""Ratio above which the end of a relative interval says nothing."""


def question_of(results: Results) -> str:
    """What the run was to find out; the experiment's name where no question was asked."""
    return str(results.run.lock["question"] or results.run.experiment)


def front_rows(results: Results) -> list[dict[str, Cell]]:
    """The Pareto table: the front first, then the rest, each from cheap to expensive.

    Args:
        results: The run.

    Returns:
        One row per variant that has records: `variant, id, n`; each metric and `<metric>_plus_minus`, how far its
        interval reaches on the longer side; `list_usd_per_1k_calls`; `saving_percent` against the most expensive
        variant; `latency_s_p95`; `input_tokens, output_tokens` per call; `error_rate`; `standing`: as `standing_words`.
    """
    dearest = max((cost for s in results.summaries if (cost := s.value("list_usd")) is not None), default=None)
    rows = [_row(standing, results.metrics, dearest) for standing in results.standings]
    return sorted(rows, key=lambda row: (row["standing"] not in CHOSEN, _none_last(row["list_usd_per_1k_calls"])))


def _row(standing: Standing, metrics: Sequence[str], dearest: float | None) -> dict[str, Cell]:
    summary = standing.summary
    row: dict[str, Cell] = {"variant": summary.label, "id": summary.variant, "n": summary.n}
    for name in metrics:
        estimate = summary.estimates.get(name)
        row[name] = None if estimate is None else _significant(estimate.mean, 4)
        row[f"{name}_plus_minus"] = None if estimate is None else _significant(_half(estimate), 2)
    cost = summary.value("list_usd")
    return row | {
        "list_usd_per_1k_calls": _significant(None if cost is None else 1000 * cost, 4),
        "saving_percent": round(100 * (1 - cost / dearest), 1) if cost is not None and dearest else None,
        "latency_s_p95": _significant(summary.value("latency_s.p95"), 3),
        "input_tokens": _rounded(summary.value("input_tokens")),
        "output_tokens": _rounded(summary.value("output_tokens")),
        "error_rate": _significant(summary.error_rate, 3),
        "standing": standing_words(standing),
    }


def _half(estimate: Estimate) -> float | None:
    """How far the interval reaches from the mean, on its longer side."""
    if estimate.low is None or estimate.high is None:
        return None
    return max(estimate.high - estimate.mean, estimate.mean - estimate.low)


def standing_words(standing: Standing) -> str:
    """`front`, or `cheapest` where that one was looked for, or the reason why a variant is not it."""
    left = standing.departure
    if left is not None and (left.fate not in ("kept", "open") or (left.fate, left.kept_as) == ("open", "cheapest")):
        return left.words
    if standing.on_front:
        return "front" if left is None else left.words if left.fate == "kept" else "front so far"
    if standing.broken:
        return f"breaks {'; '.join(standing.broken)}"
    if standing.unknown:
        return f"not ranked: no value for {', '.join(standing.unknown)}"
    first, *others = standing.dominated_by
    return f"dominated by {first}" + (f" and {len(others)} more" if others else "")


def findings(results: Results, pictures: Sequence[str] = (), held: Held | None = None) -> str:
    """FINDINGS.md: what was asked, what was found, what it cost and how to get there again.

    Args:
        results: The run.
        pictures: Names of picture files that lie beside it, to be shown in it.
        held: The run held against its question's baseline, to be told of; what is frozen is not among the records.

    Returns:
        Markdown; the same text for the same records and baseline.
    """
    run, lock = results.run, cast("Mapping[str, Any]", results.run.lock)
    reason = f", {run.reason}" if run.reason and run.status != "finished" else ""
    dataset = lock["dataset"]
    parts = [
        f"# {run.experiment}",
        f"**{question_of(results)}**",
        f"Run `{run.id}` ({run.status}{reason}), started {run.started_at}, seed {lock['seed']}, "
        f"{dataset['n']} samples of `{near(dataset['path'])}` (`{str(dataset['hash'])[:12]}`).",
        "## Verdict",
        bullets(results.verdicts) or "Nothing to compare yet.",
        *([] if held is None else ["## Against the baseline", bullets(held.sentences)]),
        "## Variants",
        _front_table(results),
        _goals(results),
        *([picture("front.png", "Cost against quality")] if "front.png" in pictures else []),
        *segment_sections(results, pictures),
        *race_sections(results, pictures),
        *(_differences(results) if results.test is not None else ()),
        *_segments(results),
        "## Cost",
        _cost(results),
        "## How far to trust it",
        bullets(
            (
                *race_cautions(results),
                *_provenance(lock),
                *_judges(results),
                *(caution.words for caution in score_cautions(results)),
                *_dropped(lock),
            )
        ),
        "## Reproduce",
        f"```\nparetoken run {near(lock['spec']['path'])}\n```",
    ]
    return "\n\n".join(parts) + "\n"


def _front_table(results: Results) -> str:
    rows = front_rows(results)
    if not rows:
        return "No records yet."
    heads = ["variant", *results.metrics, "USD per 1k calls", "saving", "p95 latency", "tokens in / out", "errors", ""]
    lines = [line(heads), line(["---", *["---:"] * (len(heads) - 2), "---"])]
    for row in rows:
        quality = [_with_half(row[name], row[f"{name}_plus_minus"]) for name in results.metrics]
        saving, p95 = row["saving_percent"], row["latency_s_p95"]
        cells = [
            str(row["variant"]),
            *quality,
            _shown(row["list_usd_per_1k_calls"]),
            "–" if saving is None else f"{saving} %",
            "–" if p95 is None else f"{p95} s",
            f"{_shown(row['input_tokens'])} / {_shown(row['output_tokens'])}",
            f"{100 * float(cast('float', row['error_rate'])):.3g} %",
            f"**{row['standing']}**" if row["standing"] in CHOSEN else str(row["standing"]),
        ]
        lines.append(line(cells))
    return "\n".join(lines)


def _goals(results: Results) -> str:
    goals = results.objectives
    limits = [f"{name} {sign} {bound:g}" for name, (sign, bound) in goals.subject_to.items()]
    parts = [
        f"minimise {', '.join(goals.minimize)}" if goals.minimize else "",
        f"maximise {', '.join(goals.maximize)}" if goals.maximize else "",
        f"subject to {', '.join(limits)}" if limits else "",
    ]
    return f"Objectives: {'; '.join(part for part in parts if part)}. Means with 95 % intervals, one value a sample."


def _differences(results: Results) -> Iterator[str]:
    """What an A/B test compared, quantity by quantity."""
    comparisons = [c for c in results.all_comparisons if c.judged]
    if comparisons:
        yield "## Differences"
    for c in comparisons:
        part = f", {c.part}" if c.part else ""
        yield f"`{c.treatment}` against `{c.control}` (n = {c.n} of {c.planned}{part}): **{c.verdict}**"
        heads = ["quantity", "control", "treatment", "difference", "interval", "relative", "finding"]
        rows = [_difference_cells(j, declared=True) for j in c.judged]
        rows += [_difference_cells(j, declared=False) for j in c.others if j not in c.judged]
        yield "\n".join([line(heads), line(["---", *["---:"] * 5, "---"]), *map(line, rows)])
        yield f"{_levels(c)} The differences are treatment less control."
        if c.warnings:
            yield "Mind:\n\n" + bullets(c.warnings)


def _difference_cells(judgement: Judgement, *, declared: bool) -> list[str]:
    d = judgement.difference
    finding = "equivalent" if judgement.equivalent else judgement.finding
    margin = "" if judgement.margin is None else f" (margin {judgement.margin:g})"
    reason = "" if d.reason is None else f": {d.reason}"
    return [
        d.name,
        *("–" if mean is None else f"{mean:.4g}" for mean in (d.mean_a, d.mean_b)),
        "–" if d.difference is None else f"{d.difference:+.3g}",
        _interval(d),
        _relative(d),
        f"**{finding}**{margin}{reason}" if declared else f"{finding}, for information{reason}",
    ]


def _interval(d: PairedDifference) -> str:
    if d.low is None and d.high is None:
        return "–"
    low, high = ("−∞" if d.low is None else f"{d.low:+.3g}"), ("∞" if d.high is None else f"{d.high:+.3g}")
    return f"[{low}, {high}]"


def _levels(comparison: Comparison) -> str:
    declared = {f"{100 * j.difference.level:.3g} %" for j in comparison.judged}
    others = {f"{100 * j.difference.level:.3g} %" for j in comparison.others if j not in comparison.judged}
    told = f"Intervals of the declared questions: {', '.join(sorted(declared))}"
    if others:
        told += f"; of the others: {', '.join(sorted(others))}"
    return f"{told}; they hold at every look." if comparison.anytime else f"{told}; they are read once."


def _segments(results: Results) -> Iterator[str]:
    """The comparisons within parts of the samples."""
    segments = results.segments()
    if not segments:
        return
    yield "## Segments"
    yield "For exploring: parts of the samples, looked at one by one, of which no claim is made."
    metrics = list(dict.fromkeys(j.difference.name for _, _, c in segments for j in c.quality))
    rows = []
    for column, value, c in segments:
        quality = {j.difference.name: j.difference for j in c.quality}
        cost = "–" if c.cost is None else _relative(c.cost.difference)
        cells = [_with_interval(quality.get(name)) for name in metrics]
        rows.append([f"{column} = {value}", c.treatment, str(c.n), cost, *cells, c.verdict])
    heads = ["segment", "treatment", "n", "cost", *metrics, "verdict"]
    yield "\n".join([line(heads), line(["---", "---", *["---:"] * (len(metrics) + 2), "---"]), *map(line, rows)])


def _relative(d: PairedDifference) -> str:
    if d.relative is None:
        return "–"
    told = f"{100 * d.relative:+.3g} %"
    if d.relative_low is None or d.relative_high is None or d.relative_high > MOST_RELATIVE:
        return told
    return f"{told} [{100 * d.relative_low:+.3g}, {100 * d.relative_high:+.3g}]"


def _with_interval(d: PairedDifference | None) -> str:
    return "–" if d is None or d.difference is None else f"{d.difference:+.3g} {_interval(d)}"


def _cost(results: Results) -> str:
    lock = cast("Mapping[str, Any]", results.run.lock)
    cost = cost_estimate(results)
    list_usd = sum((s.list_usd_total for s in results.summaries), ZERO)
    lines = [
        line(["USD", "", ""]),
        line(["---", "---:", "---"]),
        line(["estimated", f"{cost.lowest_usd:f} to {cost.highest_usd:f}", "shortest to longest answers"]),
    ]
    if (found := cost.predicted) is not None:
        lines.append(line(["expected", f"{found.low:.6f} to {found.high:.6f}", "90 % interval, from recorded calls"]))
    lines += [
        line(["billed", f"{cost.billed_usd:f}", cost.outcome]),
        *([line(["of which judges", f"{cost.judges_usd:f}", "no variant's cost"])] if lock.get("judges") else []),
        line(["at list price", f"{list_usd:f}", "answers from the cache or a recording too"]),
    ]
    prices = [_price(model, facts) for model, facts in {**lock["models"], **lock.get("judges", {})}.items()]
    return "\n".join(lines) + "\n\nPrices:\n\n" + bullets(prices)


def _price(model: str, facts: Mapping[str, Any]) -> str:
    price = facts["price"]
    meters = dict(price.get("rates", {})) | {name: value for name, value in price.items() if name.startswith("per_")}
    rates = [_rates(meters)] + [f"above {start} input tokens {_rates(tier)}" for start, tier in price.get("tiers", [])]
    source = f", {price['source']}" if price.get("source") else ""
    checked = f", checked {price['checked']}" if price.get("checked") else ""
    recorded = "; answers are recorded, not generated" if facts.get("recorded") else ""
    return f"`{model}`: {'; '.join(rates)} (row `{price['row']}`{source}{checked}){recorded}"


def _rates(meters: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in meters.items() if float(value)) or "free"


def near(text: str) -> str:
    """A path as seen from its project's root."""
    path = Path(text)
    root = project_root(path.parent)
    return str(path.relative_to(root)) if path.is_relative_to(root) else text


def _provenance(lock: Mapping[str, Any]) -> list[str]:
    return [
        f"{', '.join(f'`{metric}`' for metric in scorer['metrics'])} by `{scorer['name']}`"
        + (f": {scorer['provenance']}" if scorer.get("provenance") else "")
        for scorer in lock["scorers"]
    ]


def _judges(results: Results) -> list[str]:
    """A judge's agreement with people, set in bold: what a reader should know before trusting it."""
    return [f"**{judge.sentence}**" for judge in results.agreements]


def _dropped(lock: Mapping[str, Any]) -> list[str]:
    return [f"`{name}` was dropped: {reason}" for name, reason in lock.get("dropped", {}).items()]


def _with_half(mean: Cell, half: Cell) -> str:
    return _shown(mean) if half is None else f"{_shown(mean)} ± {_shown(half)}"


def _shown(value: Cell) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _significant(value: float | None, digits: int) -> float | None:
    return None if value is None else float(f"{value:.{digits}g}")


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _none_last(value: Cell) -> tuple[bool, float]:
    return (True, 0.0) if value is None else (False, float(value))
