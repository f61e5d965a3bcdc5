from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mlflow_rig import URI
from paretoken.analysis.results import Results
from paretoken.core.calls import Attempt, Call, Message, Origin, Request, Response, Score
from paretoken.core.trials import RunInfo, Variant, draw_order, label_variants
from paretoken.core.usage import Usage
from paretoken.records import Database, RunBook, SqlJournal
from paretoken.report.mlflow_tracker import MlflowTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


@pytest.fixture(autouse=True, scope="session")
def _few_refits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paretoken.analysis.drivers.REFITS", 4)  # intervals of drivers have tests of their own
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated tracking store, made once: making one takes seconds."""
    root = tmp_path_factory.mktemp("store")
    _ = MlflowTracker(URI, root, root / "none.db").client
    return root / "mlruns" / "mlflow.db"


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(empty_store, tmp_path / "mlruns" / "mlflow.db")
    return tmp_path


@dataclass(frozen=True)
class Arm:
    """How one synthetic variant behaves, and what a race made of it: `by` are numbers of arms."""

    prompt: str
    model: str = "local/smollm2-135m"
    quality: float = 0.7
    output_tokens: int = 60
    latency_s: float | None = 0.5
    rate: str = "0.08"
    failures: int = 0
    params: tuple[tuple[str, object], ...] = (("max_tokens", 96), ("temperature", 0.0))
    asked: int | None = None
    fate: str = "open"
    by: tuple[int, ...] = ()
    limits: tuple[str, ...] = ()

    @property
    def variant(self) -> Variant:
        return Variant(f"{self.prompt}@3f9a1c", self.model, self.params)


ARMS = (
    Arm("verbose", quality=0.72, output_tokens=120, latency_s=1.1),
    Arm("terse", quality=0.715, output_tokens=60, latency_s=0.6),
    Arm("bullets", quality=0.66, output_tokens=70, latency_s=0.7, failures=1),
    Arm("chatty", quality=0.64, output_tokens=150, latency_s=1.4),
)


def write_run(
    path: Path,
    arms: Sequence[Arm] = ARMS,
    *,
    n: int = 24,
    run: str = "product-copy-3f9a1c",
    content: str = "full",
    status: str = "finished",
    question: str = "Does the terse prompt cut cost by 30 % or more without losing more than 0.01 BERTScore F1?",
    scored: bool = True,
    metric: str = "bertscore_f1",
    **lock: object,
) -> None:
    """Write a synthetic run into a database."""
    rng = np.random.default_rng(7)
    variants = [arm.variant for arm in arms]
    labels = label_variants(variants)
    lock = {
        "paretoken": "0.1.0",
        "spec": {"path": "experiments/product-copy/spec.yaml", "experiment": "product-copy", "track": {"mlflow": "sqlite:///mlruns/mlflow.db"}},
        "question": question,
        "seed": 7,
        "dataset": {"path": "data/products.jsonl", "hash": "d" * 64, "n": n, "language": "en", "reference": True},
        "prompts": {
            v.prompt: {"name": v.prompt_name, "version": "3f9a1c", "text": f"# user\nBe {v.prompt_name}."}
            for v in variants
        },
        "variants": [
            {"id": v.id, "label": labels[v.id], "prompt": v.prompt, "model": v.model, "params": dict(v.params)}
            for v in variants
        ],
        "models": {
            v.model: {
                "price": {
                    "row": "spec",
                    "source": "the spec",
                    "checked": "2026-01-05",
                    "rates": {"input_per_mtok": "0.02", "output_per_mtok": "0"},
                    "tiers": [["200000", {"input_per_mtok": "0.04", "output_per_mtok": "0"}]],
                    "currency": "USD",
                    "usd_rate": "1",
                },
                "recorded": False,
                "base_url": "",
            }
            for v in variants
        },
        "scorers": [{"name": "bertscore", "metrics": ["bertscore_f1"], "provenance": "all-MiniLM-L6-v2, layer 6"}]
        if scored
        else [],
        "plan": {
            "kind": "abtest",
            "control": variants[0].id,
            "treatment": [v.id for v in variants[1:]],
            "margin": {"bertscore_f1": 0.01},
            "alpha": 0.05,
        },
        "objectives": {
            "minimize": ["list_usd", "latency_s.p95"] if arms[0].latency_s else ["list_usd"],
            "maximize": ["bertscore_f1"] if scored else [],
            "subject_to": {"bertscore_f1": [">=", "0.6"]} if scored else {},
        },
        "estimate": {"calls": n * len(arms), "cached": 0, "input_tokens": 1, "output_tokens_max": 1,
                     "low_usd": "0.0005", "high_usd": "0.0011",
                     "predicted": {"usd": 0.0008, "low_usd": 0.0007, "high_usd": 0.0009, "n": 24}},
        "budget": {"usd": "5.00"},
        "tags": {"department": "content", "project": "spring", "api": "text"},
        "track": {"mlflow": "sqlite:///mlruns/mlflow.db"},
        "dropped": {},
        "store": {"content": content},
        **lock,
    }  # fmt: skip
    info = RunInfo(run, "product-copy", "identity", START.isoformat(), "running", "", lock)
    samples = [
        (f"s{i}", {"input": f"secret input {i}", "reference": f"reference {i}", "fields": {"kind": "ab"[i % 2]}})
        for i in range(n)
    ]
    hardness = rng.normal(0, 0.04, n)
    place = {id_: i for i, id_ in enumerate(draw_order([id_ for id_, _ in samples], 7))}
    entries: list[Attempt | Call | Score] = []
    for k, (arm, variant) in enumerate(zip(arms, variants, strict=True)):
        for i in range(n):
            if arm.asked is not None and place[f"s{i}"] >= arm.asked:
                continue
            origin = Origin(run, f"s{i}", variant.id)
            request = Request(variant.model, (Message("user", f"secret input {i}"),), 96, origin=origin)
            at = START + timedelta(seconds=i if arm.asked is None else place[f"s{i}"] + k / len(arms))
            if i < arm.failures:
                entries.append(Call(request, at, error="Timeout: no answer"))
                continue
            tokens = arm.output_tokens + int(rng.integers(-9, 10))
            cost = Decimal(tokens) * Decimal(arm.rate) / 1_000_000
            latency = None if arm.latency_s is None else arm.latency_s * float(rng.uniform(0.8, 1.3))
            response = Response(f"secret answer {i}", Usage(40, tokens), latency_s=latency, list_usd=cost,
                                billed_usd=cost, price_row="spec")  # fmt: skip
            entries.append(Attempt(request.key, origin, at, "ok", response.usage, billed_usd=cost, price_row="spec"))
            entries.append(Call(request, at, response, billed_usd=cost))
            value = arm.quality + hardness[i] + rng.normal(0, 0.015)
            if scored:
                entries.append(Score(origin, "bertscore", metric, float(value)))
    with Database(path) as database:
        book = RunBook(database)
        book.open(info, "d" * 64, samples)
        SqlJournal(database, content).append(entries)
        if status != "running":
            end = START + timedelta(seconds=n + 60)
            book.close(run, status=status, reason="", at=end.isoformat())


def ab_lock(arms: Sequence[Arm], metric: str = "bertscore_f1", **plan: object) -> dict[str, object]:
    """What the lock of an A/B test says that may be looked at while it runs; the first arm is the control."""
    variants = [arm.variant for arm in arms]
    ids, labels = [v.id for v in variants], label_variants(variants)
    declared = {"kind": "abtest", "control": ids[0], "treatment": ids[1:], "margin": {metric: 0.03}, "alpha": 0.05,
                "mode": "continuous"}  # fmt: skip
    most = {"list_usd": 0.00002, "output_tokens": 200.0, "input_tokens": 100.0}
    return {
        "plan": declared | plan,
        "scorers": [{"name": "bertscore", "metrics": [metric], "provenance": "", "ranges": {metric: [0, 1]}}],
        "variants": [
            {"id": v.id, "label": labels[v.id], "prompt": v.prompt, "model": v.model, "params": dict(v.params)}
            for v in (arm.variant for arm in arms)
        ],
        "most": dict.fromkeys(ids, most),
        "objectives": {"minimize": ["list_usd"], "maximize": [metric], "subject_to": {}},
    }  # fmt: skip


def write_ab(path: Path, arms: Sequence[Arm] = ARMS[:3], *, n: int = 160, **plan: object) -> Results:
    """Write an A/B test's run and open it."""
    write_run(path, arms, n=n, **ab_lock(arms, **plan))
    with Database(path) as database:
        return Results.load(database, "last")


RACERS = (
    Arm("verbose", quality=0.8, output_tokens=120, asked=120, fate="kept"),
    Arm("terse", quality=0.7, output_tokens=60, asked=88, fate="kept"),
    Arm("chatty", quality=0.55, output_tokens=150, asked=40, fate="beaten", by=(0, 1)),
    Arm("bullets", quality=0.6, output_tokens=70, asked=64, fate="beaten", by=(1,)),
    Arm("mute", quality=0.3, output_tokens=30, asked=32, fate="infeasible", limits=("bertscore_f1",)),
)


def race_lock(arms: Sequence[Arm], n: int, **plan: Any) -> dict[str, Any]:
    """What the lock of a race says; of the arms that are not open, what it decided."""
    metric = "bertscore_f1"
    ids = [arm.variant.id for arm in arms]
    declared = {"kind": "race", "alpha": 0.05, "family": len(arms), "epsilon": {metric: 0.02},
                "tolerance": {"list_usd": 0.1}, "confirm": None} | plan  # fmt: skip
    held_out = n - round((1 - (declared["confirm"] or 0.0)) * n)
    decisions = {
        id_: {"fate": arm.fate, "n": min(arm.asked or n, n - held_out), "by": [ids[k] for k in arm.by],
              "limits": list(arm.limits)}
        for id_, arm in zip(ids, arms, strict=True) if arm.fate != "open"
    }  # fmt: skip
    ends = {"list_usd": (0.0, 0.00002), "output_tokens": (0.0, 200.0), "input_tokens": (0.0, 100.0)}
    limits = {metric: (">=", 0.5)} if any(arm.limits for arm in arms) else {}
    return {
        "plan": declared,
        "scorers": [{"name": "bertscore", "metrics": [metric], "provenance": "", "ranges": {metric: [0, 1.1]}}],
        "objectives": {"minimize": ["list_usd"], "maximize": [metric], "subject_to": limits},
        "race": {
            "samples": n - held_out,
            "held_out": held_out,
            "decisions": decisions,
            "ends": dict.fromkeys(ids, ends),
        },
    }


def write_raced(
    path: Path, arms: Sequence[Arm] = RACERS, *, n: int = 120, question: str = "Which?", **plan: Any
) -> Results:
    """Write a race's run and open it."""
    lock = race_lock(arms, n, **plan)
    write_run(path, arms, n=n, question=question, **lock)
    with Database(path) as database:
        return Results.load(database, "last")


@pytest.fixture(scope="session")
def write_race() -> Callable[..., Results]:
    return write_raced


@pytest.fixture(scope="session")
def lock_of_race() -> Callable[..., dict[str, Any]]:
    return race_lock


@pytest.fixture(scope="session")
def racers() -> tuple[Arm, ...]:
    return RACERS


@pytest.fixture(scope="session")
def write_test() -> Callable[..., Results]:
    return write_ab


@pytest.fixture(scope="session")
def lock_of_test() -> Callable[..., dict[str, object]]:
    return ab_lock


@pytest.fixture(scope="session")
def write() -> Callable[..., None]:
    return write_run


@pytest.fixture(scope="session")
def arm() -> type[Arm]:
    return Arm


@pytest.fixture
def results(tmp_path: Path) -> Results:
    path = tmp_path / ".paretoken" / "paretoken.db"
    write_run(path)
    with Database(path) as database:
        return Results.load(database, "last")
