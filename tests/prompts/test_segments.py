"""Segments of prompts: what is cut, what is left, and what cannot be left out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.errors import SpecError
from paretoken.prompts.library import MARK, Prompt, load_prompts
from paretoken.prompts.recognition import count_examples, recognise
from paretoken.prompts.segments import split_prompt

NAMES = ["role", "context", "examples", "format", "rules", "语气"]
TEXTS = st.lists(
    st.sampled_from(["You are kind.", "Answer in one line.", "不要编造。", "## Rules", "Note: x", "- item", "", "  "]),
    min_size=1, max_size=4,
).map("\n".join).filter(str.strip)  # fmt: skip
PARAGRAPHS = st.lists(
    st.sampled_from([
        "You are an editor.", "We sell lamps.", "## Examples", "Input: a\nOutput: b", "Input: {{ input }}\nOutput:",
        "Answer in JSON.", "Do not lie.\nWrite about {{ input }}\nwith care.", "示例：\n例1：杯子", "不超过60字。",
        "<rules>\nBe short.\n</rules>", "{% if input %}", "{% endif %}", "Rules:", "- one\n- two", "\t", "Nothing.",
    ]),
    max_size=12,
).map("\n\n".join)  # fmt: skip


@st.composite
def marked(draw: st.DrawFn) -> tuple[Prompt, dict[str, str]]:
    """A prompt of marked segments over two sections, unmarked text first, and the text of each segment."""
    names = draw(st.lists(st.sampled_from(NAMES), min_size=2, max_size=6, unique=True))
    texts = {name: f"{draw(TEXTS)} <{i}>" for i, name in enumerate(names)}
    at = draw(st.integers(0, len(names) - 1))
    parts = [f"<!-- segment: {name} -->\n{texts[name]}\n\n" for name in names]
    user = f"Do it: {{{{ input }}}}\n{''.join(parts[at:])}".strip()
    system = "".join(parts[:at]).strip()
    sections = (("system", system), ("user", user)) if system else (("user", user),)
    return Prompt("p", sections, Path("p.md")), texts


@given(marked())
def test_what_is_left_lacks_exactly_its_segment(case: tuple[Prompt, dict[str, str]]) -> None:
    prompt, texts = case
    split = split_prompt(prompt)
    assert set(split.names) == set(texts)
    versions = {prompt.version}
    for name in texts:
        rest = split.without(name, ("input",))
        assert rest.name == f"p-without-{name}"
        assert [other for other in texts if texts[other] in rest.text] == [n for n in texts if n != name]
        assert [m for m in MARK.findall(prompt.text) if m != name] == MARK.findall(rest.text)
        versions.add(rest.version)
    assert len(versions) == len(texts) + 1


@given(marked())
def test_putting_a_segment_back_gives_the_original(case: tuple[Prompt, dict[str, str]]) -> None:
    prompt, _ = case
    pieces = split_prompt(prompt).pieces
    for i, (_, template) in enumerate(prompt.sections):
        assert "".join(piece.text for piece in pieces if piece.section == i) == template


def test_the_rest_is_what_deleting_by_hand_would_leave(tmp_path: Path) -> None:
    text = "# system\n<!-- segment: role -->\nYou are kind.\n\n# user\n{}Say it: {{{{ input }}}}\n"
    middle = "<!-- segment: rules -->\nDo not lie.\n\n<!-- segment: task -->\n"
    for name, content in (("a", text.format(middle)), ("b", text.format("<!-- segment: task -->\n"))):
        (tmp_path / f"{name}.md").write_text(content, encoding="utf-8")
    whole, edited = load_prompts([tmp_path])
    split = split_prompt(whole)
    assert split.without("rules").version == edited.version
    without_role = split.without("role")
    assert [role for role, _ in without_role.sections] == ["user"]
    assert without_role.render({"input": "x"})[0].content == "Do not lie.\n\nSay it: x"


@given(st.one_of(PARAGRAPHS, st.text(max_size=200)))
def test_recognised_pieces_joined_are_the_template(template: str) -> None:
    pieces = recognise(template)
    assert "".join(text for _, text in pieces) == template
    assert not [text for segment, text in pieces if segment and ("{{" in text or "{%" in text)]


@pytest.mark.parametrize(
    ("template", "segments"),
    [
        ("You are an editor of a shop with many\nproducts.\nDo not lie.\nAnswer in two sentences.",
         ["role", "constraints", "format"]),
        ("You are given a note.\nSum it up: {{ input }}", [""]),
        ("Note: dim lamp\nSubject: Dim lamp\n\nNote: {{ input }}\nSubject:", ["examples", ""]),
        ("## Role\nAn expert.\n\n## Background\nOur shop.\n\nIt sells lamps.\n\n## Task\nDo not stop: {{ input }}",
         ["role", "context", ""]),
        ("## Examples\n\nInput: a\nOutput: b\n\nInput: {{ input }}\nOutput:\n\nUse at most 40 words.",
         ["examples", "", "format"]),
        ("Context:\n\n{{ input }}\n\nRules: no lies.\n\nWrite it.", ["", "constraints", ""]),
        ("Rules:\n- be kind\n- be short\n\nSum this up: {{ input }}", ["constraints", ""]),
        ("<examples>\n<example>A</example>\n</examples>\n\nDo it: {{ input }}", ["examples", ""]),
        ("<role>\nA chef.\n\nGood.\n</role>\n<task>\nCook {{ input }}.\n</task>\n<format>\nShort.\n</format>",
         ["role", "", "format"]),
        ("**Role:** You are a chef.\n**Task:** Cook {{ input }}.\n**Format:** Use at most 9 words.",
         ["role", "", "format"]),
        ("## Rules\nNo nuts.\n## Task\nCook {{ input }}.\n## Style\nPlain.", ["constraints", "", "constraints"]),
        ("你是一家小店的编辑。\n\n我们的顾客会认真读文案。\n\n请写：{{ input }}\n\n不超过60字。\n\n请不要编造。",
         ["role", "context", "", "format", "constraints"]),
        ("【示例】\n例1：杯子\n例2：台灯\n\n【要求】\n简短。\n\n【任务】\n{{ input }}",
         ["examples", "constraints", ""]),
        ("## Examples\nInput: kettle\nOutput: A kettle.\nWrite at most two sentences.\n"
         "Do not invent anything. Keep all numbers.\n\n## Task\n{{ input }}",
         ["examples", "format", "constraints", ""]),
        ("示例：\n输入：水壶\n输出：一只水壶。\n请用一段话输出，不超过40字。\n注意：不要编造任何内容\n\n{{ input }}",
         ["examples", "format", "constraints", ""]),
        ("示例：水壶，一只水壶。\n请用一段话输出，不超过40字。\n注意：不要编造任何内容\n\n请写：{{ input }}",
         ["examples", "format", "constraints", ""]),
        ("Examples:\nInput: a\nOutput: b\n\nDo not lie.\n\nInput: {{ input }}\nOutput:",
         ["examples", "constraints", ""]),
        ("Input: a\nOutput: b\nUse at most 9 words.\n\nInput: {{ input }}\nOutput:", ["examples", "format", ""]),
    ],
)  # fmt: skip
def test_what_is_recognised(template: str, segments: list[str]) -> None:
    assert [segment for segment, _ in recognise(template)] == segments


@pytest.mark.parametrize(
    "examples",
    [
        "Input: iron\nOutput: An iron.\nDo not touch it.\n\nInput: mug\nOutput: A mug.",
        "Input: iron\nOutput:\nDo not touch a hot iron.",
        "Input: iron\nOutput: An iron.\nIt is hot.\nDo not touch it.",
        "Input: mug\nOutput: A mug.\nIt is white.\n\nInput: iron\nOutput: An iron.\nDo not touch it.",
        "Copy: A mug.\nStyle: plain\n\nCopy: An iron.\nStyle: warm",
        "A hot iron.\nDo not touch it.",
        "Input: iron\nOutput: An iron\nnever to be touched.",
        "- Input: iron\n- Do not touch it.",
    ],
)
def test_what_may_be_part_of_an_example_stays_with_it(examples: str) -> None:
    template = f"## Examples\n{examples}\n\n## Task\n{{{{ input }}}}"
    assert recognise(template) == [("examples", f"## Examples\n{examples}\n\n"), ("", "## Task\n{{ input }}")]


@pytest.mark.parametrize(
    ("segment", "text", "count"),
    [
        ("examples", "Note: a\nSubject: b\n\nNote: c\nSubject: d", 2),
        ("few-shot", "Here are two examples:\n- one\n- two", 2),
        ("示例", "例1：杯子\n例2：台灯\n例3：桌子", 3),
        ("examples", "<example>\nA\n</example>\n<example>\nB\n</example>", 2),
        ("examples", "Example: a lamp that is warm.", 1),
        ("examples", "something like this", None),
        ("rules", "- one\n- two", None),
    ],
)
def test_examples_are_counted(segment: str, text: str, count: int | None) -> None:
    assert count_examples(segment, text) == count


def refusal(folder: Path, body: str, segment: str = "", inputs: tuple[str, ...] = ("input",)) -> SpecError:
    file = folder / "p.md"
    file.write_text(body, encoding="utf-8")
    (prompt,) = load_prompts([file])
    with pytest.raises(SpecError) as found:
        split_prompt(prompt).without(segment, inputs)
    assert found.value.file == file
    assert found.value.fix
    return found.value


def test_what_cannot_be_cut_is_refused_with_its_line(tmp_path: Path) -> None:
    one = refusal(tmp_path, "# user\n<!-- segment: task -->\nDo {{ input }}\n")
    assert (one.line, "one segment only" in one.problem) == (2, True)
    none = refusal(tmp_path, "# user\nDo {{ input }}\n")
    assert (none.line, "no segments are marked or recognised" in none.problem) == (2, True)
    twice = refusal(tmp_path, "# system\n<!-- segment: a -->\nA\n# user\n<!-- segment: a -->\n{{ input }}\n")
    assert (twice.line, "two segments are named 'a'" in twice.problem) == (5, True)
    empty = refusal(tmp_path, "# user\n<!-- segment: a -->\n\n<!-- segment: b -->\n{{ input }}\n")
    assert (empty.line, "'a' is empty" in empty.problem) == (2, True)
    broken = refusal(tmp_path, "# user\n<!-- segment: my rules -->\nx\n<!-- segment: b -->\n{{ input }}\n")
    assert (broken.line, "is no mark" in broken.problem) == (2, True)


def test_what_cannot_be_left_out_is_refused_with_its_line(tmp_path: Path) -> None:
    system = "# system\n<!-- segment: role -->\nYou know {{ input }}.\n"
    turn = refusal(tmp_path, f"{system}# user\n<!-- segment: task -->\nDo {{{{ input }}}}\n", "task")
    assert (turn.line, turn.problem) == (5, "leaving out 'task' leaves the user turn empty.")
    assert "keep: [task]" in turn.fix
    body = "# user\n<!-- segment: a -->\nFor {{ who }}.\n<!-- segment: b -->\nDo {{ input }}\n"
    assert "takes out the only use of the sample's input" in refusal(tmp_path, body, "b").problem
    body = "# user\n<!-- segment: a -->\nBe kind.\n<!-- segment: b -->\nDo {{ other }}\n"
    assert "leaves nothing of the sample" in refusal(tmp_path, body, "b").problem
    body = "# user\n{{ input }}\n<!-- segment: a -->\n{% if input %}yes\n<!-- segment: b -->\nno{% endif %}\n"
    assert "breaks the template" in refusal(tmp_path, body, "b").problem
