"""The waterfall between two costs is exact."""

from __future__ import annotations

import json
from decimal import Decimal
from fractions import Fraction
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.analysis.bills import Bill
from paretoken.analysis.explanation import explain, shapley, split
from paretoken.core.errors import SpecError
from paretoken.core.usage import Price, Rates, Usage, from_pico, to_pico
from paretoken.experiment.api import run

amounts = st.decimals(0, 80, places=3)


@st.composite
def bills(draw):
    prompt = draw(st.integers(0, 4000))
    cached = draw(st.integers(0, prompt))
    answer = draw(st.integers(0, 2000))
    usage = Usage(
        input_tokens=prompt,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, prompt - cached)),
        output_tokens=answer,
        reasoning_tokens=draw(st.integers(0, answer)),
        compute_s=draw(st.decimals(0, 9, places=4)),
    )
    rates = Rates(*(draw(amounts) for _ in range(5)))
    tiers = ((draw(st.integers(0, 3000)), Rates(draw(amounts), draw(amounts))),) if draw(st.booleans()) else ()
    price = Price("row", rates, tiers, per_compute_s=draw(amounts))
    return Bill(price, usage, draw(st.integers(0, 10**9)), 0, 0)


@given(st.lists(st.tuples(bills(), bills()), min_size=1, max_size=4))
def test_factors_add_up_to_the_pico_dollar(pairs):
    found = split("a", "b", pairs)
    cost_a, cost_b = (sum(to_pico(p[i].price.cost(p[i].usage)) + p[i].retries_pico for p in pairs) for i in (0, 1))
    assert (found.cost_a, found.cost_b) == (from_pico(cost_a), from_pico(cost_b))
    assert sum((f.usd for f in found.factors), Decimal(0)) == found.cost_b - found.cost_a
    back = {f.name: f.usd for f in split("b", "a", [(b, a) for a, b in pairs]).factors}
    pico = Decimal("1e-12")
    assert {name: abs(back[name] + usd) <= pico for name, usd in found.factors} == dict.fromkeys(back, True)


@given(st.lists(st.integers(-(10**6), 10**6), min_size=8, max_size=8))
def test_shapley_is_the_mean_over_all_orders(worths):
    names = ["x", "y", "z"]
    value = {frozenset(n for n, bit in zip(names, f"{i:03b}", strict=True) if bit == "1"): worths[i] for i in range(8)}
    expected = dict.fromkeys(names, Fraction(0))
    for order in permutations(names):
        for i, name in enumerate(order):
            expected[name] += Fraction(value[frozenset(order[: i + 1])] - value[frozenset(order[:i])], 6)
    assert shapley(names, value.__getitem__) == expected


def bill(input_per_mtok="1", output_per_mtok="4", prompt=100, answer=50, cached=0, retries=0):
    rates = Rates(Decimal(input_per_mtok), Decimal(output_per_mtok), cached_per_mtok=Decimal("0.1"))
    return Bill(
        Price("r", rates), Usage(input_tokens=prompt, output_tokens=answer, cached_tokens=cached), retries, 0, 0
    )


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        (bill(answer=25), {"completion tokens": "-0.0001"}),
        (bill(prompt=40), {"prompt tokens": "-0.00006"}),
        (bill(cached=50), {"cache": "-0.000045"}),
        (bill(retries=7), {"retries": "7E-12"}),
        (bill("2", "8"), {"model price": "0.0003"}),
        (bill(answer=25, prompt=40), {"completion tokens": "-0.0001", "prompt tokens": "-0.00006"}),
    ],
)
def test_what_changed_alone_has_all_of_it(b, expected):
    found = split("a", "b", [(bill(), b)])
    assert {f.name: f.usd for f in found.factors} == {name: Decimal(usd) for name, usd in expected.items()}


def test_price_and_tokens_share_what_they_make_together():
    factors = {f.name: f.usd for f in split("a", "b", [(bill(answer=0), bill("2", "8", prompt=300, answer=0))]).factors}
    assert factors == {"model price": Decimal("0.0002"), "prompt tokens": Decimal("0.0003")}


def test_the_sentence_is_in_points_of_the_cost():
    pairs = [(bill(prompt=100, answer=75), bill("1.5", "6", prompt=60, answer=20))]
    assert split("long", "short", pairs).sentences[0] == (
        '"short" is 48 % cheaper than "long" ($0.00021 against $0.0004 a call, on 1 calls of each): '
        "69 points from shorter answers, -34 points from a more expensive model, 12 points from a shorter prompt"
    )


def test_nearly_free_is_not_100_percent_cheaper():
    told = split("a", "b", [(bill(), bill("0.004", "0.016"))]).sentences[0]
    assert '"b" is 99.6 % cheaper than "a"' in told


RECORDED = """\
  - {replay: answers.jsonl, by: model, key: id, output: text, usage: [tokens_in, tokens_out],
     prices: {old: {input_per_mtok: "2.50", output_per_mtok: "10"},
              new: {input_per_mtok: "2.50", output_per_mtok: "10"}}}
"""


@pytest.fixture
def versions(lab):
    """Two versions of a model on one prompt; the new one cuts the same text into 40 % more tokens."""
    rows = [
        {"model": model, "id": f"s{i}", "text": f"A small thing, number {i}, free.", "tokens_in": tokens * (1 + i % 2),
         "tokens_out": 20}
        for model, tokens in (("old", 100), ("new", 140))
        for i in range(12)
    ]  # fmt: skip
    lab.write("answers.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    lab.edit('  - id: echo/a\n    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}\n', RECORDED)
    lab.edit("[prompts/long.md, prompts/terse.md]", "[prompts/terse.md]")
    lab.edit("control: long\n    treatment: [terse]", "control: old\n    treatment: [new]")
    run(lab.folder)
    return lab


def test_two_versions_of_a_model_on_the_same_prompt(versions, cli):
    said = cli("explain", "old", "new", "--run", versions.folder)
    assert said.code == 0
    # 150 tokens a call become 210, at 2.5 USD a million, of 575 millionths of a dollar
    assert (
        '"new" is 26 % more expensive than "old" ($0.000725 against $0.000575 a call, on 12 calls of each)' in said.out
    )
    assert "26 points from more tokens for the same prompt" in said.out
    assert "prompt: 150.0 to 210.0 tokens a call (+40 %) for the same text, which is cut into finer tokens" in said.out
    assert "+0.001800000000" in said.out
    body = cli("explain", "old", "new", "--run", versions.folder, "--json").json
    assert [(f["name"], Decimal(f["usd"])) for f in body["factors"]] == [("prompt tokens", Decimal("0.0018"))]


def test_two_runs_are_explained_on_the_samples_that_they_share(versions, cli):
    first = cli("show", versions.folder, "--json").json["run"]
    versions.edit("seed: 7", "seed: 8")
    text = (versions.folder / "data.jsonl").read_text().replace("number 3", "number three")
    versions.write("data.jsonl", text)
    second = cli("run", versions.folder, "--json").json["run"]
    said = cli("explain", f"{first}:old", f"{second}:new")
    assert said.code == 0
    assert f'"new of {second}" is' in said.out
    assert "on 11 calls of each" in said.out
    assert "1 calls that only one of the two has answered, or on another input, are left out" in said.out


@pytest.mark.parametrize("content", ["none", "hash"])
def test_two_runs_without_texts_are_explained_on_the_same_data_only(versions, cli, content):
    versions.edit("seed: 7", f"seed: 8\nstore: {{content: {content}}}")
    first = cli("run", versions.folder, "--json").json["run"]
    versions.edit("seed: 8", "seed: 9")
    again = cli("run", versions.folder, "--json").json["run"]
    assert "on 12 calls of each" in cli("explain", f"{first}:old", f"{again}:new").out
    versions.write("data.jsonl", (versions.folder / "data.jsonl").read_text().replace("kettle", "pot"))
    other = cli("run", versions.folder, "--json").json["run"]
    said = cli("explain", f"{first}:old", f"{other}:new")
    assert said.code == 2
    assert "have different data, and their texts are not kept" in said.err


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        ("long", "long", "nothing lies between it and itself"),
        ("long", "tersse", "Did you mean 'terse'?"),
        ("nowhere:long", "terse", "nowhere"),
    ],
)
def test_bad_names_are_told(lab, cli, a, b, words):
    cli("run", lab.folder)
    said = cli("explain", a, b, "--run", lab.folder)
    assert said.code == 2
    assert words in said.err


def test_retries_are_a_factor(lab):
    """What a killed process paid for answers that were asked again is on the bill of the cell."""
    results = run(lab.folder).results
    a, b = explain((results, "long"), (results, "terse")), results.records
    assert sum(f.usd for f in a.factors) == a.difference
    assert a.cost_a == sum(r.call.response.list_usd for r in b if results.labels[r.variant] == "long")


def test_without_texts_characters_are_not_told(lab, cli):
    lab.edit("seed: 7", "seed: 7\nstore: {content: hash}")
    cli("run", lab.folder)
    said = cli("explain", "long", "terse", "--run", lab.folder)
    assert "tokens a call" in said.out
    assert "characters" not in said.out


def test_a_run_of_another_price_cannot_be_split(lab):
    results = run(lab.folder).results
    model = results.run.lock["models"]["echo/a"]
    model["price"]["rates"]["input_per_mtok"] = "3"
    with pytest.raises(SpecError, match="its cost cannot be split"):
        explain((results, "long"), (results, "terse"))
