"""Money per scope, with caps that hold under any concurrency and across processes.

Every scope keeps three sums: `billed` (known cost), `assumed` (cost of attempts whose outcome is unknown, booked at
their bound) and `held` (reserved by attempts in flight). The law: billed + assumed + held <= limit, always.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, insert, select, update

from paretoken.core.errors import BudgetExceeded, SpecError, StoreError
from paretoken.core.protocols import Hold
from paretoken.core.registry import suggest
from paretoken.core.usage import from_pico, to_pico
from paretoken.records.database import Database, holds_table, scopes_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SEPARATOR = "\n"

# Built once: these run for every attempt.
_table = scopes_table.c
_in_scopes = _table.name.in_(bindparam("scopes", expanding=True))
_SELECT_SCOPES = select(scopes_table).where(_in_scopes)
_RESERVE = update(scopes_table).where(_in_scopes).values(held_pico=_table.held_pico + bindparam("bound"))
_INSERT_HOLD = insert(holds_table)
_DELETE_HOLD = delete(holds_table).where(holds_table.c.id == bindparam("hold"))
_BOOK = (
    update(scopes_table)
    .where(_in_scopes)
    .values(
        held_pico=_table.held_pico - bindparam("bound"),
        billed_pico=_table.billed_pico + bindparam("billed"),
        assumed_pico=_table.assumed_pico + bindparam("assumed"),
    )
)


class SqlLedger:
    """A `Ledger` in a project's database.

    Args:
        database: Where the money is booked.
        owner: Who holds money through this ledger; what a dead owner still holds is booked by `book_orphans`.
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

    def book_orphans(self) -> Decimal:
        """Book what this owner held when it last died as assumed [USD].

        The caller makes sure that no other process holds money under the same owner.
        """
        orphans = self._database.connection.execute(select(holds_table).where(holds_table.c.owner == self._owner)).all()
        total = Decimal(0)
        for row in orphans:
            hold = Hold(row.id, tuple(row.scopes.split(_SEPARATOR)), from_pico(row.bound_pico))
            self.settle(hold, Decimal(0), hold.bound_usd)
            total += hold.bound_usd
        return total

    def hold(self, scopes: Sequence[str], bound_usd: Decimal, key: str) -> Hold:
        """Reserve the upper bound of an attempt in every scope, or in none.

        Raises:
            BudgetExceeded: It does not fit.
            SpecError: A scope was never opened: its spending would go uncounted.
        """
        bound = to_pico(bound_usd)
        connection = self._database.connection
        with self._database.transaction():
            rows = connection.execute(_SELECT_SCOPES, {"scopes": scopes}).all()
            if unknown := set(scopes) - {row.name for row in rows}:
                known = connection.scalars(select(_table.name)).all()
                raise SpecError(f"there is no budget scope {min(unknown)!r}.", fix=suggest(min(unknown), known))
            for row in rows:
                spent = row.billed_pico + row.assumed_pico
                if row.limit_pico is not None and spent + row.held_pico + bound > row.limit_pico:
                    raise BudgetExceeded(
                        scope=row.name,
                        limit_usd=from_pico(row.limit_pico),
                        spent_usd=from_pico(spent),
                        held_usd=from_pico(row.held_pico),
                        needed_usd=bound_usd,
                    )
            connection.execute(_RESERVE, {"scopes": scopes, "bound": bound})
            hold = {"owner": self._owner, "scopes": _SEPARATOR.join(scopes), "bound_pico": bound, "key": key}
            result = connection.execute(_INSERT_HOLD, hold)
        return Hold(result.lastrowid, tuple(scopes), bound_usd)

    def settle(self, hold: Hold, billed_usd: Decimal, assumed_usd: Decimal) -> None:
        """Book what the attempt cost and give the rest of the hold back.

        Raises:
            StoreError: The hold was settled before.
        """
        connection = self._database.connection
        money = {
            "bound": to_pico(hold.bound_usd),
            "billed": to_pico(billed_usd),
            "assumed": to_pico(assumed_usd),
        }
        with self._database.transaction():
            if not connection.execute(_DELETE_HOLD, {"hold": hold.id}).rowcount:
                raise StoreError(f"hold {hold.id} of ${hold.bound_usd:f} was settled before; its money is booked once")
            connection.execute(_BOOK, {"scopes": hold.scopes, **money})

    def release(self, hold: Hold) -> None:
        """Give the whole hold back."""
        self.settle(hold, Decimal(0), Decimal(0))

    def spent(self, scope: str) -> tuple[Decimal, Decimal]:
        """Billed and assumed money of a scope [USD]."""
        row = self._database.connection.execute(select(scopes_table).where(scopes_table.c.name == scope)).first()
        return (Decimal(0), Decimal(0)) if row is None else (from_pico(row.billed_pico), from_pico(row.assumed_pico))

    def forget(self, scope: str) -> None:
        """Drop a scope that nothing will draw on again, and what its dead owner still holds."""
        with self._database.transaction():
            self._database.connection.execute(delete(holds_table).where(holds_table.c.owner == self._owner))
            self._database.connection.execute(delete(scopes_table).where(scopes_table.c.name == scope))
