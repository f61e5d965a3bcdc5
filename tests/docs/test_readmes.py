"""What the READMEs show is true: links lead somewhere, specs are accepted, commands exist, Python runs."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer
from ruamel.yaml import YAML

import paretoken
from paretoken.cli.app import app

ROOT = Path(__file__).parents[2]
PLACES = ("*.md", "*/README.md", "src/*/README.md", ".github/*.md")
READMES = sorted(path for place in PLACES for path in ROOT.glob(place))


@dataclass(frozen=True)
class Block:
    """A fenced block of a README."""

    file: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file.relative_to(ROOT)}:{self.line}"


def _blocks(file: Path) -> list[Block]:
    text = file.read_text(encoding="utf-8")
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(file, text.count("\n", 0, fence.start()) + 1, fence[1], fence[2]) for fence in fences]


BLOCKS = [block for file in READMES for block in _blocks(file)]
NO_SPEC = re.compile(r"^(jobs|caps):", re.MULTILINE)
SPECS = [block for block in BLOCKS if block.language == "yaml" and not NO_SPEC.search(block.text)]
PYTHON = [block for block in BLOCKS if block.language == "python"]
INLINE = re.compile(r"`(paretoken [^`]+)`")


def _commands() -> list[tuple[str, str]]:
    """Every command line that a README shows, in a block or in a sentence, with where it stands."""
    shown = [(str(b), line[2:]) for b in BLOCKS for line in b.text.splitlines() if line.startswith("$ paretoken")]
    for file in READMES:
        text = file.read_text(encoding="utf-8")
        shown += [(str(file.relative_to(ROOT)), found[1]) for found in INLINE.finditer(text)]
    return sorted({(place, line.partition("  #")[0].strip()) for place, line in shown})


def test_the_front_door_is_short_and_has_two_set_up_lines():
    text = (ROOT / "README.md").read_bytes()
    assert len(text) <= 15_000
    assert len(re.findall(rb"^    python3 -m venv ", text, re.MULTILINE)) == 2


@pytest.mark.parametrize("file", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path):
    text = file.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (file.parent / name).resolve() if name else file
        page = path / "README.md" if path.is_dir() else path
        assert page.exists(), f"{target} leads nowhere"
        if anchor:
            titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


@pytest.mark.parametrize(("place", "line"), _commands(), ids=lambda value: value)
def test_commands_exist_with_their_options(place: str, line: str):
    words = shlex.split(line.replace("[A B]", "A B").replace("[VARIANT]", "VARIANT").replace(" N", " 3"))[1:]
    command: Any = typer.main.get_command(app)
    context = command.make_context("paretoken", list(words), resilient_parsing=True)
    while words and not words[0].startswith("-") and hasattr(command, "resolve_command"):
        name, command, words = command.resolve_command(context, list(words))
        context = command.make_context(name, list(words), parent=context, resilient_parsing=not words)


PARTS: dict[str, Any] = {
    "experiment": "copy",
    "question": "Is it cheaper?",
    "dataset": {
        "path": "data/products.jsonl",
        "fields": {"id": "id", "input": "features", "reference": "copy"},
        "language": "en",
    },
    "prompts": ["prompts/verbose.md", "prompts/terse.md"],
    "models": [{"id": "echo/a", "price": {"input_per_mtok": "1", "output_per_mtok": "2"}}],
    "space": {"temperature": 0.0, "max_tokens": 48},
    "scorers": ["chrf", {"bertscore": {}}],
    "minimize": ["list_usd"],
    "maximize": ["chrf", "bertscore_f1"],
    "plan": "grid",
    "budget": {"usd": "5.00"},
}  # fmt: skip
"""A whole spec, whose parts an example replaces."""


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with what the examples speak of: prompts, data, a recording, a metric."""
    monkeypatch.chdir(tmp_path)
    for name in ("OPENAI_API_KEY",):
        monkeypatch.setenv(name, "sk-for-no-account")
    folder = tmp_path / "experiments" / "quickstart"
    (folder / "prompts").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "metrics").mkdir()
    (tmp_path / "pyproject.toml").touch()
    for name, words in (
        ("verbose", "Please write with great care about"),
        ("terse", "Sell"),
        ("points", "Three points:"),
    ):
        (folder / "prompts" / f"{name}.md").write_text(f"# user\n{words} {{{{ features }}}}\n")
    (folder / "prompts" / "board.md").write_text(
        "# user\n<!-- segment: role -->\nYou advise a board.\n<!-- segment: task -->\nSum up {{ features }}\n"
    )
    rows = [
        {"id": f"P{i:03}", "category": "outdoor" if i % 2 else "home", "features": f"item {i}, light and dry",
         "copy": f"Item {i} keeps you dry.", "human_score": i % 5 + 1}
        for i in range(1, 161)
    ]  # fmt: skip
    (folder / "data" / "products.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def _write(folder: Path, text: str) -> None:
    """A spec of the usual parts, with those of an example in their place."""
    yaml = YAML()
    given = yaml.load(text)
    spec = {**PARTS, **given}
    plan = given.get("plan", {})
    if "segments" in plan:
        spec["prompts"] = ["prompts/board.md"]
    if "abtest" in plan:
        spec["prompts"] = [f"prompts/{name}.md" for name in ("verbose", "terse", "points")]
    plan.get("search", {}).pop("storage", None)  # a server of its own
    if given.get("scorers"):
        spec["maximize"] = []
    if "reasoning_effort" in spec["space"]:
        spec["models"] = [*PARTS["models"], {"id": "vllm/gpt-oss-20b", "price": "free"}]
    with (folder / "spec.yaml").open("w", encoding="utf-8") as file:
        yaml.dump(spec, file)


@pytest.mark.slow
@pytest.mark.parametrize("block", SPECS, ids=str)
def test_specs_are_accepted(block: Block, shop: Path):
    if "politeness" in block.text:
        (shop / "metrics" / "politeness.py").write_text(next(b.text for b in PYTHON if b.text.startswith("# metrics/")))
    if "replay:" in block.text:
        answers = [
            {"model": model, "prompt_id": f"P{i:03}", "output": "Dry.", "judge_score": 7}
            for model in ("model-a", "model-b")
            for i in range(1, 161)
        ]
        import pandas as pd

        pd.DataFrame(answers).to_parquet(shop / "answers.parquet")
    _write(shop, block.text)
    design, _ = paretoken.plan(shop)
    assert design.n_calls > 0


@pytest.mark.slow
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_python_runs(block: Block, shop: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    folder = shop.parents[1]
    (folder / "metrics").mkdir()
    (folder / "metrics" / "politeness.py").write_text(next(b.text for b in PYTHON if b.text.startswith("# metrics/")))
    _write(shop, "plan: {abtest: {control: verbose, treatment: [terse, points]}}\nmaximize: [bertscore_f1]\n")
    paretoken.run(shop)
    exec(compile(block.text, str(block), "exec"), {"__name__": "example"})
    assert bool(capsys.readouterr().out) == ("print(" in block.text)
