"""A model judges answers: by a rubric and a scale, or one against another text."""

from __future__ import annotations

import asyncio
import hashlib
from copy import copy
from dataclasses import replace
from difflib import get_close_matches
from typing import TYPE_CHECKING, TypeVar

from paretoken.core.calls import CALL_FAILED, Message, Request
from paretoken.core.errors import BrokenBound, ProviderError, ScoreError, SpecError
from paretoken.core.protocols import Scored
from paretoken.core.text import comparable, visible
from paretoken.scoring.column import read_number, rising
from paretoken.scoring.judge_wording import enclose, read_better, read_grade, wording_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Mapping, Sequence
    from typing import Self

    from paretoken.core.calls import Response
    from paretoken.core.protocols import ChatModel, ScoreItem

T = TypeVar("T")
REFERENCE = "reference"
FLIP = "the verdict depends on the order"
QUOTED = 160
"""Most characters of a judge's answer that a reason quotes, of its end twice as many as of its beginning."""
_PREFERENCES = {"win": 1.0, "tie": 0.5, "loss": 0.0, "胜": 1.0, "平": 0.5, "负": 0.0}
_KEYS = ("model", "rubric", "scale", "name", "human", "against", "max_tokens", "seed", "price", "base_url",
         "api_key_env", "limits", "timeout_s")  # fmt: skip


class Judge:
    """Asks a model for a reason and a grade, or whether an answer is better than another text.

    Grades are mapped from the scale to 0 to 1. A comparison is made twice with the texts in either order, because
    models favour a place: a win is 1, a loss 0, and a verdict that changes with the order is a tie, 0.5.
    Equal answers to one sample are one question, whichever variant gave them. A blank answer scores 0 unasked.

    Args:
        model: Id of the judge, `provider/name`.
        rubric: What makes an answer good.
        scale: Worst and best grade.
        name: The metric.
        human: Column with people's grades of the same answers, on the same scale; of comparisons 1, 0.5 or 0, or win,
            tie or loss.
        against: Compare with the reference, or with a column of this name.
        max_tokens: Limit of the judge's own answers.
        seed: Seed of its calls.
        language: The dataset's language; Chinese is judged in Chinese.
        options: What else the model's entry in `models` could say: price, base_url, limits and the like.

    Raises:
        SpecError: An argument cannot be used.

    Source: position swap with ties, Zheng et al., "Judging LLM-as-a-Judge with MT-Bench and Chatbot Arena" (2023),
    section 3.4.
    """

    name = "judge"

    def __init__(
        self,
        model: str,
        rubric: str,
        *,
        scale: Sequence[float] | None = None,
        name: str = "judge",
        human: str | None = None,
        against: str | None = None,
        max_tokens: int = 128,
        seed: int = 0,
        language: str | None = None,
        **options: object,
    ) -> None:
        for key, text in (("model", model), ("rubric", rubric), ("name", name), ("human", human), ("against", against)):
            if text is not None and (not isinstance(text, str) or not text.strip()):
                raise SpecError(f"a judge's {key} is {text!r}.", fix="Give a text.")
        if not all(model.partition("/")):
            raise SpecError(f"a judge's model is {model!r}.", fix="Give provider and name: openai/gpt-4o-mini.")
        for key in options:
            if key == "id":
                raise SpecError("a judge has no key 'id'.", fix="Name its model at `model`.")
            if key not in _KEYS and (near := get_close_matches(key, _KEYS, n=1, cutoff=0.75)):
                raise SpecError(f"a judge has no key {key!r}.", fix=f"Did you mean {near[0]!r}?")
        if against is not None and scale is not None:
            raise SpecError("a judge that compares gives no grades.", fix="Leave out `scale`, or `against`.")
        if scale is not None and not rising(scale):
            raise SpecError(f"a judge's scale is {scale!r}.", fix="Give its worst and best grade: scale: [1, 5].")
        for key, number, least in (("max_tokens", max_tokens, 1), ("seed", seed, 0)):
            if isinstance(number, bool) or not isinstance(number, int) or number < least:
                raise SpecError(f"a judge's {key} is {number!r}.", fix=f"Give a whole number from {least}.")
        human, against = human and comparable(human), against and comparable(against)
        self.model, self.options = model, options
        self.metrics: tuple[str, ...] = (name,)
        self.ranges: Mapping[str, tuple[float, float]] = {name: (0.0, 1.0)}
        self.needs_reference = against == REFERENCE
        self.columns = tuple(column for column in (human, against) if column not in (None, REFERENCE))
        self._metric, self._rubric, self._human, self._against = name, " ".join(rubric.split()), human, against
        ends = scale or ((1, 5) if against is None else (0, 1))
        self._low, self._high = float(ends[0]), float(ends[1])
        self._max_tokens, self._seed = max_tokens, seed
        self._words = wording_of(language)
        self._asked: ChatModel | None = None
        self._quotes = True

    @property
    def facts(self) -> dict[str, object]:
        """Model, human column, ends of the scale, and whether it compares."""
        return {"model": self.model, "human": self._human, "scale": [self._low, self._high],
                "compares": self._against is not None}  # fmt: skip

    @property
    def provenance(self) -> str:
        """Model, rubric, mode, and the version of the prompt."""
        rubric = hashlib.sha256(self._rubric.encode()).hexdigest()[:8]
        mode = f"scale {self._low:g} to {self._high:g}" if self._against is None else f"against {self._against}"
        return (
            f"{self.model}, rubric {rubric}, {mode}, prompt {self._words.version}, max_tokens {self._max_tokens}, "
            f"seed {self._seed}"
        )

    def asking(self, model: ChatModel, *, quotes: bool) -> Self:
        """The same judge with the model that it asks."""
        judge = copy(self)
        judge._asked, judge._quotes = model, quotes
        return judge

    def check(self, fields: Mapping[str, object]) -> None:
        """Look at a person's grade.

        Raises:
            ScoreError: It is outside the scale.
        """
        self._label(fields)

    def requests(self, item: ScoreItem) -> tuple[Request, ...]:
        """One question, or the two orders of a comparison; none where nothing is to be asked."""
        if self._unasked(item) is not None:
            return ()
        words = self._words
        if self._against is None:
            system = words.grade.format(rubric=self._rubric, low=f"{self._low:g}", high=f"{self._high:g}")
            return (self._request(item, system, {words.answer: item.answer}, words.ask_grade),)
        system, other = words.compare.format(rubric=self._rubric), self._other(item)
        pairs = ((item.answer, other), (other, item.answer))
        return tuple(self._request(item, system, {words.first: a, words.second: b}, words.ask_better) for a, b in pairs)

    def _request(self, item: ScoreItem, system: str, texts: Mapping[str, str], ask: str) -> Request:
        shown = enclose({self._words.task: item.input, **texts})
        return Request(
            model=self.model,
            messages=(Message("system", system), Message("user", f"{shown}\n\n{ask}")),
            max_tokens=self._max_tokens,
            seed=self._seed,
            origin=replace(item.origin, role="judge"),
        )

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Judge a batch, all at once, shape `(n, 1)`.

        Raises:
            LimitError: A budget or quota forbids to go on.
            ScoreError: A person's grade is outside the scale, or no model was handed over.
        """
        for item in items:
            self.check(item.fields)
        return [[scored] for scored in await _all(map(self._judge, items))]

    async def _judge(self, item: ScoreItem) -> Scored:
        beside = {"chars": float(len(item.answer.strip()))}
        if (label := self._label(item.fields)) is not None:
            beside["human"] = label
        if (settled := self._unasked(item)) is not None:
            return replace(settled, beside=beside)
        if self._asked is None:
            raise ScoreError(f"the judge {self._metric!r} was handed no model")
        try:
            answers = await _all(map(self._asked.generate, self.requests(item)))
        except BrokenBound:
            raise
        except ProviderError as error:
            return Scored(self._metric, None, f"the judge's call failed: {error}", {**beside, CALL_FAILED: 1.0})
        scored = self._graded(answers[0]) if self._against is None else self._compared(*answers)
        return replace(scored, beside={**beside, **scored.beside})

    def _graded(self, answer: Response) -> Scored:
        grade = read_grade(answer.text, self._high)
        if grade is None:
            return self._unread("the judge gave no grade", answer)
        if not self._low <= grade <= self._high:
            reason = f"the judge's grade is not from {self._low:g} to {self._high:g}: {grade:g}"
            return Scored(self._metric, None, reason)
        return Scored(self._metric, (grade - self._low) / (self._high - self._low))

    def _compared(self, first: Response, second: Response) -> Scored:
        """One verdict of two answers, the second with the texts in the other order."""
        wins, losses = read_better(first.text), read_better(second.text)
        if wins is None or losses is None:
            return self._unread("the judge gave no verdict", first if wins is None else second)
        if wins != 1 - losses:
            return Scored(self._metric, 0.5, FLIP, {"flip": 1.0})
        return Scored(self._metric, wins, beside={"flip": 0.0})

    def _unread(self, problem: str, answer: Response) -> Scored:
        cut = f" within {self._max_tokens} tokens (raise max_tokens)" if answer.finish_reason == "length" else ""
        said = " ".join(answer.text.split())
        shown = f"{said[: QUOTED // 3]} … {said[-2 * QUOTED // 3 :]}" if len(said) > QUOTED else said
        return Scored(self._metric, None, f"{problem}{cut}" + (f": {shown}" if self._quotes else ""))

    def _unasked(self, item: ScoreItem) -> Scored | None:
        """What can be said without asking."""
        if self._against is not None and not self._other(item).strip():
            what = "reference" if self._against == REFERENCE else f"text in column {self._against!r}"
            return Scored(self._metric, None, f"the sample has no {what}")
        if not visible(item.answer):
            return Scored(self._metric, 0.0)
        if item.is_overlong:
            return Scored(self._metric, None, "the answer is longer than texts of so many tokens are")
        return None

    def _other(self, item: ScoreItem) -> str:
        if self._against == REFERENCE:
            return item.reference or ""
        value = item.fields.get(self._against or "")
        return "" if value is None or value != value else str(value)

    def _label(self, fields: Mapping[str, object]) -> float | None:
        """A person's grade, mapped to 0 to 1; None where there is none."""
        recorded = None if self._human is None else fields.get(self._human)
        if recorded is None or recorded != recorded or recorded == "":
            return None
        label = read_number(recorded)
        if self._against is not None and isinstance(recorded, str):
            label = _PREFERENCES.get(recorded.strip().lower(), label)
        if label is None or not self._low <= label <= self._high:
            wanted = f"on the scale from {self._low:g} to {self._high:g}"
            wanted = wanted if self._against is None else "a preference: 1, 0.5 or 0, or win, tie or loss"
            raise ScoreError(f"column {self._human!r} holds {recorded!r}, which is not {wanted}")
        return (label - self._low) / (self._high - self._low)


async def _all(running: Iterable[Awaitable[T]]) -> list[T]:
    """Every result, or the worst failure once all have ended: what is on the way is paid, and must not be lost."""
    outcomes = await asyncio.gather(*running, return_exceptions=True)
    failures = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    if failures:
        raise min(failures, key=lambda error: isinstance(error, ProviderError) and not isinstance(error, BrokenBound))
    return [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
