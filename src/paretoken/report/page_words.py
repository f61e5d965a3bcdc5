"""Every fixed phrase of a page, in English and Chinese."""

from __future__ import annotations

from typing import Literal

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

PHRASES: dict[str, tuple[str, str]] = {
    # the head
    "about": (
        "run {run} · {status} · began {day} · {samples} samples · {variants} variants",
        "运行 {run} · {status} · 始于 {day} · {samples} 个样本 · {variants} 个方案",
    ),
    "status.finished": ("finished", "已完成"),
    "status.running": ("running", "进行中"),
    "status.stopped": ("stopped", "已停止"),
    "status.failed": ("failed", "已失败"),
    "unfinished": (
        "This run is {status}: all that follows is what is recorded so far.",
        "本次运行{status}：以下内容仅为目前已记录的结果。",
    ),
    "in full": ("{n} more", "另外 {n} 项"),
    "contents": ("On this page", "本页内容"),
    # the verdict
    "verdict": ("Verdict", "结论"),
    "lead.won": (
        "“{b}” is {size} cheaper than “{a}” and {quality}",
        "“{b}”比“{a}”便宜 {size}，{quality}",
    ),
    "lead.unconfirmed": (
        "“{b}” is cheaper than “{a}” and not worse on the samples of the selection; held-out samples do not confirm "
        "it, or not yet.",
        "在用于挑选的样本上，“{b}”比“{a}”便宜且不劣于它；留出样本没有确认，或尚未确认。",
    ),
    "quality.better": ("better.", "而且更好。"),
    "quality.not worse": ("not worse.", "且不劣于对照。"),
    "quality.none": ("no quality was judged.", "但未评判质量。"),
    "lead.none": (
        "No variant is shown to be cheaper than “{a}” and not worse.",
        "没有方案被证明比“{a}”便宜且不劣于它。",
    ),
    "lead.open": (
        "Nothing is decided against “{a}” yet.",
        "与“{a}”相比，目前尚无定论。",
    ),
    "lead.part": (
        "“{b}” against “{a}”: {decided}; still open: {open}.",
        "“{b}”对比“{a}”：{decided}；尚无定论：{open}。",
    ),
    "lead.on": ("{finding} on {name}", "{name} {finding}"),
    "lead.cost": ("cost", "成本"),
    "lead.and": (", ", "、"),
    "lead.alone": (
        "There is one variant: there is nothing to compare it with.",
        "只有一个方案：没有可以比较的对象。",
    ),
    "lead.nothing": (
        "There is nothing to compare: fewer than two variants can be.",
        "没有可以比较的内容：可比较的方案不足两个。",
    ),
    "lead.front": (
        "“{a}” stands alone on the front: no other variant is cheaper, or better.",
        "前沿上只有“{a}”：没有别的方案更便宜或更好。",
    ),
    "lead.race": ("{n} of {of} variants are on the front.", "{of} 个方案中有 {n} 个位于前沿。"),
    "lead.race.open": (
        "{n} of {of} variants are on the front so far; {open} are undecided.",
        "目前 {of} 个方案中有 {n} 个位于前沿；{open} 个尚无定论。",
    ),
    "lead.cheapest": ("“{b}” is the cheapest that is good enough.", "“{b}”是足够好的方案中最便宜的。"),
    "lead.cheapest.open": ("The cheapest that is good enough is not known yet.", "足够好的最便宜方案尚不清楚。"),
    "lead.cheapest.none": ("No variant is good enough.", "没有足够好的方案。"),
    "lead.empty": ("No call was answered yet.", "还没有任何调用得到回答。"),
    "tiles": ("“{b}” against “{a}”", "“{b}”对比“{a}”"),
    "tile.cost": ("list cost of 1,000 calls", "每千次调用标价成本"),
    "tile.latency": ("latency, 95th percentile", "延迟（第 95 百分位）"),
    "tile.tokens": ("tokens of an answer", "每条回答的 token 数"),
    "from": ("from {value}", "原为 {value}"),
    "better right": (
        "better lies to the right; shaded: a loss that counts as not worse",
        "右侧为更好；阴影：仍算“不劣于对照”的损失",
    ),
    "better right bare": ("better lies to the right", "右侧为更好"),
    "differences": ("Differences of “{b}” from “{a}”", "“{b}”与“{a}”的差异"),
    "finding.better": ("better", "更好"),
    "finding.not worse": ("not worse", "不劣于对照"),
    "finding.worse": ("worse", "更差"),
    "finding.equivalent": ("equivalent", "等效"),
    "finding.undecided": ("undecided", "尚无定论"),
    "finding.cannot tell": ("cannot tell", "无法判断"),
    "finding.cheaper": ("cheaper", "更便宜"),
    "finding.dearer": ("more expensive", "更贵"),
    "baseline": ("Against the baseline", "与基线相比"),
    "judges": ("How far to trust the judge", "评审模型可信到什么程度"),
    # the front
    "front": ("Cost against quality", "成本与质量"),
    "front.figure": (
        "{height} against list cost of 1,000 calls, with 95 % intervals",
        "{height} 与每千次调用标价成本，附 95% 区间",
    ),
    "axis.up": ("{height}, higher is better", "{height}，越高越好"),
    "axis.down": ("{height}, lower is better", "{height}，越低越好"),
    "axis.cost": ("list cost of 1,000 calls, USD", "每千次调用标价成本（美元）"),
    "front.key": (
        "Strong: on the front, no other variant is both cheaper and better. Pale: beaten. Hollow: breaks a limit or is "
        "undecided. Bars: 95 % intervals.",
        "深色：位于前沿，没有别的方案既更便宜又更好。浅色：被超越。空心：违反约束或尚无定论。线段：95% 区间。",
    ),
    "front.none": (
        "No variant has both a cost and a value of {height} yet.",
        "还没有方案同时具有成本和 {height} 的数值。",
    ),
    "col.variant": ("variant", "方案"),
    "col.cost": ("USD per 1,000 calls", "每千次调用（美元）"),
    "col.saving": ("saving", "节省"),
    "col.p95": ("p95 latency", "p95 延迟"),
    "col.tokens": ("tokens in / out", "令牌 入 / 出"),
    "col.errors": ("errors", "失败率"),
    "col.n": ("n", "n"),
    "col.standing": ("standing", "地位"),
    "front.note": (
        "Means with 95 % intervals, one value a sample; saving is against the most expensive variant.",
        "均值附 95% 区间，每个样本一个值；节省相对于最贵的方案。",
    ),
    "held out": ("Selected, and confirmed on samples held out", "挑选结果与留出样本上的确认"),
    "col.quantity": ("quantity", "量"),
    "col.selected": ("selected", "挑选时"),
    "col.held out": ("held out", "留出样本"),
    "objectives": ("Objectives", "目标"),
    "minimise": ("minimise {names}", "最小化 {names}"),
    "maximise": ("maximise {names}", "最大化 {names}"),
    "subject to": ("subject to {names}", "约束：{names}"),
    # why
    "drivers": ("What drives the cost", "成本由什么决定"),
    "drivers.shares": (
        "Shares of the differences in the cost of a call, with 95 % intervals",
        "各因素在单次调用成本差异中所占份额，附 95% 区间",
    ),
    "kind.choice": ("a choice", "可选"),
    "kind.input": ("an input", "输入"),
    "drivers.effects": (
        "What each choice adds, against the mean of all calls",
        "每个选项相对全部调用均值增加多少",
    ),
    "col.choice": ("choice", "选项"),
    "col.adds": ("adds, USD per 1,000 calls", "每千次调用增加（美元）"),
    "col.of mean": ("of the mean", "占均值"),
    "col.calls": ("calls", "调用数"),
    "waterfall": ("From “{a}” to “{b}”, step by step", "从“{a}”到“{b}”，逐步分解"),
    "waterfall.figure": ("List cost of 1,000 calls, retries included, USD", "每千次调用标价成本，含重试（美元）"),
    "waterfall.exact": ("Exact sums over {n} calls of each", "双方各 {n} 次调用的精确总和"),
    "col.step": ("step", "步骤"),
    "col.usd call": ("USD per 1,000 calls", "每千次调用（美元）"),
    "col.points": ("points", "百分点"),
    "col.usd exact": ("USD, exact", "美元（精确）"),
    "waterfall.none": (
        "There is no waterfall: it takes two variants that answered the same samples.",
        "没有瀑布图：需要两个回答过相同样本的方案。",
    ),
    "waterfall.refused": ("The difference in cost cannot be split.", "无法分解成本差异。"),
    # estimate and bill
    "cost": ("Estimate and bill", "预估与实付"),
    "cost.figure": ("estimated range, 90 % interval, and the bill, USD", "预估范围、90% 区间与实付（美元）"),
    "outcome.below": ("The bill, ${bill}, lies below the {what}.", "实付 ${bill}，低于{what}。"),
    "outcome.inside": ("The bill, ${bill}, lies inside the {what}.", "实付 ${bill}，落在{what}之内。"),
    "outcome.above": ("The bill, ${bill}, lies above the {what}.", "实付 ${bill}，高于{what}。"),
    "outcome.so far": ("${bill} is billed so far.", "目前已付 ${bill}。"),
    "outcome.nothing": (
        "No call was sent: all answers were recorded or paid for earlier. At list price they cost ${list}.",
        "没有发出任何调用：全部回答来自录制或此前已付费。按标价它们的成本为 ${list}。",
    ),
    "what.predicted": (
        "90 % interval of ${low} to ${high}, predicted from recorded calls before the run",
        "运行前根据已记录调用预测的 90% 区间（${low} 至 ${high}）",
    ),
    "what.range": (
        "range of ${low} to ${high}, from the shortest to the longest answers",
        "从最短到最长回答的预估范围（${low} 至 ${high}）",
    ),
    "col.usd": ("USD", "美元"),
    "cost.estimated": ("estimated, shortest to longest answers", "预估，从最短到最长回答"),
    "cost.expected": ("expected, 90 % interval from recorded calls", "预期，根据已记录调用的 90% 区间"),
    "cost.billed": ("billed", "实付"),
    "cost.judges": ("of which judges", "其中评审模型"),
    "cost.list": ("at list price, cached and recorded answers too", "按标价，含缓存与录制的回答"),
    "cost.budget": ("budget", "预算"),
    "to": ("{low} to {high}", "{low} 至 {high}"),
    "none": ("none", "无"),
    # examples
    "examples": ("Answers side by side", "回答对照"),
    "examples.chosen": (
        "The same samples, answered by “{a}” and by “{b}”; chosen by {name}.",
        "相同样本，由“{a}”与“{b}”分别回答；按 {name} 挑选。",
    ),
    "examples.key": (
        "Marked: what the other answer does not have, upper and lower case aside.",
        "标记：另一个回答中没有的部分，不计大小写。",
    ),
    "examples.unlike": (
        "These two answers have so little in common that nothing is marked.",
        "这两个回答几乎没有共同之处，因此不作标记。",
    ),
    "why.loss": ("Largest loss", "损失最大"),
    "why.gain": ("Largest gain", "收益最大"),
    "why.typical": ("A difference like most", "差异居中"),
    "sample": ("sample {id}", "样本 {id}"),
    "input": ("Input", "输入"),
    "reference": ("Reference", "参考"),
    "empty answer": ("(an empty answer)", "（空回答）"),
    "cut": ("… and {n} more characters", "……另有 {n} 个字符"),
    "answer.facts": ("{name} {value} · {tokens} tokens · ${usd}", "{name} {value} · {tokens} 个令牌 · ${usd}"),
    "answer.cost": ("{tokens} tokens · ${usd}", "{tokens} 个令牌 · ${usd}"),
    "examples.not kept": (
        "This run keeps no texts (store: content: {content}), so no answers can be shown.",
        "本次运行不保存文本（store: content: {content}），因此无法展示回答。",
    ),
    "examples.none": (
        "There are no two answers to the same sample to be compared.",
        "没有对同一样本的两个回答可供对照。",
    ),
    # trust
    "trust": ("How far to trust it", "可信到什么程度"),
    "claims": (
        "All claims of the verdict together are wrong at most {alpha} % of the time.",
        "结论中的所有论断合在一起，出错的概率至多 {alpha}%。",
    ),
    "claims.race": (
        "All decisions of the race together are wrong at most {alpha} % of the time; they are about the means over "
        "these {n} samples, not about others like them.",
        "竞赛的所有决定合在一起，出错的概率至多 {alpha}%；它们说的是这 {n} 个样本的均值，而不是其他类似样本。",
    ),
    "claims.none": (
        "No claim is made: nothing was compared.",
        "没有作出任何论断：未作比较。",
    ),
    "anytime": (
        "Intervals hold at every look, also if the run is stopped because of what they show.",
        "区间在每次查看时都成立，即使因所见而停止运行。",
    ),
    "read once": ("Intervals are read once, at the end.", "区间只在结束时读取一次。"),
    "caution.cut": (
        "“{variant}”: {n} of {of} answers end at max_tokens; raise it, or ask for less.",
        "“{variant}”：{of} 条回答中有 {n} 条到 max_tokens 为止；请调高上限或要求更短的回答。",
    ),
    "caution.withheld": (
        "“{variant}”: {n} of {of} answers were withheld by the provider's filter.",
        "“{variant}”：{of} 条回答中有 {n} 条被服务商的过滤器拦下。",
    ),
    "caution.thought": (
        "“{variant}”: {n} of {of} answers hold their thinking (<think>):",
        "“{variant}”：{of} 条回答中有 {n} 条含有思考过程（<think>）：",
    ),
    "caution.estimated": (
        "“{variant}”: the provider reported no usage, or an impossible one, for {n} of {of} answers: their list cost "
        "is an estimate, and they are booked at their upper bound.",
        "“{variant}”：{of} 条回答中有 {n} 条没有可信的用量：目录价成本为估算，并按上限入账。",
    ),
    "caution.alike": (
        "“{variant}” gave the same answer to {n} of {of} samples.",
        "“{variant}”对 {of} 个样本中的 {n} 个给出了相同回答。",
    ),
    "caution.missing": (
        "“{variant}”: {metric} is missing for {n} of {of} answers:",
        "“{variant}”：{of} 条回答中有 {n} 条缺少 {metric}：",
    ),
    "caution.noted": ("“{variant}”: {metric} of {of} answers:", "“{variant}”：{of} 条回答的 {metric}："),
    "failures": ("“{variant}”: {n} of {of} calls failed.", "“{variant}”：{of} 次调用中有 {n} 次失败。"),
    "dropped": ("The objective {name} was dropped:", "目标 {name} 被舍弃："),
    "unscored": ("No scorer was named: nothing is said of quality.", "未指定评分器：不对质量作任何判断。"),
    # reproduce
    "reproduce": ("How to reproduce", "如何复现"),
    "reproduce.say": (
        "The same spec, data and prompts give the same run: the command reads what is recorded and sends what is "
        "missing.",
        "相同的规格、数据与提示词得到相同的运行：该命令读取已有记录，只发送缺少的调用。",
    ),
    "lock": ("lock, SHA-256", "锁，SHA-256"),
    "seed": ("seed", "随机种子"),
    "dataset": ("dataset", "数据集"),
    "dataset.facts": ("{path}, {n} samples, hash {hash}", "{path}，{n} 个样本，哈希 {hash}"),
    "plan": ("plan", "计划"),
    "version": ("version", "版本"),
    "prompts": ("Prompts by content hash", "提示词（内容哈希）"),
    "models": ("Models, who served them, and their prices", "模型、实际服务版本与价格"),
    "col.model": ("model", "模型"),
    "col.served": ("served by", "服务版本"),
    "col.price": ("price, USD", "价格（美元）"),
    "col.source": ("row and source", "价格行与来源"),
    "col.checked": ("checked", "核对日期"),
    "recorded": ("recorded answers", "录制的回答"),
    "free": ("free", "免费"),
    "above tokens": ("above {n} input tokens: {rates}", "输入超过 {n} 令牌：{rates}"),
    "made by": (
        "made by paretoken {version} from the records of run {run}",
        "由 paretoken {version} 根据运行 {run} 的记录生成",
    ),
    "scorer": ("scorer", "评分器"),
}
"""By key: English, Chinese. Both have the same placeholders."""


def language_named(name: str) -> Language:
    """The language meant by `en` or `zh`.

    Raises:
        SpecError: There are no pages in it.
    """
    for language in LANGUAGES:
        if language == name:
            return language
    raise SpecError(f"there are no pages in {name!r}.", fix=suggest(name, LANGUAGES), field="--lang")


class Words:
    """The phrases of one language.

    Args:
        language: Which.
    """

    def __init__(self, language: Language) -> None:
        self.language = language
        self._column = LANGUAGES.index(language)

    def __call__(self, key: str, /, **values: object) -> str:
        """A phrase with its placeholders filled."""
        return self.spaced(PHRASES[key][self._column]).format(**values)

    def spaced(self, text: str) -> str:
        """A text with percent signs set as the language sets them."""
        return text.replace(" %", "%" if self.language == "zh" else "\u00a0%")

    def percent(self, number: str) -> str:
        """A percentage as the language writes it."""
        return self.spaced(f"{number} %")
