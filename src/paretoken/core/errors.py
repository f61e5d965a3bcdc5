"""Everything that can go wrong, as one tree.

    ParetokenError                    exit 5
    ├── SpecError                     exit 2   what was asked cannot be done as written
    ├── PriceError                    exit 2
    │   └── UnknownPrice                       no dated price row for the model
    ├── LimitError                    exit 3
    │   ├── BudgetExceeded                     money
    │   ├── QuotaExceeded         exit 4       requests or tokens per time
    │   └── EndpointDown          exit 4       a provider that does not come back
    ├── ProviderError                 exit 4
    │   ├── RateLimited                        429: asks to slow down
    │   ├── Timeout                            no answer in time
    │   ├── Refused                            400: sending it again cannot help
    │   │   └── Denied                         401, 403, 404: nothing from this account can be sent there
    │   │       └── OutOfCredit                402 and its kin: the account has no credit left
    │   ├── Unavailable                        5xx or a broken connection
    │   ├── BadResponse                        an answer that cannot be used
    │   └── BrokenBound                        the provider billed above the promised upper bound
    ├── ScoreError                    exit 5
    └── StoreError                    exit 5
        └── NewerSchema           exit 2       the database was written by a newer paretoken

Errors carry what a caller needs to act on as fields, and say in their message what to do next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal
    from pathlib import Path

    from paretoken.core.calls import Attempt, RateLimit
    from paretoken.core.usage import Usage

Billing = Literal["none", "known", "unknown"]
"""Whether a failed attempt is paid: not at all, at the usage the error carries, or at most at its bound."""


class ParetokenError(Exception):
    """Root of every error this package raises on purpose."""

    exit_code = 5


class SpecError(ParetokenError):
    """Something the user wrote cannot be used; raised before anything is spent.

    Args:
        problem: What is wrong, in one sentence.
        fix: What to do about it.
        file: The file at fault.
        line: Its line, counted from 1.
        field: Dotted path of the field, e.g. `models[0].price`.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        fix: str = "",
        file: Path | str | None = None,
        line: int | None = None,
        field: str = "",
    ) -> None:
        self.problem, self.fix, self.file, self.line, self.field = problem, fix, file, line, field
        where = "" if file is None else f"{file}:{line}: " if line is not None else f"{file}: "
        super().__init__(f"{where}{f'{field}: ' if field else ''}{problem}{f' {fix}' if fix else ''}")


class PriceError(ParetokenError):
    """A price cannot be used."""

    exit_code = 2


class UnknownPrice(PriceError):
    """No price row is known for a model; an unpriced model is never free."""

    def __init__(self, model: str, *, nearest: tuple[str, ...] = ()) -> None:
        self.model, self.nearest = model, nearest
        hint = f" Nearest priced models: {', '.join(nearest)}." if nearest else ""
        super().__init__(
            f"no price is known for {model!r}.{hint} State it in the spec: "
            f'{{id: {model}, price: {{input_per_mtok: "0.15", output_per_mtok: "0.60"}}}}, or price: free'
        )


class LimitError(ParetokenError):
    """A limit the user set was reached."""

    exit_code = 3


class BudgetExceeded(LimitError):
    """A call whose upper bound exceeds what is left was not sent.

    Args:
        scope: The budget scope that is exhausted, e.g. `run:product-copy-3f9a1c`.
        limit_usd: Its cap [USD].
        spent_usd: Billed and assumed so far [USD].
        held_usd: Reserved by calls in flight [USD]; when they settle below their bound, room comes back.
        needed_usd: Upper bound of the refused call [USD].
        resets_at: When the scope's window ends; None for a scope without a window.
    """

    def __init__(
        self,
        *,
        scope: str,
        limit_usd: Decimal,
        spent_usd: Decimal,
        held_usd: Decimal,
        needed_usd: Decimal,
        resets_at: datetime | None = None,
    ) -> None:
        self.dimension = "usd"
        self.scope, self.limit, self.spent, self.held, self.needed = scope, limit_usd, spent_usd, held_usd, needed_usd
        self.resets_at = resets_at
        reset = f"; resets at {resets_at.isoformat()}" if resets_at else ""
        super().__init__(
            f"budget {scope!r} is reached: limit ${limit_usd:f}, spent ${spent_usd:f}, the next call needs up to "
            f"${needed_usd:f}{reset}. Raise the budget and run the same command to go on."
        )

    def resetting(self, at: datetime) -> BudgetExceeded:
        """The same refusal with the end of the scope's window."""
        return BudgetExceeded(
            scope=self.scope, limit_usd=self.limit, spent_usd=self.spent, held_usd=self.held, needed_usd=self.needed,
            resets_at=at,
        )  # fmt: skip


class QuotaExceeded(LimitError):
    """A request can never fit the quota of requests or tokens per time."""

    exit_code = 4

    def __init__(self, *, dimension: str, limit: float, needed: float) -> None:
        self.dimension, self.limit, self.needed = dimension, limit, needed
        super().__init__(
            f"one request needs {needed:g} {dimension}, the limit is {limit:g}: raise `limits` in the spec"
        )


class EndpointDown(LimitError):
    """An endpoint failed so often in a row that nothing more is sent to it. What was not sent is no failed call."""

    exit_code = 4

    def __init__(self, model: str, failures: int, last: ProviderError | None) -> None:
        self.dimension, self.failures = "failures in a row", failures
        what = f"{model} does not answer: {failures} failures in a row, the last: {last}"
        if isinstance(last, OutOfCredit):
            what = f"the account has no credit left: {last}"
        super().__init__(f"{what}. Nothing more is sent; once it works, run the same command to go on.")


class ProviderError(ParetokenError):
    """A provider did not give a usable answer.

    Attributes:
        billing: Whether the attempt is paid; decides how the ledger books it.
        usage: What the provider counted, when `billing` is "known".
        retryable: Whether sending it again can help.
        retry_after_s: What the provider asked for [s].
        rate_limit: What the provider says it still takes.
        attempts: What was booked on the wire before this error surfaced.
    """

    exit_code = 4
    outcome = "error"
    billing: Billing = "unknown"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        billing: Billing | None = None,
        usage: Usage | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.billing = billing or self.billing
        self.usage, self.retry_after_s = usage, retry_after_s
        self.rate_limit: RateLimit | None = None
        self.attempts: tuple[Attempt, ...] = ()


class RateLimited(ProviderError):
    """The provider asked to slow down."""

    outcome, billing, retryable = "rate_limited", "none", True


class Timeout(ProviderError):
    """No complete answer came in time; it may have been generated and billed all the same."""

    outcome, billing, retryable = "timeout", "unknown", True


class Refused(ProviderError):
    """The provider refuses this request for good."""

    outcome, billing, retryable = "refused", "none", False


class Denied(Refused):
    """The provider refuses this account, or there is nothing at this address."""

    outcome = "denied"


class OutOfCredit(Denied):
    """The account has no credit left, which waiting does not mend."""

    outcome = "out_of_credit"


class Unavailable(ProviderError):
    """The provider failed or the connection broke."""

    outcome, billing, retryable = "unavailable", "unknown", True


class BadResponse(ProviderError):
    """An answer arrived that cannot be used: broken JSON, a wrong shape, nothing in it."""

    outcome, billing, retryable = "bad_response", "unknown", True


class BrokenBound(ProviderError):
    """A provider billed above the upper bound that was reserved for the call; the run stops."""

    outcome, billing, retryable = "broken_bound", "known", False


class ScoreError(ParetokenError):
    """A scorer cannot score what it was given."""


class StoreError(ParetokenError):
    """Records cannot be written or read."""


class NewerSchema(StoreError):
    """The database was written by a newer version of this package."""

    exit_code = 2
