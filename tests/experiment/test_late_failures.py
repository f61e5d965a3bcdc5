"""What a scorer fails on late is a missing value, and costs no other; what it must fail on is told before any call."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from paretoken.cli.app import run_command
from paretoken.core.errors import SpecError
from paretoken.experiment.api import plan, run

if TYPE_CHECKING:
    from conftest import Lab

SCORERS = "scorers:\n  - contains: free\n"


def own(lab: Lab, code: str, entry: str = "own.py:judge") -> None:
    """The lab, answered at once, with a metric of its own."""
    lab.write("own.py", code)
    lab.edit(SCORERS, SCORERS + f"  - {entry}\n")


ON_ONE = """
calls = 0

def judge(answer, fields):
    if fields["product"] == "drum":
        raise KeyError("loud")
    return len(answer)
"""


def test_a_failure_on_one_answer_is_one_missing_value(lab: Lab) -> None:
    own(lab, ON_ONE)
    outcome = run(lab.folder)
    assert (outcome.ending.status, outcome.exit_code) == ("finished", 5)
    assert outcome.progress.done == outcome.progress.total
    lacking = [r.scores["judge"] for r in outcome.results.records if r.scores["judge"].value is None]
    assert len(lacking) == len(outcome.results.variants)
    assert all("KeyError" in (s.reason or "") and "own.py:6" in (s.reason or "") for s in lacking)
    assert all(r.scores["contains"].value is not None for r in outcome.results.records)
    again = run(lab.folder)
    assert (again.progress.made, again.exit_code) == (0, 5)
    retried = run(lab.folder, retry_errors=True)
    assert (retried.progress.made, retried.exit_code) == (0, 5)


def test_a_mended_metric_scores_paid_answers(lab: Lab) -> None:
    own(lab, ON_ONE)
    run(lab.folder)
    answered = lab.answered()
    lab.write("own.py", "def judge(answer): return len(answer)\n")
    outcome = run(lab.folder)
    assert outcome.exit_code == 0
    assert lab.answered() == answered


def test_a_metric_that_fails_on_every_answer_stops_the_run(lab: Lab) -> None:
    own(lab, "def judge(answer):\n    if answer.startswith('A small'): return 1\n    raise OSError('gone')\n")
    outcome = run(lab.folder)
    assert (outcome.ending.status, outcome.exit_code) == ("failed", 5)
    assert all("contains" in r.scores and "judge" not in r.scores for r in outcome.results.records)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("def judge(answer): return answer.length\n", "AttributeError"),
        ("def judge(answer): return 'good'\n", "must return a number"),
        ("def judge(answer): return -(10 ** 9000)\n", "must return a number"),
        ("def judge(answer): return 1e308\n", "must return a number"),
        ("def judge(answer): return 3\njudge.range = [0, 2]\n", "outside its range"),
        ("def judge(answer, fields): return float(fields['prize'])\n", "prize"),
        ("async def judge(answer): raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_what_can_never_work_is_refused_before_any_call(lab: Lab, code: str, said: str) -> None:
    own(lab, code)
    for attempt in (plan, run):
        with pytest.raises(SpecError, match=said) as caught:
            attempt(lab.folder)
        assert caught.value.line == lab.line("own.py")
    assert not lab.answered()


BROKEN = """
class Judge:
    name, metrics, needs_reference, provenance, ranges = "judge", ("judge",), False, "1", {}

    async def score(self, items):
        from paretoken.core.protocols import Scored
        return RESULT
"""


@pytest.mark.parametrize(
    "returned", ["[]", "[[] for _ in items]", "[[Scored('other', 1.0)] for _ in items]", "None",
                 "[[1.0] for _ in items]", "[[Scored('judge', float('nan'))] for _ in items]",
     "[[Scored('judge', 'x')] for _ in items]"],
)  # fmt: skip
def test_a_scorer_that_breaks_its_promise_is_refused(lab: Lab, returned: str) -> None:
    own(lab, BROKEN.replace("RESULT", returned), "own.py:Judge")
    with pytest.raises(SpecError, match="judge"):
        plan(lab.folder)


def test_what_only_some_answers_break_is_no_reason_to_refuse(lab: Lab) -> None:
    own(lab, "import json\ndef judge(answer): return float('name' in json.loads(answer))\n")
    plan(lab.folder)


@pytest.mark.parametrize("verb", ["plan", "run"])
def test_what_a_metric_prints_is_no_part_of_the_answer(lab: Lab, capsys: pytest.CaptureFixture[str], verb: str) -> None:
    own(lab, "import sys\nprint('loaded')\ndef judge(answer):\n    sys.stdout.write('scored')\n    return 1\n")
    assert run_command([verb, str(lab.folder), "--json"]) == 0
    told = capsys.readouterr()
    json.loads(told.out)
    assert "loaded" in told.err
    assert "scored" in told.err


def test_a_column_that_is_looked_for_must_be_there(lab: Lab) -> None:
    lab.edit("  - contains: free", "  - contains: {field: featuers}")
    with pytest.raises(SpecError, match="Did you mean 'features'") as caught:
        plan(lab.folder)
    assert caught.value.line == lab.line("featuers")
