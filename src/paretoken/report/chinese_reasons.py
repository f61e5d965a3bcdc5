"""Why costs differ, said in Chinese: built from the same values as the English sentences, not from those."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.analysis.driver_shares import LEAST_R2, MOST_RIVALS, TARGETS
from paretoken.analysis.drivers import FEWEST_GROUPS, MOST_FITTED
from paretoken.report.chinese import percent

if TYPE_CHECKING:
    from paretoken.analysis.driver_shares import Drivers, Effect
    from paretoken.analysis.explanation import Explanation, Factor
    from paretoken.analysis.features import NothingToExplain
    from paretoken.analysis.results import Results

GROUPS = {"samples": "样本", "clusters": "簇"}
FACTORS = {
    "model price": ("模型更便宜", "模型更贵"),
    "prompt tokens": ("提示词更短", "提示词更长"),
    "completion tokens": ("回答更短", "回答更长"),
    "cache": ("更多命中厂商缓存", "更少命中厂商缓存"),
    "retries": ("重试更少", "重试更多"),
    "other meters": ("计算时间与媒体更少", "计算时间与媒体更多"),
}
_SAME_TEXT = {
    "prompt tokens": ("同样的提示词切成更少 token", "同样的提示词切成更多 token"),
    "completion tokens": ("同样长的回答切成更少 token", "同样长的回答切成更多 token"),
}


def drivers(results: Results, found: Drivers) -> list[str]:
    """What drives a number of the calls of a run, the answer first."""
    r2, low, high = found.r2
    fit = (
        f"折外 R² {r2:.2f} [{low:.2f}, {high:.2f}]，{found.n:,} 次调用、{found.n_groups:,} 个{GROUPS[found.grouped_by]}"
    )
    notes = []
    spikes = found.spikes
    if missing := len(results.table) - found.n - (0 if spikes is None else spikes.n):
        notes.append(f"{missing} 次没有 {found.target} 的调用已略去")
    if len(results.summaries) == 1:
        notes.append("只有一个方案：只有输入可能不同")
    if found.n > MOST_FITTED:
        notes.append(f"从 {found.n:,} 次调用中随机抽取约 {MOST_FITTED:,} 次拟合")
    if spikes is not None:
        who = f"（{spikes.label}，样本 {spikes.sample}）" if spikes.label else ""
        notes.append(f"略去了 {spikes.n} 次调用，其中一次的 {found.target} 为 {spikes.value:.3g}{who}，是其余均值的 "
                     f"{spikes.times:.0f} 倍：若计入，R² 为 {spikes.r2:.2f}")  # fmt: skip
    if not found.explained:
        return [f"选项与输入解释不了 {found.target} 的差异：{fit}，而至少需要 {LEAST_R2}", *notes]
    first = found.shares[0]
    share = f"{first.share:.0%} [{first.low:.0%}, {first.high:.0%}]"
    told = [f"“{feature(first.driver)}”决定了 {found.target} 差异的 {share}：{fit}"]
    if (best := found.saver) is not None:
        word = "节省" if found.target in TARGETS else "增益" if found.wanted == "more" else "降低"
        near = "、".join(f"“{rival.level}”" for rival in found.rivals[:MOST_RIVALS])
        more = "等" if len(found.rivals) > MOST_RIVALS else ""
        told.append(f"“{level(best)}”{word}最多：相对所试均值，每次调用 "
                    f"{found.amount(best.effect)}（{100 * best.effect / found.mean:+.0f}%）"
                    f"{f'；{near}{more}可能同样好' if near else ''}")  # fmt: skip
    return [*told, *notes]


def level(effect: Effect) -> str:
    """A level of a choice; of an edit, whether it is made."""
    if effect.driver.startswith("edit: "):
        return f"{'不用' if effect.level == '0' else '使用'}{feature(effect.driver)}"
    return f"{feature(effect.driver)} {effect.level}"


def feature(name: str) -> str:
    """A driver's name."""
    kind, colon, rest = name.partition(": ")
    return f"{_FEATURES[kind]} {rest}" if colon and kind in _FEATURES else _FEATURES.get(name, name)


_FEATURES = {
    "prompt": "提示词",
    "model": "模型",
    "edit": "改写",
    "tag": "标签",
    "input length": "输入长度",
    "language": "语言",
    "temperature": "温度",
}


def nothing_to_explain(error: NothingToExplain) -> str:
    """Why no drivers are shown."""
    return {
        "answers": "还没有回答：没有可解释的。",
        "values": "没有任何调用有成本。",
        "differences": "每次调用的成本都相同：没有可解释的。",
        "features": "各次调用之间没有任何选项或输入不同：没有东西能决定成本。",
        "samples": f"样本不足 {FEWEST_GROUPS} 个：说不清某个因素对其他样本是否也成立。",
    }[error.lacking]


def explanation(found: Explanation) -> list[str]:
    """How one cost comes about from another, the answer first."""
    told = _explained(found)
    return [*told, f"只有一方回答、或输入不同的 {found.left_out} 次调用已略去"] if found.left_out else told


def _explained(found: Explanation) -> list[str]:
    a_call, b_call = (f"${float(cost) / found.n:.3g}" for cost in (found.cost_a, found.cost_b))
    counted = f"每次调用 {b_call} 对 {a_call}，双方各 {found.n:,} 次"
    moved = sorted((f for f in found.factors if f.usd), key=lambda f: -abs(f.usd))
    if not found.difference:
        return [f"“{found.b}”与“{found.a}”成本完全相同：{counted}", *_tokens(found)]
    word = "贵" if found.difference > 0 else "便宜"
    if found.cost_a:
        sign = 1 if found.difference > 0 else -1
        size = f"{word} {percent(float(abs(found.difference) / found.cost_a))}"
        parts = [f"{_short(sign * 100 * float(f.usd / found.cost_a))} 个百分点来自{factor(found, f)}" for f in moved]
    else:
        size = word
        parts = [f"每次 ${float(abs(f.usd)) / found.n:.3g} 来自{factor(found, f)}" for f in moved]
    return [f"“{found.b}”比“{found.a}”{size}（{counted}）：{'，'.join(parts)}", *_tokens(found)]


def factor(found: Explanation, moved: Factor) -> str:
    """What a factor is, with its direction."""
    texts = _SAME_TEXT if found.same_text(moved.name) else FACTORS
    return texts[moved.name][moved.usd > 0]


def _tokens(found: Explanation) -> list[str]:
    a, b = found.tokens_a, found.tokens_b
    told = [
        f"{what}：每次调用 {was:,.1f} 变为 {now:,.1f} 个 token（{100 * (now / was - 1):+.0f}%）"
        for what, was, now in (("提示词", a.prompt, b.prompt), ("回答", a.completion, b.completion))
        if was and was != now
    ]
    if a.reasoning or b.reasoning:
        told.append(f"其中推理 token 每次调用 {a.reasoning:,.0f} 与 {b.reasoning:,.0f}")
    if a.cached or b.cached:
        rates = [t.cached / t.prompt if t.prompt else 0.0 for t in (a, b)]
        told.append(f"提示词中 {rates[0]:.0%} 与 {rates[1]:.0%} 来自厂商缓存")
    return told


def _short(points: float) -> str:
    return f"{points:.0f}" if abs(points) >= 1 else f"{points:.1g}"
