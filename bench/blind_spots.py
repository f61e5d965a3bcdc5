"""What each score gives to an honest paraphrase, and to answers that only look like one.

    python bench/blind_spots.py [--quick]

On two dozen short product facts in English and Chinese, written for this project (tests/scoring/cheating.jsonl): an
honest paraphrase of the reference; the reference with its numbers, or what it denies, put wrong; its words in another
order; said four times; the input as it is; and one fluent answer for all. Prints a table on stderr and one line of JSON
per figure on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path
from statistics import mean

import pandas as pd

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.form import Format
from paretoken.scoring.quality import Quality

ROWS = Path(__file__).parents[1] / "tests" / "scoring" / "cheating.jsonl"
CONSTANT = {
    "en": "This is a great product of high quality that is light, useful and easy to use every day.",
    "zh": "这款产品质量很好，轻便实用，适合每天使用，值得购买。",
}
SHOWN = ("bertscore_f1", "chrf", "facts", "length", "quality", "format")


def shuffled(text: str) -> str:
    """The same words (characters of Chinese) in another order."""
    words = text.split() if " " in text else list(text)
    random.Random(7).shuffle(words)
    return (" " if " " in text else "").join(words)


def main() -> None:
    """Score and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="As without: it takes seconds.")
    parser.add_argument("--data", type=Path, help="Not used: the texts are this project's own.")
    parser.parse_args()
    rows = [json.loads(line) for line in ROWS.read_text("utf-8").splitlines()]
    for language, similarity in (("en", "bertscore"), ("zh", "chrf")):
        own = [row for row in rows if row["language"] == language]
        answers = {
            "honest paraphrase": [row["honest"] for row in own],
            "numbers or denials wrong": [row["wrong"] for row in own],
            "another order": [shuffled(row["reference"]) for row in own],
            "said four times": [" ".join([row["reference"]] * 4) for row in own],
            "the input": [row["features"] for row in own],
            "one answer for all": [CONSTANT[language]] * len(own),
        }
        scorers = (Quality(similarity=similarity, language=language), Format(language))
        table = []
        for kind, texts in answers.items():
            items = [ScoreItem(a, r["features"], r["reference"], {}) for a, r in zip(texts, own, strict=True)]
            found: dict[str, object] = {"answer": kind}
            for scorer in scorers:
                scored = asyncio.run(scorer.score(items))
                for k, metric in enumerate(scorer.metrics):
                    if metric in SHOWN:
                        value = mean(row[k].value or 0.0 for row in scored)
                        found[metric] = f"{value:.3f}"
                        figure = f"mean.{language}.{kind.replace(' ', '_')}.{metric}"
                        print(json.dumps({"bench": "blind_spots", "figure": figure, "value": round(value, 4),
                                          "unit": "score", "n": len(own), "target": "-"}))  # fmt: skip
            table.append(found)
        print(f"\n{language}", pd.DataFrame(table).to_string(index=False), sep="\n", file=sys.stderr)


if __name__ == "__main__":
    main()
