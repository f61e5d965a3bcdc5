"""What analysis says in English sentences, said in Chinese: built from the same values, not from the sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.analysis.abtest import RELABELLINGS, WON
from paretoken.analysis.agreement import NOTABLE
from paretoken.analysis.difference import MIN_PAIRS, MONEY
from paretoken.analysis.raced import MOST_NAMED
from paretoken.analysis.verdict import percent as percent_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.analysis.agreement import Agreement
    from paretoken.analysis.baseline import Held
    from paretoken.analysis.difference import Doubt, PairedDifference
    from paretoken.analysis.front import Standing
    from paretoken.analysis.raced import RaceOutcome
    from paretoken.analysis.results import Results
    from paretoken.analysis.segments import SegmentEffect
    from paretoken.analysis.verdict import Comparison, Judgement

VERDICTS = {
    "cheaper": "更便宜",
    "more expensive": "更贵",
    "dearer": "更贵",
    "cost within its margin": "成本在容差之内",
    "better": "更好",
    "not worse": "不劣于对照",
    "worse": "更差",
    "undecided": "尚无定论",
    "cannot tell": "无法判断",
    "equivalent": "等效",
}
_PAYS = {
    "earns its place": "值得保留",
    "may go": "可以去掉",
    "pays for itself": "省下的比花掉的多",
    "a trade-off": "有得有失",
    "undecided": "尚无定论",
    "cannot tell": "无法判断",
}
_PARTS = {"selection": "用于挑选的样本", "held out": "留出样本", "labels swapped at random": "标签随机互换"}


def verdict(comparison: Comparison) -> str:
    """A comparison's verdict in a word or two."""
    return "，".join(VERDICTS[word] for word in comparison.verdict.split(", "))


def verdicts(results: Results) -> list[str]:
    """All that is to be said of a run's comparisons, one sentence each."""
    if results.race is not None:
        return _race(results, results.race)
    told = [segment(e) for e in results.prompt_segments] or [sentence(c) for c in results.comparisons]
    test, confirmed = results.test, results.confirmation
    if confirmed is not None:
        going_on = confirmed.n < confirmed.planned and results.run.status != "finished"
        word = "已确认" if confirmed.verdict in WON else "尚未确认" if going_on else "未获确认"
        told.append(f"在留出样本上{word}：{sentence(confirmed)}")
    elif test is not None and test.confirm and told:
        winner = test.winner(results.comparisons)
        told.append(
            "没有可确认的：在用于挑选的样本上，没有方案被证明更便宜且不劣于对照"
            if winner is None
            else f"尚未确认：“{results.labels[winner]}”还没有回答任何留出样本"
        )
    if (rate := results.false_difference_rate) is not None and test is not None:
        told.append(f"A/A 检验：对这些样本对做 {RELABELLINGS:,} 次随机换标签，{100 * rate:.1f}% 显示出差异"
                    f"（承诺至多 {100 * test.alpha:g}%）")  # fmt: skip
    return told


def sentence(c: Comparison) -> str:
    """The verdict of a comparison in words."""
    parts = [] if c.cost is None else [_cost(c.cost)]
    parts += [_quality(judgement) for judgement in c.judged if judgement is not c.cost]
    if not parts:
        return f"“{c.treatment}”与“{c.control}”相比：没有双方都回答过的样本"
    counts = f"n = {c.n}，计划 {c.planned}" if c.n < c.planned else f"n = {c.n}"
    counts += "" if c.clusters is None else f"，分属 {c.clusters} 个簇"
    counts += f"，{_PARTS[c.part]}" if c.part else ""
    of = "这类输入" if c.population == "beyond" else f"这 {c.whole} 个样本"
    told = f"“{c.treatment}”与“{c.control}”相比：{'；'.join(parts)}；就{of}而言（{counts}）"
    if any(j.finding == "undecided" for j in c.judged):
        told += f"；尚无定论：{_needs(c)}"
    return "；注意，".join((told, *_minds(c)))


def segment(found: SegmentEffect) -> str:
    """What a segment of a prompt costs, what it buys, and whether it pays."""
    c, cost, answers = found.without, found.cost_share, found.output_tokens
    told = f"“{found.segment}”" if found.n_examples is None else f"这 {found.n_examples} 个例子"
    told += "占输入令牌的份额未知" if found.input_share is None else f"占输入令牌的 {percent(found.input_share)}"
    if cost.value is not None:
        sign, word = (-1, "省下") if found.saves else (1, "占")
        ends = [sign * end for end in (cost.low, cost.high) if end is not None]
        interval = f" [{percent(min(ends))}, {percent(max(ends))}]" if len(ends) > 1 else ""
        told += f"，{word}账单的 {percent(sign * cost.value)}{interval}"
    if answers.value is not None and answers.shown:
        told += f"（有它时回答{'长' if answers.value > 0 else '短'} {abs(answers.value):.1f} 个令牌）"
    known = {name: gain for name, gain in found.metrics.items() if gain.value is not None}
    bought = [f"{g.value:+.3g} {name} {g.interval}" for name, g in known.items() if not g.lowers]
    buys = [f"换来 {'、'.join(bought)}"] if bought else []
    buys += [f"使 {name} 降低 {g.loss}" for name, g in known.items() if g.lowers]
    needs = f"（{_needs(c)}）" if found.verdict == "undecided" else ""
    of = "这类输入" if c.population == "beyond" else f"这 {c.whole} 个样本"
    counts = f"n = {c.n}，计划 {c.planned}" if c.n < c.planned else f"n = {c.n}"
    told += f"，{'，'.join(buys) or '换来无可度量的东西'}：{_PAYS[found.verdict]}{needs}；就{of}而言（{counts}）"
    doubted = [j.difference for j in c.judged if j.difference.doubts]
    return "；注意，".join((told, *(f"{d.name}：{'；'.join(map(_why_doubted, d.doubts))}" for d in doubted)))


def _minds(c: Comparison) -> list[str]:
    return [f"{j.difference.name}：{_doubts(j.difference)}" for j in c.judged if j.difference.doubts]


def _cost(judgement: Judgement) -> str:
    d = judgement.difference
    if d.difference is None or d.low is None or d.high is None:
        return f"成本无法判断（{_reason(d)}）"
    relative = None if d.relative_low is None or d.relative_high is None else (d.relative_low, d.relative_high)
    if judgement.finding in ("undecided", "not worse"):
        word = "未显示成本差异"
        if judgement.margin is not None:
            within = "在容差之内" if judgement.finding == "not worse" else "相对容差尚无定论"
            word = f"成本{within}（每次调用 ${judgement.margin:.3g}）"
        if relative is None:
            return f"{word}（每 1,000 次调用 ${1000 * d.low:.3g} 至 ${1000 * d.high:.3g}）"
        return f"{word}（{100 * relative[0]:+.0f}% 至 {100 * relative[1]:+.0f}%）"
    word = "便宜" if judgement.finding == "better" else "贵"
    level = f"{100 * d.level:.3g}% 置信区间"
    if d.relative is None or relative is None or relative[0] < 0 < relative[1]:
        least, most = sorted((abs(d.low), abs(d.high)))
        by, low, high = (f"${1000 * usd:.3g}" for usd in (abs(d.difference), least, most))
        return f"每 1,000 次调用{word} {by}（{level} {low} 至 {high}）"
    least, most = sorted(map(abs, relative))
    return f"{word} {percent(abs(d.relative))}（{level} {percent(least)} 至 {percent(most)}）"


def _quality(judgement: Judgement) -> str:
    d = judgement.difference
    if d.difference is None or d.reason is not None:
        return f"{d.name} 无法判断（{_reason(d)}）"
    margin = "" if judgement.margin is None else f"容差 {judgement.margin:g}；"
    low, high = ("−∞" if d.low is None else f"{d.low:+.3g}"), ("∞" if d.high is None else f"{d.high:+.3g}")
    word = VERDICTS["equivalent" if judgement.equivalent else judgement.finding]
    return f"{d.name} {word}（{margin}差值 {d.difference:+.3g} [{low}, {high}]）"


def _needs(c: Comparison) -> str:
    undecided = [j for j in c.judged if j.finding == "undecided"]
    if c.needs is None:
        exact = all(j.difference.low == j.difference.high for j in undecided)
        return "二者完全相等" if exact else "二者过于接近，说不出需要多少样本"
    more = c.needs - c.n
    if more > 1_000_000:
        return "需要一百万以上的样本"
    if c.population == "dataset" and c.needs > c.planned:
        return f"这 {c.planned} 个样本很难分出高下"
    least = "至少" if any(j.needs is None for j in undecided) else "大约"
    return f"{least}还需要 {int(float(f'{max(more, 1):.2g}'))} 个样本" if more > 1 else "也许再有一个样本就够"


def _reason(d: PairedDifference) -> str:
    """Why nothing is told: in Chinese where numbers say it, else as analysis words it."""
    if d.reason is None:
        return "一侧没有界"
    return f"共同样本只有 {d.n} 个，至少需要 {MIN_PAIRS} 个" if d.n < MIN_PAIRS else f"原文：{d.reason}"


def _doubts(d: PairedDifference) -> str:
    return "；".join(doubt(found, d.name) for found in d.doubts)


def doubt(found: Doubt, quantity: str) -> str:
    """What makes an interval less sure than it looks, and what the bootstrap gives for it."""
    low, high = found.interval(quantity)
    unit = "（美元，每 1,000 次调用）" if quantity in MONEY else ""
    bootstrap = f"；自助法（BCa）给出 [{low:+.3g}, {high:+.3g}]{unit}" if found.kind in ("few", "skewed") else ""
    return _why_doubted(found) + bootstrap


def _why_doubted(found: Doubt) -> str:
    if found.kind == "missing":
        return f"{found.of} 个样本中有 {found.n} 个缺值，已略去"
    if found.kind == "alike":
        return f"全部 {found.n} 个差值相等，所以区间没有宽度：其余差值也如此时才成立"
    if found.kind == "asymptotic":
        return "区间是渐近的：样本很多时才成立"
    why = f"{found.of} 对中只有 {found.n} 对不同" if found.kind == "few" else "差值分布偏斜"
    return f"{why}，区间的实际把握可能低于所称"


def standing(found: Standing) -> str:
    """How a variant stands, and why it is not on the front."""
    left = found.departure
    if left is not None and (left.fate not in ("kept", "open") or (left.fate, left.kept_as) == ("open", "cheapest")):
        more = f" 等 {len(left.by)} 个方案" if len(left.by) > 1 else ""
        match left.fate:
            case "beaten":
                return f"{left.n} 个样本后被 {left.by[0]}{more} 超越"
            case "dearer":
                return f"比 {left.by[0]}{more} 贵"
            case "infeasible":
                return f"{left.n} 个样本后违反 {'、'.join(left.limits)}"
        return "尚无定论"
    if found.on_front:
        return "前沿" if left is None else "前沿（目前）" if left.fate != "kept" else _KEPT[left.kept_as]
    if found.broken:
        return f"违反约束 {'；'.join(found.broken)}"
    if found.unknown:
        return f"未排名：缺少 {'、'.join(found.unknown)} 的值"
    first, *others = found.dominated_by
    return f"被 {first}" + (f" 等 {len(others) + 1} 个方案" if others else "") + " 支配"


_KEPT = {"front": "前沿", "cheapest": "最便宜"}


def _race(results: Results, race: RaceOutcome) -> list[str]:
    left, n = race.departures, len(race.selection.samples)
    confidence = f"置信度 {100 * (1 - race.plan.alpha):g}%，就这 {n} 个样本而言"
    told = [_cheapest(results, race, confidence) if race.plan.kind == "cheapest" else _front(results, race, confidence)]
    undecided = [results.labels[id_] for id_, departure in left.items() if departure.fate == "open"]
    if undecided and results.run.lock.get("race"):
        told.append(f"尚无定论：{_some(undecided)}")
    broken = [name for departure in left.values() for name in departure.limits]
    if broken:
        ruled_out = sum(departure.fate == "infeasible" for departure in left.values())
        counts = sorted(((broken.count(name), name) for name in set(broken)), reverse=True)
        none = "没有方案满足约束；" if ruled_out == len(left) else ""
        listed = "、".join(f"{name} {count} 个" for count, name in counts)
        told.append(f"{none}{len(left)} 个方案中有 {ruled_out} 个违反约束：{listed}")
    told += [f"注意：{name} {'对所有回答都相同' if known else '没有任何值'}，决定不了什么" for name, known in race.mute]
    if race.plan.races and (saving := race.saving).saved_usd > 0:
        told.append(f"竞赛只问了 {saving.planned:,} 格中的 {saving.cells:,} 格：标价 ${saving.usd:.6f}，节省 "
                    f"${saving.saved_usd:.6f}（{100 * saving.rate:.0f}%）")  # fmt: skip
    if (volume := race.hypervolume) is not None and race.plan.kind != "cheapest":
        where = "在留出样本上" if race.held_out is not None else "在这些样本上"
        told.append(f"前沿的超体积：{volume[0]:.3f} [{volume[1]:.3f}, {volume[2]:.3f}]，{where}")
    return told


def _front(results: Results, race: RaceOutcome, confidence: str) -> str:
    names = [results.labels[id_] for id_ in race.chosen]
    entered, fates = len(results.labels), [departure.fate for departure in race.departures.values()]
    if not names:
        return f"{entered} 个方案中没有一个被证明在前沿上"
    margins = [f"{goal.slack:g} {goal.name}" for goal in race.plan.goals if goal.slack]
    margins += [f"{100 * goal.tolerance:g}% {goal.name}" for goal in race.plan.goals if goal.tolerance]
    within = f"（容差 {'、'.join(margins)}）" if margins else ""
    beaten = fates.count("beaten")
    how = f"{entered} 个方案中淘汰 {beaten} 个" if beaten else f"{entered} 个方案无一淘汰"
    if "open" in fates:
        return f"目前的前沿：{_some(names)}；{how}，每个被淘汰的都有留下的方案覆盖{within}（{confidence}）"
    if not race.plan.races:
        return f"前沿：{_some(names)}；{entered} 个方案回答了所有样本"
    return f"前沿：{_some(names)}；{how}，每个被淘汰的都有前沿上的方案覆盖{within}（{confidence}）"


def _cheapest(results: Results, race: RaceOutcome, confidence: str) -> str:
    plan = race.plan
    wanted = [f"{limit.name} {'≥' if limit.at_least else '≤'} {limit.bound:g}" for limit in plan.limits]
    if plan.within is not None:
        best = f"“{results.labels[plan.reference]}”" if plan.reference else "最好者"
        wanted.insert(0, f"{plan.goals[0].name} 与{best}相差不超过 {plan.within:g}")
    what = "且".join(wanted)
    if not race.chosen:
        open_ = any(departure.fate == "open" for departure in race.departures.values())
        return f"{what}的最便宜方案尚不清楚" if open_ else f"没有方案满足：{what}"
    costs = {s.label: cost for s in results.summaries if (cost := s.value("list_usd")) is not None}
    winner = results.labels[race.chosen[0]]
    cost, (dearest, most) = costs[winner], max(costs.items(), key=lambda item: item[1])
    saving = f"，比“{dearest}”低 {100 * (1 - cost / most):.0f}%" if most > cost else ""
    about = f"（超出 {100 * plan.goals[1].tolerance:g}% 才算）" if plan.goals[1].tolerance else ""
    others = "满足约束的其他方案" if plan.within is None else "相差不超过容差一半的其他方案"
    return (f"满足“{what}”的最便宜方案：“{winner}”，每千次调用 ${1000 * cost:.4g}{saving}；{others}没有更便宜的{about}"
            f"（{confidence}）")  # fmt: skip


def held(found: Held) -> list[str]:
    """A run held against its baseline, one sentence each."""
    told = [f"{metric} 没有与基线比较：评分方式不同，或基线缺少它的评分" for metric in found.refused]
    if found.nothing is not None:
        return told if told and not found.comparisons else [*told, f"没有方案与基线“{found.baseline.name}”比较"]
    words = {"worse": "低于", "better": "高于", "not worse": "不低于", "undecided": "可能低于也可能高于"}
    for c in found.comparisons:
        for j in c.quality:
            d, word = j.difference, words.get(j.finding, "无法与之区分：")
            ends = "" if d.low is None or d.high is None else f" [{d.low:+.3g}, {d.high:+.3g}]"
            size = _reason(d) if d.difference is None or d.reason else f"{d.difference:+.3g}{ends}"
            margin = "" if j.margin is None else f"（容差 {j.margin:g}）"
            told.append(f"“{c.treatment}”在 {d.name} 上{word}基线“{c.control}”{margin}：{size}，{d.n} 个样本")
    return told


def agreement(found: Agreement) -> str:
    """All that is to be said of a judge."""
    told = []
    if found.column is not None:
        same = "" if found.exact is None else f"，{100 * found.exact:.0f}% 给分相同"
        if found.kappa is None:
            told.append(f"{found.n_labelled} 条回答同时有评分与人工标注，不足以判断一致程度{same}")
        else:
            told.append(f"kappa {_interval(found.kappa)}，{found.n_labelled} 条回答{same}")
        if (bias := found.length_bias) is not None:
            shown = not bias[1] <= 0 <= bias[2]
            side = "高" if bias[0] > 0 else "低"
            told.append(f"回答长度加倍时，评分比人工{side} {_interval(bias)}" if shown else
                        f"未显示对长度的偏好（每加倍 {_interval(bias)}）")  # fmt: skip
    if found.n_judged < found.n:
        told.append(f"{found.n} 条回答中有 {found.n - found.n_judged} 条没有评分")
    if found.flip_rate is not None:
        told.append(f"{100 * found.flip_rate:.0f}% 的裁决取决于文本的先后次序")
    rho = found.length_correlation
    if found.column is None and rho is not None and abs(rho) >= NOTABLE:
        kind, size = "长" if rho > 0 else "短", f"Spearman {rho:+.2f}，{found.n_judged} 条回答"
        told.append(
            f"越{kind}的回答得分越高（{size}）：也许它们更好，也许评审偏爱它们；人工标注（human: 列名）可以说明"
        )
    if not told:
        told.append(f"评了 {found.n_judged} 条回答；人是否会同意尚不清楚（human: 列名 可以说明）")
    return f"评审 {found.metric}{'' if found.column is None else f'（对照 {found.column}）'}：{'；'.join(told)}"


def _interval(found: tuple[float, float, float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*(round(number, 2) + 0.0 for number in found))


def percent(rate: float) -> str:
    """A rate in percent, as every sentence writes it."""
    return f"{percent_words(rate)}%"


def _some(names: Sequence[str]) -> str:
    more = f"等 {len(names)} 个" if len(names) > MOST_NAMED else ""
    return "、".join(f"“{name}”" for name in names[:MOST_NAMED]) + more
