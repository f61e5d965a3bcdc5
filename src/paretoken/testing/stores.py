# ruff: noqa: S101
"""What every record store, ledger and response cache promises, as tests to inherit."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from paretoken.core.calls import Attempt, Call, Message, Origin, Request, Response, Score
from paretoken.core.errors import BudgetExceeded, ParetokenError
from paretoken.core.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from paretoken.core.calls import Entry
    from paretoken.core.protocols import Hold, Ledger, RecordStore, ResponseCache

NOBODY = Origin()
AT = datetime(2026, 1, 1, 12, 30, 15, 123456, tzinfo=UTC)
TEXTS = (
    "Short.",
    "",
    "这款水壶三分钟就能烧开一升水。",
    "🎉\n\t\x00 end",
    "cut within an emoji: \ud83d",
    '{"json": "it\'s"}',
)


def make_response(text: str = "A kettle.") -> Response:
    """A paid answer with every field set that a store keeps."""
    return Response(
        text=text,
        usage=Usage(input_tokens=7, output_tokens=3, cached_tokens=2, reasoning_tokens=1, compute_s=Decimal("0.25")),
        finish_reason="length",
        latency_s=0.1 + 0.2,
        ttft_s=0.07,
        model_version="fp_1",
        list_usd=Decimal("0.000001234567"),
        billed_usd=Decimal("0.000001234567"),
        price_row="row",
    )


def make_entries(run: str) -> list[Entry]:
    """One entry of each kind and shape."""
    origin = Origin(run, "s1", "3f9a1c", 2)
    message = Message("user", "Describe 水壶.", ("https://example.org/kettle.png",))
    request = Request(
        "openai/gpt-4o-mini", (message,), 64, 0.7, 0, "http://127.0.0.1:1/v1", (("stop", "\n"), ("top_p", 0.5)),
        '[{"name": "f"}]', '{"type": "json_object"}', 2, "salt", origin,
    )  # fmt: skip
    failed = Attempt(request.key, origin, AT, "timeout", assumed_usd=Decimal("0.01"), price_row="row", error="late")
    paid = Attempt(request.key, origin, AT, "ok", Usage(input_tokens=7), Decimal("0.000000000001"), latency_s=0.3)
    return [
        failed,
        paid,
        Call(request, AT, make_response(), billed_usd=Decimal("0.010000000001")),
        Call(replace(request, seed=None, temperature=0.0, params=(), origin=origin), AT, error="late"),
        Score(origin, "chrf", "chrf", 0.1 + 0.2, provenance="sacrebleu 2"),
        Score(replace(origin, role="judge"), "judge", "tone", None, "no answer"),
    ]


class RecordStoreSuite:
    """Conformance tests of a `RecordStore`, collected by pytest in a subclass that says how to make one."""

    def make_store(self) -> RecordStore:
        """Make an empty store; override this."""
        raise NotImplementedError

    def reopen(self, store: RecordStore) -> RecordStore:
        """A second way to the same records, as another process has it; override this."""
        raise NotImplementedError

    def test_entries_come_back_as_written(self) -> None:
        """All kinds, in order, under growing numbers."""
        store, entries = self.make_store(), make_entries("run")
        store.append(entries[:2])
        store.append(entries[2:])
        found = list(store.read("run"))
        assert [entry for _, entry in found] == entries
        numbers = [number for number, _ in found]
        assert numbers == sorted(set(numbers))

    def test_written_entries_are_durable(self) -> None:
        """What `append` wrote is there for others at once."""
        store, entries = self.make_store(), make_entries("run")
        store.append(entries)
        assert [entry for _, entry in self.reopen(store).read("run")] == entries

    def test_reading_goes_on_after_what_was_seen(self) -> None:
        """`after` gives later entries only."""
        store, entries = self.make_store(), make_entries("run")
        store.append(entries)
        found = list(store.read("run"))
        for i, (number, _) in enumerate(found):
            assert list(store.read("run", after=number)) == found[i + 1 :]

    def test_runs_do_not_mix(self) -> None:
        """A run's entries are its own."""
        store = self.make_store()
        store.append([entry for pair in zip(make_entries("one"), make_entries("two"), strict=True) for entry in pair])
        assert [entry for _, entry in store.read("two")] == make_entries("two")
        assert list(store.read("three")) == []

    def test_entries_are_written_all_or_none(self) -> None:
        """A source of entries that fails leaves nothing."""

        def failing() -> Iterator[Entry]:
            yield from make_entries("run")
            raise LookupError

        store = self.make_store()
        store.append([])
        _expect(LookupError, lambda: store.append(failing()))
        assert list(store.read("run")) == []

    def test_what_a_turn_wrote_is_durable_once_committed(self) -> None:
        """Inside an event loop `append` returns at once and `committed` when it is on disk."""
        store, entries = self.make_store(), make_entries("run")
        other = self.reopen(store)

        async def main() -> None:
            store.append(entries[:2])
            store.append(entries[2:])
            await store.committed()
            assert [entry for _, entry in other.read("run")] == entries

        asyncio.run(main())


class LedgerSuite:
    """Conformance tests of a `Ledger`, collected by pytest in a subclass that says how to make one."""

    def make_ledger(self, limits: Mapping[str, Decimal | None]) -> Ledger:
        """Make a ledger with these scopes and nothing spent; override this."""
        raise NotImplementedError

    def _check_left(self, ledger: Ledger, scope: str, left: str) -> None:
        """Exactly this much fits, and not a pico-dollar more."""
        _refused(ledger, (scope,), Decimal(left) + Decimal("1e-12"))
        ledger.release(ledger.hold((scope,), Decimal(left), "probe", NOBODY))

    def test_a_hold_may_fill_its_scope(self) -> None:
        """The cap itself fits; decimal fractions add without drift."""
        ledger = self.make_ledger({"run": Decimal("0.3")})
        ledger.hold(("run",), Decimal("0.1"), "a", NOBODY)
        ledger.hold(("run",), Decimal("0.2"), "b", NOBODY)
        self._check_left(ledger, "run", "0")

    def test_a_refusal_says_why(self) -> None:
        """Limit, spent, held and needed money are on the error."""
        ledger = self.make_ledger({"run": Decimal(1)})
        ledger.settle(ledger.hold(("run",), Decimal("0.5"), "a", NOBODY), Decimal("0.25"), Decimal("0.125"))
        ledger.hold(("run",), Decimal("0.1"), "b", NOBODY)
        error = _refused(ledger, ("run",), Decimal(1))
        assert (error.scope, error.limit, error.needed) == ("run", Decimal(1), Decimal(1))
        assert (error.spent, error.held) == (Decimal("0.375"), Decimal("0.1"))

    def test_settling_books_the_cost_and_frees_the_rest(self) -> None:
        """Billed and assumed money is spent, the rest of the hold is not."""
        ledger = self.make_ledger({"run": Decimal(1)})
        ledger.settle(ledger.hold(("run",), Decimal(1), "a", NOBODY), Decimal("0.2"), Decimal(0))
        ledger.settle(ledger.hold(("run",), Decimal("0.8"), "b", NOBODY), Decimal(0), Decimal("0.3"))
        self._check_left(ledger, "run", "0.5")

    def test_releasing_frees_the_whole_hold(self) -> None:
        """As if nothing had happened."""
        ledger = self.make_ledger({"run": Decimal(1)})
        ledger.release(ledger.hold(("run",), Decimal(1), "a", NOBODY))
        self._check_left(ledger, "run", "1")

    def test_a_hold_is_settled_once(self) -> None:
        """A second settlement is refused and books nothing."""
        ledger = self.make_ledger({"run": Decimal(1)})
        hold: Hold = ledger.hold(("run",), Decimal("0.5"), "a", NOBODY)
        ledger.settle(hold, Decimal("0.5"), Decimal(0))
        _expect(ParetokenError, lambda: ledger.settle(hold, Decimal("0.5"), Decimal(0)))
        _expect(ParetokenError, lambda: ledger.release(hold))
        self._check_left(ledger, "run", "0.5")

    def test_nested_scopes_hold_together(self) -> None:
        """Money is reserved in every scope or in none."""
        ledger = self.make_ledger({"run": Decimal(1), "team": Decimal("0.5"), "house": None})
        _refused(ledger, ("run", "team", "house"), Decimal("0.6"))
        self._check_left(ledger, "run", "1")
        hold = ledger.hold(("run", "team", "house"), Decimal("0.4"), "a", NOBODY)
        self._check_left(ledger, "team", "0.1")
        ledger.settle(hold, Decimal("0.3"), Decimal(0))
        self._check_left(ledger, "run", "0.7")
        self._check_left(ledger, "team", "0.2")

    def test_a_scope_without_a_cap_takes_anything(self) -> None:
        """None is no limit, and no scope is no limit either."""
        ledger = self.make_ledger({"house": None})
        ledger.settle(ledger.hold(("house",), Decimal(1000), "a", NOBODY), Decimal(1000), Decimal(0))
        ledger.settle(ledger.hold((), Decimal(1000), "b", NOBODY), Decimal(1000), Decimal(0))

    def test_a_scope_that_was_never_opened_is_refused(self) -> None:
        """Money that nobody counts is not spent."""
        ledger = self.make_ledger({"run": Decimal(1)})
        _expect(ParetokenError, lambda: ledger.hold(("run", "rum"), Decimal("0.1"), "a", NOBODY))
        self._check_left(ledger, "run", "1")


class CacheSuite:
    """Conformance tests of a `ResponseCache`, collected by pytest in a subclass that says how to make one."""

    def make_cache(self) -> ResponseCache:
        """Make an empty cache; override this."""
        raise NotImplementedError

    def test_an_unknown_key_has_no_answer(self) -> None:
        """Keys are compared whole."""
        cache = self.make_cache()
        cache.put("abc", make_response())
        for key in ("ab", "abcd", "ABC", "", "%"):
            assert cache.get(key) is None

    def test_an_answer_comes_back_as_paid(self) -> None:
        """Text, usage, cost and latency; not the attempts, which were booked once."""
        cache = self.make_cache()
        for i, text in enumerate(TEXTS):
            paid = make_response(text)
            cache.put(str(i), replace(paid, attempts=(Attempt("k", Origin(), AT, "ok"),)))
            assert cache.get(str(i)) == paid
        bare = Response("x", Usage())
        cache.put("bare", bare)
        assert cache.get("bare") == bare

    def test_a_new_answer_replaces_the_old(self) -> None:
        """One answer per key."""
        cache = self.make_cache()
        cache.put("k", make_response("old"))
        cache.put("k", make_response("new"))
        assert cache.get("k") == make_response("new")


def _refused(ledger: Ledger, scopes: tuple[str, ...], bound_usd: Decimal) -> BudgetExceeded:
    try:
        ledger.hold(scopes, bound_usd, "too much", NOBODY)
    except BudgetExceeded as error:
        return error
    raise AssertionError(f"${bound_usd:f} fitted in {scopes}")


def _expect(kind: type[Exception], act: Callable[[], object]) -> None:
    try:
        act()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")
