"""Answers that try to score without answering: which of them are seen, and by what."""

import asyncio
import json
import random
from pathlib import Path
from statistics import mean

import pytest

from paretoken.core.protocols import ScoreItem
from paretoken.experiment.api import run
from paretoken.report.cautions import score_cautions
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.form import Format
from paretoken.scoring.quality import Quality

ROWS = [json.loads(line) for line in Path(__file__).with_name("cheating.jsonl").read_text("utf-8").splitlines()]
"""Features, reference, an honest paraphrase, and the reference with its numbers or what it denies put wrong."""
CONSTANT = {
    "en": "This is a great product of high quality that is light, useful and easy to use every day.",
    "zh": "这款产品质量很好，轻便实用，适合每天使用，值得购买。",
}
SCORERS = {"en": Quality(language="en"), "zh": Quality(similarity="chrf", language="zh")}


def column(language, name):
    return [row[name] for row in ROWS if row["language"] == language]


def rate(scorer, answers, metric, language="en"):
    rows = [row for row in ROWS if row["language"] == language]
    items = [ScoreItem(a, row["features"], row["reference"], {}) for a, row in zip(answers, rows, strict=True)]
    at = scorer.metrics.index(metric)
    return mean(row[at].value for row in asyncio.run(scorer.score(items)))


def shuffled(text):
    words = text.split()
    random.Random(7).shuffle(words)
    return " ".join(words)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_constant_answer_does_not_win(language):
    scorer, references = SCORERS[language], column(language, "reference")
    honest = rate(scorer, column(language, "honest"), "quality", language)
    soup = " ".join(references)[:200]
    constants = [CONSTANT[language], *references, *column(language, "honest"), soup, "。", "The", ""]
    best = max(rate(scorer, [constant] * len(references), "quality", language) for constant in constants)
    assert best < 0.75 * honest


@pytest.mark.parametrize("language", ["en", "zh"])
def test_wrong_numbers_and_denials_are_seen_by_the_facts(language):
    scorer = SCORERS[language]
    assert rate(scorer, column(language, "honest"), "facts", language) > 0.9
    assert rate(scorer, column(language, "wrong"), "facts", language) < 0.6
    assert rate(scorer, column(language, "reference"), "facts", language) == 1.0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_repetition_is_seen_by_form_and_length(language):
    often = [" ".join([text] * 4) for text in column(language, "reference")]
    once = rate(Format(language), column(language, "reference"), "format", language)
    assert rate(Format(language), often, "format", language) < once
    assert rate(SCORERS[language], often, "length", language) < 0.6


def test_what_bertscore_does_not_see():
    """Said plainly: it prefers a wrong number, or the reference's words in any order, to an honest paraphrase."""
    scorer = BertScore(language="en")
    honest = rate(scorer, column("en", "honest"), "bertscore_f1")
    assert rate(scorer, column("en", "wrong"), "bertscore_f1") > honest
    assert rate(scorer, [shuffled(text) for text in column("en", "reference")], "bertscore_f1") > honest


REPLAY = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {honest: {input_per_mtok: "1", output_per_mtok: "4"},
              constant: {input_per_mtok: "0.1", output_per_mtok: "0.4"}}}
"""


@pytest.mark.parametrize("content", ["hash", "none"])
def test_texts_that_are_not_kept_are_compared_by_their_hash_or_not(cheap_cheat, content):
    cheap_cheat.edit("seed: 7", f"seed: 7\nstore: {{content: {content}}}")
    told = [c.words for c in score_cautions(run(cheap_cheat.folder).results) if c.kind == "alike"]
    assert told == (['"constant" gave the same answer to 40 of 40 samples'] if content == "hash" else [])


@pytest.fixture
def cheap_cheat(lab):
    """Forty samples; one model answers honestly, another, a tenth of the price, says the same of everything."""
    rows = {f"s{i}": ROWS[i % 12] for i in range(40)}
    samples = [
        {"id": id_, "product": row["features"], "features": row["features"], "copy": row["reference"]}
        for id_, row in rows.items()
    ]
    answers = [
        {"model": model, "id": id_, "text": text, "tokens_in": 20, "tokens_out": 12}
        for id_, row in rows.items()
        for model, text in (("honest", row["honest"]), ("constant", CONSTANT["en"]))
    ]
    lab.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in samples))
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in answers))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', REPLAY)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("  - contains: free", "  - quality")
    lab.edit("maximize: [contains]", "maximize: [quality]")
    lab.edit("    control: long\n    treatment: [terse]", "    control: honest\n    treatment: [constant]")
    return lab


def test_a_cheap_constant_answer_is_worse_in_an_ab_test(cheap_cheat):
    results = run(cheap_cheat.folder).results
    (comparison,) = results.comparisons
    assert comparison.verdict == "worse"
    assert score_cautions(results)[0].words == '"constant" gave the same answer to 40 of 40 samples'
    assert not any(caution.variant == "honest" and caution.kind == "alike" for caution in score_cautions(results))


def test_a_cheap_constant_answer_is_not_the_cheapest_that_is_good_enough(cheap_cheat):
    outcome = run(cheap_cheat.folder, instead={"cheapest": {"metric": "quality", "within": 0.05}})
    chosen = [
        s.summary.label for s in outcome.results.standings if s.departure is not None and s.departure.fate == "kept"
    ]
    assert chosen == ["honest"]
