from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.report.junit import save_junit
from paretoken.report.markdown import line
from paretoken.report.mlflow_registry import alias_of

if TYPE_CHECKING:
    from pathlib import Path

    from paretoken.analysis.results import Results


def test_junit_is_xml_whatever_is_said(results: Results, tmp_path: Path) -> None:
    said = "\x1b[31mfailed\x00\x0b \ufffe\ud83d <&> ]]> 壶"
    save_junit(results, [], tmp_path / "a.xml", error=said, broken=[said])
    root = ET.parse(tmp_path / "a.xml").getroot()
    shown = [found.get("message") for name in ("error", "failure") for found in root.iter(name)]
    assert shown == ["failed \ufffd <&> ]]> 壶"] * 2


@given(st.lists(st.text(st.characters()), min_size=1, max_size=4))
def test_a_row_of_markdown_is_one_line_with_its_cells(cells: list[str]) -> None:
    row = line(cells)
    assert len(row.splitlines()) == 1
    assert len(re.findall(r"(?<!\\)\|", row.replace("\\\\", ""))) == len(cells) + 1
    assert not re.search(r"(?<!\\)<[A-Za-z/!?]", row)


@pytest.mark.parametrize(
    ("name", "alias"),
    [("terse", "terse"), ("简洁", "简洁"), ("v1", "prompt-v1"), ("V12", "prompt-V12"), ("latest", "prompt-latest"),
     ("champion", "prompt-champion"), ("prompt-v1", "prompt-prompt-v1"), ("version1", "version1")],
)  # fmt: skip
def test_every_prompt_has_an_alias(name: str, alias: str) -> None:
    assert alias_of(name) == alias


@given(
    st.lists(st.text("av1-_ .", min_size=1, max_size=6) | st.sampled_from(["v1", "latest", "prompt-v1"]), unique=True)
)
def test_no_two_prompts_share_an_alias(names: list[str]) -> None:
    aliases = [alias_of(name) for name in names]
    assert len(set(aliases)) == len(names)
    assert all(re.fullmatch(r"[\w-]{1,255}", alias) and not re.fullmatch(r"[vV]\d+", alias) for alias in aliases)
