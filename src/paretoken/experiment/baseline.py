"""The baseline of a question: a file beside its spec, to be kept with it under version control."""

from __future__ import annotations

import json
import math
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.errors import SpecError
from paretoken.experiment.source import SPEC_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    from paretoken.analysis.baseline import Baseline, Held
    from paretoken.analysis.gate import Gate
    from paretoken.analysis.results import Results
    from paretoken.experiment.design import Design

BASELINE_NAME = "baseline.json"
FORM = 1
"""Version of the file's form."""


def load_baseline(spec: Path) -> Baseline | None:
    """The baseline beside a spec file; None where nothing is frozen.

    Raises:
        SpecError: The file cannot be read.
    """
    file = spec.parent / BASELINE_NAME
    try:
        return _read(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (TypeError, ValueError, OSError) as error:
        raise SpecError(f"this is no baseline: {error}.", fix="Freeze one with `paretoken baseline set RUN`.",
                        file=file) from error  # fmt: skip


def _read(text: str) -> Baseline:
    """The baseline in a file's text; people merge such files by hand, so nothing in it is taken on trust."""
    from paretoken.analysis.baseline import Baseline

    body = json.loads(text)
    if not isinstance(body, dict) or body.pop("form", None) != FORM:
        raise ValueError("it is of another form")
    baseline = Baseline(**body)
    tables = (baseline.params, baseline.provenance, baseline.contents, baseline.ranges, baseline.values)
    if not all(isinstance(table, dict) for table in (*tables, *dict(baseline.values).values())):
        raise ValueError("a table is missing")
    numbers = [n for of in baseline.values.values() for n in of.values()]
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        raise ValueError("a value is no number")
    if not all(len(ends) == 2 for ends in baseline.ranges.values()):
        raise ValueError("a range has not two ends")
    return baseline


def save_baseline(results: Results, variant: str | None = None) -> tuple[Path, Baseline, Baseline | None]:
    """Freeze a variant of a run as the baseline of its spec.

    Args:
        results: A finished run.
        variant: Label or id; None where there is one only.

    Returns:
        The file, what is frozen now, and what was before.

    Raises:
        SpecError: It cannot be frozen, or the file cannot be written; what was frozen before stays.
    """
    from paretoken.analysis.baseline import Baseline

    baseline, spec = Baseline.freeze(results, variant), spec_file(results)
    file, before = spec.parent / BASELINE_NAME, load_baseline(spec)
    beside = file.with_suffix(".json.new")
    try:
        beside.write_text(json.dumps({"form": FORM, **asdict(baseline)}, ensure_ascii=False, indent=1) + "\n", "utf-8")
        os.replace(beside, file)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise SpecError(f"cannot be written: {error}.", file=file) from error
    return file, baseline, before


def frozen_beside(spec: Path) -> Baseline | None:
    """The baseline of a spec, given as its file or folder; None where that is no spec, or nothing is frozen."""
    file = spec / SPEC_NAME if spec.is_dir() else spec
    return load_baseline(file) if file.is_file() else None


def remove_baseline(spec: Path) -> Path:
    """Forget the baseline of a spec.

    Raises:
        SpecError: There is none.
    """
    file = (spec if spec.is_dir() else spec.parent) / BASELINE_NAME
    if not file.is_file():
        raise SpecError("nothing is frozen here.", file=file)
    file.unlink()
    return file


def spec_file(results: Results) -> Path:
    """The spec that a run was started from."""
    return Path(cast("dict[str, Any]", results.run.lock["spec"])["path"])


def hold(results: Results) -> Held | None:
    """A run held against the baseline of its question; None where nothing is frozen."""
    from paretoken.analysis.baseline import Held

    baseline = load_baseline(spec_file(results))
    return None if baseline is None else Held(results, baseline)


def check_baseline(design: Design, gates: Sequence[Gate]) -> None:
    """Make sure, before anything is spent, that a run can be gated by its question's baseline.

    Args:
        design: The experiment.
        gates: Those that are about the baseline.

    Raises:
        SpecError: Nothing is frozen, a gate's scores were made in another way, or none of the samples has one.
    """
    from paretoken.analysis.abtest import AbTest
    from paretoken.analysis.baseline import contents_of, provenance_of, refused
    from paretoken.analysis.gate import ANY

    baseline = load_baseline(design.path.resolve())
    if baseline is None:
        raise SpecError("there is no baseline to be below.", fix="Freeze one with `paretoken baseline set RUN`.",
                        file=design.path.resolve().parent / BASELINE_NAME)  # fmt: skip
    named = {gate.quantity for gate in gates}
    metrics = [m for m in AbTest.of(design.lock, "-", ["-"]).metrics if ANY in named or m in named]
    if found := refused(baseline, provenance_of(design.lock), metrics):
        raise SpecError(f"{next(iter(found.values()))}.", file=design.path)
    full, drawn = design.spec.store.content == "full", set(design.samples)
    bodies = {s.id: design.content(s, full=full) for s in design.dataset.samples if s.id in drawn}
    contents = contents_of(bodies, design.dataset.hash)
    shared = {id_ for id_, content in contents.items() if baseline.contents.get(id_) == content}
    for metric in metrics:
        if shared.isdisjoint(baseline.values[metric]):
            raise SpecError(f"no sample is in the baseline {baseline.name!r} unchanged, with {metric}.",
                            fix="Freeze a run of these samples.", file=design.path)  # fmt: skip
