"""Money per scope, with caps that hold under any concurrency and across processes.

Every scope keeps three sums: `billed` (known cost), `assumed` (cost of attempts whose outcome is unknown, booked at
their bound) and `held` (reserved by attempts in flight). The law: billed + assumed + held <= limit, always.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from paretoken.core.calls import Attempt, Origin
from paretoken.core.errors import BudgetExceeded, SpecError, StoreError
from paretoken.core.protocols import Hold
from paretoken.core.registry import suggest
from paretoken.core.usage import from_pico, to_pico
from paretoken.records.database import Database, holds_table, scopes_table
from paretoken.records.statement import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from paretoken.core.protocols import Clock, RecordStore

_SEPARATOR = "\n"

_table = scopes_table.c
_named = _table.name == bindparam("scope")
_SCOPE = Statement(select(_table.limit_pico, _table.billed_pico + _table.assumed_pico, _table.held_pico).where(_named))
_RESERVE = Statement(update(scopes_table).where(_named).values(held_pico=_table.held_pico + bindparam("bound")))
_INSERT_HOLD = Statement(insert(holds_table), "owner", "scopes", "bound_pico", "key", "origin")
_DELETE_HOLD = Statement(delete(holds_table).where(holds_table.c.id == bindparam("hold")))
_BOOK = Statement(
    update(scopes_table)
    .where(_named)
    .values(
        held_pico=_table.held_pico - bindparam("bound"),
        billed_pico=_table.billed_pico + bindparam("billed"),
        assumed_pico=_table.assumed_pico + bindparam("assumed"),
    )
)


def book_orphans(ledger: SqlLedger, journal: RecordStore, clock: Clock) -> Decimal:
    """Book what calls in flight may have cost when their process died, as attempts whose outcome is unknown.

    Returns:
        The money booked [USD].
    """
    total = Decimal(0)
    with ledger.transaction():
        for hold in ledger.orphans():
            ledger.settle(hold, Decimal(0), hold.bound_usd)
            journal.append([Attempt(hold.key, hold.origin, clock.now(), "lost", assumed_usd=hold.bound_usd,
                                    error="the process ended before the answer came")])  # fmt: skip
            total += hold.bound_usd
    return total


class SqlLedger:
    """A `Ledger` in a project's database.

    Args:
        database: Where the money is booked.
        owner: Who holds money through this ledger; what a dead owner still holds `orphans` gives.
    """

    def __init__(self, database: Database, owner: str) -> None:
        self._database = database
        self._owner = owner

    def set_limits(self, limits: Mapping[str, Decimal | None]) -> None:
        """Open scopes or change their caps [USD]; None is a scope without a cap."""
        with self._database.transaction():
            for name, limit in limits.items():
                pico = None if limit is None else to_pico(limit)
                changed = self._database.connection.execute(
                    update(scopes_table).where(scopes_table.c.name == name).values(limit_pico=pico)
                )
                if not changed.rowcount:
                    self._database.connection.execute(
                        insert(scopes_table).values(
                            name=name, limit_pico=pico, billed_pico=0, assumed_pico=0, held_pico=0
                        )
                    )

    def orphans(self) -> list[Hold]:
        """What this owner held when it last died: calls that were in flight, whose outcome is unknown.

        The caller makes sure that no other process holds money under the same owner.
        """
        query = select(holds_table).where(holds_table.c.owner == self._owner).order_by(holds_table.c.id)
        return [
            Hold(
                row.id, tuple(row.scopes.split(_SEPARATOR)) if row.scopes else (), from_pico(row.bound_pico), row.key,
                Origin(*json.loads(row.origin)),
            )
            for row in self._database.connection.execute(query)
        ]  # fmt: skip

    def hold(self, scopes: Sequence[str], bound_usd: Decimal, key: str, origin: Origin) -> Hold:
        """Reserve the upper bound of an attempt in every scope, or in none, as part of this turn's commit.

        Raises:
            BudgetExceeded: It does not fit.
            SpecError: A scope was never opened: its spending would go uncounted.
        """
        bound = to_pico(bound_usd)
        with self._database.turn():
            for scope in scopes:
                self._check_room(scope, bound)
            for scope in scopes:
                _RESERVE.run(self._database, {"scope": scope, "bound": bound})
            row = {
                "owner": self._owner,
                "scopes": _SEPARATOR.join(scopes),
                "bound_pico": bound,
                "key": key,
                "origin": json.dumps([origin.run, origin.sample, origin.variant, origin.repeat, origin.role]),
            }
            number = _INSERT_HOLD.run(self._database, row).lastrowid
        return Hold(number, tuple(scopes), bound_usd, key, origin)

    def _check_room(self, scope: str, bound: int) -> None:
        row = _SCOPE.run(self._database, {"scope": scope}).fetchone()
        if row is None:
            known = self._database.connection.scalars(select(_table.name)).all()
            raise SpecError(f"there is no budget scope {scope!r}.", fix=suggest(scope, known))
        limit, spent, held = row
        if limit is not None and spent + held + bound > limit:
            raise BudgetExceeded(
                scope=scope,
                limit_usd=from_pico(limit),
                spent_usd=from_pico(spent),
                held_usd=from_pico(held),
                needed_usd=from_pico(bound),
            )

    def transaction(self) -> AbstractContextManager[None]:
        """One commit for everything written inside, by the journal of the same database too."""
        return self._database.transaction()

    async def committed(self) -> None:
        """Return once everything written so far is on disk."""
        await self._database.committed()

    def settle(self, hold: Hold, billed_usd: Decimal, assumed_usd: Decimal) -> None:
        """Book what the attempt cost and give the rest of the hold back, as part of this turn's commit.

        Raises:
            StoreError: The hold was settled before.
        """
        money = {
            "bound": to_pico(hold.bound_usd),
            "billed": to_pico(billed_usd),
            "assumed": to_pico(assumed_usd),
        }
        with self._database.turn():
            if not _DELETE_HOLD.run(self._database, {"hold": hold.id}).rowcount:
                raise StoreError(f"hold {hold.id} of ${hold.bound_usd:f} was settled before; its money is booked once")
            for scope in hold.scopes:
                if not _BOOK.run(self._database, {"scope": scope, **money}).rowcount:
                    raise StoreError(f"the budget scope {scope!r} was removed while a call drew on it")

    def release(self, hold: Hold) -> None:
        """Give the whole hold back."""
        self.settle(hold, Decimal(0), Decimal(0))

    def spent(self, scope: str) -> tuple[Decimal, Decimal]:
        """Billed and assumed money of a scope [USD]."""
        row = self._database.connection.execute(select(scopes_table).where(scopes_table.c.name == scope)).first()
        return (Decimal(0), Decimal(0)) if row is None else (from_pico(row.billed_pico), from_pico(row.assumed_pico))

    def scopes(self) -> list[tuple[str, Decimal | None, Decimal, Decimal, Decimal]]:
        """Every scope by name: its limit, and what is billed, assumed and held in it [USD]."""
        return [
            (
                row.name, None if row.limit_pico is None else from_pico(row.limit_pico), from_pico(row.billed_pico),
                from_pico(row.assumed_pico), from_pico(row.held_pico),
            )
            for row in self._database.connection.execute(select(scopes_table).order_by(_table.name))
        ]  # fmt: skip

    def forget(self, scope: str) -> None:
        """Drop a scope that nothing will draw on again, and what its dead owner still holds."""
        with self._database.transaction():
            self._database.connection.execute(delete(holds_table).where(holds_table.c.owner == self._owner))
            self._database.connection.execute(delete(scopes_table).where(scopes_table.c.name == scope))
