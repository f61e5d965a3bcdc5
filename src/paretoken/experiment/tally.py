"""What is counted of calls before they are sent: their number, tokens, and bounds of their cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from paretoken.core.calls import most_bytes
from paretoken.core.usage import ZERO, Usage
from paretoken.gateway.budget import bound_usd
from paretoken.models.estimate import estimate_tokens

if TYPE_CHECKING:
    from paretoken.analysis.prediction import Prediction
    from paretoken.core.calls import Request
    from paretoken.experiment.model_design import ModelDesign


@dataclass(frozen=True, slots=True)
class VariantForecast:
    """Calls of one variant, or of one judge.

    Attributes:
        calls: Planned calls.
        cached: How many of them were answered before, by this run or another, and cost nothing more.
        to_send: How many are to be sent; what follows is of these.
        samples: Their samples.
        input_tokens: Their prompt tokens.
        exact: Whether prompt tokens were counted by the provider's own tokeniser.
        output_tokens_max: Most tokens that can come back.
        low_usd: Cost if every answer were a single token [USD].
        high_usd: Cost if every answer used its whole limit, each sent once [USD].
        certain_usd: Upper bound that holds whatever the tokeniser does and however often calls are retried [USD].
        recorded: Recorded calls that `predicted` rests on, or would if there were more.
        same: They are of this very variant, not of one that is alike.
        output_tokens: Expected answer tokens; None where too few calls are recorded.
        predicted: 90 % interval of the cost [USD]; None where too few calls are recorded.
    """

    id: str
    label: str
    calls: int
    cached: int
    to_send: int = 0
    samples: int = 0
    input_tokens: int = 0
    exact: bool = True
    output_tokens_max: int = 0
    low_usd: Decimal = ZERO
    high_usd: Decimal = ZERO
    certain_usd: Decimal = ZERO
    recorded: int = 0
    same: bool = True
    output_tokens: int | None = None
    predicted: Prediction | None = None

    def body(self) -> dict[str, Any]:
        """Plain values, money exact."""
        return asdict(self) | {"predicted": predicted_body(self.predicted)}


def predicted_body(found: Prediction | None, spent_usd: float = 0.0) -> dict[str, float] | None:
    """A predicted cost as plain JSON values, what was spent before included [USD]."""
    if found is None:
        return None
    usd, low_usd, high_usd = (spent_usd + end for end in (found.expected, found.low, found.high))
    return {"usd": usd, "low_usd": low_usd, "high_usd": high_usd, "n": found.n}


class Tally:
    """Sums over the calls that a variant, or a judge, has to send.

    Args:
        model: What is called.
        attempts: How often a call is tried at most.
    """

    def __init__(self, model: ModelDesign, attempts: int) -> None:
        self._price, self._attempts = model.price, attempts
        self._timeout_s = getattr(model.entry, "timeout_s", 0.0)
        self._costs: dict[int, tuple[Decimal, Decimal]] = {}
        self.to_send = self.samples = self.input_tokens = self.output_tokens_max = 0
        self.exact = True
        self.low_usd = self.high_usd = self.certain_usd = ZERO

    def add(self, request: Request, counted: int | None, n: int, answer_tokens: int = 0) -> None:
        """Take n calls with the prompt of a request.

        Args:
            request: One of them.
            counted: Its prompt's tokens by the provider's own tokeniser, if that is known.
            n: How many there are.
            answer_tokens: Most tokens of an answer that is still to be put into it.
        """
        tokens = sum(estimate_tokens(m.content) for m in request.messages) if counted is None else counted
        further = most_bytes(answer_tokens) if answer_tokens else 0
        bound = bound_usd(request, self._price, self._timeout_s, further)
        self.exact = self.exact and counted is not None
        self.to_send += n
        self.samples += 1
        self.input_tokens += n * (tokens + answer_tokens)
        self.output_tokens_max += n * request.max_tokens
        self.low_usd += n * self._ends(tokens, request.max_tokens)[0]
        self.high_usd += n * self._ends(tokens + answer_tokens, request.max_tokens)[1]
        self.certain_usd += n * self._attempts * bound

    def _ends(self, tokens: int, max_tokens: int) -> tuple[Decimal, Decimal]:
        return self._costs.get(tokens) or self._costs.setdefault(tokens, self._cost(tokens, max_tokens))

    def _cost(self, tokens: int, max_tokens: int) -> tuple[Decimal, Decimal]:
        compute_s = Decimal(str(self._timeout_s))
        return (
            self._price.cost(Usage(input_tokens=tokens, output_tokens=1)),
            self._price.cost(Usage(input_tokens=tokens, output_tokens=max_tokens, compute_s=compute_s)),
        )

    def sums(self) -> dict[str, Any]:
        """The sums by name."""
        return {name: value for name, value in vars(self).items() if not name.startswith("_")}
