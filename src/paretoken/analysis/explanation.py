"""The exact waterfall: from what one variant costs to what another does, factor by factor, to the last pico-dollar."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from html import escape
from itertools import combinations
from math import factorial
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from paretoken.analysis.bills import bills_of
from paretoken.analysis.verdict import percent
from paretoken.core.errors import SpecError
from paretoken.core.usage import from_pico

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from paretoken.analysis.bills import Bill
    from paretoken.analysis.results import Results

FACTORS = {
    "model price": ("a cheaper model", "a more expensive model"),
    "prompt tokens": ("a shorter prompt", "a longer prompt"),
    "completion tokens": ("shorter answers", "longer answers"),
    "cache": ("more of the vendor's cache", "less of the vendor's cache"),
    "retries": ("fewer retries", "more retries"),
    "other meters": ("less compute time and media", "more compute time and media"),
}
"""What a cost is made of, and what to say where it falls and where it rises."""
_SAME_TEXT = {
    "prompt tokens": ("fewer tokens for the same prompt", "more tokens for the same prompt"),
    "completion tokens": ("fewer tokens for answers of the same length", "more tokens for answers of the same length"),
}


class Factor(NamedTuple):
    """One step of the waterfall: what it changes of the summed cost [USD], exactly."""

    name: str
    usd: Decimal


class Tokens(NamedTuple):
    """What the calls of one side hold on average.

    Attributes:
        prompt, completion, cached, reasoning: Tokens a call; the last two are parts of the first two.
        prompt_chars, answer_chars: Characters a call; 0 where texts are not kept.
    """

    prompt: float
    completion: float
    cached: float
    reasoning: float
    prompt_chars: float
    answer_chars: float


@dataclass(frozen=True, repr=False)
class Explanation:
    """How the cost of B comes about from that of A, on the calls that both have answered.

    Attributes:
        a, b: The variants, as they are called.
        n: Calls of each.
        cost_a, cost_b: Summed list cost and retries of these calls [USD].
        factors: Shapley values of the difference over factors; they add up to it to the pico-dollar.
        tokens_a, tokens_b: What the calls hold.
        notes: What else is to be known, one sentence each.
        left_out: Calls that only one of the two has answered, or on another input.

    Source: Shapley 1953, A value for n-person games; every order of the factors has the same weight, so none is first.
    """

    a: str
    b: str
    n: int
    cost_a: Decimal
    cost_b: Decimal
    factors: tuple[Factor, ...]
    tokens_a: Tokens
    tokens_b: Tokens
    notes: tuple[str, ...] = ()
    left_out: int = 0

    @property
    def difference(self) -> Decimal:
        """Cost of B less that of A [USD]."""
        return self.cost_b - self.cost_a

    @cached_property
    def sentences(self) -> list[str]:
        """What is to be said, the answer first."""
        a_call, b_call = (f"${float(cost) / self.n:.3g}" for cost in (self.cost_a, self.cost_b))
        counted = f"{b_call} against {a_call} a call, on {self.n:,} calls of each"
        moved = sorted((f for f in self.factors if f.usd), key=lambda f: -abs(f.usd))
        if not self.difference:
            told = [f'"{self.b}" costs exactly what "{self.a}" does: {counted}']
            told += [f"{self.words(f)}: {float(f.usd) / self.n:+.3g} USD a call" for f in moved]
        else:
            word = "more expensive" if self.difference > 0 else "cheaper"
            if self.cost_a:
                size = f"{percent(float(abs(self.difference) / self.cost_a))} % {word}"
                unit = self.cost_a / 100
                points = [(f"{self._points(f.usd, unit)} points", self.words(f)) for f in moved]
            else:
                size = word
                points = [(f"${float(abs(f.usd)) / self.n:.3g} a call", self.words(f)) for f in moved]
            parts = ", ".join(f"{size_} from {words}" for size_, words in points)
            told = [f'"{self.b}" is {size} than "{self.a}" ({counted}): {parts}']
        if self.left_out:
            told.append(
                f"{self.left_out} calls that only one of the two has answered, or on another input, are left out"
            )
        return [*told, *self._token_sentences(), *self.notes]

    def words(self, factor: Factor) -> str:
        """What a factor is, with its direction."""
        texts = _SAME_TEXT if self.same_text(factor.name) else FACTORS
        return texts[factor.name][factor.usd > 0]

    def same_text(self, name: str) -> bool:
        """Whether a factor's tokens differ in number for texts of the same length."""
        a, b = self.tokens_a, self.tokens_b
        if name == "prompt tokens":
            return _alike(a.prompt_chars, b.prompt_chars)
        return name == "completion tokens" and _alike(a.answer_chars, b.answer_chars)

    def _points(self, usd: Decimal, unit: Decimal) -> str:
        points = float(usd / unit) * (1 if self.difference > 0 else -1)
        return f"{points:.0f}" if abs(points) >= 1 else f"{points:.1g}"

    def _token_sentences(self) -> list[str]:
        a, b = self.tokens_a, self.tokens_b
        told = []
        for what, was, now, chars_was, chars_now in (
            ("prompt", a.prompt, b.prompt, a.prompt_chars, b.prompt_chars),
            ("answers", a.completion, b.completion, a.answer_chars, b.answer_chars),
        ):
            if not was or was == now:
                continue
            text = f"{what}: {was:,.1f} to {now:,.1f} tokens a call ({_signed(now / was - 1)} %)"
            if chars_was and chars_now and now:
                dense = f"{chars_was / was:.2f} and {chars_now / now:.2f} characters a token"
                same = _alike(chars_was, chars_now)
                text += (
                    f" for the same text, which is cut into finer tokens: {dense}" if same and now > was
                    else f" for the same text, which is cut into coarser tokens: {dense}" if same
                    else f", {_signed(chars_now / chars_was - 1)} % characters ({dense})"
                )  # fmt: skip
            told.append(text)
        if a.reasoning or b.reasoning:
            told.append(f"of the answers' tokens {a.reasoning:,.0f} and {b.reasoning:,.0f} a call are reasoning")
        if a.cached or b.cached:
            rates = [t.cached / t.prompt if t.prompt else 0.0 for t in (a, b)]
            told.append(f"of the prompt {rates[0]:.0%} and {rates[1]:.0%} came from the vendor's cache")
        return told

    def steps(self) -> list[tuple[str, float]]:
        """The waterfall per call: A, each factor that moves it, B [USD]."""
        moved = [(self.words(f), float(f.usd) / self.n) for f in self.factors if f.usd]
        return [(self.a, float(self.cost_a) / self.n), *moved, (self.b, float(self.cost_b) / self.n)]

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><td>{escape(name)}</td><td>{usd:+.4g}</td></tr>" for name, usd in self.steps())
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return f"{said}<table><tr><th></th><th>USD a call</th></tr>{rows}</table>"


def explain(a: tuple[Results, str], b: tuple[Results, str]) -> Explanation:
    """Split the difference in cost between two variants, of one run or of two.

    Args:
        a: A run, and a variant of it by label or id.
        b: What it is compared with.

    Raises:
        SpecError: There is no such variant, the two are one, no call was answered by both, or nobody can say whether
            two runs had the same inputs.
    """
    (run_a, name_a), (run_b, name_b) = a, b
    id_a, id_b = run_a.variant_id(name_a), run_b.variant_id(name_b)
    one_run = run_a.run.id == run_b.run.id
    label_a, label_b = run_a.labels[id_a], run_b.labels[id_b]
    if one_run and id_a == id_b:
        raise SpecError(f'"{label_a}" is one variant: nothing lies between it and itself.',
                        fix=f"Name two of {', '.join(run_a.labels.values())}.")  # fmt: skip
    if not one_run:
        label_a, label_b = f"{label_a} of {run_a.run.id}", f"{label_b} of {run_b.run.id}"
    bills_a, versions_a = bills_of(run_a, id_a)
    bills_b, versions_b = bills_of(run_b, id_b)
    same = _same_inputs(run_a, run_b)
    shared = [cell for cell in bills_a if cell in bills_b and same(cell[0])]
    if not shared:
        raise SpecError(f'no sample was answered by both "{label_a}" and "{label_b}".')
    notes = [
        f"{results.run.id} is {results.run.status}: this is what is recorded so far"
        for results in ((run_a,) if one_run else (run_a, run_b))
        if results.run.status != "finished"
    ]
    if versions_a != versions_b and versions_a and versions_b:
        notes.append(f"served by {' and '.join(sorted(versions_a))} against {' and '.join(sorted(versions_b))}")
    found = split(label_a, label_b, [(bills_a[cell], bills_b[cell]) for cell in shared], notes)
    return replace(found, left_out=len({*bills_a, *bills_b}) - len(shared))


def split(a: str, b: str, pairs: Sequence[tuple[Bill, Bill]], notes: Sequence[str] = ()) -> Explanation:
    """Split the difference between the sums of paired calls.

    Args:
        a: What the first of each pair is called.
        b: What the second is called.
        pairs: At least one.
        notes: Further sentences.
    """
    names = [name for name in FACTORS if any(_differs(name, pair) for pair in pairs)]

    def value(chosen: frozenset[str]) -> int:
        return sum(_mixed(pair, chosen).pico for pair in pairs)

    shares = _to_whole(shapley(names, value))
    sides = [[pair[i] for pair in pairs] for i in (0, 1)]
    cost_a, cost_b = (from_pico(sum(bill.pico for bill in side)) for side in sides)
    factors = tuple(Factor(name, from_pico(pico)) for name, pico in shares.items())
    tokens_a, tokens_b = map(_tokens, sides)
    return Explanation(a, b, len(pairs), cost_a, cost_b, factors, tokens_a, tokens_b, tuple(notes))


def shapley(names: Sequence[str], value: Callable[[frozenset[str]], int]) -> dict[str, Fraction]:
    """Shapley values, exactly.

    Args:
        names: The players.
        value: Worth of a coalition.
    """
    n = len(names)
    known = {frozenset(group): value(frozenset(group)) for size in range(n + 1) for group in combinations(names, size)}
    found = {}
    for name in names:
        others = [other for other in names if other != name]
        total = Fraction(0)
        for size in range(n):
            weight = Fraction(factorial(size) * factorial(n - size - 1), factorial(n))
            for group in combinations(others, size):
                total += weight * (known[frozenset((*group, name))] - known[frozenset(group)])
        found[name] = total
    return found


def _to_whole(shares: Mapping[str, Fraction]) -> dict[str, int]:
    """Whole numbers with the same sum, each less than one from its share: the largest remainders are rounded up."""
    floors = {name: share.__floor__() for name, share in shares.items()}
    left = int(sum(shares.values(), Fraction(0))) - sum(floors.values())
    for name in sorted(shares, key=lambda name: floors[name] - shares[name])[:left]:
        floors[name] += 1
    return floors


def _differs(name: str, pair: tuple[Bill, Bill]) -> bool:
    a, b = pair
    if name == "model price":
        return a.price != b.price
    if name == "retries":
        return a.retries_pico != b.retries_pico
    return _mixed(pair, frozenset((name,))).usage != a.usage or _mixed((b, a), frozenset((name,))).usage != b.usage


def _mixed(pair: tuple[Bill, Bill], chosen: frozenset[str]) -> Bill:
    """A call that is A's, but for the chosen factors, which are B's."""
    a, b = pair
    if len(chosen) == len(FACTORS):
        return b

    def of(name: str) -> Bill:
        return b if name in chosen else a

    prompt, completion, cache, other = (
        of(name).usage for name in ("prompt tokens", "completion tokens", "cache", "other meters")
    )
    usage = replace(
        other,
        input_tokens=prompt.input_tokens,
        cached_tokens=_scaled(cache.cached_tokens, cache.input_tokens, prompt.input_tokens),
        cache_write_tokens=_scaled(cache.cache_write_tokens, cache.input_tokens, prompt.input_tokens),
        output_tokens=completion.output_tokens,
        reasoning_tokens=completion.reasoning_tokens,
        estimated=False,
    )
    return replace(a, price=of("model price").price, usage=usage, retries_pico=of("retries").retries_pico)


def _scaled(part: int, whole: int, to: int) -> int:
    """The same share of another whole, rounded down."""
    return part * to // whole if whole else 0


def _tokens(bills: Sequence[Bill]) -> Tokens:
    def mean(number: Callable[[Bill], int]) -> float:
        return sum(map(number, bills)) / len(bills)

    return Tokens(
        mean(lambda bill: bill.usage.input_tokens),
        mean(lambda bill: bill.usage.output_tokens),
        mean(lambda bill: bill.usage.cached_tokens),
        mean(lambda bill: bill.usage.reasoning_tokens),
        mean(lambda bill: bill.prompt_chars),
        mean(lambda bill: bill.answer_chars),
    )


def _same_inputs(a: Results, b: Results) -> Callable[[str], bool]:
    """Whether a sample of one run has the same input in another; where texts are not kept, the data must be the same.

    Raises:
        SpecError: Texts are not kept, and the runs have other data.
    """
    first, second = ({id_: body.get("input") for id_, body in results.samples.items()} for results in (a, b))
    data, other = (cast("Mapping[str, Any]", results.run.lock["dataset"])["hash"] for results in (a, b))
    if data == other:
        return lambda _: True
    if None in (*first.values(), *second.values()):
        raise SpecError(
            f"{a.run.id} and {b.run.id} have different data, and their texts are not kept: nobody can say which inputs "
            "are the same.",
            fix="Compare runs of the same data, or run both with store: {content: full}.",
        )
    return lambda id_: first.get(id_) == second.get(id_)


def _alike(chars: float, others: float) -> bool:
    """Whether texts have the same length, so that another number of tokens is the tokeniser's doing."""
    return chars > 0 and abs(others / chars - 1) < 0.005


def _signed(rate: float) -> str:
    return f"{100 * rate:+.0f}" if abs(rate) >= 0.01 else f"{100 * rate:+.1g}"
