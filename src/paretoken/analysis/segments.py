"""What each segment of a prompt costs and buys: an A/B test of the prompt against itself without it, turned round."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from paretoken.analysis.abtest import WON
from paretoken.analysis.verdict import needs_words, percent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.analysis.difference import PairedDifference
    from paretoken.analysis.panel import Pairs
    from paretoken.analysis.verdict import Comparison


class Gain(NamedTuple):
    """With the segment, less without it.

    Attributes:
        value: None where nothing is known.
        low, high: Its interval; an end is None where it has no bound.
    """

    value: float | None
    low: float | None
    high: float | None

    @property
    def interval(self) -> str:
        """`[-0.004, +0.008]`."""
        low = "-inf" if self.low is None else f"{self.low:+.3g}"
        high = "inf" if self.high is None else f"{self.high:+.3g}"
        return f"[{low}, {high}]"

    @property
    def lowers(self) -> bool:
        """Whether it is a loss, shown or not."""
        return self.value is not None and self.value < 0

    @property
    def loss(self) -> str:
        """By how much it lowers a quantity: `0.03 [0.01, 0.05]`."""
        low = "-inf" if self.high is None else f"{0.0 - self.high:.3g}"
        high = "inf" if self.low is None else f"{0.0 - self.low:.3g}"
        return f"{0.0 - (self.value or 0.0):.3g} [{low}, {high}]"

    @property
    def shown(self) -> bool:
        """The interval excludes zero."""
        return (self.low is not None and self.low > 0) or (self.high is not None and self.high < 0)


UNKNOWN = Gain(None, None, None)


@dataclass(frozen=True, slots=True)
class SegmentEffect:
    """What one segment does to a call.

    Attributes:
        segment: Its name.
        n_examples: Examples in it; None for other segments.
        without: The comparison it was measured by: control is the whole prompt, treatment the prompt without it.
        input_tokens: What it adds to the prompt; without spread where it is the same for every input, as fixed text is.
        input_share: Share of the whole prompt's tokens, input and instructions together; None without tokens.
        output_tokens: What it adds to the answer.
        list_usd: What it adds to the cost of a call, longer or shorter answers included [USD].
        cost_share: Likewise, as a share of the whole prompt's cost.
        metrics: What it buys, by metric; with `list_usd` and those of the other segments one family of intervals.
    """

    segment: str
    n_examples: int | None
    without: Comparison
    input_tokens: Gain
    input_share: float | None
    output_tokens: Gain
    list_usd: Gain
    cost_share: Gain
    metrics: Mapping[str, Gain]

    @classmethod
    def of(cls, segment: str, n_examples: int | None, without: Comparison, tokens: Pairs) -> SegmentEffect:
        """Turn a comparison round.

        Args:
            segment: The segment's name.
            n_examples: Examples in it.
            without: Its treatment is the prompt without the segment.
            tokens: Input tokens of both.
        """
        alone = {j.difference.name: j.difference for j in without.others}
        cost = None if without.cost is None else without.cost.difference
        added, mean = tokens.control - tokens.treatment, float(tokens.control.mean()) if len(tokens) else 0.0
        same = len(tokens) > 0 and bool((added == added[0]).all())
        return cls(
            segment,
            n_examples,
            without,
            Gain(float(added[0]), float(added[0]), float(added[0])) if same else _gain(alone.get("input_tokens")),
            float(added.mean()) / mean if mean else None,
            _gain(alone.get("output_tokens")),
            _gain(cost),
            _share(cost),
            {j.difference.name: _gain(j.difference) for j in without.quality},
        )

    @property
    def saves(self) -> bool:
        """The prompt is shown to be more expensive without it."""
        return self.list_usd.high is not None and self.list_usd.high < 0

    @property
    def verdict(self) -> str:
        """Whether it pays: `earns its place`, `may go`, `pays for itself`, `a trade-off`, `undecided`, `cannot tell`.

        It earns its place where a metric is shown to be worse without it, and may go where the prompt is shown to be
        cheaper and not worse without it. Where the prompt is more expensive without it, it pays for itself, unless
        answers are better without it: that is a trade-off.
        """
        found = self.without.verdict
        if found == "worse":
            return "earns its place"
        if not self.metrics or "cannot tell" in found:
            return "cannot tell"
        if found in WON:
            return "may go"
        return "undecided" if not self.saves else "a trade-off" if "better" in found else "pays for itself"

    @property
    def subject(self) -> str:
        """The segment as a sentence names it: `"role"`, `the 3 examples`."""
        if self.n_examples is None:
            return f'"{self.segment}"'
        return "the one example" if self.n_examples == 1 else f"the {self.n_examples} examples"

    @property
    def sentence(self) -> str:
        """What it costs, what it buys, and whether it pays."""
        c, s = self.without, "" if (self.n_examples or 1) > 1 else "s"
        of = "inputs like these" if c.population == "beyond" else f"these {c.whole} samples"
        counts = f"n = {c.n} of {c.planned}" if c.n < c.planned else f"n = {c.n}"
        told = f"{self.subject} {self._costs(s)}, and {self._buys(s)}: {self._pays(s)}; on {of} ({counts})"
        return "; caution: ".join((told, *self._doubts()))

    def _doubts(self) -> list[str]:
        """Why intervals are less sure than they look, without the numbers of the comparison, which is the other way."""
        judged = self.without.judged
        return [
            f"{name}: {'; '.join(doubt.words(name).partition('; ')[0] for doubt in j.difference.doubts)}"
            for j in judged
            for name in [j.difference.name]
            if j.difference.doubts
        ]

    def _costs(self, s: str) -> str:
        of_input = "an unknown share" if self.input_share is None else f"{percent(self.input_share)} %"
        told = f"cost{s} {of_input} of input tokens"
        share, answers = self.cost_share, self.output_tokens
        if share.value is not None and self.saves:
            told += f", but save{s} {percent(-share.value)} % of the bill{_percents(*share[:0:-1], sign=-1)}"
        elif share.value is not None:
            told += f" and {percent(share.value)} % of the bill{_percents(*share[1:])}"
        if answers.value is not None and answers.shown:
            way = "longer" if answers.value > 0 else "shorter"
            told += f" (answers are {abs(answers.value):.1f} tokens {way} with {'it' if s else 'them'})"
        return told

    def _buys(self, s: str) -> str:
        known = {name: gain for name, gain in self.metrics.items() if gain.value is not None}
        bought = [f"{g.value:+.3g} {name} {g.interval}" for name, g in known.items() if not g.lowers]
        told = [f"buy{s} {', '.join(bought)}"] if bought else []
        told += [f"lower{s} {name} by {g.loss}" for name, g in known.items() if g.lowers]
        return " and ".join(told) or f"buy{s} nothing that is measured"

    def _pays(self, s: str) -> str:
        words = self.verdict if s else self.verdict.replace("earns its", "earn their")
        words = words if s else words.replace("pays for itself", "pay for themselves")
        return f"{words} ({needs_words(self.without)})" if words == "undecided" else words

    def body(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "segment": self.segment,
            "n_examples": self.n_examples,
            "without": self.without.treatment,
            "n": self.without.n,
            "input_tokens": self.input_tokens._asdict(),
            "input_share": self.input_share,
            "output_tokens": self.output_tokens._asdict(),
            "list_usd": self.list_usd._asdict(),
            "cost_share": self.cost_share._asdict(),
            "metrics": {name: gain._asdict() for name, gain in self.metrics.items()},
            "verdict": self.verdict,
            "sentence": self.sentence,
        }


def _gain(d: PairedDifference | None) -> Gain:
    """A difference turned round."""
    return UNKNOWN if d is None else Gain(_less(d.difference), _less(d.high), _less(d.low))


def _share(d: PairedDifference | None) -> Gain:
    return UNKNOWN if d is None else Gain(_less(d.relative), _less(d.relative_high), _less(d.relative_low))


def _less(value: float | None) -> float | None:
    return None if value is None else 0.0 - value


def _percents(low: float | None, high: float | None, sign: int = 1) -> str:
    if low is None or high is None:
        return ""
    return " [{}, {}]".format(*(f"{'-' if end < 0 else '+'}{percent(abs(end))}" for end in (sign * low, sign * high)))
