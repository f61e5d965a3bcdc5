"""What a run was expected to be billed, beside its bill."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from paretoken.analysis.prediction import Prediction
from paretoken.core.usage import to_pico

if TYPE_CHECKING:
    from paretoken.analysis.results import Results


@dataclass(frozen=True, slots=True)
class CostEstimate:
    """Estimate and bill of a run, both of the calls that it sent: cached and recorded answers are in neither.

    Those of judges are in both.

    Attributes:
        lowest_usd, highest_usd: With the shortest and the longest answers, each call sent once [USD].
        predicted: 90 % interval [USD]; None where too few calls were recorded when the run began.
        billed_usd: The bill so far, assumed money included [USD].
        judges_usd: What of it was for judges [USD].
        finished: Whether the bill is final.
    """

    lowest_usd: Decimal
    highest_usd: Decimal
    predicted: Prediction | None
    billed_usd: Decimal
    judges_usd: Decimal
    finished: bool

    @property
    def outcome(self) -> str:
        """Where the bill lies, in words."""
        if not self.finished:
            return "so far"
        if self.predicted is None:
            low, high, what = self.lowest_usd, self.highest_usd, "estimated range"
        else:
            low, high, what = Decimal(self.predicted.low), Decimal(self.predicted.high), "90 % interval"
        if to_pico(self.billed_usd) < to_pico(low):
            return f"below the {what}"
        return f"above the {what}" if to_pico(self.billed_usd) > to_pico(high) else f"inside the {what}"


def cost_estimate(results: Results) -> CostEstimate:
    """The estimate in a run's lock, with its bill."""
    estimate = cast("dict[str, Any]", results.run.lock["estimate"])
    known = estimate.get("predicted")
    return CostEstimate(
        lowest_usd=Decimal(estimate["low_usd"]),
        highest_usd=Decimal(estimate["high_usd"]),
        predicted=known and Prediction(known["usd"], known["low_usd"], known["high_usd"], known["n"]),
        billed_usd=sum((summary.billed_usd_total for summary in results.summaries), results.judges_usd),
        judges_usd=results.judges_usd,
        finished=results.run.status == "finished",
    )
