"""An experiment with every name bound: what the planner, the runner and the lock are made from."""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache, cached_property, lru_cache
from importlib.metadata import version
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.calls import Message, Origin, Request
from paretoken.core.errors import Refused, SpecError
from paretoken.core.protocols import Fetching, Judging
from paretoken.core.trials import Cell, Variant, draw_order, label_variants
from paretoken.core.usage import ZERO, Usage
from paretoken.experiment.model_design import ModelDesign, model_bodies
from paretoken.experiment.planners import FixedPlanner
from paretoken.experiment.spec import MAX_TOKENS, OWN_FIELDS
from paretoken.gateway.budget import bound_tokens, bound_usd
from paretoken.gateway.scopes import Cap
from paretoken.prompts.edits import edit_prompt, n_examples, parse_edits, with_examples

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from paretoken.analysis.objectives import Objectives
    from paretoken.core.protocols import Planner, Scorer
    from paretoken.datasets import Dataset, Sample
    from paretoken.experiment.raceplanner import Entrants
    from paretoken.experiment.space import Space
    from paretoken.experiment.spec import Spec
    from paretoken.experiment.study import Study
    from paretoken.gateway.cache import CacheMode
    from paretoken.prompts import Prompt

RACING = ("race", "cheapest", "search")
"""Kinds of plans that race."""
MOST_COUNTED = 2_000
"""Samples up to which prompts are counted before a race."""
COPY_SEED = 1_000_003
"""Distance between the seeds of two copies of a variant, more than there are repeats."""


@dataclass(frozen=True)
class Design:
    """Everything an experiment is made of.

    Attributes:
        path: The spec file.
        root: The project's folder, where records and tracking live.
        models: By id.
        prompts: By `name@version`.
        variants: What is tried, in the order of the spec; of a search, random points that stand for what it will try.
        dropped: Objectives that cannot be measured here, with the reason.
        caps: Caps above the run's own.
        space: What variants may be.
        judges: Models that scorers ask, by id; they may be among `models`, too.
        cautions: What is done otherwise than the spec says, in words.
    """

    path: Path
    root: Path
    spec: Spec
    dataset: Dataset
    prompts: Mapping[str, Prompt]
    models: Mapping[str, ModelDesign]
    scorers: tuple[Scorer, ...]
    variants: tuple[Variant, ...]
    plan: Mapping[str, Any]
    objectives: Objectives
    dropped: Mapping[str, str]
    caps: tuple[Cap, ...]
    space: Space
    judges: Mapping[str, ModelDesign] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    samples: Mapping[str, Sample] = field(init=False)
    labels: Mapping[str, str] = field(init=False)
    _known: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", {sample.id: sample for sample in self.dataset.samples})
        object.__setattr__(self, "labels", label_variants(self.variants))

    def lessons(self) -> list[str]:
        """What endpoints taught while they were asked, in words."""
        dialects = ((id_, getattr(model.provider, "dialect", None)) for id_, model in self.asked.items())
        return [f"{id_} {lesson}" for id_, dialect in dialects if dialect is not None for lesson in dialect.lessons]

    @property
    def searches(self) -> bool:
        """Whether variants are found out while the run goes on."""
        return bool(self.plan["kind"] == "search")

    def planner(self, pilot: int | None, lock: Mapping[str, object], study: Study | None = None) -> Planner:
        """A fresh planner for this design, or for the first `pilot` samples of its order.

        Args:
            pilot: Samples after which to stop; None is all.
            lock: The run's, with what was found out when it was opened.
            study: Where the variants of a search come from.
        """
        repeats, seed = self.spec.repeats, self.spec.seed
        if pilot is None and self.plan["kind"] in RACING:
            return self._race_planner(lock, study)
        if pilot is not None or (self.plan.get("mode") != "continuous" and not self.plan.get("confirm")):
            samples = draw_order(self.samples, seed, self.clusters)
            return FixedPlanner(self.variants, samples[:pilot], repeats=repeats, seed=seed)
        from paretoken.analysis.abtest import AbTest  # with numpy, which other runs need only when they end
        from paretoken.analysis.panel import empty_panel
        from paretoken.experiment.abplanner import AbPlanner

        panel = empty_panel([v.id for v in self.variants], list(self.samples), seed, self.dataset.clusters)
        panel = panel.with_difficulty(cast("dict[str, dict[str, float]]", lock["difficulty"]))
        return AbPlanner(self.variants, panel, AbTest.of(lock), repeats=repeats, seed=seed, ahead=self.spec.concurrency)

    @property
    def clusters(self) -> Mapping[str, str] | None:
        """Clusters that are drawn as a whole; a race speaks of these very samples, and draws them one by one."""
        return None if self.plan["kind"] in RACING else self.dataset.clusters

    def _race_planner(self, lock: Mapping[str, object], study: Study | None) -> Planner:
        from paretoken.analysis.raceplan import RacePlan
        from paretoken.experiment.raceplanner import FixedEntrants, RacePlanner, rest_after
        from paretoken.experiment.search import SearchEntrants

        plan, samples = RacePlan.of(lock), draw_order(self.samples, self.spec.seed)
        total = len(plan.parts(samples)[0])
        search = self.spec.plan.search
        entrants: Entrants = FixedEntrants(self.variants)
        if study is not None and search is not None:
            entrants = SearchEntrants(study, self.objectives, parallel=search.parallel, total=total)
        return RacePlanner(
            entrants,
            plan,
            samples,
            self.ends,
            repeats=self.spec.repeats,
            seed=self.spec.seed,
            concurrency=cast("int", lock["concurrency"]),
            whole=not plan.races,
            rest=rest_after(total) if self.searches and plan.races else None,
            variants=[variant.id for variant in self.variants],
            label=self.label,
        )

    def content(self, sample: Sample, *, full: bool) -> dict[str, object]:
        """What is kept of a sample: everything, or only what groups samples."""
        cluster = {} if sample.cluster is None else {"cluster": sample.cluster}
        if full:
            more = {"further_references": list(sample.further_references)} if sample.further_references else {}
            body = {"input": sample.input, "reference": sample.reference, "fields": dict(sample.fields)}
            return {**body, **more, **cluster}
        return {"fields": {name: sample.fields.get(name) for name in self.plan.get("segments", ())}, **cluster}

    def caps_of(self, scope: str) -> tuple[Cap, ...]:
        """Every cap of a run: its own under its scope first, then those above it."""
        return (Cap(scope, None if self.spec.budget is None else self.spec.budget.usd), *self.caps)

    @property
    def n_calls(self) -> int:
        """Subject calls of the whole design."""
        return len(self.variants) * len(self.samples) * self.spec.repeats

    def request(self, variant: Variant, cell: Cell, run: str, scopes: tuple[str, ...] = ()) -> Request:
        """The request of one cell."""
        sample = self.samples[cell.sample]
        params = dict(variant.params)
        model = self.models[variant.model]
        return Request(
            model=variant.model,
            base_url=model.base_url,
            messages=self._messages(variant.prompt, str(params.get("edits", "none")), cell.sample),
            max_tokens=cast("int", params.get("max_tokens", MAX_TOKENS)),
            temperature=float(cast("float", params.get("temperature", 0.0))),
            seed=cast("int", params.get("seed", self.spec.seed)) + cell.repeat + COPY_SEED * variant.copy,
            params=tuple((name, value) for name, value in variant.params if name not in OWN_FIELDS),
            repeat=cell.repeat,
            salt=sample.id if model.provider.recorded else f"copy {variant.copy}" if variant.copy else "",
            origin=Origin(run, cell.sample, variant.id, cell.repeat, "subject", scopes),
        )

    @cached_property
    def _messages(self) -> Callable[[str, str, str], tuple[Message, ...]]:
        """Renders an edited prompt for a sample; the latest are kept, because models and parameters share them."""

        @cache
        def edited(prompt: str, edits: str) -> Prompt:
            return edit_prompt(self.prompts[prompt], parse_edits(edits), self.dataset.language)

        @lru_cache(maxsize=128)
        def render(prompt: str, edits: str, sample: str) -> tuple[Message, ...]:
            template = edited(prompt, edits)
            try:
                messages = template.render(self.dataset.template_values(self.samples[sample]))
            except SpecError as error:
                raise SpecError(f"sample {sample!r}: {error.problem}", fix=error.fix, file=error.file) from error
            wanted = n_examples(parse_edits(edits))
            return with_examples(messages, self._examples(template, sample, wanted)) if wanted else messages

        return render

    def _examples(self, prompt: Prompt, sample: str, n: int) -> list[tuple[str, str]]:
        """The first samples of the drawn order other than this one: what the user would say, and their reference."""
        others = [id_ for id_ in self._with_reference[: n + 1] if id_ != sample][:n]
        return [
            (
                prompt.render(self.dataset.template_values(self.samples[id_]))[-1].content,
                self.samples[id_].reference or "",
            )
            for id_ in others
        ]

    @cached_property
    def _with_reference(self) -> list[str]:
        """Samples that have a reference, in drawn order."""
        return [id_ for id_ in draw_order(self.samples, self.spec.seed) if self.samples[id_].reference]

    def cache_mode(self, model: ModelDesign) -> CacheMode:
        """How a model's calls use the cache; answers that may not be kept, or are recorded, do not."""
        keeps = self.spec.store.content == "full" and not model.provider.recorded
        return self.spec.cache.mode if keeps else "off"

    async def fetch(self) -> None:
        """Get what scorers need from elsewhere; the lock, which says what they score with, comes after.

        Raises:
            ScoreError: It cannot be had.
        """
        await asyncio.gather(*(scorer.fetch() for scorer in self.scorers if isinstance(scorer, Fetching)))

    @property
    def asked(self) -> dict[str, ModelDesign]:
        """Every model that is called, those of judges included, by id."""
        return {**self.models, **self.judges}

    async def aclose(self) -> None:
        """Give back every provider."""
        await asyncio.gather(*(model.provider.aclose() for model in self.asked.values()))

    @cached_property
    def lock(self) -> dict[str, Any]:
        """Everything that determines the run, as plain JSON values."""
        spec = self.spec
        return {
            "paretoken": version("paretoken"),
            "spec": {"path": str(self.path.resolve()), **spec.model_dump(mode="json")},
            "question": f"A/A: {spec.question or spec.experiment}" if "aa" in self.plan else spec.question,
            "seed": spec.seed,
            "dataset": {
                "path": str(self.dataset.path),
                "hash": self.dataset.hash,
                "n": len(self.samples),
                "language": self.dataset.language,
                "reference": self.dataset.reference_column is not None,
                "clusters": self.dataset.clusters is not None,
            },
            "prompts": {
                id_: {"name": p.name, "version": p.version, "text": p.text, "description": p.description}
                for id_, p in self.prompts.items()
            },
            "variants": [] if self.searches else self.rows(self.variants),
            "models": model_bodies(self.models, self.path),
            **({"judges": model_bodies(self.judges, self.path)} if self.judges else {}),
            "scorers": [
                {
                    "name": s.name,
                    "metrics": list(s.metrics),
                    "provenance": s.provenance,
                    "ranges": {name: list(ends) for name, ends in s.ranges.items()},
                    **({"judge": dict(s.facts)} if isinstance(s, Judging) else {}),
                }
                for s in self.scorers
            ],
            "plan": dict(self.plan),
            "objectives": {
                "minimize": list(self.objectives.minimize),
                "maximize": list(self.objectives.maximize),
                "subject_to": {name: [sign, str(x)] for name, (sign, x) in self.objectives.subject_to.items()},
            },
            "dropped": dict(self.dropped),
            "store": spec.store.model_dump(),
            "budget": None if spec.budget is None else {"usd": str(spec.budget.usd)},
            "tags": spec.tags,
            "track": spec.track,
        }

    def label(self, variant: Variant) -> str:
        """The short label of a variant of this design."""
        return self.space.label(variant) if self.searches else self.labels[variant.id]

    def rows(self, variants: Iterable[Variant]) -> list[dict[str, Any]]:
        """Variants as the lock lists them."""
        return [
            {
                "id": v.id,
                "label": self.label(v),
                "prompt": v.prompt,
                "model": v.model,
                "params": dict(v.params),
                **({"copy": v.copy} if v.copy else {}),
            }
            for v in variants
        ]

    def most(self) -> dict[str, dict[str, float]]:
        """The largest values a call can have in an A/B test, by variant id and name; renders every prompt."""
        tested = self.variants if self.plan["kind"] == "abtest" else ()
        return {v.id: {name: high for name, (_, high) in self.ends(v).items()} for v in tested}

    async def look_ahead(self) -> None:
        """Find out what a race may rest on beside the bounds of calls: recorded answers, and prompts counted exactly.

        Raises:
            ProviderError: A local model cannot count.
        """
        for id_, model in self.models.items():
            for prompt in self.prompts:
                if model.provider.recorded:
                    self._known[prompt, "none", id_] = await self._recorded(prompt, id_)
                    continue
                for edits in self.space.choices("edits") or ("none",):
                    counts = await self._counts(prompt, str(edits), id_)
                    if counts:
                        self._known[prompt, str(edits), id_] = {"input_tokens": (min(counts), max(counts))}

    async def _recorded(self, prompt: str, id_: str) -> dict[str, tuple[float, float]]:
        """Least and largest values of a recorded model's answers: the recording is all there is."""
        model, seen = self.models[id_], dict[str, list[float]]()
        for sample, repeat in product(self.samples, range(self.spec.repeats)):
            request = self.request(Variant(prompt, id_), Cell(sample, repeat), run="")
            try:
                response = await model.provider.generate(request)
            except Refused:
                continue
            usage = response.usage
            for name, value in (
                ("list_usd", float(model.price.cost(usage))),
                ("input_tokens", usage.input_tokens),
                ("output_tokens", usage.output_tokens),
                ("latency_s", response.latency_s),
            ):
                if value is not None:
                    seen.setdefault(name, []).append(float(value))
        return {name: (0.0, max(values)) for name, values in seen.items()}

    async def _counts(self, prompt: str, edits: str, id_: str) -> list[int]:
        """Prompt tokens of every sample by the model's own tokeniser; none where it is elsewhere, or takes too long."""
        variant = Variant(prompt, id_, () if edits == "none" else (("edits", edits),))
        if len(self.samples) > MOST_COUNTED:
            return []
        counts = []
        for sample in self.samples:
            counted = await self.models[id_].provider.count_tokens(self.request(variant, Cell(sample), run=""))
            if counted is None:
                return []
            counts.append(counted)
        return counts

    def ends(self, variant: Variant) -> dict[str, tuple[float, float]]:
        """Least and largest value that a variant's calls can have, by name; recorded ones need `look_ahead` first."""
        model, params = self.models[variant.model], dict(variant.params)
        edits = str(params.get("edits", "none"))
        known = self._known.get((variant.prompt, edits, variant.model), {})
        if model.provider.recorded:
            return known
        request = self.request(variant, Cell(self._longest(variant.prompt, edits)), run="")
        timeout_s: float = getattr(model.entry, "timeout_s", 0.0)
        most_usd, least_usd = bound_usd(request, model.price, timeout_s), ZERO
        if "input_tokens" in known:
            least, most = (int(tokens) for tokens in known["input_tokens"])
            longest = Usage(input_tokens=most, output_tokens=request.max_tokens, compute_s=Decimal(str(timeout_s)))
            least_usd = model.price.cost(Usage(input_tokens=least, cached_tokens=0))
            most_usd = min(most_usd, model.price.cost(longest))
        return {
            "list_usd": (float(least_usd), float(most_usd)),
            "input_tokens": (0.0, float(bound_tokens(request))),
            "output_tokens": (0.0, float(request.max_tokens)),
            "latency_s": (0.0, timeout_s),
            **known,
        }

    @cached_property
    def _longest(self) -> Callable[[str, str], str]:
        """The sample with the longest prompt."""

        @cache
        def longest(prompt: str, edits: str) -> str:
            params = () if edits == "none" else (("edits", edits),)
            probe = Variant(prompt, next(iter(self.models)), params)
            return max(self.samples, key=lambda id_: bound_tokens(self.request(probe, Cell(id_), run="")))

        return longest

    @cached_property
    def identity(self) -> str:
        """Hash of the lock less what does not change a number: budget, tags, tracking, and where files lie."""
        outside = ("budget", "tags", "track", "question", "concurrency", "store")
        files = ("path", "dataset", "prompts")  # their contents are in the lock
        body = {name: value for name, value in self.lock.items() if name not in outside}
        body["spec"] = {name: value for name, value in self.lock["spec"].items() if name not in (*outside, *files)}
        told = ("path", "clusters")  # where it lies, and what its hash says already
        body["dataset"] = {name: value for name, value in self.lock["dataset"].items() if name not in told}
        text = json.dumps(body, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()
