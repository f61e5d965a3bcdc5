from __future__ import annotations

import asyncio
from dataclasses import replace
from decimal import Decimal

import pytest
from gateway_rig import BOUND, COST, PRICE, TIMEOUT_S, Prices, answer, ask

from paretoken.core.calls import Message, Origin, Request
from paretoken.core.errors import (
    BadResponse,
    BrokenBound,
    BudgetExceeded,
    RateLimited,
    Refused,
    StoreError,
    Timeout,
    Unavailable,
    UnknownPrice,
)
from paretoken.core.usage import Price, Rates, Usage
from paretoken.gateway.budget import bound_usd
from paretoken.gateway.gate import HoldGate
from paretoken.gateway.onion import Backoff
from paretoken.records import SqlLedger, book_orphans

JUDGE = Origin("run", "s1", "v", role="judge", scopes=("run",))


def _cap(calls: float) -> str:
    return f"{BOUND * Decimal(str(calls)):f}"


def test_an_answer_is_priced_booked_and_journaled(make_rig):
    rig = make_rig(answer())
    (response,) = rig.ask_all(ask())
    assert response == replace(
        answer(), list_usd=COST, billed_usd=COST, price_row="row", attempts=response.attempts
    )  # fmt: skip
    (attempt,) = rig.attempts
    assert (attempt.outcome, attempt.billed_usd, attempt.assumed_usd) == ("ok", COST, 0)
    assert (attempt.usage, attempt.latency_s, attempt.request_key) == (answer().usage, 0.5, ask().key)
    assert rig.spent == (COST, 0)


@pytest.mark.parametrize(
    ("error", "billed", "assumed"),
    [
        (RateLimited("no"), 0, 0),
        (Refused("no"), 0, 0),
        (Timeout("no"), 0, BOUND),
        (Unavailable("no"), 0, BOUND),
        (BadResponse("no"), 0, BOUND),
        (BadResponse("no", billing="none"), 0, 0),
        (BadResponse("no", billing="known", usage=answer().usage), COST, 0),
        (BadResponse("no", billing="known"), 0, BOUND),
        (KeyError("a bug in the provider"), 0, BOUND),
    ],
)
def test_a_failure_is_booked_as_its_billing_says(make_rig, error: Exception, billed: Decimal, assumed: Decimal):
    rig = make_rig(error)
    (outcome,) = rig.ask_all(ask())
    assert outcome is error
    assert rig.spent == (billed, assumed)
    (attempt,) = rig.attempts
    assert (attempt.billed_usd, attempt.assumed_usd) == (billed, assumed)


def test_a_cancelled_call_is_assumed_at_its_bound(make_rig):
    rig = make_rig(answer(), takes_s=10)
    onion = rig.onion()

    async def main() -> None:
        task = asyncio.create_task(onion.generate(ask()))
        await rig.clock.sleep(1)
        task.cancel()
        await asyncio.wait([task])

    rig.clock.run(main())
    assert rig.spent == (0, BOUND)
    assert [attempt.outcome for attempt in rig.attempts] == ["cancelled"]


def test_a_late_call_is_a_timeout_and_assumed_at_its_bound(make_rig):
    rig = make_rig(answer(), takes_s=61)
    (outcome,) = rig.ask_all(ask())
    assert isinstance(outcome, Timeout)
    assert "m gave no answer in 60 s" in str(outcome)
    assert rig.clock.monotonic() == pytest.approx(TIMEOUT_S)
    assert rig.spent == (0, BOUND)
    assert [attempt.outcome for attempt in rig.attempts] == ["timeout"]
    (in_time,) = make_rig(answer(), takes_s=59).ask_all(ask())
    assert in_time.text == "A kettle."


def test_a_bound_that_does_not_fit_is_not_sent(make_rig):
    rig = make_rig(answer(), cap=f"{BOUND - Decimal('1e-12'):f}")
    (outcome,) = rig.ask_all(ask())
    assert isinstance(outcome, BudgetExceeded)
    assert outcome.scope == "run"
    assert rig.provider.sent == rig.attempts == rig.calls == []
    (fits,) = make_rig(answer(), cap=_cap(1)).ask_all(ask())
    assert fits.text == "A kettle."


def test_who_does_not_fit_yet_waits_for_what_comes_back(make_rig):
    rig = make_rig(answer(), cap=_cap(2.5), takes_s=1)
    outcomes = rig.ask_all(*(ask(f"Describe the kettle{i}") for i in range(8)))
    answered = [outcome for outcome in outcomes if not isinstance(outcome, Exception)]
    assert rig.provider.most_in_flight == 2
    assert len(answered) == 8, "eight costs and two bounds fit"
    assert [request.messages[0].content[-1] for _, request in rig.provider.sent] == list("01234567")


def test_after_the_first_refusal_nothing_is_sent_not_even_what_is_cheaper(make_rig):
    rig = make_rig(answer(), cap=_cap(1.5), takes_s=1)
    first, big, small = rig.ask_all(ask(), ask("x" * 5000), ask("x", max_tokens=1))
    assert first.text == "A kettle."
    assert isinstance(big, BudgetExceeded)
    assert isinstance(small, BudgetExceeded)
    assert len(rig.provider.sent) == 1
    (later,) = rig.ask_all(ask("x", max_tokens=1))
    assert isinstance(later, BudgetExceeded)


def test_cancelled_while_waiting_for_money_it_leaves_nothing_behind(make_rig):
    rig = make_rig(answer(), cap=_cap(1.5), takes_s=10)
    onion = rig.onion()

    async def main() -> list[object]:
        tasks = [asyncio.create_task(onion.generate(ask(f"Describe kettle {i}"))) for i in range(3)]
        await rig.clock.sleep(5)
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    first, second, third = rig.clock.run(main())
    assert isinstance(second, asyncio.CancelledError)
    assert first.text == third.text
    assert len(rig.attempts) == 2


def test_money_held_by_another_process_is_waited_for(make_rig):
    rig = make_rig(answer(), cap=_cap(1.5))
    other = SqlLedger(rig.database, "other")
    held = other.hold(("run",), BOUND, "k", Origin())
    onion = rig.onion()

    async def main() -> object:
        task = asyncio.create_task(onion.generate(ask()))
        await rig.clock.sleep(30)
        assert rig.provider.sent == []
        other.release(held)
        return await task

    assert rig.clock.run(main()).text == "A kettle."
    assert rig.provider.times == [pytest.approx(30, abs=0.3)]


def test_money_that_another_process_never_gives_back_is_waited_for_in_vain(make_rig):
    rig = make_rig(answer(), cap=_cap(1.5))
    SqlLedger(rig.database, "other").hold(("run",), BOUND, "k", Origin())
    (outcome,) = rig.ask_all(ask())
    assert isinstance(outcome, BudgetExceeded)
    assert outcome.held == BOUND
    assert rig.clock.monotonic() == pytest.approx(TIMEOUT_S, abs=1)


def test_a_provider_that_bills_above_the_bound_is_booked_and_stops_the_run(make_rig):
    broken = answer(output_tokens=100_000)
    for step in (broken, BadResponse("cut", billing="known", usage=broken.usage)):
        rig = make_rig(step)
        (outcome,) = rig.ask_all(ask(), backoff=Backoff(attempts=3))
        assert isinstance(outcome, BrokenBound)
        assert outcome.usage == broken.usage
        assert len(rig.provider.sent) == 1
        assert rig.spent == (PRICE.cost(broken.usage), 0)
        (attempt,) = rig.attempts
        assert attempt.billed_usd == PRICE.cost(broken.usage) > BOUND
        assert outcome.attempts[0].billed_usd == attempt.billed_usd
        assert rig.calls[0].billed_usd == attempt.billed_usd


def test_the_bound_itself_is_not_broken(make_rig):
    usage = Usage(input_tokens=64 + 16 + len(ask().messages[0].content), output_tokens=100)
    rig = make_rig(replace(answer(), usage=usage), cap=_cap(1))
    (response,) = rig.ask_all(ask())
    assert response.billed_usd == BOUND


def test_images_are_refused_before_anything_is_held(make_rig):
    rig = make_rig(answer())
    (outcome,) = rig.ask_all(Request("m", (Message("user", "x", ("data:image/png;base64,AA==",)),), 10,
                                     origin=ask().origin))  # fmt: skip
    assert isinstance(outcome, Refused)
    assert rig.provider.sent == rig.attempts == []
    assert rig.calls[0].error == str(outcome)
    assert rig.spent == (0, 0)


def test_recorded_answers_have_a_list_price_and_are_billed_nothing(make_rig):
    rig = make_rig(answer(), Timeout("recorded failure"), cap="0")
    rig.provider.recorded = True
    response, failure = rig.ask_all(ask(), ask("else"))
    assert (response.list_usd, response.billed_usd) == (COST, 0)
    assert isinstance(failure, Timeout)
    assert rig.spent == (0, 0)


def test_a_free_model_needs_no_budget(make_rig):
    rig = make_rig(answer(), cap="0")
    (response,) = rig.ask_all(ask(), prices=Prices(Price("free")))
    assert (response.list_usd, rig.spent) == (0, (0, 0))


def test_an_unpriced_model_is_not_sent(make_rig):
    class NoPrices:
        def price(self, model: str, at: object) -> Price:
            raise UnknownPrice(model)

    rig = make_rig(answer())
    (outcome,) = rig.ask_all(ask(), prices=NoPrices())
    assert isinstance(outcome, UnknownPrice)
    assert rig.provider.sent == []


def test_judges_and_subjects_draw_on_one_scope(make_rig):
    rig = make_rig(answer(), cap=_cap(2))
    rig.ask_all(ask(), ask("judge this", origin=JUDGE))
    assert rig.spent == (2 * COST, 0)
    assert [call.origin.role for call in rig.calls] == ["subject", "judge"]
    rig = make_rig(answer(), cap=_cap(1.05), takes_s=1)
    first, second = rig.ask_all(ask(origin=JUDGE), ask("Another, that is longer."))
    assert first.text == "A kettle."
    assert isinstance(second, BudgetExceeded)


def test_when_booking_fails_who_waits_for_money_does_not_wait_forever(make_rig):
    rig = make_rig(answer(), cap=_cap(1.5), takes_s=1)
    rig.database.connection.exec_driver_sql(
        "CREATE TRIGGER full BEFORE INSERT ON entries BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    first, second = rig.ask_all(ask(), ask("Another kettle."))
    assert isinstance(first, StoreError)
    assert isinstance(second, BudgetExceeded | StoreError)
    assert rig.spent == (0, 0)
    rig.database.connection.exec_driver_sql("DROP TRIGGER full")
    assert book_orphans(rig.ledger, rig.journal, rig.clock) == BOUND, (
        "what was sent and not booked stays held until the next start"
    )


def test_money_attempt_and_cached_answer_are_one_commit(make_rig):
    rig = make_rig(answer())
    rig.database.connection.exec_driver_sql(
        "CREATE TRIGGER full BEFORE INSERT ON responses BEGIN SELECT RAISE(ABORT, 'the disk is full'); END"
    )
    (outcome,) = rig.ask_all(ask())
    assert isinstance(outcome, StoreError)
    assert rig.spent == (0, 0)
    assert rig.attempts == []


@pytest.mark.parametrize("text", ["plain", "水壶三分钟就能烧开", "🎉🚀", "a\u0301" * 50])
def test_the_bound_covers_one_token_per_byte(text: str):
    usage = Usage(input_tokens=len(text.encode()), output_tokens=100)
    tiers = ((100, Rates(Decimal(3), Decimal(9), cache_write_per_mtok=Decimal(5))),)
    for price in (PRICE, replace(PRICE, tiers=tiers), Price("row", per_compute_s=Decimal("0.001"))):
        assert bound_usd(ask(text), price, TIMEOUT_S) >= price.cost(replace(usage, compute_s=Decimal(60)))


def test_every_text_of_a_request_is_in_the_bound():
    plain = bound_usd(ask(), PRICE, TIMEOUT_S)
    for more in ({"tools": "x" * 100}, {"response_format": "x" * 100}, {"max_tokens": 125}):
        assert bound_usd(ask(**more), PRICE, TIMEOUT_S) >= plain + Decimal("0.0001")


def test_a_gate_is_refused_at_once_when_nothing_can_come_back(make_rig):
    rig = make_rig(cap=_cap(1))
    gate = HoldGate(rig.ledger, rig.clock, (), patience_s=1000)
    with pytest.raises(BudgetExceeded):
        rig.clock.run(gate.hold(ask(), BOUND * 2))
    assert rig.clock.monotonic() == 0
