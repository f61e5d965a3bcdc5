"""The baseline of a question: a file beside its spec, to be kept with it under version control."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from paretoken.analysis.baseline import Baseline, Held
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
    from paretoken.analysis.baseline import Baseline

    file = spec.parent / BASELINE_NAME
    try:
        body = json.loads(file.read_text(encoding="utf-8"))
        if body.pop("form") != FORM:
            raise ValueError("it is of another version")
        return Baseline(**body)
    except FileNotFoundError:
        return None
    except (KeyError, TypeError, ValueError, OSError) as error:
        raise SpecError(f"this is no baseline: {error}.", fix="Freeze one with `paretoken baseline set RUN`.",
                        file=file) from error  # fmt: skip


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
        raise SpecError(f"cannot be written: {error}.", file=file) from error
    return file, baseline, before


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


def check_baseline(design: Design) -> None:
    """Make sure, before anything is spent, that a run can be gated by its question's baseline.

    Raises:
        SpecError: Nothing is frozen, its scores were made in another way, or it has none of the samples.
    """
    from paretoken.analysis.abtest import AbTest
    from paretoken.analysis.baseline import contents_of, provenance_of, unlike

    baseline = load_baseline(design.path.resolve())
    if baseline is None:
        raise SpecError("there is no baseline to be below.", fix="Freeze one with `paretoken baseline set RUN`.",
                        file=design.path.resolve().parent / BASELINE_NAME)  # fmt: skip
    metrics = AbTest.of(design.lock, "-", ["-"]).metrics
    if refused := unlike(baseline, provenance_of(design.lock), metrics):
        raise SpecError(f"{refused[0]}.", file=design.path)
    full = design.spec.store.content == "full"
    bodies = {sample.id: design.content(sample, full=full) for sample in design.dataset.samples}
    contents = contents_of(bodies, design.dataset.hash)
    if not any(baseline.contents.get(id_) == content for id_, content in contents.items()):
        raise SpecError(f"no sample is in the baseline {baseline.name!r} unchanged.", fix="Freeze a run of these "
                        "samples.", file=design.path)  # fmt: skip
