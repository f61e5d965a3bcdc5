"""How much faster BERTScore is than the package `bert-score`, with the same weights and threads.

    python bench/bertscore.py [--quick] [--data DIR]

The package is asked as its users do, `bert_score.score` once a trial, which loads the encoder each time; beside it
stands `BERTScorer`, kept loaded. Four workloads: a search, whose trials answer the same samples; references with
several candidates; texts of log-normal lengths; and Chinese ones of such lengths, for speed alone, with the bundled
encoder's refusal switched off. The three take turns; nothing is kept on disk. Texts are made of the words of recorded
answers if there are some (`--data`), else of a list here. Values are compared with the package's for a pair by itself;
how far its own values move when pairs share a batch stands beside it. Prints a table on stderr and one line of JSON
per figure on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import bert_score
import numpy as np
import pandas as pd
import torch

from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.encoder import BUNDLED_LAYERS, bundled_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WORDS = re.findall(
    r"\w+",
    "the a this our every light warm quiet small strong kettle lamp jacket bag chair bottle water power minutes "
    "evening morning table garden holds keeps boils saves charges folds carries needs fits and or with without for "
    "in under after while never always quickly gently twice until three seven forty percent litres metres euros "
    "waterproof dimmable washable recycled handmade cotton steel bamboo ",
)
CHARACTERS = "这款水壶三分钟就能烧开一升保温杯可以十二个小时适合户外使用灯光柔和省电护眼轻便耐洗全场八折"
CORES = len(os.sched_getaffinity(0))
TARGETS = {"search": 2.0, "references": 1.3, "lengths": 1.5, "chinese": 4.5}

Pairs = list[tuple[str, str]]


@dataclass(frozen=True)
class Workload:
    """Answers with their references, in the batches in which they come."""

    name: str
    trials: list[Pairs]


def workloads(words: Sequence[str], quick: bool) -> list[Workload]:
    """The four, smaller if it must be quick."""
    rng = np.random.default_rng(7)
    n_trials, n_samples, n_pairs = (3, 20, 20) if quick else (40, 100, 200)

    def text(n: float) -> str:
        start = int(rng.integers(len(words)))
        return " ".join(words[(start + i) % len(words)] for i in range(max(1, round(n))))

    def chinese(n: float) -> str:
        return "".join(rng.choice(list(CHARACTERS), max(1, round(n))))

    def lengths(n: int) -> list[float]:
        return [min(400.0, max(3.0, x)) for x in rng.lognormal(np.log(60), 1.0, n)]

    references = [text(n) for n in rng.uniform(25, 75, n_samples)]
    search = [[(text(rng.uniform(20, 80)), reference) for reference in references] for _ in range(n_trials)]
    several = [(text(rng.uniform(20, 80)), r) for r in references[: n_pairs // 5] for _ in range(5)]
    long = [(text(a), text(b)) for a, b in zip(lengths(n_pairs), lengths(n_pairs), strict=True)]
    han = [(chinese(a), chinese(b)) for a, b in zip(lengths(n_pairs), lengths(n_pairs), strict=True)]
    return [
        Workload("search", search),
        Workload("references", [several]),
        Workload("lengths", [long]),
        Workload("chinese", [han]),
    ]


def ours() -> Callable[[Pairs], list[list[float]]]:
    """Our scorer with nothing encoded yet."""
    scorer = BertScore(on_disk=False)
    scorer._checked = True

    def score(pairs: Pairs) -> list[list[float]]:
        rows = asyncio.run(scorer.score([ScoreItem(answer, "", reference, {}) for answer, reference in pairs]))
        return [[float(s.value or 0.0) for s in row] for row in rows]

    return score


def package() -> Callable[[Pairs], list[list[float]]]:
    """The package, as it is called without keeping anything."""

    def score(pairs: Pairs) -> list[list[float]]:
        torch.set_num_threads(CORES)
        answers, references = [list(side) for side in zip(*pairs, strict=True)]
        sides = bert_score.score(answers, references, model_type=str(bundled_folder()), num_layers=BUNDLED_LAYERS)
        rows: list[list[float]] = torch.stack(sides, dim=1).tolist()
        return rows

    return score


def kept() -> Callable[[Pairs], list[list[float]]]:
    """The package with its encoder loaded before."""
    scorer = bert_score.BERTScorer(model_type=str(bundled_folder()), num_layers=BUNDLED_LAYERS)

    def score(pairs: Pairs) -> list[list[float]]:
        torch.set_num_threads(CORES)
        answers, references = [list(side) for side in zip(*pairs, strict=True)]
        rows: list[list[float]] = torch.stack(scorer.score(answers, references), dim=1).tolist()
        return rows

    return score


def measure(workload: Workload, repeats: int) -> tuple[list[float], list[float]]:
    """Ratios of wall time to ours: of the package, and of the package kept loaded."""
    ratios: list[list[float]] = [[], []]
    for _ in range(repeats):
        ready, spent = [make() for make in (ours, package, kept)], [0.0, 0.0, 0.0]
        for pairs in workload.trials:
            for k, score in enumerate(ready):
                started = time.perf_counter()
                score(pairs)
                spent[k] += time.perf_counter() - started
        for k in (0, 1):
            ratios[k].append(spent[k + 1] / spent[0])
    return ratios[0], ratios[1]


def errors(workload: Workload, n: int) -> tuple[float, float]:
    """Largest difference of ours, and of the package in a batch, from the package asked for one pair."""
    pairs = workload.trials[0][:n]
    one = kept()
    alone = np.array([one([pair])[0] for pair in pairs])
    return float(np.abs(ours()(pairs) - alone).max()), float(np.abs(one(pairs) - alone).max())


def show(figure: str, values: Sequence[float], unit: str, target: str) -> None:
    """One figure: its median with the least and the largest."""
    middle, low, high = (float(f"{x:.4g}") for x in (np.median(values), min(values), max(values)))
    body = {"bench": "bertscore", "figure": figure, "value": middle, "low": low, "high": high, "unit": unit}
    print(json.dumps({**body, "n": len(values), "target": target}), flush=True)
    print(f"{figure:28} {middle:9g} ({low:g} to {high:g}) {unit}   target {target}", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--data", type=Path)
    options = parser.parse_args()
    words = WORDS
    if options.data is None:
        print("without --data texts are made of a list of words", file=sys.stderr)
    else:
        answers = pd.read_parquet(options.data / "alpaca_eval_prompt_variants.parquet", columns=["output"])["output"]
        words = " ".join(answers.dropna().sample(400, random_state=7)).split()
    ours()([("warm", "up")])
    wrong: list[tuple[float, float]] = []
    for workload in workloads(words, options.quick):
        repeats = 1 if options.quick or workload.name == "search" else 3
        against, against_kept = measure(workload, repeats)
        if workload.name != "chinese":  # the bundled encoder reads too little of it to be compared
            wrong.append(errors(workload, 10 if options.quick else 100))
        show(f"speedup_{workload.name}", against, "x bert_score.score", f">= {TARGETS[workload.name]}")
        show(f"speedup_{workload.name}_kept", against_kept, "x BERTScorer kept loaded", "-")
    show("max_abs_error", [max(own for own, _ in wrong)], "of P, R or F1", "<= 1e-5")
    show("package_batch_error", [max(other for _, other in wrong)], "of P, R or F1", "-")


if __name__ == "__main__":
    main()
