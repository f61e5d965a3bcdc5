"""What a page says in Chinese has the numbers and names of what analysis says in English."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product

import numpy as np
import pandas as pd
import pytest

from paretoken.analysis.agreement import Agreement
from paretoken.analysis.difference import Doubt, PairedDifference
from paretoken.analysis.driver_shares import Drivers, Effect, Share, Spikes
from paretoken.analysis.explanation import Explanation, Factor, Tokens
from paretoken.analysis.features import NothingToExplain
from paretoken.analysis.front import Standing
from paretoken.analysis.panel import Pairs
from paretoken.analysis.raced import Departure
from paretoken.analysis.results import Results
from paretoken.analysis.segments import SegmentEffect
from paretoken.analysis.verdict import Comparison, Judgement
from paretoken.core.usage import from_pico
from paretoken.records import Database
from paretoken.report import chinese, chinese_reasons
from paretoken.report.tables import standing_words

_NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e-\d+)?")
_CJK = re.compile("[\u4e00-\u9fff]")


def numbers(text: str) -> list[str]:
    return sorted(_NUMBER.findall(re.sub(r"[a-z]+_?[a-z]*\d+", "", text)))


def agree(english: str, said: str) -> None:
    assert numbers(english) == numbers(said), (english, said)
    assert set(re.findall(r'"([^"]+)"', english)) == set(re.findall("“([^”]+)”", said)), (english, said)
    assert _CJK.search(said)


def difference(name: str, *, doubts: tuple[Doubt, ...] = (), reason: str | None = None, n: int = 48):
    return PairedDifference(name, 0.95, n, 0.004, 0.003, -0.001, -0.0012, -0.0008, -0.25, -0.31, -0.2, 0.01, reason,
                            doubts)  # fmt: skip


def comparison(cost: str, quality: str, **changes):
    doubt = (Doubt("skewed", 40, 48, -0.11, 0.22),)
    judged = Judgement(difference("list_usd", doubts=doubt), cost, None, needs=200 if cost == "undecided" else None)
    other = Judgement(difference("rouge_l"), quality, 0.01, needs=320 if quality == "undecided" else None)
    values = {
        "n": 48,
        "planned": 60,
        "population": "beyond",
        "anytime": False,
        "part": "",
        "whole": 60,
        "clusters": None,
    }
    return Comparison("verbose", "terse", judged, (other,), (), **(values | changes))


FINDINGS = ("better", "not worse", "worse", "undecided", "cannot tell")


@pytest.mark.parametrize(("cost", "quality"), list(product(FINDINGS, FINDINGS)))
def test_every_comparison(cost, quality):
    for changes in ({}, {"population": "dataset", "clusters": 7}, {"part": "held out", "planned": 48}):
        found = comparison(cost, quality, **changes)
        agree(found.sentence, chinese.sentence(found))
        assert len(chinese.verdict(found).split("，")) == len(found.verdict.split(", "))


def test_what_analysis_words_itself_is_quoted():
    few = Judgement(
        difference("rouge_l", reason="only 3 common samples, at least 10 are needed", n=3), "cannot tell", 0.01
    )
    agree("only 3 common samples, at least 10 are needed", chinese._quality(few))
    odd = Judgement(difference("rouge_l", reason="all 48 differences are equal"), "cannot tell", None)
    assert "all 48 differences are equal" in chinese._quality(odd)


@pytest.mark.parametrize(("cost", "quality"), list(product(FINDINGS, FINDINGS)))
def test_every_segment(cost, quality):
    tokens = Pairs(np.full(48, 90.0), np.full(48, 60.0), np.arange(48), 48)
    for n_examples in (None, 3):
        found = SegmentEffect.of("role", n_examples, comparison(cost, quality), tokens)
        said = chinese.segment(found)
        assert {number.lstrip("+") for number in numbers(found.sentence)} == {n.lstrip("+") for n in numbers(said)}
        assert ("“role”" in said) == (n_examples is None)


def test_a_segment_that_lowers_a_metric_is_told_without_signs_and_without_the_bootstrap():
    tokens = Pairs(np.full(48, 90.0), np.full(48, 60.0), np.arange(48), 48)
    better = PairedDifference("chrf", 0.95, 48, 0.5, 0.5386, 0.0386, 0.0384, 0.0389, 0.07, 0.06, 0.08, 0.0, None,
                              (Doubt("few", 3, 48, 0.0385, 0.0389), Doubt("missing", 2, 50)))  # fmt: skip
    without = replace(comparison("better", "better"), quality=(Judgement(better, "better", None),))
    found = SegmentEffect.of("role", None, without, tokens)
    assert ", and lowers chrf by 0.0386 [0.0384, 0.0389]: may go;" in found.sentence
    assert found.sentence.endswith(
        "; caution: list_usd: the differences are skewed, so the interval may hold less often than it says"
        "; caution: chrf: only 3 of 48 pairs differ, so the interval may hold less often than it says; "
        "2 of 50 samples lack a value and are left out"
    )
    assert "，使 chrf 降低 0.0386 [0.0384, 0.0389]：可以去掉；" in (said := chinese.segment(found))
    assert {n.lstrip("+") for n in numbers(found.sentence)} == {n.lstrip("+") for n in numbers(said)}
    both = replace(without, quality=(*without.quality, comparison("better", "better").quality[0]))
    assert (
        ", and buys +0.001 rouge_l [+0.0008, +0.0012] and lowers chrf by"
        in SegmentEffect.of("role", None, both, tokens).sentence
    )


@pytest.mark.parametrize("kind", ["missing", "asymptotic", "few", "skewed"])
def test_every_doubt(kind):
    found = Doubt(kind, 3, 48, -0.5, 0.25)
    agree(found.words("list_usd"), chinese.doubt(found, "list_usd"))


@pytest.mark.parametrize("kind", ["race", "so far", "cheapest", "confirmed"])
def test_every_race(tmp_path, write_race, arm, kind):
    path = tmp_path / ".paretoken" / "p.db"
    if kind == "cheapest":
        arms = (arm("big", quality=0.8, output_tokens=120, asked=120, fate="dearer", by=(1,)),
                arm("small", quality=0.79, output_tokens=60, asked=120, fate="kept"))  # fmt: skip
        results = write_race(path, arms, kind="cheapest", metric="bertscore_f1", within=0.02)
    elif kind == "so far":
        results = write_race(path, (arm("big", asked=20), arm("small", asked=20, output_tokens=30, fate="kept")))
    else:
        results = write_race(path, **({"confirm": 0.3} if kind == "confirmed" else {}))
    told = chinese.verdicts(results)
    assert len(told) == len(results.verdicts)
    for english, said in zip(results.verdicts, told, strict=True):
        assert set(numbers(english)) >= set(numbers(said)) - {"1,000"}
        assert set(re.findall(r'"([^"]+)"', english)) <= set(re.findall("“([^”]+)”", said))
        assert _CJK.search(said)


def test_every_ab_test(tmp_path, write_test):
    for i, plan in enumerate(({}, {"confirm": 0.3}, {"mode": "fixed", "confirm": 0.3})):
        results = write_test(tmp_path / str(i) / "p.db", n=60, **plan)
        told = chinese.verdicts(results)
        assert len(told) == len(results.verdicts)
        for english, said in zip(results.verdicts, told, strict=True):
            agree(english, said)


def test_every_standing():
    class Summary:
        label, variant = "a", "a"

    departures = [None, *(Departure(fate, 24, ("b", "c"), ("facts",), kept_as) for fate in
                  ("beaten", "dearer", "infeasible", "kept", "open") for kept_as in ("front", "cheapest"))]  # fmt: skip
    for left, on_front, broken, unknown in product(departures, (True, False), ((), ("facts >= 0.9",)), ((), ("chrf",))):
        found = Standing(Summary(), on_front, broken, unknown, ("b", "c"), 0, left)
        english, said = standing_words(found), chinese.standing(found)
        assert _CJK.search(said)
        assert set(numbers(english)) - {"1"} <= set(numbers(said)), (english, said)


@pytest.mark.parametrize("column", [None, "human"])
@pytest.mark.parametrize("n", [4, 60])
def test_every_judge(column, n):
    rng = np.random.default_rng(5)
    chars = rng.integers(20, 400, n).astype(float)
    judge = np.clip(np.round(chars / 400 * 4 + rng.normal(0, 0.4, n)) / 4, 0, 1)
    people = judge if column else np.full(n, np.nan)
    found = Agreement(
        "appeal", column, "m", (1, 5), False, n + 2, judge, people, chars, np.full(n, np.nan), np.arange(n), 7
    )
    said = chinese.agreement(found)
    assert set(numbers(said)) >= set(numbers(found.sentence)) - {"0.81", "0.8"}
    assert _CJK.search(said)


def drivers(**changes):
    shares = (Share("prompt", "choice", 1e-6, 0.71, 0.6, 0.8), Share("tag: topic", "input", 1e-7, 0.29, 0.2, 0.4))
    effects = (Effect("prompt", "terse@3f9a1c", 24, -1e-6, -2e-6, -5e-7),)
    nothing = np.zeros((0, 0))
    found = Drivers("", "list_usd", "USD", (0.57, 0.44, 0.68), 144, 48, (), 4e-6, 4e-6, pd.DataFrame(), {}, nothing,
                    nothing, (), shares, effects)  # fmt: skip
    return replace(found, **changes)


def test_drivers(tmp_path, write):
    path = tmp_path / "p.db"
    write(path)
    with Database(path) as database:
        results = Results.load(database, "last")
    spiked = drivers(n=len(results.table) - 3, spikes=Spikes(3, 0.913, 120.0, 0.21, "P07", "verbose"))
    for found in (drivers(n=len(results.table)), drivers(n=len(results.table), shares=(), effects=()), spiked):
        told = chinese_reasons.drivers(results, found)
        assert len(told) == len(found.sentences)
        for english, said in zip(found.sentences, told, strict=True):
            assert numbers(english) == numbers(said)
    assert "1 次没有 list_usd" in chinese_reasons.drivers(results, drivers(n=len(results.table) - 1))[-1]
    for lacking in ("answers", "values", "differences", "features", "samples"):
        assert _CJK.search(chinese_reasons.nothing_to_explain(NothingToExplain(lacking, "why")))


@pytest.mark.parametrize("chars", [(400.0, 90.0, 100.0, 30.0), (400.0, 90.0, 400.0, 90.0)])
@pytest.mark.parametrize("usd", [-3_000_000, 4_000_000, 0])
def test_waterfalls(chars, usd):
    factors = (Factor("model price", from_pico(usd)), Factor("prompt tokens", from_pico(-1_000_000)),
               Factor("completion tokens", from_pico(1_000_000)))  # fmt: skip
    before, after = Tokens(100, 40, 10, 3, *chars[:2]), Tokens(80, 50, 0, 0, *chars[2:])
    found = Explanation(
        "verbose", "terse", 12, from_pico(9_000_000), from_pico(9_000_000 + usd), factors, before, after
    )
    told = chinese_reasons.explanation(replace(found, left_out=2))
    assert "2 次调用" in told[-1]
    english = found.sentences[0]
    assert set(numbers(told[0])) == set(numbers(english))
    for factor in factors[:2]:
        if factor.usd and usd:
            assert chinese_reasons.factor(found, factor) in told[0]
