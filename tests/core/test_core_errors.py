from __future__ import annotations

import copy
import pickle
from decimal import Decimal

import pytest

from paretoken.core import errors
from paretoken.core.errors import (
    BudgetExceeded,
    ParetokenError,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    SpecError,
    UnknownPrice,
)

EXIT_CODES = {
    "ParetokenError": 5, "SpecError": 2, "PriceError": 2, "UnknownPrice": 2, "LimitError": 3, "BudgetExceeded": 3,
    "QuotaExceeded": 4, "ProviderError": 4, "RateLimited": 4, "Timeout": 4, "Refused": 4, "Unavailable": 4,
    "BadResponse": 4, "BrokenBound": 4, "ScoreError": 5, "StoreError": 5, "NewerSchema": 2,
    "EndpointDown": 4, "Denied": 4, "OutOfCredit": 4,
}  # fmt: skip


def _tree() -> dict[str, tuple[str, int]]:
    """Parent and exit code by name, as the module's own drawing has them."""
    parents: dict[str, tuple[str, int]] = {}
    path: list[str] = []
    for line in errors.__doc__.splitlines():
        name = line.lstrip(" │├└─")
        if not line.startswith("    ") or not name or not name[0].isupper():
            continue
        depth = (len(line) - len(name)) // 4 - 1
        path[depth:] = [name.split()[0]]
        parent = path[-2] if len(path) > 1 else "Exception"
        inherited = parents[parent][1] if parent in parents else 0
        code = int(name.split("exit ")[1][0]) if "exit " in name else inherited
        parents[path[-1]] = (parent, code)
    return parents


def test_the_tree_is_drawn_as_it_is():
    found = {
        name: (kind.__mro__[1].__name__, kind.exit_code)
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, ParetokenError)
    }
    assert _tree() == found
    assert {name: code for name, (_, code) in found.items()} == EXIT_CODES


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (SpecError("it is wrong."), "it is wrong."),
        (SpecError("it is wrong.", fix="Right it."), "it is wrong. Right it."),
        (SpecError("it is wrong.", file="a.yaml"), "a.yaml: it is wrong."),
        (SpecError("it is wrong.", file="a.yaml", line=3, field="x.y"), "a.yaml:3: x.y: it is wrong."),
        (SpecError("it is wrong.", line=3), "it is wrong."),
    ],
)
def test_a_spec_error_says_where_what_and_how(error: SpecError, text: str):
    assert str(error) == text


def test_a_budget_error_shows_plain_dollars_and_what_to_do():
    error = BudgetExceeded(scope="run", limit_usd=Decimal("1E+2"), spent_usd=Decimal("1E-12"), held_usd=Decimal(0),
                           needed_usd=Decimal("0.00000001"))  # fmt: skip
    assert "limit $100, spent $0.000000000001" in str(error)
    assert "up to $0.00000001." in str(error)
    assert "Raise the budget" in str(error)


def test_an_unknown_price_shows_the_line_to_write():
    assert "{id: a/b, price: {input_per_mtok:" in str(UnknownPrice("a/b"))
    assert "Nearest priced models: a/c." in str(UnknownPrice("a/b", nearest=("a/c",)))


def test_a_quota_error_names_the_dimension():
    assert "7000 tokens per minute, the limit is 6000" in str(
        QuotaExceeded(dimension="tokens per minute", limit=6000, needed=7000)
    )


def test_a_provider_error_keeps_its_fields_in_copies():
    error = RateLimited("slow down", retry_after_s=3)
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert isinstance(twin, RateLimited)
        assert (str(twin), twin.retry_after_s, twin.billing, twin.retryable) == ("slow down", 3, "none", True)
    assert ProviderError("x").billing == "unknown"
    assert RateLimited("x", billing="known").billing == "known"
    assert RateLimited.billing == "none"
