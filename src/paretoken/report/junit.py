"""A run as JUnit XML, which every CI service shows: a test case per treatment and question."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from paretoken.core.text import printable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from paretoken.analysis.baseline import Held
    from paretoken.analysis.gate import Gate
    from paretoken.analysis.results import Results
    from paretoken.analysis.verdict import Comparison, Judgement


def save_junit(
    results: Results,
    gates: Sequence[Gate],
    path: Path,
    *,
    held: Held | None = None,
    error: str = "",
    broken: Sequence[str] = (),
) -> None:
    """Write the verdicts of a run.

    A question that meets a gate is a failure; one that is undecided, or cannot be told, is skipped.

    Args:
        results: The run.
        gates: Conditions that fail it.
        path: The file.
        held: The run held against its question's baseline, if there is one.
        error: What stopped the run, if something did.
        broken: Gates that failed and are about no single question.
    """
    suite = ET.Element("testsuite", name=results.run.experiment, timestamp=results.run.started_at)
    for comparison in results.all_comparisons:
        for judgement in comparison.judged:
            own = [gate for gate in gates if not gate.on_baseline]
            _case(suite, results.run.id, comparison, judgement, own)
    for comparison in () if held is None else held.comparisons:
        own = [gate for gate in gates if gate.on_baseline and held is not None and comparison in held.gated]
        for judgement in comparison.quality:
            _case(suite, f"{results.run.id}.baseline", comparison, judgement, own)
    run = ET.SubElement(suite, "testcase", classname=results.run.id, name="run")
    if error:
        ET.SubElement(run, "error", message=error)
    for message in broken:
        ET.SubElement(run, "failure", message=message)
    counts = {kind: sum(case.find(kind) is not None for case in suite) for kind in ("failure", "error", "skipped")}
    suite.set("tests", str(len(suite)))
    for kind, plural in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        suite.set(plural, str(counts[kind]))
    root = ET.Element("testsuites")
    root.append(suite)
    for element in root.iter():
        element.text = element.text and printable(element.text)
        for name, value in element.items():
            element.set(name, printable(value))
    ET.indent(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _case(suite: ET.Element, run: str, comparison: Comparison, judgement: Judgement, gates: Sequence[Gate]) -> None:
    name = judgement.difference.name
    label = f"{comparison.treatment} against {comparison.control}" + (f", {comparison.part}" if comparison.part else "")
    case = ET.SubElement(suite, "testcase", classname=f"{run}.{label}", name=name)
    met = [gate.text for gate in gates if name in gate.failures(comparison)]
    if met:
        ET.SubElement(case, "failure", message="; ".join(met)).text = comparison.sentence
    elif judgement.finding in ("undecided", "cannot tell"):
        ET.SubElement(case, "skipped", message=judgement.difference.reason or judgement.finding)
    ET.SubElement(case, "system-out").text = comparison.sentence
