"""Every notebook runs from top to bottom on a finished run, without defining anything itself."""

from __future__ import annotations

import json
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

import paretoken

pytestmark = pytest.mark.slow

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))

SPEC = """
experiment: look
question: Is the short prompt cheaper?
seed: 1
dataset: {path: data.jsonl}
prompts: [prompts]
models: [{id: echo/a, price: {input_per_mtok: "1", output_per_mtok: "2"}}]
scorers: [chrf]
maximize: [chrf]
plan: {abtest: {control: long, treatment: [short], margin: {chrf: 0.1}}}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "prompts").mkdir()
    (tmp_path / "prompts" / "short.md").write_text("# user\n{{ input }}\n")
    (tmp_path / "prompts" / "long.md").write_text("# user\nPlease answer with care: {{ input }}\n")
    rows = [{"id": f"s{i}", "input": f"tell me about item {i}", "reference": f"item {i} is good"} for i in range(12)]
    (tmp_path / "data.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "spec.yaml").write_text(SPEC)
    paretoken.run(tmp_path)
    return tmp_path


@pytest.mark.filterwarnings("ignore::DeprecationWarning:jupyter_client", "ignore::DeprecationWarning:zmq")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_notebook_runs_and_shows_something(path: Path, project: Path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(project)}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert sum(bool(cell.outputs) for cell in code) >= len(code) - 1
    assert not any(cell.source.lstrip().startswith("def ") or "\ndef " in cell.source for cell in code)
