"""Plans that leave a prompt's segments out, one at a time: an A/B test of the prompt against each rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest
from paretoken.experiment.spec import AbTestSpec
from paretoken.prompts.segments import SplitPrompt, split_prompt

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paretoken.core.trials import Variant
    from paretoken.datasets import Dataset
    from paretoken.experiment.model_design import ModelDesign
    from paretoken.experiment.source import Source
    from paretoken.experiment.spec import SegmentsSpec
    from paretoken.prompts import Prompt


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A prompt, and what remains of it without each segment.

    Attributes:
        asked: The plan.
        split: The prompt in pieces.
        without: The prompts that lack one segment, by its name.
    """

    asked: SegmentsSpec
    split: SplitPrompt
    without: Mapping[str, Prompt]

    @property
    def prompts(self) -> dict[str, Prompt]:
        """The whole prompt first, then the others, by id."""
        return {prompt.id: prompt for prompt in (self.split.prompt, *self.without.values())}


def leave_out(asked: SegmentsSpec, prompts: Mapping[str, Prompt], dataset: Dataset, source: Source) -> LeftOut:
    """Cut the prompt that the plan means.

    Args:
        asked: The plan.
        prompts: The spec's, by id.
        dataset: Whose input must stay in every prompt.
        source: The spec file.

    Raises:
        SpecError: The prompt or a segment is unknown, or a segment cannot be left out.
    """
    named = {prompt.name: prompt for prompt in prompts.values()}
    if asked.prompt is None and len(named) > 1:
        raise source.error("the segments of one prompt are measured, and several are listed.", "plan", "segments",
                           fix=f"Say which: plan: {{segments: {{prompt: {next(iter(named))}}}}}.")  # fmt: skip
    name = next(iter(named)) if asked.prompt is None else asked.prompt
    if name not in named:
        raise source.error(f"no prompt is called {name!r}.", "plan", "segments", "prompt",
                           fix=suggest(name, named))  # fmt: skip
    split = split_prompt(named[name])
    for i, kept in enumerate(asked.keep):
        if kept not in split.names:
            raise source.error(f"{name!r} has no segment {kept!r}.", "plan", "segments", "keep", i,
                               fix=suggest(kept, split.names))  # fmt: skip
    tested = [segment for segment in split.names if segment not in asked.keep]
    without = {segment: split.without(segment, dataset.input_variables) for segment in tested}
    if not without:
        raise source.error("every segment is kept: there is nothing to leave out.", "plan", "segments", "keep",
                           fix="Keep fewer.")  # fmt: skip
    for segment, prompt in without.items():
        try:
            prompt.check(dataset.template_variables)
        except SpecError as error:
            raise SpecError(f"without {segment!r}, {error.problem}", fix=f"Keep it: plan: {{segments: {{keep: "
                            f"[{segment}]}}}}.", file=error.file, line=error.line) from error  # fmt: skip
    return LeftOut(asked, split, without)


def segments_plan(
    left_out: LeftOut, variants: list[Variant], models: Mapping[str, ModelDesign], source: Source
) -> tuple[AbTestSpec, dict[str, Any]]:
    """The A/B test that measures the segments, and the plan as the lock says it.

    Raises:
        SpecError: There is more than one model or setting, or answers are recorded.
    """
    recorded = next((id_ for id_, model in models.items() if model.provider.recorded), None)
    if recorded is not None:
        raise source.error(f"answers of {recorded!r} are recorded: leaving out a segment cannot change them.", "plan",
                           "segments", fix="Ask a model that answers.")  # fmt: skip
    by_prompt = {variant.prompt: variant.id for variant in variants}
    if len(by_prompt) < len(variants):
        raise source.error("segments are measured with one model and one setting, and several are listed.", "plan",
                           "segments", fix="Name one model, and one value a parameter.")  # fmt: skip
    control = by_prompt[left_out.split.prompt.id]
    rows = [
        {"segment": segment, "n_examples": left_out.split.n_examples(segment), "variant": by_prompt[prompt.id]}
        for segment, prompt in left_out.without.items()
    ]
    asked = left_out.asked
    test = AbTestSpec(
        control=control,
        treatment=[str(row["variant"]) for row in rows],
        margin=asked.margin,
        alpha=asked.alpha,
        population=asked.population,
    )
    return test, {"kind": "abtest", **test.model_dump(), "prompt_segments": rows}
