"""The page of a run: well-formed, alone, harmless, in two languages, on a phone."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise
from string import Formatter

import numpy as np
import pandas as pd
import pytest

from paretoken.analysis.driver_shares import Drivers
from paretoken.analysis.drivers import FEWEST_GROUPS, explain_drivers
from paretoken.analysis.features import build_features
from paretoken.analysis.results import Results
from paretoken.analysis.verdict import percent
from paretoken.core.errors import SpecError
from paretoken.records import Database
from paretoken.report.page import render_page, save_page
from paretoken.report.page_words import LANGUAGES, PHRASES, Words, language_named

VOID = {"meta", "br", "wbr", "path", "circle"}
SECTIONS = ("verdict", "front", "drivers", "cost", "examples", "trust", "reproduce")
HARMFUL = {"script", "iframe", "object", "embed", "img", "link", "base", "form", "video", "audio", "image", "use"}


@pytest.fixture(autouse=True)
def _quick_drivers(monkeypatch):
    """Drivers take seconds; here they are told of few runs only, and without a surrogate of the others."""
    monkeypatch.setattr("paretoken.analysis.drivers.explain_drivers", quick)


def quick(results: Results) -> Drivers:
    """What `explain_drivers` finds where a surrogate explains too little."""
    build_features(results)
    if len(results.table.sample_ids) < FEWEST_GROUPS:
        return explain_drivers(results)
    nothing = np.zeros((0, 0))
    return Drivers("", "list_usd", "USD", (0.1, 0.0, 0.2), len(results.table), 24, (), 1e-6, 1e-6, pd.DataFrame(), {},
                   nothing, nothing)  # fmt: skip


class Reader(HTMLParser):
    """A page as its tags, with what each lies in; fails where one is closed that is not open."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open, self.tags, self.ids, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        assert len(found) == len(attrs), f"an attribute of {tag} stands twice"
        self.tags.append((tag, found, tuple(self.open)))
        self.ids += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self.open.append((tag, found.get("class") or ""))

    handle_startendtag = handle_starttag

    def handle_endtag(self, tag):
        assert self.open
        assert self.open[-1][0] == tag, f"{tag} closes {self.open[-1][0]}"
        self.open.pop()

    def handle_data(self, data):
        if data.strip():
            self.texts.append((data, tuple(tag for tag, _ in self.open)))

    def text(self) -> str:
        return " ".join(data for data, within in self.texts if "style" not in within)

    def marked(self, tag):
        return [data for data, within in self.texts if within[-1] == tag]


def opened(path) -> Results:
    with Database(path) as database:
        return Results.load(database, "last")


@pytest.fixture
def make(tmp_path, write, write_race, write_test, arm):
    """Runs of every kind."""

    @cache
    def one(kind: str) -> Results:
        path = tmp_path / ".paretoken" / f"{kind}.db"
        if kind in ("race", "confirmed"):
            return write_race(path, **({"confirm": 0.3} if kind == "confirmed" else {}))
        if kind == "cheapest":
            arms = (arm("big", quality=0.8, output_tokens=120, asked=120, fate="dearer", by=(1,)),
                    arm("small", quality=0.79, output_tokens=60, asked=120, fate="kept"))  # fmt: skip
            return write_race(path, arms, kind="cheapest", metric="bertscore_f1", within=0.02)
        if kind == "raced so far":
            return write_race(path, (arm("big", asked=20), arm("small", asked=20, output_tokens=30)))
        if kind == "looked at":
            return write_test(path, n=60, mode="continuous", confirm=0.3)
        options = {
            "ab": {},
            "running": {"status": "running"},
            "unscored": {"scored": False},
            "hash": {"content": "hash"},
            "none": {"content": "none"},
            "few": {"n": 4},
            "grid": {"plan": {"kind": "grid"}},
        }
        if kind == "one":
            write(path, (arm("alone"),), plan={"kind": "grid"})
        elif kind == "won":
            write(path, (arm("verbose", quality=0.7, output_tokens=120), arm("terse", quality=0.76)))
        elif kind == "empty":
            write(path, (arm("a", asked=0), arm("b", asked=0)), plan={"kind": "grid"}, status="running")
        else:
            write(path, **options[kind])
        return opened(path)

    return one


KINDS = ("ab", "grid", "race", "cheapest", "raced so far", "looked at", "running", "unscored", "hash", "few", "one",
         "empty")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_every_run_has_a_page_in_both_languages(make, kind):
    results = make(kind)
    for language in LANGUAGES:
        page = render_page(results, language)
        read, say = Reader(page), Words(language)
        assert page.startswith("<!DOCTYPE html>")
        assert read.tags[0][:2] == ("html", {"lang": {"en": "en", "zh": "zh-Hans"}[language]})
        told = read.marked("h2")
        assert told == [say(name) for name in SECTIONS]
        assert [attrs["id"] for tag, attrs, _ in read.tags if tag == "section"] == list(SECTIONS)
        _is_linked(read)
        _has_steady_headings(read)
        _loads_nothing(page, read)
        _fits_a_phone(page, read)
        assert "None" not in re.findall(r"\w+", read.text())
        assert "nan" not in re.findall(r"\w+", read.text())
        banner = say("unfinished", status=say(f"status.{results.run.status}"))
        assert (banner in read.text()) == (results.run.status != "finished")


def _is_linked(read):
    assert len(set(read.ids)) == len(read.ids)
    wanted = [attrs["href"] for tag, attrs, _ in read.tags if tag == "a"]
    assert all(target.startswith("#") and target[1:] in read.ids for target in wanted)
    labels = [attrs["aria-labelledby"] for _, attrs, _ in read.tags if "aria-labelledby" in attrs]
    assert labels
    assert set(labels) <= set(read.ids)


def _has_steady_headings(read):
    levels = [int(tag[1]) for tag, *_ in read.tags if re.fullmatch(r"h\d", tag)]
    assert levels.count(1) == 1
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def _loads_nothing(page, read):
    assert not HARMFUL & {tag for tag, *_ in read.tags}
    names = {name for _, attrs, _ in read.tags for name in attrs}
    assert not names & {"src", "srcset", "data", "action", "background", "poster", "xlink:href"}
    assert not [name for name in names if name.startswith("on")]
    assert not re.search(r"url\(|@import|https?://|//[a-z]+\.[a-z]", page)
    (policy,) = [a["content"] for tag, a, _ in read.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")


def _fits_a_phone(page, read):
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in [
        t[:2] for t in read.tags
    ]
    assert all(int(px) <= 360 for px in re.findall(r"(?<!max-)width:\s*(\d+)px", page))
    for tag, attrs, within in read.tags:
        assert "width" not in attrs
        if tag == "table":
            assert "scroll" in {kind for _, kind in within}


def test_the_same_records_give_the_same_page(make):
    results = make("ab")
    again = Results(results.run, results.table, results.file)
    assert render_page(results, "zh") == render_page(again, "zh")


def test_the_verdict_comes_first_and_its_numbers_are_those_of_the_comparison(make):
    results = make("ab")
    page = Reader(render_page(results)).text()
    assert page.index("No variant is shown to be cheaper than “verbose”") < page.index(Words("en")("front.note"))
    won = make("won")
    (best,) = won.comparisons
    assert best.verdict == "cheaper, better"
    size = f"{percent(abs(best.cost.difference.relative))}\u00a0%"
    lead = f"“{best.treatment}” is {size} cheaper than “{best.control}” and better."
    assert lead in Reader(render_page(won)).text()
    assert f"便宜 {size.replace(chr(160), '')}，而且更好。" in Reader(render_page(won, "zh")).text()
    for comparison in results.comparisons:
        assert comparison.sentence[1:] in page


def test_what_is_free_is_100_percent_cheaper_and_what_is_nearly_free_is_not(tmp_path, write, arm):
    for rate, size in (("0", "100"), ("0.0008", "99.5")):
        path = tmp_path / f"{size}.db"
        write(path, (arm("verbose", quality=0.7, output_tokens=120), arm("terse", quality=0.76, rate=rate)))
        results = opened(path)
        assert f"{size} % cheaper" in results.verdicts[0]
        assert f"“terse” is {size}\u00a0% cheaper" in Reader(render_page(results)).text()
        assert f"−{size}\u00a0%" in Reader(render_page(results)).text()
        assert f"便宜 {size}%" in Reader(render_page(results, "zh")).text()


def test_a_winner_of_the_selection_is_none_until_held_out_samples_confirm_it(tmp_path, write_test, arm):
    arms = (arm("verbose", quality=0.6, output_tokens=150), arm("terse", quality=0.9, output_tokens=20))
    settled = write_test(tmp_path / "settled.db", arms, n=100, mode="fixed", confirm=0.3)
    assert settled.confirmation.verdict == "cheaper, better"
    page = render_page(settled)
    assert '<p class="lead good">“terse” is ' in page
    few = write_test(tmp_path / "few.db", arms, n=20, mode="fixed", confirm=0.3)
    assert few.comparisons[0].verdict == "cheaper, better"
    assert few.confirmation.verdict == "cannot tell"
    page = render_page(few)
    assert (
        '<p class="lead open">“terse” is cheaper than “verbose” and not worse on the samples of the selection' in page
    )


def test_what_is_decided_comes_before_what_is_open(tmp_path, write_test, arm):
    better = write_test(tmp_path / "a.db", (arm("verbose", quality=0.6), arm("terse", quality=0.9)), n=60, mode="fixed")
    assert better.comparisons[0].verdict == "undecided, better"
    assert '<p class="lead open">“terse” against “verbose”: better on bertscore_f1; still open: cost.' in render_page(
        better
    )
    assert "“terse”对比“verbose”：bertscore_f1 更好；尚无定论：成本。" in render_page(better, "zh")
    arms = (arm("verbose", quality=0.7, output_tokens=120), arm("terse", quality=0.67))
    cheaper = write_test(tmp_path / "b.db", arms, n=60, mode="fixed")
    assert cheaper.comparisons[0].verdict == "cheaper, undecided"
    assert "“terse” against “verbose”: cheaper; still open: bertscore_f1." in render_page(cheaper)
    few = write_test(tmp_path / "c.db", arms, n=6, mode="fixed")
    assert "Nothing is decided against “verbose” yet." in render_page(few)
    assert "与“verbose”相比，目前尚无定论。" in render_page(few, "zh")


@pytest.mark.parametrize(("content", "kept"), [("full", True), ("hash", False), ("none", False)])
def test_texts_are_shown_only_where_they_are_kept(make, content, kept):
    results = make("ab" if kept else content)
    for language in LANGUAGES:
        page = Reader(render_page(results, language)).text()
        assert ("secret answer" in page) == ("secret input" in page) == ("Be verbose." in page) == kept
        assert (Words(language)("examples.not kept", content=content) in page) == (not kept)
        assert "sha256:" not in page


def test_what_is_not_there_is_said_in_a_plain_sentence(make):
    for kind, keys in {
        "one": ("lead.alone", "waterfall.none", "examples.none"),
        "empty": ("lead.empty", "waterfall.none", "examples.none"),
        "unscored": ("unscored",),
    }.items():
        for language in LANGUAGES:
            page = Reader(render_page(make(kind), language)).text()
            for key in keys:
                assert Words(language)(key) in page, (kind, key)
    assert "cannot be told from fewer than 10" in render_page(make("few"))
    assert "样本不足 10 个" in render_page(make("few"), "zh")


def test_the_lead_of_a_race_counts_and_names(make):
    raced = Reader(render_page(make("race"))).text()
    assert "2 of 5 variants are on the front." in raced
    assert "0 of 2 variants are on the front so far; 2 are undecided." in render_page(make("raced so far"))
    assert "“small”是足够好的方案中最便宜的。" in render_page(make("cheapest"), "zh")
    assert Words("en")("held out") not in raced
    assert Words("en")("held out") in render_page(make("confirmed"))


def test_a_bill_is_told_beside_what_was_forecast(make):
    results = make("ab")
    billed = float(sum(s.billed_usd_total for s in results.summaries))
    said = Reader(render_page(results)).text()
    where = "below" if billed < 0.0007 else "above" if billed > 0.0009 else "inside"
    assert f"The bill, ${billed:.6f}, lies {where} the 90\u00a0% interval of $0.000700 to $0.000900" in said
    assert f"${billed:.6f} is billed so far." in Reader(render_page(make("running"))).text()


def test_all_that_identifies_the_run_is_on_it(make):
    results = make("ab")
    page = Reader(render_page(results)).text()
    for fact in (results.run.identity, "paretoken run", "d" * 64, "verbose@3f9a1c", "2026-01-05", "the spec", "0.1.0",
                 "above 200000 input tokens: input_per_mtok 0.04", "all-MiniLM-L6-v2, layer 6"):  # fmt: skip
        assert fact in page


def test_every_phrase_is_in_both_languages_with_the_same_placeholders():
    def names(text):
        return sorted(name for _, name, _, _ in Formatter().parse(text) if name is not None)

    for key, phrases in PHRASES.items():
        assert len(phrases) == len(LANGUAGES)
        assert all(phrase.strip() for phrase in phrases)
        assert names(phrases[0]) == names(phrases[1]), key
        assert not re.search("[\u4e00-\u9fff]", phrases[0])


def test_unknown_languages_are_refused():
    with pytest.raises(SpecError, match="Known: en, zh"):
        language_named("de")


def test_a_page_is_written_whole_or_not_at_all(make, tmp_path, monkeypatch):
    results, path = make("one"), tmp_path / "report.html"
    save_page(results, path)
    assert path.read_text("utf-8") == render_page(results)

    def fail(*_):
        raise OSError("the disk is full")

    monkeypatch.setattr(os, "replace", fail)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(SpecError, match="cannot be written: the disk is full"):
        save_page(results, path, "zh")
    assert path.read_text("utf-8") == render_page(results)
    assert sorted(tmp_path.iterdir()) == before


def test_a_browser_finds_nothing_wider_than_a_phone(make, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    page = render_page(make("ab"), "zh")
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" width="360" height="900" style="border:0" srcdoc="{html.escape(page)}"></iframe>'
        "<script>onload = () => { const r = f.contentDocument.documentElement;"
        "document.title = `${r.scrollWidth} of ${r.clientWidth}` }</script>"
    )
    said = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path / 'profile'}",
         "--dump-dom", frame.as_uri()],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    inside, room = map(int, re.findall(r"<title>(\d+) of (\d+)</title>", said.stdout)[0])
    assert inside <= room <= 360


def test_a_run_that_was_renamed_to_stopped_says_so(make):
    results = make("ab")
    results.run = replace(results.run, status="stopped")
    assert "This run is stopped" in render_page(results)
