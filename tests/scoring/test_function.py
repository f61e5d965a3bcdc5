import asyncio

import pytest

from paretoken.core.calls import Origin
from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.function import FunctionScorer, load_metric
from paretoken.testing.scorers import ScorerSuite

METRICS = '''
"""Metrics of a shop."""

import functools
import json
import sys

def politeness(answer, *, strict=False):
    """Whether it says please."""
    return "please" in answer.lower() and (not strict or "thank" in answer.lower())

politeness.range = (0, 1)

def overlap(answer: str, reference: str) -> float:
    own, wanted = set(answer.split()), set(reference.split())
    return len(own & wanted) / max(1, len(own | wanted))

async def slow(answer, input, fields, references=()):
    return len(answer) + len(input) + len(fields) + len(references), "in characters"

def odd(answer):
    return {"nan": float("nan"), "text": "good", "none": None, "why": (None, "too short"), "list": [1]}.get(answer, 3)

def broken(answer):
    total = 1
    return total / len(answer)

def read(answer):
    return json.loads(answer)

def leave(answer):
    sys.exit(3)

async def later(answer):
    raise KeyError(answer)

def lent(answer, *, folder="a", reference_=0, **rest):
    return len(folder) + len(rest)

@functools.lru_cache
def cached(answer):
    return len(answer)

partial = functools.partial(lent, folder="b")

class Bare:
    pass

class Shout:
    name, metrics, needs_reference, ranges, provenance = "shout", ("shout",), False, {"shout": (0, 1)}, "shout 1"

    def __init__(self, mark="!", language="-"):
        self.mark, self.language = 1 / len(mark) and mark, language

    async def score(self, items):
        from paretoken.core.protocols import Scored
        return [[Scored("shout", float(self.mark in item.answer))] for item in items]
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "shop.py").write_text(METRICS)
    return tmp_path


def one(scorer, answer, reference=None, **given):
    item = ScoreItem(answer, given.get("input", ""), reference, given.get("fields", {}), origin=Origin(sample="S7"))
    return asyncio.run(scorer.score([item]))[0][0]


def overlap(answer, reference):
    own, wanted = set(answer.split()), set(reference.split())
    return len(own & wanted) / max(1, len(own | wanted))


class TestFunction(ScorerSuite):
    def make_scorer(self):
        return FunctionScorer(overlap, range=(0, 1))


async def characters(answer):
    return len(answer)


class TestAsyncFunction(ScorerSuite):
    def make_scorer(self):
        return FunctionScorer(characters)


def test_a_function_of_a_file(folder):
    polite = load_metric("metrics/shop.py:politeness", folder)
    assert (polite.name, polite.metrics, polite.needs_reference) == ("politeness", ("politeness",), False)
    assert polite.ranges == {"politeness": (0.0, 1.0)}
    assert (one(polite, "Please sit.").value, one(polite, "Sit.").value) == (1.0, 0.0)
    strict = load_metric("metrics/shop.py:politeness", folder, strict=True, name="courtesy", range=[0, 2])
    assert (strict.metrics, strict.ranges) == (("courtesy",), {"courtesy": (0.0, 2.0)})
    assert one(strict, "Please sit.").value == 0.0
    slow = one(load_metric("metrics/shop.py:slow", folder), "abc", "r", input="de", fields={"x": 1})
    assert (slow.value, slow.reason) == (7.0, "in characters")
    assert one(load_metric("metrics/shop.py:Shout", folder, mark="?"), "What?").value == 1.0


def test_arguments_may_be_called_anything(folder):
    assert one(load_metric("metrics/shop.py:lent", folder, folder="abc"), "").value == 3.0
    assert one(load_metric("metrics/shop.py:lent", folder, told=1, found=2), "").value == 3.0
    assert one(load_metric("metrics/shop.py:cached", folder), "four").value == 4.0


def test_a_class_is_told_of_the_experiment_what_it_takes(folder):
    told = {"language": "zh", "folder": folder, "references": ()}
    assert load_metric("metrics/shop.py:Shout", folder, told).language == "zh"
    assert load_metric("metrics/shop.py:Shout", folder, told, language="en").language == "en"


def test_a_missing_reference_is_a_reason_without_a_call(folder):
    scorer = load_metric("metrics/shop.py:overlap", folder)
    assert scorer.needs_reference
    assert one(scorer, "abc", " ").reason == "the sample has no reference"


def test_what_is_no_score(folder):
    odd = load_metric("metrics/shop.py:odd", folder)
    assert one(odd, "none").reason == "odd gave no value"
    assert one(odd, "why").reason == "too short"
    for answer in ("nan", "text", "list"):
        with pytest.raises(ScoreError, match=r"metric 'odd' returned .* on sample 'S7' \(shop.py:\d+\): it must"):
            one(odd, answer)
    with pytest.raises(ScoreError, match=r"returned 3 on sample 'S7', outside its range \[0, 1\]"):
        one(load_metric("metrics/shop.py:odd", folder, range=[0, 1]), "else")


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken", "    return total / len(answer)", "ZeroDivisionError: division by zero"),
        ("read", "    return json.loads(answer)", "JSONDecodeError: Expecting value: line 1 column 1 (char 0)"),
        ("leave", "    sys.exit(3)", "SystemExit: 3"),
        ("later", "    raise KeyError(answer)", "KeyError: ''"),
    ],
)
def test_a_failure_names_the_line_of_the_users_file_and_the_sample(folder, name, text, said):
    with pytest.raises(ScoreError) as caught:
        one(load_metric(f"metrics/shop.py:{name}", folder, name="mine"), "")
    line = METRICS.splitlines().index(text) + 1
    assert str(caught.value) == f"metric 'mine' failed on sample 'S7': {said} (shop.py:{line} in {name})"


def test_provenance_follows_the_file_and_the_arguments(folder, tmp_path):
    first = load_metric("metrics/shop.py:politeness", folder).provenance
    assert first.startswith("shop.py:politeness sha256:")
    assert load_metric("metrics/shop.py:politeness", folder, strict=True).provenance != first
    loaded = load_metric("metrics/shop.py:politeness", folder)
    (folder / "metrics" / "shop.py").write_text(METRICS.replace("please", "kindly"))
    assert (loaded.provenance, one(loaded, "Please sit.").value) == (first, 1.0)  # it goes on as it was loaded
    changed = load_metric("metrics/shop.py:politeness", folder)
    assert changed.provenance != first
    assert one(changed, "Kindly sit.").value == 1.0
    other = tmp_path / "other"
    other.mkdir()
    (other / "shop.py").write_text("def politeness(answer):\n    return 5\n")
    assert one(load_metric("shop.py:politeness", other), "").value == 5.0


@pytest.mark.parametrize(
    ("reference", "arguments", "message"),
    [
        ("metrics/shops.py:politeness", {}, "does not exist"),
        ("metrics/shop.py:polite", {}, "Did you mean 'politeness'"),
        ("metrics/shop.py:politeness", {"stict": True}, "Did you mean 'strict'"),
        ("metrics/shop.py:politeness", {"range": [1, 0]}, "lowest and highest"),
        ("metrics/shop.py:politeness", {"name": "two words"}, "Give a name without spaces"),
        ("metrics/shop.py:politeness", {"answer": "x"}, "does not take 'answer' from the spec"),
        ("metrics/shop.py:lent", {"input": "x"}, "does not take 'input' from the spec"),
        ("metrics/shop.py:partial", {}, "is no function"),
        ("metrics/shop.py:Bare", {}, "Bare is no scorer: it has no name, metrics"),
        ("metrics/shop.py:Shout", {"loud": 1}, "loud"),
        ("metrics/shop.py:Shout", {"mark": ""}, "Shout cannot be made: ZeroDivisionError"),
        ("leaving.py:x", {}, "leaving.py:2: SystemExit"),
        ("needs.py:placed", {}, "does not take an answer by name"),
        ("needs.py:unnamed", {}, "needs 'x', which no sample has"),
        ("broken.py:x", {}, "broken.py:2"),
        ("failing.py:x", {}, "failing.py:3"),
        ("needs.py:needs", {}, "needs 'weights', which no sample has"),
        ("needs.py:nothing", {}, "does not take an answer"),
    ],
)
def test_bad_input_is_said_before_anything_is_spent(folder, reference, arguments, message):
    (folder / "broken.py").write_text("def x(answer):\nreturn 1\n")
    (folder / "failing.py").write_text("\n\nimport nowhere_to_be_found\n")
    (folder / "leaving.py").write_text("import sys\nsys.exit(2)\n")
    heads = ("needs(answer, weights)", "nothing(text)", "placed(answer, /)", "unnamed(x, /, answer)")
    (folder / "needs.py").write_text("".join(f"def {head}:\n    return 1\n\n" for head in heads))
    with pytest.raises(SpecError) as caught:
        load_metric(reference, folder, **arguments)
    assert message in str(caught.value)
