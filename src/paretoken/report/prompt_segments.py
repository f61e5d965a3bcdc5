"""Tables of a prompt's segments: how they were cut, and what they cost and buy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.models.estimate import estimate_tokens
from paretoken.prompts.segments import split_prompt
from paretoken.report.markdown import line, picture

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from paretoken.analysis.results import Results
    from paretoken.analysis.segments import Gain, SegmentEffect
    from paretoken.experiment.design import Design

MOST_CHARS = 60
"""Characters of a segment that are shown."""


def cut_rows(design: Design) -> list[dict[str, object]]:
    """How the prompt is cut: one row per segment, those that stay included; no rows for other plans."""
    left_out = {row["segment"] for row in design.plan.get("prompt_segments", ())}
    if not left_out:
        return []
    split = split_prompt(design.prompts[next(v.prompt for v in design.variants if v.id == design.plan["control"])])
    names = list(dict.fromkeys(piece.segment for piece in split.pieces))
    return [
        {
            "segment": name or "(none)",
            "is": "left out in turn" if name in left_out else "kept",
            "found by": "" if not name else "its mark" if split.marked else "its words",
            "examples": split.n_examples(name),
            "template tokens (estimated)": estimate_tokens(split.text(name)),
            "begins": _beginning(split.text(name)),
        }
        for name in names
    ]


def _beginning(text: str) -> str:
    words = " ".join(text.split())
    return words if len(words) <= MOST_CHARS else f"{words[: MOST_CHARS - 1]}…"


def effect_rows(effects: Sequence[SegmentEffect]) -> list[dict[str, object]]:
    """What each segment costs and buys: one row a segment, one column a metric."""
    return [
        {
            "segment": effect.segment,
            "tokens in": _number(effect.input_tokens),
            "of input": None if effect.input_share is None else f"{100 * effect.input_share:.1f} %",
            "tokens out": _number(effect.output_tokens),
            "$ / 1k calls": _number(effect.list_usd, scale=1000),
            "of the bill [%]": _number(effect.cost_share, scale=100),
            **{name: _number(gain) for name, gain in effect.metrics.items()},
            "verdict": effect.verdict,
        }
        for effect in effects
    ]


def _number(gain: Gain, scale: float = 1.0) -> str | None:
    """`+0.012 [-0.004, +0.028]`; without an interval where it has none, or no spread."""
    if gain.value is None:
        return None
    scaled = type(gain)(*(None if end is None else scale * end for end in gain))
    shown = f"{scaled.value:+.3g}"
    return shown if scaled.low == scaled.high else f"{shown} {scaled.interval}"


def segment_sections(results: Results, pictures: Sequence[str]) -> Iterator[str]:
    """The part of FINDINGS.md that tells of a prompt's segments."""
    rows = effect_rows(results.prompt_segments)
    if not rows:
        return
    yield "## Prompt segments"
    heads = list(rows[0])
    body = [line([_cell(value) for value in row.values()]) for row in rows]
    yield "\n".join([line(heads), line(["---", *["---:"] * (len(heads) - 2), "---"]), *body])
    yield (
        "What a call has with the segment, less what it has without it: cost includes longer or shorter answers. Cost "
        "and metrics of all segments are one family of intervals; tokens stand alone."
    )
    if "segments.png" in pictures:
        yield picture("segments.png", "What each segment costs, and what it buys")


def _cell(value: object) -> str:
    return "–" if value is None else str(value)
