"""The sections of a page as plain values: what its template shows, in the page's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.abtest import WON
from paretoken.analysis.objectives import split_quantile
from paretoken.analysis.verdict import percent
from paretoken.core.usage import ZERO
from paretoken.report import chinese
from paretoken.report.cautions import score_cautions, shown
from paretoken.report.comparison_figure import scale_of
from paretoken.report.estimate import cost_estimate
from paretoken.report.examples import examples_of
from paretoken.report.figures import height_of, words
from paretoken.report.page_figures import draw_bar, draw_picture
from paretoken.report.tables import CHOSEN, front_rows, standing_words

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

    from paretoken.analysis.baseline import Held
    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.estimate import Estimate
    from paretoken.analysis.front import Standing
    from paretoken.analysis.raced import RaceOutcome
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison, Judgement
    from paretoken.report.page_words import Words

Section = dict[str, Any]
_OPEN = ("undecided", "cannot tell")
WIDE, NARROW = (760, 430), (360, 330)
"""Sizes of the Pareto picture on a screen and on a phone [px]."""


def contrast(results: Results) -> tuple[str, str] | None:
    """The two variants that a page explains: what it is held against, and the best there is.

    Of an A/B test the control, and the cheapest treatment that is shown to be cheaper and not worse; else the cheapest
    that is not shown to be worse; else the cheapest. Of other plans the most expensive variant, and the one that was
    looked for or the best of the front by the first metric that is maximised; where these are one, the front's next.

    Returns:
        Two variant ids; None where fewer than two have answers.
    """
    costs = {s.variant: cost for s in results.summaries if (cost := s.value("list_usd")) is not None}
    if len(costs) < 2:
        return None
    if (test := results.test) is not None:
        others = {results.variant_id(c.treatment): c for c in results.comparisons}
        ranked = sorted(
            (id_ for id_ in others if id_ in costs),
            key=lambda id_: (others[id_].verdict not in WON, others[id_].verdict == "worse", costs[id_]),
        )
        return (test.control, ranked[0]) if ranked and test.control in costs else None
    dearest = max(costs, key=costs.__getitem__)
    name = (*results.objectives.maximize, "list_usd")[0]
    sign = -1 if name == "list_usd" else 1
    front = [s.summary for s in results.standings if s.on_front and s.summary.variant in costs]
    front.sort(key=lambda s: -sign * (s.value(name) or 0.0))
    best = next((s.variant for s in front if s.variant != dearest), None)
    return None if best is None else (dearest, best)


def verdict(results: Results, say: Words, pair: tuple[str, str] | None, held: Held | None) -> Section:
    """What was found, first in one line, then comparison by comparison."""
    compared = results.all_comparisons
    listed = results.race is not None or bool(results.prompt_segments)  # the rest is told beside its comparison
    sentences = results.verdicts if say.language == "en" else chinese.verdicts(results)
    judges = [judge.sentence if say.language == "en" else chinese.agreement(judge) for judge in results.agreements]
    against = [] if held is None else held.sentences if say.language == "en" else chinese.held(held)
    return {
        "lead": _lead(results, say),
        "mood": _run_mood(results),
        "tiles": [] if pair is None else _tiles(results, say, pair),
        "tiles_title": "" if pair is None else say("tiles", a=results.labels[pair[0]], b=results.labels[pair[1]]),
        "comparisons": [_comparison(c, say) for c in compared],
        "sentences": sentences[0 if listed else len(results.comparisons) :],
        "baseline": against,
        "judges": judges,
    }


def _lead(results: Results, say: Words) -> str:
    if not results.summaries:
        return say("lead.empty")
    if results.race is not None:
        return _race_lead(results.race, results.labels, say)
    compared = results.comparisons
    if not compared:
        front = [s.summary.label for s in results.standings if s.on_front]
        if len(results.summaries) == 1:
            return say("lead.alone")
        return say("lead.front", a=front[0]) if len(front) == 1 else say("lead.nothing")
    won = [c for c in compared if c.verdict in WON]
    if won:
        best = min(won, key=lambda c: _mean_b(c.cost))
        if _is_unconfirmed(results):
            return say("lead.unconfirmed", a=best.control, b=best.treatment)
        best = results.confirmation or best
        relative = None if best.cost is None else best.cost.difference.relative
        size = "" if relative is None else say.percent(percent(abs(relative)))
        quality = say(f"quality.{best.verdict.partition(', ')[2] or 'none'}")
        return say("lead.won", a=best.control, b=best.treatment, size=size, quality=quality)
    if not all("undecided" in c.verdict or "cannot tell" in c.verdict for c in compared):
        return say("lead.none", a=compared[0].control)
    return _part_lead(max(compared, key=lambda c: sum(j.finding not in _OPEN for j in c.judged)), say)


def _part_lead(c: Comparison, say: Words) -> str:
    """What is decided of a comparison that is not, and what is open."""
    decided = [_decided(j, say) for j in c.judged if j.finding not in _OPEN]
    if not decided:
        return say("lead.open", a=c.control)
    open_ = [say("lead.cost") if j is c.cost else j.difference.name for j in c.judged if j.finding in _OPEN]
    both = {"decided": say("lead.and").join(decided), "open": say("lead.and").join(open_)}
    return say("lead.part", a=c.control, b=c.treatment, **both)


def _decided(judgement: Judgement, say: Words) -> str:
    is_cost, finding = judgement.difference.name == "list_usd", judgement.finding
    if is_cost and finding in ("better", "worse"):
        return say("finding.cheaper" if finding == "better" else "finding.dearer")
    return say(
        "lead.on", finding=say(f"finding.{finding}"), name=say("lead.cost") if is_cost else judgement.difference.name
    )


def _race_lead(race: RaceOutcome, labels: Mapping[str, str], say: Words) -> str:
    n_open = sum(left.fate == "open" for left in race.departures.values())
    if race.plan.kind == "cheapest":
        if race.chosen:
            return say("lead.cheapest", b=labels[race.chosen[0]])
        return say("lead.cheapest.open" if n_open else "lead.cheapest.none")
    key = "lead.race.open" if n_open else "lead.race"
    return say(key, n=len(race.chosen), of=len(labels), open=n_open)


def _is_unconfirmed(results: Results) -> bool:
    """Whether samples are held out to confirm a winner, and do not, or not yet."""
    confirmed = results.confirmation
    asked = results.test is not None and results.test.confirm
    return bool(asked) and (confirmed is None or confirmed.verdict not in WON)


def _run_mood(results: Results) -> str:
    """How the lead is coloured."""
    race = results.race
    if race is None:
        mood = _mood(results.comparisons)
        return "open" if mood == "good" and _is_unconfirmed(results) else mood
    if any(left.fate == "open" for left in race.departures.values()):
        return "open"
    return "good" if race.chosen else "bad"


def _mean_b(judgement: Judgement | None) -> float:
    return float("inf") if judgement is None else judgement.difference.mean_b or 0.0


def _mood(compared: Sequence[Comparison]) -> str:
    """How comparisons are coloured."""
    if any(c.verdict in WON for c in compared):
        return "good"
    return "open" if not compared or any("undecided" in c.verdict for c in compared) else "bad"


def _tiles(results: Results, say: Words, pair: tuple[str, str]) -> list[dict[str, str]]:
    by_id = {s.variant: s for s in results.summaries}
    a, b = (by_id[id_] for id_ in pair)
    names = [("list_usd", say("tile.cost"))]
    names += [(metric, metric) for metric in (results.objectives.maximize or results.metrics)[:2]]
    names += [("latency_s.p95", say("tile.latency")), ("output_tokens", say("tile.tokens"))]
    tiles = []
    for name, title in names:
        before, after = a.value(name), b.value(name)
        if before is None or after is None:
            continue
        change = say.percent(_signed(after / before - 1)) if before > 0 else ""
        tiles.append(
            {"title": title, "value": _quantity(name, after), "before": say("from", value=_quantity(name, before)),
             "change": change}
        )  # fmt: skip
    return tiles[:4]


def _signed(rate: float) -> str:
    return f"{'−' if rate < 0 else '+'}{percent(abs(rate))}"


def _quantity(name: str, value: float) -> str:
    if name == "list_usd":
        return f"${1000 * value:.4g}"
    return f"{value:.3g} s" if split_quantile(name)[0] == "latency_s" else f"{value:.4g}"


def _comparison(c: Comparison, say: Words) -> Section:
    told = c.sentence if say.language == "en" else chinese.sentence(c)
    word = c.verdict if say.language == "en" else chinese.verdict(c)
    rows = [_row(j, say) for j in c.judged]
    return {
        "title": say("differences", a=c.control, b=c.treatment),
        "word": word,
        "mood": _mood([c]),
        "rows": rows,
        "key": say("better right" if any(j.margin is not None for j in c.judged) else "better right bare"),
        "sentence": told[:1].upper() + told[1:],
    }


def _row(judgement: Judgement, say: Words) -> Section:
    d, scale = judgement.difference, scale_of(judgement)
    finding: str = "equivalent" if judgement.equivalent else judgement.finding
    if d.name == "list_usd" and finding in ("better", "worse"):
        finding = "cheaper" if finding == "better" else "dearer"
    unit = 1.0 if scale.relative or d.name != "list_usd" else 1000.0
    low, middle, high = (say.spaced(scale.text(unit * end)) for end in scale.ends(d))
    return {
        "name": say("tile.cost") if d.name == "list_usd" else d.name,
        "sides": _sides(d),
        "change": "–" if d.difference is None else middle,
        "interval": "" if d.reason is not None or d.difference is None else f"[{low}, {high}]",
        "finding": say(f"finding.{finding}"),
        "mood": {"better": "good", "not worse": "good", "worse": "bad"}.get(judgement.finding, "open"),
        "bar": draw_bar(judgement),
    }


def _sides(d: PairedDifference) -> str:
    if d.mean_a is None or d.mean_b is None:
        return ""
    return f"{_quantity(d.name, d.mean_a)} → {_quantity(d.name, d.mean_b)}"


def front(results: Results, say: Words) -> Section:
    """The Pareto picture, for a screen and for a phone, and its table."""
    name, up = height_of(results)
    rows = front_rows(results)
    numbers = {str(row["id"]): i for i, row in enumerate(rows, 1)}
    standings = {s.summary.variant: s for s in results.standings}
    metrics = [m for m in results.metrics if shown(m)]
    goals = results.objectives
    limits = [f"{limited} {sign} {bound:g}" for limited, (sign, bound) in goals.subject_to.items()]
    wanted = (("minimise", goals.minimize), ("maximise", goals.maximize), ("subject to", limits))
    height = words(name) if say.language == "en" else name
    return {
        "wide": draw_picture(results, *WIDE, numbers=numbers),
        "narrow": draw_picture(results, *NARROW, numbers=numbers),
        "caption": say("front.figure", height=height),
        "up": say("axis.up" if up else "axis.down", height=height),
        "none": say("front.none", height=height),
        "metrics": metrics,
        "timed": any(row["latency_s_p95"] is not None for row in rows),
        "rows": [_front_row(row, standings[str(row["id"])], metrics, numbers, say) for row in rows],
        "held_out": []
        if results.race is None
        else [
            (
                c.label,
                say("col.cost") if c.name == "list_usd" else c.name,
                *(_with_ends(e, 1000 if c.name == "list_usd" else 1) for e in (c.selected, c.held_out)),
            )
            for c in results.race.confirmed
        ],
        "objectives": "; ".join(say(key, names=", ".join(names)) for key, names in wanted if names),
    }


def _front_row(
    row: Mapping[str, Any], standing: Standing, metrics: Sequence[str], numbers: Mapping[str, int], say: Words
) -> Section:
    summary = standing.summary
    saving, p95 = row["saving_percent"], row["latency_s_p95"]
    return {
        "number": numbers[summary.variant],
        "variant": summary.label,
        "chosen": row["standing"] in CHOSEN,
        "metrics": [_with_ends(summary.estimates.get(metric), 1) for metric in metrics],
        "cost": _with_ends(summary.estimates.get("list_usd"), 1000),
        "saving": "–" if saving is None else say.percent(f"{saving:.3g}"),
        "p95": "–" if p95 is None else f"{p95:g} s",
        "tokens": " / ".join("–" if row[k] is None else f"{row[k]:g}" for k in ("input_tokens", "output_tokens")),
        "errors": say.percent(f"{100 * summary.error_rate:.3g}"),
        "n": summary.n,
        "standing": standing_words(standing) if say.language == "en" else chinese.standing(standing),
    }


def _with_ends(estimate: Estimate | None, unit: float) -> tuple[str, str]:
    if estimate is None:
        return "–", ""
    ends = "" if estimate.low is None or estimate.high is None else (
        f"[{unit * estimate.low:.3g}, {unit * estimate.high:.3g}]")  # fmt: skip
    return f"{unit * estimate.mean:.4g}", ends


def cost(results: Results, say: Words) -> Section:
    """What the run was expected to be billed, and its bill."""
    lock = cast("Mapping[str, Any]", results.run.lock)
    found = cost_estimate(results)
    list_usd = sum((s.list_usd_total for s in results.summaries), ZERO)
    bill, low, high = map(_usd, (found.billed_usd, found.lowest_usd, found.highest_usd))
    guess = found.predicted
    inside = {"low": low, "high": high} if guess is None else {"low": _usd(guess.low), "high": _usd(guess.high)}
    sent = bool(found.billed_usd or found.highest_usd)
    where = found.outcome.partition(" the ")[0] if sent else "nothing"
    what = say("what.range" if guess is None else "what.predicted", **inside)
    rows = [(say("cost.estimated"), say("to", low=low, high=high))]
    rows += [] if guess is None else [(say("cost.expected"), say("to", **inside))]
    rows += [(say("cost.billed"), bill)]
    rows += [(say("cost.judges"), _usd(found.judges_usd))] if lock.get("judges") else []
    rows += [(say("cost.list"), _usd(list_usd))]
    rows += [(say("cost.budget"), lock["budget"]["usd"] if lock["budget"] else say("none"))]
    ends = [float(found.lowest_usd), float(found.highest_usd), float(found.billed_usd)]
    ends += [] if guess is None else [guess.low, guess.high]
    start, end = min(ends), max(ends)
    room = 0.06 * (end - start)

    def at(usd: float) -> float:
        return round(100 * (usd - start + room) / (end - start + 2 * room), 2)

    scale = None if end <= start else {
        "range": (at(ends[0]), round(at(ends[1]) - at(ends[0]), 2)),
        "guess": None if guess is None else (at(guess.low), round(at(guess.high) - at(guess.low), 2)),
        "bill": at(ends[2]),
    }  # fmt: skip
    return {
        "sentence": say(f"outcome.{where}", bill=bill, what=what, list=_usd(list_usd)),
        "scale": scale,
        "rows": rows,
    }


def _usd(value: Decimal | float) -> str:
    return f"{float(value):.6f}" if value else "0"


def examples(results: Results, say: Words, pair: tuple[str, str] | None) -> Section:
    """Answers of the two variants to the same samples."""
    lock = cast("Mapping[str, Any]", results.run.lock)
    if (content := lock["store"]["content"]) != "full":
        return {"none": say("examples.not kept", content=content), "examples": []}
    name = (*results.objectives.maximize, *results.metrics, "list_usd")[0]
    found = [] if pair is None else examples_of(results, *pair, name)
    if pair is None or not found:
        return {"none": say("examples.none"), "examples": []}
    a, b = (results.labels[id_] for id_ in pair)
    told = say("tile.cost") if name == "list_usd" else name
    return {
        "chosen": say("examples.chosen", a=a, b=b, name=told),
        "examples": [
            {
                "example": example,
                "why": say(f"why.{example.why}"),
                "sample": say("sample", id=example.sample),
                "facts": [
                    say("answer.cost" if name == "list_usd" else "answer.facts", name=name, value=f"{side.value:.3g}",
                        tokens=side.output_tokens, usd=f"{side.list_usd:.3g}")
                    for side in example.sides
                ],
                "cuts": [say("cut", n=f"{side.cut:,}") if side.cut else "" for side in example.sides],
            }
            for example in found
        ],
    }  # fmt: skip


def trust(results: Results, say: Words) -> list[tuple[str, str]]:
    """Cautions, one point each: in the page's language, and what a scorer said in its own words."""
    lock = cast("Mapping[str, Any]", results.run.lock)
    compared, race = results.comparisons, results.race
    if race is not None:
        claims = [say("claims.race", alpha=f"{100 * race.plan.alpha:g}", n=len(race.selection.samples))]
    elif compared:
        claims = [say("claims", alpha=f"{100 * float(results.plan.get('alpha', 0.05)):g}"),
                  say("anytime" if compared[0].anytime else "read once")]  # fmt: skip
    else:
        claims = [say("claims.none")]
    told = [(claim, "") for claim in claims]
    told += [] if lock["scorers"] else [(say("unscored"), "")]
    told += [(say("failures", variant=s.label, n=s.n_failed, of=s.n), "") for s in results.summaries if s.n_failed]
    told += [
        (say(f"caution.{c.kind}", variant=c.variant, metric=c.metric, n=c.n, of=c.of), c.said)
        for c in score_cautions(results)
    ]
    return told + [(say("dropped", name=name), reason) for name, reason in lock.get("dropped", {}).items()]
