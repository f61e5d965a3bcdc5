"""How a model wants to be asked: what its limit is called, and whether it takes a temperature."""

from __future__ import annotations

import re
from typing import Any

_RENAMED = re.compile(r"o\d|gpt-([5-9]|\d\d)")
_ONE_TEMPERATURE = re.compile(r"o\d|gpt-5(?!\.\d)(?!.*chat)")
"""OpenAI's models that have one temperature. Later ones take others unless they reason, which no name tells."""
_USE_OTHER_NAME = re.compile(
    r"\b(use|instead)\b.{0,40}max_completion_tokens|max_completion_tokens.{0,20} instead"
    r"|max_tokens\W{1,3}(is |are )?(not supported|unsupported|deprecated).{0,80}max_completion_tokens",
    re.IGNORECASE | re.DOTALL,
)
_NO_TEMPERATURE = re.compile(
    r"temperature.{0,80}(not support|unsupported|not accept|not allow|only|deprecated)"
    r"|(not support|unsupported|only|unknown).{0,80}temperature",
    re.IGNORECASE | re.DOTALL,
)
_RANGE = re.compile(r"between|range|less|greater|at (most|least)|maxim|minim|[<>≤≥]", re.IGNORECASE)
"""Words of refusals that would take another temperature."""


class Dialect:
    """What one endpoint takes, by the model's name, by what the spec says, and by what it refused.

    Args:
        name: The model, as its vendor calls it.
        of_openai: Names of OpenAI's models tell what they take.
        reasoning: Stated in the spec: the limit is `max_completion_tokens` and there is no temperature, or neither.

    Attributes:
        one_temperature: The model is known to have no other temperature than its own.
        lessons: What a refusal taught, in words.
    """

    def __init__(self, name: str, *, of_openai: bool, reasoning: bool | None) -> None:
        self.one_temperature = bool(of_openai and _ONE_TEMPERATURE.match(name)) if reasoning is None else reasoning
        self._renamed = bool(of_openai and _RENAMED.match(name)) if reasoning is None else reasoning
        self._refused: set[str] = set()  # efforts of reasoning at which the temperature was refused
        self.lessons: list[str] = []

    def apply(self, body: dict[str, Any]) -> None:
        """Say a request as the endpoint takes it; the limit of the answer stays what it is."""
        if self._renamed:
            body["max_completion_tokens"] = body.pop("max_tokens")
        fixed = self.one_temperature and body.get("temperature") != 1
        if fixed or _effort(body) in self._refused:
            body.pop("temperature", None)

    def learn(self, body: dict[str, Any], refusal: str) -> bool:
        """Take a refusal's word for what to change.

        Args:
            body: What was refused.
            refusal: Why, in the endpoint's words.

        Returns:
            Whether the same request would be said in another way now.
        """
        if "max_tokens" in body and _USE_OTHER_NAME.search(refusal):
            if not self._renamed:
                self._renamed = True
                self.lessons.append("takes max_completion_tokens instead of max_tokens, and is given that from now on")
            return True
        if "temperature" in body and _NO_TEMPERATURE.search(refusal) and not _RANGE.search(refusal):
            if (effort := _effort(body)) not in self._refused:
                self._refused.add(effort)
                self.lessons.append("refuses a temperature: it is sent none, and all answers come at its own, whatever "
                                    "the spec says")  # fmt: skip
            return True
        return False


def _effort(body: dict[str, Any]) -> str:
    nested = body.get("reasoning")
    return str(body.get("reasoning_effort") or (nested.get("effort") if isinstance(nested, dict) else ""))
