"""A run as one self-contained page to be sent to a colleague: no network, no scripts, for screen, phone and paper."""

from __future__ import annotations

import os
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, cast

from jinja2 import StrictUndefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

from paretoken.analysis.drivers import find_drivers
from paretoken.analysis.features import language_of
from paretoken.core.errors import SpecError
from paretoken.core.text import printable
from paretoken.report import page_reasons as reasons
from paretoken.report import page_sections as sections
from paretoken.report.page_words import Words
from paretoken.report.redaction import redact
from paretoken.report.tables import near, question_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jinja2 import Template

    from paretoken.analysis.baseline import Held
    from paretoken.analysis.driver_shares import Drivers
    from paretoken.analysis.features import NothingToExplain
    from paretoken.analysis.results import Results
    from paretoken.report.page_words import Language

TEMPLATE = "page.html.jinja"
HTML_LANGUAGES = {"en": "en", "zh": "zh-Hans"}


def save_page(results: Results, path: Path, language: Language = "en", held: Held | None = None) -> None:
    """Write a run's page to a file, whole or not at all.

    Args:
        results: The run.
        path: The file; its folder must exist.
        language: Of the page.
        held: The run held against its question's baseline.

    Raises:
        SpecError: The file cannot be written there.
    """
    if not path.parent.is_dir():
        raise SpecError(f"the folder {path.parent} does not exist.", fix=f"Make it: mkdir -p {path.parent}", file=path)
    if path.is_dir():
        raise SpecError("this is a folder.", fix=f"Name a file: --html {path / 'report.html'}", file=path)
    page = render_page(results, language, held)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(page, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise SpecError(f"cannot be written: {error}.", file=path) from error


def render_page(
    results: Results,
    language: Language = "en",
    held: Held | None = None,
    drivers: Drivers | NothingToExplain | None = None,
) -> str:
    """A run's page; the same text for the same records and baseline.

    Args:
        results: The run.
        language: Of the page.
        held: The run held against its question's baseline.
        drivers: What drives the cost, where that is known already: it takes longest.

    Returns:
        HTML in which every text is escaped and no secret is left.
    """
    say, run = Words(language), results.run
    pair = sections.contrast(results)
    return _template().render(
        t=say,
        language=HTML_LANGUAGES[language],
        spoken=_spoken(results, language),
        question=question_of(results),
        about=say("about", run=run.id, status=say(f"status.{run.status}"), day=run.started_at[:10],
                  samples=cast("dict[str, Any]", run.lock["dataset"])["n"], variants=len(results.labels)),
        unfinished="" if run.status == "finished" else say("unfinished", status=say(f"status.{run.status}")),
        verdict=sections.verdict(results, say, pair, held),
        front=sections.front(results, say),
        drivers=reasons.drivers(results, say, drivers or find_drivers(results)),
        waterfall=reasons.waterfall(results, say, pair),
        cost=sections.cost(results, say),
        shown=sections.examples(results, say, pair),
        trust=sections.trust(results, say),
        facts=_facts(results, say),
        prompts=_prompts(run.lock),
        models=_models(results, say),
        made=say("made by", version=cast("str", run.lock["paretoken"]), run=run.id),
        command=f"paretoken run {_spec(run.lock)}",
    ) + "\n"  # fmt: skip


@cache
def _template() -> Template:
    environment = ImmutableSandboxedEnvironment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_hidden
    )
    return environment.from_string(files(__package__).joinpath(TEMPLATE).read_text(encoding="utf-8"))


def _hidden(value: object) -> object:
    return printable(redact(value)) if type(value) is str else value


def _spoken(results: Results, language: Language) -> dict[str, str]:
    """The languages of what others wrote, for readers' voices and fonts."""
    dataset = cast("dict[str, Any]", results.run.lock["dataset"])
    asked = "zh" if language_of(question_of(results)) != "latin" else "en"
    return {"samples": str(dataset.get("language") or language), "question": asked}


def _spec(lock: Mapping[str, object]) -> str:
    return near(cast("dict[str, Any]", lock["spec"])["path"])


def _facts(results: Results, say: Words) -> list[tuple[str, str]]:
    """What identifies the run."""
    lock = cast("Mapping[str, Any]", results.run.lock)
    dataset, plan = lock["dataset"], lock["plan"]
    said = say("dataset.facts", path=near(dataset["path"]), n=dataset["n"], hash=dataset["hash"])
    return [
        (say("lock"), results.run.identity),
        (say("seed"), str(lock["seed"])),
        (say("dataset"), said),
        (say("plan"), str(plan["kind"])),
        (say("version"), f"paretoken {lock['paretoken']}"),
        *((say("scorer"), f"{s['name']}: {s['provenance']}") for s in lock["scorers"] if s.get("provenance")),
    ]


def _prompts(lock: Mapping[str, object]) -> list[tuple[str, str]]:
    """Prompts by content hash; their templates where texts are kept."""
    body = cast("dict[str, Any]", lock)
    full = body["store"]["content"] == "full"
    return [(id_, prompt["text"] if full else "") for id_, prompt in body["prompts"].items()]


def _models(results: Results, say: Words) -> list[dict[str, str]]:
    """Models and judges with their price rows and who served them."""
    lock = cast("Mapping[str, Any]", results.run.lock)
    return [
        {
            "model": model,
            "served": ", ".join(results.served.get(model, ())) or (say("recorded") if facts.get("recorded") else "–"),
            "price": _price(facts["price"], say),
            "source": f"{facts['price']['row']}{', ' if facts['price'].get('source') else ''}"
            f"{facts['price'].get('source', '')}",
            "checked": facts["price"].get("checked") or "–",
        }
        for model, facts in {**lock["models"], **lock.get("judges", {})}.items()
    ]


def _price(price: Mapping[str, Any], say: Words) -> str:
    meters = {**price.get("rates", {}), **{name: value for name, value in price.items() if name.startswith("per_")}}
    tiers = [say("above tokens", n=start, rates=_rates(rates, say)) for start, rates in price.get("tiers", ())]
    return "; ".join([_rates(meters, say), *tiers])


def _rates(meters: Mapping[str, str], say: Words) -> str:
    return ", ".join(f"{name} {value}" for name, value in meters.items() if float(value)) or say("free")
