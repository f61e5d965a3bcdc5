"""Caps above a single run."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from paretoken.core.errors import SpecError
from paretoken.experiment.api import run
from paretoken.experiment.budgets import load_caps
from paretoken.records import Database, SqlLedger

if TYPE_CHECKING:
    from conftest import Lab


def write_budgets(lab: Lab, text: str) -> None:
    lab.write("../.paretoken/budgets.yaml", text)


def test_a_cap_on_a_tag_counts_all_its_experiments(lab: Lab) -> None:
    first = run(lab.folder, limit=6)
    cost = sum((record.call.billed_usd for record in first.results.records), Decimal(0))
    lab.database.unlink()
    write_budgets(lab, f'caps:\n  - {{scope: "department:content", usd: "{cost * Decimal("1.5"):f}"}}\n'
                  '  - {scope: all, usd: "9"}\n')  # fmt: skip
    lab.edit("seed: 7", "seed: 7\ntags: {department: content, project: spring}")
    assert run(lab.folder, limit=6).exit_code == 0
    lab.edit("seed: 7", "seed: 8")
    lab.edit("Please describe", "Do describe", "prompts/long.md")
    lab.edit("Sell", "Vend", "prompts/terse.md")
    second = run(lab.folder, limit=6)
    assert second.exit_code == 3
    assert "budget 'department:content' is reached" in second.ending.reason
    with Database(lab.database) as database:
        ledger = SqlLedger(database, "reader")
        spent = sum(ledger.spent("department:content"))
        assert spent <= cost * Decimal("1.5")
        assert spent == sum(ledger.spent("all"))
        assert spent == sum(sum(ledger.spent(f"run:{o.results.run.id}")) for o in (first, second)) + (
            cost if first.results.run.id == second.results.run.id else 0
        )


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("caps: [{scope: all, usd: 5}]", 1, "money must be text"),
        ('caps:\n  - {scope: all, usd: "5", windw: day}', 2, "unknown key 'windw'. Did you mean 'window'"),
        ('caps:\n  - {scope: all, usd: "5", window: year}', 2, "window"),
        ('caps:\n  - {scope: everything, usd: "5"}', 2, "is no scope. Write all, experiment:<name> or <tag>:<value>"),
        ('caps:\n  - {scope: "run:x", usd: "5"}', 2, "is no scope"),
        ('timezone: Mars/Olympus\ncaps: [{scope: all, usd: "5"}]', 1, "unknown time zone 'Mars/Olympus'"),
        ('caps:\n  - {scope: "department:contnt", usd: "5"}', 1, "no cap is set for department:content. Did you mean"),
        ("timezone: UTC", 1, "missing"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_anything_is_spent(
    lab: Lab, text: str, line: int, complaint: str
) -> None:
    write_budgets(lab, text)
    lab.edit("seed: 7", "seed: 7\ntags: {department: content}")
    with pytest.raises(SpecError, match=complaint) as caught:
        run(lab.folder)
    assert caught.value.line == line
    assert "budgets.yaml" in str(caught.value)
    assert not lab.database.exists()


def test_only_caps_that_apply_are_drawn_on(lab: Lab) -> None:
    write_budgets(
        lab,
        """\
timezone: Asia/Shanghai
on_unknown_scope: open
caps:
  - {scope: all, usd: "9", window: month}
  - {scope: "experiment:lab", usd: "3", window: day}
  - {scope: "experiment:other", usd: "3"}
  - {scope: "department:legal", usd: "3"}
""",
    )
    caps = load_caps(lab.root, "lab", {"department": "content"})
    assert [(cap.scope, cap.usd, cap.window) for cap in caps] == [
        ("experiment:lab", Decimal(3), "day"), ("all", Decimal(9), "month")
    ]  # fmt: skip
    assert {str(cap.zone) for cap in caps} == {"Asia/Shanghai"}
    assert load_caps(lab.folder, "lab", {}) == ()
