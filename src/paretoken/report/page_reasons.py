"""The section of a page that says why costs differ, as plain values in the page's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from paretoken.analysis.explanation import explain
from paretoken.analysis.features import NothingToExplain
from paretoken.core.errors import SpecError
from paretoken.report import chinese_reasons
from paretoken.report.page_figures import floating

if TYPE_CHECKING:
    from decimal import Decimal

    from paretoken.analysis.driver_shares import Drivers
    from paretoken.analysis.results import Results
    from paretoken.report.page_words import Words

Section = dict[str, Any]
MOST_SHARES = 8
MOST_EFFECTS = 20


def drivers(results: Results, say: Words, found: Drivers | NothingToExplain) -> Section:
    """Which choices and inputs drive the cost of a call, or why that cannot be told."""
    if isinstance(found, NothingToExplain):
        told = str(found) if say.language == "en" else chinese_reasons.nothing_to_explain(found)
        return {"sentences": [told[:1].upper() + told[1:]], "shares": [], "effects": []}
    name = str if say.language == "en" else chinese_reasons.feature
    widest = 1.03 * max((share.high for share in found.shares), default=1.0)
    return {
        "sentences": found.sentences if say.language == "en" else chinese_reasons.drivers(results, found),
        "shares": [
            {
                "name": name(s.driver),
                "kind": say(f"kind.{s.kind}"),
                "width": round(100 * s.share / widest, 2),
                "low": round(100 * s.low / widest, 2),
                "span": round(100 * (s.high - s.low) / widest, 2),
                "text": say.percent(f"{100 * s.share:.0f}"),
                "ends": f"[{100 * s.low:.0f}, {100 * s.high:.0f}]",
            }
            for s in found.shares[:MOST_SHARES]
        ],
        "effects": [
            {
                "level": f"{e.driver} {e.level}" if say.language == "en" else chinese_reasons.level(e),
                "adds": f"{1000 * e.effect:+.3g}",
                "ends": "" if e.low is None or e.high is None else f"[{1000 * e.low:+.3g}, {1000 * e.high:+.3g}]",
                "rate": say.percent(f"{100 * e.effect / found.mean:+.0f}") if found.mean else "–",
                "n": f"{e.n:,}",
            }
            for e in found.effects[:MOST_EFFECTS]
        ],
    }


def waterfall(results: Results, say: Words, pair: tuple[str, str] | None) -> Section:
    """The exact way from one cost to the other."""
    if pair is None:
        return {"none": say("waterfall.none"), "steps": []}
    a, b = (results.labels[id_] for id_ in pair)
    try:
        found = explain((results, pair[0]), (results, pair[1]))
    except SpecError as error:
        return {"none": str(error) if say.language == "en" else say("waterfall.refused"), "steps": []}
    moved = [f for f in found.factors if f.usd]
    names = [found.words(f) if say.language == "en" else chinese_reasons.factor(found, f) for f in moved]
    sums = [found.cost_a, *(f.usd for f in moved), found.cost_b]
    calls = [1000 * float(usd) / found.n for usd in sums]
    points = [f"{100 * float(f.usd / found.cost_a):+.1f}" if found.cost_a else "" for f in moved]
    rows = zip([found.a, *names, found.b], calls, sums, ["", *points, ""], floating(calls), strict=True)
    last = len(sums) - 1
    return {
        "title": say("waterfall", a=a, b=b),
        "sentences": found.sentences if say.language == "en" else chinese_reasons.explanation(found),
        "exact": say("waterfall.exact", n=found.n),
        "steps": [
            {"name": name, "usd": f"{usd:.4g}" if i in (0, last) else f"{usd:+.3g}", "points": point,
             "exact": _exact(total, signed=i not in (0, last)), "bar": bar,
             "kind": "end" if i in (0, last) else "less" if usd < 0 else "more"}
            for i, (name, usd, total, point, bar) in enumerate(rows)
        ],
    }  # fmt: skip


def _exact(usd: Decimal, *, signed: bool) -> str:
    return f"{usd:+.12f}" if signed else f"{usd:.12f}"
