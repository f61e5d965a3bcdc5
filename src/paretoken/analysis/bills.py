"""What each call of a variant cost, in its parts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.errors import SpecError
from paretoken.core.usage import ZERO, Price, Rates, Usage, to_pico

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.analysis.results import Results
    from paretoken.core.trials import Record

_HASHED = "sha256:"


@dataclass(frozen=True, slots=True)
class Bill:
    """One call's cost in its parts.

    Attributes:
        price: The price row it was billed by.
        usage: The accepted answer's.
        retries_pico: What further attempts cost [pico-USD].
        prompt_chars, answer_chars: Length of the texts; 0 where they are not kept.
    """

    price: Price
    usage: Usage
    retries_pico: int
    prompt_chars: int
    answer_chars: int

    @property
    def pico(self) -> int:
        """List cost and retries [pico-USD]."""
        return to_pico(self.price.cost(self.usage)) + self.retries_pico


def bills_of(results: Results, variant: str) -> tuple[dict[tuple[str, int], Bill], set[str]]:
    """Bills of a variant's answered calls by sample and repeat, and the versions that served them.

    Raises:
        SpecError: A call was not billed by the price that the run's lock states.
    """
    model = results.variants[variant].model
    row = cast("dict[str, Any]", results.run.lock["models"])[model]["price"]
    price = _price(row)
    found: dict[tuple[str, int], Bill] = {}
    versions: set[str] = set()
    for record in results.read_records(variant=[variant]):
        if record.call.response is None:
            continue
        bill = _bill(record, price)
        if bill.pico - bill.retries_pico != to_pico(record.call.response.list_usd):
            raise SpecError(f"{record.sample} was billed by price row {record.call.response.price_row!r}, which is not "
                            f"the one that {results.run.id} began with ({row['row']!r}): its cost cannot be split.",
                            fix="Run it again with --fresh.")  # fmt: skip
        found[record.sample, record.repeat] = bill
        versions |= {record.call.response.model_version} - {""}
    return found, versions


def _bill(record: Record, price: Price) -> Bill:
    response = record.call.response
    assert response is not None  # noqa: S101  (the caller has looked)
    texts = [message.content for message in record.call.request.messages]
    kept = not any(text.startswith(_HASHED) for text in (*texts, response.text))
    return Bill(
        price,
        replace(response.usage, estimated=False),
        to_pico(max(record.call.billed_usd - response.billed_usd, ZERO)),
        sum(map(len, texts)) if kept else 0,
        len(response.text) if kept else 0,
    )


def _price(body: Mapping[str, Any]) -> Price:
    """The amounts of a price row that a lock states; rows of the same amounts are equal."""
    per_request, per_compute_s, per_minute, per_mchar, per_image = (
        Decimal(body.get(name, 0)) for name in ("per_request", "per_compute_s", "per_minute", "per_mchar", "per_image")
    )
    tiers = tuple((int(start), _rates(rates)) for start, rates in body.get("tiers", ()))
    return Price("", _rates(body.get("rates", {})), tiers, per_request, per_compute_s, per_minute, per_mchar,
                 per_image)  # fmt: skip


def _rates(body: Mapping[str, str]) -> Rates:
    return Rates(**{name: Decimal(amount) for name, amount in body.items()})
