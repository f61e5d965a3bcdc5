"""How far each score agrees with people, on recorded human judgements.

    python bench/metric_human.py [--quick] --data DIR

Summaries of six data sets with up to four human grades each, and Chinese-English translations with the penalties of
experts. Every scorer gets the answer, its reference and the source text as input; beside them stands unigram F1.
Spearman and Kendall correlations over all answers of a set, with 95 % intervals from a bootstrap over its documents.
The weights of the combined score (BERTScore F1, facts, length) are fitted on one half of the documents and reported on
the other, in 20 random splits, by the mean Spearman correlation over the pairs of data set and grade. Prints a table on
stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import kendalltau, rankdata, spearmanr

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.facts import Facts
from paretoken.scoring.form import Length
from paretoken.scoring.overlap import Chrf, RougeL
from paretoken.scoring.quality import WEIGHTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from paretoken.core.protocols import Scorer

PARTS = ("bertscore_f1", "facts", "length")
SHOWN = ("unigram_f1", "bertscore_f1", "bertscore_recall", "chrf", "rouge_l", "facts", "length", "quality")
FEWEST = 50
DRAWS = 500


@dataclass(frozen=True)
class Pair:
    """One grade of one data set: rows of the frame, and where in it the documents are."""

    data: str
    dimension: str
    rows: NDArray[np.int64]
    human: NDArray[np.float64]


def load(folder: Path, quick: bool) -> pd.DataFrame:
    """Answers with references, source, document and human grades, larger is better."""
    summaries = pd.read_parquet(folder / "bertscore_human_summarization.parquet")
    summaries["references"] = [[text] for text in summaries["reference"].fillna("")]
    translations = pd.read_parquet(folder / "wmt21_ted_zhen_mqm_segments.parquet")
    translations["dataset"], translations["item_id"] = "WMT21_TED", translations["seg_id"].astype(str)
    translations["human_mqm"] = -translations["mqm_penalty"]
    pairs = zip(translations["reference"], translations["reference_b"].fillna(""), strict=True)
    translations["references"] = [[one, other] for one, other in pairs]
    frame = pd.concat([summaries, translations], ignore_index=True)
    frame["document"] = frame["dataset"] + "/" + frame["item_id"].astype(str)
    if quick:
        kept = frame["document"].drop_duplicates().sample(frac=0.3, random_state=7)
        frame = frame[frame["document"].isin(kept)].reset_index(drop=True)
    return frame


def unigram_f1(answer: str, reference: str) -> float:
    """F1 of lower-case words, the baseline."""
    a, b = (Counter(re.findall(r"\w+", text.lower())) for text in (answer, reference))
    return 2 * sum((a & b).values()) / max(1, sum(a.values()) + sum(b.values()))


def score(frame: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """Every metric of every answer."""
    items = [
        ScoreItem(answer, source, references[0], {}, tuple(references[1:]))
        for answer, source, references in zip(
            frame["hypothesis"], frame["source"].fillna(""), frame["references"], strict=True
        )
    ]
    values = {
        "unigram_f1": np.array([max(unigram_f1(item.answer, r) for r in item.references) for item in items]),
    }
    scorers: tuple[Scorer, ...] = (BertScore(language="en"), Chrf(), RougeL(), Facts(), Length())
    for scorer in scorers:
        rows = asyncio.run(scorer.score(items))
        print(f"scored by {scorer.name}", file=sys.stderr)
        for k, metric in enumerate(scorer.metrics):
            values[metric] = np.array([np.nan if row[k].value is None else row[k].value for row in rows], float)
    values["quality"] = combine((1 - sum(WEIGHTS.values()), *WEIGHTS.values()), values)
    return values


def combine(
    weights: tuple[float, ...] | NDArray[np.float64], values: dict[str, NDArray[np.float64]]
) -> NDArray[np.float64]:
    """The weighted mean of the parts."""
    total = sum(weight * values[part] for weight, part in zip(weights, PARTS, strict=True))
    return np.asarray(total, float)


def grades(frame: pd.DataFrame) -> list[Pair]:
    """Every pair of data set and grade with enough answers."""
    found = []
    for data, part in frame.groupby("dataset"):
        for column in [str(c) for c in frame.columns if str(c).startswith("human_")]:
            known = part.index[part[column].notna()].to_numpy()
            if len(known) >= FEWEST:
                found.append(Pair(str(data), column[6:], known, frame[column].to_numpy(float)[known]))
    return found


def spearman(values: NDArray[np.float64], pair: Pair, rows: NDArray[np.int64] | None = None) -> float:
    """Correlation of ranks over a pair's answers, or some of them (positions within the pair)."""
    own, human = values[pair.rows], pair.human
    if rows is not None:
        own, human = own[rows], human[rows]
    return float(spearmanr(own, human).statistic)


def intervals(
    values: NDArray[np.float64], pair: Pair, document: NDArray[np.int64], draws: int
) -> tuple[tuple[float, float], ...]:
    """95 % bootstrap intervals of Spearman's and Kendall's coefficient, documents drawn with replacement."""
    rng = np.random.default_rng(7)
    codes = document[pair.rows]
    groups = [np.flatnonzero(codes == code) for code in np.unique(codes)]
    drawn: list[tuple[float, float]] = []
    for _ in range(draws):
        rows = np.concatenate([groups[i] for i in rng.integers(len(groups), size=len(groups))])
        own, human = values[pair.rows][rows], pair.human[rows]
        drawn.append(
            (float(np.corrcoef(rankdata(own), rankdata(human))[0, 1]), float(kendalltau(own, human).statistic))
        )
    low, high = np.nanquantile(np.array(drawn), [0.025, 0.975], axis=0)
    return (float(low[0]), float(high[0])), (float(low[1]), float(high[1]))


def fit(values: dict[str, NDArray[np.float64]], pairs: list[Pair], half: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Weights from 0 up with the largest mean correlation on one half of the documents, by steps that shrink."""
    rows = [np.flatnonzero(half[pair.rows]) for pair in pairs]

    def agreement(weights: NDArray[np.float64]) -> float:
        combined = combine(weights, values)
        return float(np.nanmean([spearman(combined, pair, part) for pair, part in zip(pairs, rows, strict=True)]))

    weights = np.full(len(PARTS), 1 / len(PARTS))
    best = agreement(weights)
    for step in (0.3, 0.1, 0.05, 0.02):
        better = True
        while better:
            better = False
            for k in range(len(PARTS)):
                for change in (step, -step):
                    tried = weights.copy()
                    tried[k] = max(0.0, tried[k] + change)
                    if tried.sum() > 0 and (found := agreement(tried / tried.sum())) > best + 1e-5:
                        weights, best, better = tried / tried.sum(), found, True
    return weights


def emit(figure: str, value: float, low: float | None, high: float | None, n: int, target: str = "-") -> None:
    """One figure as a line of JSON."""
    body = {"bench": "metric_human", "figure": figure, "value": round(value, 4), "unit": "correlation", "n": n}
    ends = {} if low is None or high is None else {"low": round(low, 4), "high": round(high, 4)}
    print(json.dumps({**body, **ends, "target": target}), flush=True)


def main() -> None:
    """Score, correlate, fit, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    if options.data is None:
        print("every figure is left out: recorded human judgements are needed, --data DIR", file=sys.stderr)
        return
    frame = load(options.data, options.quick)
    values, pairs = score(frame), grades(frame)
    document = pd.factorize(frame["document"])[0]
    above, rows = 0, []
    for pair in pairs:
        row: dict[str, object] = {"pair": f"{pair.data}.{pair.dimension}", "n": len(pair.rows)}
        found = {}
        for scorer in SHOWN:
            spearman_ends, kendall_ends = intervals(values[scorer], pair, document, 50 if options.quick else DRAWS)
            found[scorer] = spearman(values[scorer], pair)
            kendall = float(kendalltau(values[scorer][pair.rows], pair.human).statistic)
            emit(f"spearman.{pair.data}.{pair.dimension}.{scorer}", found[scorer], *spearman_ends, len(pair.rows))
            emit(f"kendall.{pair.data}.{pair.dimension}.{scorer}", kendall, *kendall_ends, len(pair.rows))
            row[scorer] = f"{found[scorer]:.3f} [{spearman_ends[0]:.2f}, {spearman_ends[1]:.2f}]"
        above += found["bertscore_f1"] > found["unigram_f1"]
        rows.append(row)
    print(pd.DataFrame(rows).to_string(index=False), file=sys.stderr)
    emit("pairs_above_unigram_f1", above, None, None, len(pairs), ">= 9 of 12")
    print(f"BERTScore above unigram F1 on {above} of {len(pairs)} pairs", file=sys.stderr)
    halves(values, pairs, document, 4 if options.quick else 20)


def halves(values: dict[str, NDArray[np.float64]], pairs: list[Pair], document: NDArray[np.int64], splits: int) -> None:
    """Fit the combined score on one half of the documents and report it on the other, over several splits."""
    found = []
    for seed in range(splits):
        half = np.random.default_rng(seed).random(document.max() + 1) < 0.5
        first = half[document]
        weights = fit(values, pairs, first)
        rest = [np.flatnonzero(~first[pair.rows]) for pair in pairs]
        shown = {part: values[part] for part in PARTS} | {"combined": combine(weights, values)}
        means = {
            name: float(np.nanmean([spearman(own, pair, part) for pair, part in zip(pairs, rest, strict=True)]))
            for name, own in shown.items()
        }
        found.append(means | {f"weight of {part}": weight for part, weight in zip(PARTS, weights, strict=True)})
    table = pd.DataFrame(found)
    print(f"fitted on one half, reported on the other, {splits} splits:\n{table.describe().round(3)}", file=sys.stderr)
    for name in (*PARTS, "combined"):
        best = max(float(table[part].mean()) for part in PARTS)
        low, high = (float(end) for end in table[name].quantile([0.025, 0.975]))
        target = f"> {best:.4f}" if name == "combined" else "-"
        emit(f"spearman.other_half.mean.{name}", float(table[name].mean()), low, high, splits, target)
    for part in PARTS:
        above = int((table["combined"] > table[part]).sum())
        emit(f"splits_where_combined_is_above.{part}", above, None, None, splits, f"> {splits // 2}")


if __name__ == "__main__":
    main()
