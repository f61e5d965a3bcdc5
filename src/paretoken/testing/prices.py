# ruff: noqa: S101
"""What every price source promises, as tests to inherit."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import product
from typing import TYPE_CHECKING, ClassVar

from paretoken.core.errors import UnknownPrice
from paretoken.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paretoken.core.protocols import PriceSource


class PriceSourceSuite:
    """Conformance tests of a `PriceSource`, collected by pytest in a subclass.

    ```python
    class TestHousePrices(PriceSourceSuite):
        known = ("house/small", "house/large")

        def make_source(self):
            return HousePrices()
    ```

    Attributes:
        known: Models it has a price for at `at`, tiered ones included.
        at: Time the prices are asked for.
        changes: `(model, before, after)`: two times between which the price of a model changed.
    """

    known: ClassVar[tuple[str, ...]] = ()
    at: ClassVar[datetime] = datetime(2026, 11, 1, 12, tzinfo=UTC)
    changes: ClassVar[tuple[tuple[str, datetime, datetime], ...]] = ()

    def make_source(self) -> PriceSource:
        """Make a fresh source; override this."""
        raise NotImplementedError

    def test_an_unknown_model_has_no_price(self) -> None:
        """A model nobody priced is an error, not a gift."""
        for model in ("no-such-provider/no-such-model", "no-such-model", ""):
            try:
                price = self.make_source().price(model, self.at)
            except UnknownPrice as error:
                named = error.model
            else:
                raise AssertionError(f"{model!r} has the price {price}")
            assert named == model, "the error names the model that was asked for"

    def test_the_same_question_has_the_same_answer(self) -> None:
        """A price depends on the model and the time alone."""
        source = self.make_source()
        for model in self.known:
            first = source.price(model, self.at)
            assert source.price(model, self.at) == first, f"{model}: asked twice, another price"
            assert self.make_source().price(model, self.at) == first, f"{model}: another source, another price"

    def test_a_row_can_be_traced(self) -> None:
        """Each row has an identity of its own and says where it was read."""
        found = {model: self.make_source().price(model, self.at) for model in self.known}
        for model, price in found.items():
            assert price.row, f"{model}: the row has no identity"
            assert price.source, f"{model}: the row has no source"
        assert len({price.row for price in found.values()}) == len(set(found.values())), "two prices share an identity"

    def test_nothing_is_free_by_accident(self) -> None:
        """A row that was looked up costs something."""
        for model in self.known:
            assert not self.make_source().price(model, self.at).is_free, f"{model}: costs nothing"

    def test_prices_are_dated(self) -> None:
        """After a change the old time still has the old price."""
        source = self.make_source()
        for model, before, after in self.changes:
            old, new = source.price(model, before), source.price(model, after)
            assert old != new, f"{model}: {before} and {after} have one price"
            assert old.row != new.row, f"{model}: two prices, one row"
            assert source.price(model, before) == old, f"{model}: the past changed"

    def test_the_bound_covers_every_usage_within_it(self) -> None:
        """What a text request can use within the bound's tokens never costs more than the bound."""
        compute_s = Decimal("2.5")
        for model in self.known:
            price = self.make_source().price(model, self.at)
            starts = [start for start, _ in price.tiers]
            for tokens_in in {0, 1, 999, *starts, *(start + 1 for start in starts)}:
                for usage in _usages(tokens_in, 777, compute_s):
                    bound = price.bound(input_tokens=tokens_in, output_tokens=777, compute_s=compute_s)
                    cost = price.cost(usage)
                    assert 0 <= cost <= bound, f"{model}: {usage} costs {cost}, the bound is {bound}"


def _usages(tokens_in: int, tokens_out: int, compute_s: Decimal) -> Iterator[Usage]:
    """Usages of a text request at the corners of what the subsets can be."""
    for cached, written, reasoning, seconds in product((0, 1), (0, 1), (0, 1), (0, 1)):
        yield Usage(
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            cached_tokens=tokens_in // (1 + written) if cached else 0,
            cache_write_tokens=tokens_in // (1 + cached) if written else 0,
            reasoning_tokens=tokens_out * reasoning,
            compute_s=compute_s * seconds,
        )
