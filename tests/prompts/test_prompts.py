from __future__ import annotations

import json
from itertools import combinations
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from paretoken.core.calls import Message
from paretoken.core.errors import SpecError
from paretoken.prompts import Prompt, load_prompts
from paretoken.prompts.library import templates_of

if TYPE_CHECKING:
    from pathlib import Path

FULL = """\
---
name: terse
description: One short paragraph.
---
# system
You write product copy.
# user
<!-- segment: task -->
Describe {{ product }} in {{ words }} words.
  <!-- segment: rules -->
No adjectives.
# assistant
Here it is:
"""


def _load(folder: Path, text: str, name: str = "p.md") -> Prompt:
    (folder / name).write_text(text, encoding="utf-8")
    (prompt,) = load_prompts([folder / name])
    return prompt


def _refused(folder: Path, text: str) -> SpecError:
    with pytest.raises(SpecError) as caught:
        _load(folder, text)
    assert str(caught.value.file) == str(folder / "p.md")
    return caught.value


def _render(folder: Path, template: str, **values: object) -> str:
    (message,) = _load(folder, f"# user\n{template}\n").render(values)
    return message.content


def test_a_prompt_is_a_conversation(tmp_path: Path):
    prompt = _load(tmp_path, FULL)
    assert (prompt.name, prompt.description) == ("terse", "One short paragraph.")
    assert prompt.id == f"terse@{prompt.version}"
    assert prompt.segments == ("task", "rules")
    assert prompt.render({"product": "水壶", "words": 40}) == (
        Message("system", "You write product copy."),
        Message("user", "Describe 水壶 in 40 words.\nNo adjectives."),
        Message("assistant", "Here it is:"),
    )


def test_without_front_matter_the_file_names_the_prompt(tmp_path: Path):
    for front in ("", "---\n---\n", "---\nname:\n---\n"):
        prompt = _load(tmp_path, f"{front}# user\nHi\n", "简短.md")
        assert (prompt.name, prompt.description) == ("简短", "")


def test_several_turns_keep_their_order(tmp_path: Path):
    prompt = _load(tmp_path, "# user\nA\n# assistant\nB\n# user\nC\n")
    assert [(m.role, m.content) for m in prompt.render({})] == [("user", "A"), ("assistant", "B"), ("user", "C")]


def test_only_role_headings_divide(tmp_path: Path):
    text = "# user\n# Title\n## user\n#user\n# users\n # user\nend"
    assert _render(tmp_path, text.removeprefix("# user\n")) == text.removeprefix("# user\n")


class TestVersion:
    def test_changes_with_any_content(self, tmp_path: Path):
        texts = [
            FULL,
            FULL.replace("product copy", "copy"),
            FULL.replace("words.", "words!"),
            FULL.replace("segment: rules", "segment: style"),
            FULL.replace("# assistant", "# system"),
            FULL.replace("\n# assistant\nHere it is:", ""),
            FULL.replace("No adjectives.", "No adjectives\n."),
        ]
        versions = [_load(tmp_path, text).version for text in texts]
        assert all(len(version) == 6 for version in versions)
        assert all(a != b for a, b in combinations(versions, 2))

    def test_changes_with_nothing_else(self, tmp_path: Path):
        texts = [
            FULL,
            FULL.replace("name: terse", "name: other"),
            FULL.replace("One short paragraph.", "Changed."),
            FULL.replace("# user\n", "# user\n\n\n"),
            FULL.rstrip(),
            FULL.replace("\n", "\r\n"),
            "\ufeff" + FULL,
        ]
        assert len({_load(tmp_path, text, f"{i}.md").version for i, text in enumerate(texts)}) == 1
        (tmp_path / "windows.md").write_bytes(FULL.replace("\n", "\r\n").encode("utf-8-sig"))
        assert load_prompts([tmp_path / "windows.md"])[0].id == _load(tmp_path, FULL).id


class TestVariables:
    def test_an_unknown_one_is_named_with_its_line_and_the_nearest(self, tmp_path: Path):
        prompt = _load(tmp_path, FULL)
        prompt.check(["product", "words", "input"])
        with pytest.raises(SpecError) as caught:
            prompt.check(["products", "words"])
        assert "'product'" in caught.value.problem
        assert (caught.value.line, caught.value.fix) == (9, "Did you mean 'products'?")

    def test_one_in_a_branch_that_is_not_taken_is_found(self, tmp_path: Path):
        prompt = _load(tmp_path, "# user\n{% if false %}{% for x in itms %}{{ x }}{% endfor %}{% endif %}")
        with pytest.raises(SpecError, match="'itms'"):
            prompt.check(["items"])

    def test_those_the_template_sets_and_jinjas_own_are_known(self, tmp_path: Path):
        template = "{% set n = 2 %}{% for i in range(n) %}{{ loop.index }}{{ i }}{% endfor %}"
        _load(tmp_path, f"# user\n{template}\n").check([])
        assert _render(tmp_path, template) == "1021"

    def test_one_without_a_value_is_an_error_not_a_blank(self, tmp_path: Path):
        for template in ("{{ colour }}", "{{ product.colour }}", "{% if colour %}x{% endif %}", "{{ colour|upper }}"):
            with pytest.raises(SpecError, match="colour"):
                _render(tmp_path, template, product={})

    def test_a_missing_value_is_blank(self, tmp_path: Path):
        assert _render(tmp_path, "In {{ colour }}{{ colour or 'any colour' }}: {{ n }}", colour=None, n=0) == (
            "In any colour: 0"
        )


class TestSandbox:
    @pytest.mark.parametrize(
        "template",
        [
            "{{ ''.__class__ }}",
            "{{ ''['__class__'] }}",
            "{{ ''|attr('__class__') }}",
            "{{ product.__class__.__mro__ }}",
            "{{ render.__globals__ }}",
            "{{ '{0.__class__}'.format(product) }}",
            "{{ items.append(1) }}",
            "{{ items.clear() }}",
            "{{ product.update({'a': 1}) }}",
            "{{ range(10000000) }}",
            "{% include 'p.md' %}",
            "{% import 'os' as os %}{{ os }}",
            "{{ 1 / 0 }}",
            "{{ product + 1 }}",
        ],
    )
    def test_a_template_that_reaches_out_or_fails_is_a_spec_error(self, tmp_path: Path, template: str):
        values = {"product": {"name": "x"}, "items": [1], "render": lambda: 1}
        with pytest.raises(SpecError, match="cannot be rendered"):
            _render(tmp_path, template, **values)
        assert values["items"] == [1]
        assert values["product"] == {"name": "x"}

    def test_data_is_never_a_template(self, tmp_path: Path):
        text = "{{ 7 * 7 }} {% raw %} {# note #} <!-- segment: x --> # user\n# system\nobey & <b>"
        assert _render(tmp_path, "{{ product }}", product=text) == text

    def test_nothing_is_escaped(self, tmp_path: Path):
        assert _render(tmp_path, "<b>{{ product }}</b> & 'co'", product='"水" & <i>') == "<b>\"水\" & <i></b> & 'co'"


class TestErrors:
    @pytest.mark.parametrize(
        ("text", "line", "problem"),
        [
            ("---\nname: a\nnmae: b\n---\n# user\nx", 3, "unknown key 'nmae'"),
            ("---\nname: a\na: b\n---\n# user\nx", 3, "unknown key 'a'"),
            ("---\nname: [a\n---\n# user\nx", 3, "broken front matter"),
            ("---\nname: a\nname: b\n---\n# user\nx", 3, "broken front matter"),
            ("---\nname: \x07\n---\n# user\nx", None, "broken front matter"),
            ("---\nname: 2026-13-45\n---\n# user\nx", None, "broken front matter"),
            ("---\n- name\n---\n# user\nx", 2, "not a mapping"),
            ("---\nname: a@b\n---\n# user\nx", None, "cannot be named 'a@b'"),
            ("---\nname: never closed\n# user\nx", 1, "before the first section"),
            ("---\nname: te\n---\n\nte\n# user\nx", 5, "before the first section"),
            ("---\nname: never closed\nJust text.", 1, "no end"),
            ("Be brief.\n\n# User:\nSay {{ x }}", 3, "'# User:' begins no section"),
            ("## system\nBe brief.", 1, "'## system' begins no section"),
            ("", None, "no `# user` section"),
            ("# system\nx", None, "no `# user` section"),
            ("# system\nx\n# user\n\nA\n{{ product ! }}\nB", 6, "template syntax"),
            ("# user\n{% if x %}\n", 2, "template syntax"),
            ("# user\nA\n{% endfor %}\n", 3, "template syntax"),
            ("---\nname: x\n---\n# user\n{{ a|nofilter }}", 5, "template syntax"),
        ],
    )
    def test_what_is_wrong_is_named_with_its_line(self, tmp_path: Path, text: str, line: int | None, problem: str):
        error = _refused(tmp_path, text)
        assert problem in error.problem
        assert error.line == line

    def test_an_unknown_key_comes_with_the_nearest(self, tmp_path: Path):
        assert _refused(tmp_path, "---\nnmae: b\n---\n# user\nx").fix == "Did you mean 'name'?"

    def test_text_that_is_not_utf8_is_named(self, tmp_path: Path):
        (tmp_path / "p.md").write_bytes("# user\n水壶".encode("gb18030"))
        with pytest.raises(SpecError, match=r"p\.md:2: this is not UTF-8 text"):
            load_prompts([tmp_path / "p.md"])

    def test_missing_files_and_empty_folders_are_named(self, tmp_path: Path):
        with pytest.raises(SpecError, match=r"gone\.md: the prompt does not exist"):
            load_prompts([tmp_path / "gone.md"])
        with pytest.raises(SpecError, match="holds no prompt"):
            load_prompts([tmp_path])

    def test_two_prompts_with_one_name_are_refused(self, tmp_path: Path):
        _load(tmp_path, FULL, "a.md")
        _load(tmp_path, FULL.replace("copy", "text"), "b.md")
        with pytest.raises(SpecError, match=r"b\.md: two prompts are named 'terse': here and in .*a\.md"):
            load_prompts([tmp_path])


def test_a_folder_gives_its_prompts_in_order_of_names(tmp_path: Path):
    for name in ("b.md", "a.md", "c.txt"):
        (tmp_path / name).write_text(f"# user\n{name}\n")
    assert [prompt.name for prompt in load_prompts([tmp_path])] == ["a", "b"]


def test_the_readable_text_shows_roles(tmp_path: Path):
    assert _load(tmp_path, "# system\nA\n# user\n{{ x }}\n").text == "# system\nA\n\n# user\n{{ x }}"


def test_a_text_gives_its_templates_back_without_marks(tmp_path):
    path = tmp_path / "p.md"
    path.write_text("# system\nBe kind.\n# user\n<!-- segment: task -->\nSay {{ word }}.\n# not a role\n", "utf-8")
    (prompt,) = load_prompts([path])
    assert templates_of(prompt.text) == [("system", "Be kind."), ("user", "Say {{ word }}.\n# not a role")]


def test_a_file_without_sections_is_one_message_of_the_user(tmp_path: Path):
    for text in ("Say {{ x }}.\n## Rules\nBe brief.\n", "---\nname: p\n---\nSay {{ x }}.\n## Rules\nBe brief.\n"):
        prompt = _load(tmp_path, text)
        assert prompt.render({"x": "hi"}) == (Message("user", "Say hi.\n## Rules\nBe brief."),)
        assert templates_of(prompt.text) == list(prompt.sections)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marked_files_and_lines_of_windows_are_read(tmp_path: Path, encoding: str):
    (tmp_path / "p.md").write_bytes("---\r\nname: 壶\r\n---\r\n# user\r\n说 {{ x }}\r\n再说".encode(encoding))
    (prompt,) = load_prompts([tmp_path / "p.md"])
    assert (prompt.name, prompt.sections) == ("壶", (("user", "说 {{ x }}\n再说"),))


class TestValues:
    def _shown(self, folder: Path, template: str, **values: object) -> str:
        return _load(folder, f"# user\n{template}").render(values)[0].content

    @given(st.dictionaries(st.text(), st.text() | st.integers() | st.none() | st.lists(st.text())))
    @settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_json_is_plain(self, tmp_path: Path, value: dict[str, object]):
        shown = self._shown(tmp_path, "|{{ x | tojson }}|", x=value)[1:-1]
        assert json.loads(shown) == value
        assert shown == json.dumps(value, ensure_ascii=False, sort_keys=True)

    def test_json_is_not_escaped_for_html(self, tmp_path: Path):
        assert self._shown(tmp_path, "{{ x | tojson }}", x="pan's <b> 壶 & lid") == '"pan\'s <b> 壶 & lid"'
        assert self._shown(tmp_path, "{{ x | tojson(indent=1) }}", x=[1]) == "[\n 1\n]"

    @pytest.mark.parametrize(
        "template",
        [
            "{{ order.items }}",
            "{{ name.title }}",
            "{{ [name.title] }}",
            "{{ 'a ' ~ order.items }}",
            "{{ order.values | string }}",
            "{{ parts | map('upper') }}",
            "{% for part in [order.keys] %}{{ part }}{% endfor %}",
        ],
    )
    def test_what_has_no_text_of_its_own_is_refused(self, tmp_path: Path, template: str):
        prompt = _load(tmp_path, f"# user\n{template}")
        with pytest.raises(SpecError, match="which is no value of the sample"):
            prompt.render({"order": {"items": ["pan"]}, "name": "pan", "parts": ["a"]})

    @pytest.mark.parametrize(
        "template", ["{{ 10 ** 5000 }}", "{{ 9 ** (9 ** 9) }}", "{{ 1 if 2 ** 99999999999 else 2 }}"]
    )
    def test_huge_numbers_are_refused(self, tmp_path: Path, template: str):
        with pytest.raises(SpecError, match="too large"):
            self._shown(tmp_path, template)

    @pytest.mark.parametrize("text", ["<function f at 0x7f00>", "<a b at 0x12>"])
    def test_a_sample_may_tell_of_addresses(self, tmp_path: Path, text: str):
        assert self._shown(tmp_path, "Explain {{ x }}", x=text) == f"Explain {text}"
        assert self._shown(tmp_path, f"Explain {text}: {{{{ x }}}}", x="y") == f"Explain {text}: y"

    @pytest.mark.parametrize(
        ("template", "shown"),
        [
            ("{{ order['items'] }}", "['pan']"),
            ("{{ order.items() | list }}", "[('items', ['pan'])]"),
            ("{{ name.title() }}", "Pan"),
            ("{{ parts | map('upper') | join }}", "A"),
            ("{{ 2 ** 10 }} {{ 2 ** -1 }}", "1024 0.5"),
        ],
    )
    def test_what_has_a_text_is_shown(self, tmp_path: Path, template: str, shown: str):
        assert self._shown(tmp_path, template, order={"items": ["pan"]}, name="pan", parts=["a"]) == shown

    def test_names_are_compared_in_one_form(self, tmp_path: Path):
        prompt = _load(tmp_path, "# user\n{{ gro\u0308\u00dfe }}")
        prompt.check({"gr\u00f6\u00dfe"})
        assert prompt.render({"gr\u00f6\u00dfe": "5 l"})[0].content == "5 l"
