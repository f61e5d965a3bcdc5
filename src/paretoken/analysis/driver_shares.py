"""What drives a number of a run's calls: shares, effects, crossings and waterfalls, and the words for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from paretoken.analysis.features import Kind

TARGETS = {"list_usd": "USD", "output_tokens": "tokens", "latency_s": "s"}
"""What can be explained, beside the metrics, and its unit per call."""
LEAST_R2 = 0.3
MOST_RIVALS = 3


class Share(NamedTuple):
    """One driver.

    Attributes:
        driver: A feature.
        kind: Whether it is a choice or came with the input.
        effect: Mean absolute SHAP value [target's unit per call].
        share: Of the sum over all drivers, with a 95 % interval.
    """

    driver: str
    kind: Kind
    effect: float
    share: float
    low: float
    high: float


class Effect(NamedTuple):
    """What one level of a choice adds to the cost of a call.

    Attributes:
        driver, level: The choice.
        n: Calls.
        effect: Mean SHAP value against the mean of all calls [target's unit per call].
        low, high: Of its 95 % interval; None where too few calls of this level were explained.
    """

    driver: str
    level: str
    n: int
    effect: float
    low: float | None
    high: float | None


class Crossing(NamedTuple):
    """How much two drivers do together that neither does alone, mean absolute [target's unit per call]."""

    first: str
    second: str
    effect: float


class Step(NamedTuple):
    """One step of a waterfall: a name, the value it has in this call, and what that adds [target's unit]."""

    name: str
    value: str
    effect: float


class Spikes(NamedTuple):
    """Calls that were left out because they alone hide what drives the others.

    Attributes:
        n: How many.
        value: The target of the dearest [target's unit].
        times: That over the mean of the others.
        r2: Out-of-fold R² with them.
        sample, label: The dearest call; empty where calls have no names.
    """

    n: int
    value: float
    times: float
    r2: float
    sample: str = ""
    label: str = ""

    def words(self, target: str) -> str:
        """What was left out, and what that does."""
        who = f" ({self.label} on sample {self.sample})" if self.label else ""
        return (f"{self.n} calls are left out, one of which has a {target} of {self.value:.3g}{who}, "
                f"{self.times:.0f} times the mean of the others: with them R² is {self.r2:.2f}")  # fmt: skip


@dataclass(frozen=True, repr=False)
class Drivers:
    """What drives a number of the calls of a run.

    Attributes:
        title: What is explained, of which run.
        target, unit: The number, and its unit.
        wanted: Whether less of it is better, or more.
        r2: Out-of-fold R² of the surrogate, with a 95 % interval: how much of the differences can be explained at all.
        n, n_groups: Calls, and samples or clusters.
        grouped_by: `samples` or `clusters`.
        notes: What else is to be known, one sentence each.
        mean: Mean of the target over all calls.
        base: Mean prediction of the explained calls, which SHAP values start from.
        frame: Features of the explained calls, shape `(n_explained, n_features)`.
        kinds: By feature.
        values: SHAP values, shape `(n_explained, n_features)` [target's unit per call].
        actual: The target of the explained calls, shape `(n_explained,)`.
        names: Sample, label and repeat of the explained calls.
        shares: Drivers, largest first; none where the surrogate explains less than `LEAST_R2`.
        effects: Levels of choices.
        crossings: Pairs of drivers, largest first.
        spikes: Calls that were left out, if there are any.
    """

    title: str
    target: str
    unit: str
    r2: tuple[float, float, float]
    n: int
    n_groups: int
    notes: tuple[str, ...]
    mean: float
    base: float
    frame: pd.DataFrame
    kinds: dict[str, Kind]
    values: NDArray[np.float64]
    actual: NDArray[np.float64]
    names: tuple[tuple[str, str, int], ...] = ()
    shares: tuple[Share, ...] = ()
    effects: tuple[Effect, ...] = ()
    crossings: tuple[Crossing, ...] = ()
    spikes: Spikes | None = None
    wanted: Literal["less", "more"] = "less"
    grouped_by: str = "samples"

    @property
    def explained(self) -> bool:
        """Whether the surrogate says enough to be explained."""
        return bool(self.shares)

    @cached_property
    def sentences(self) -> list[str]:
        """What is to be said, the answer first."""
        found, low, high = self.r2
        calls = f"{self.n:,} calls of {self.n_groups:,} {self.grouped_by}"
        fit = f"out-of-fold R² {found:.2f} [{low:.2f}, {high:.2f}] on {calls}"
        notes = [*self.notes, *([] if self.spikes is None else [self.spikes.words(self.target)])]
        if not self.explained:
            return [f"nothing of {self.target} can be explained: choices and inputs predict too little of it on unseen "
                    f"{self.grouped_by} ({fit}, and it takes {LEAST_R2})", *notes]  # fmt: skip
        first = self.shares[0]
        told = [f"{first.driver} drives {first.share:.0%} [{first.low:.0%}, {first.high:.0%}] of the differences in "
                f"{self.target}: {fit}"]  # fmt: skip
        if (best := self.saver) is not None:
            near = [rival.level for rival in self.rivals]
            more = f" and {len(near) - MOST_RIVALS} more" if len(near) > MOST_RIVALS else ""
            as_well = f"; {', '.join(near[:MOST_RIVALS])}{more} may do as well" if near else ""
            told.append(f"{best.driver} {best.level} would {self._change_word} most: {self.amount(best.effect)} a call "
                        f"against the mean of those tried ({best.effect / self.mean:+.0%}){as_well}")  # fmt: skip
        return [*told, *notes]

    @property
    def saver(self) -> Effect | None:
        """Of the levels with an interval the one that is furthest on the better side of the mean."""
        sign = 1 if self.wanted == "less" else -1
        known = [effect for effect in self.effects if effect.low is not None]
        best = min(known, key=lambda effect: sign * effect.effect, default=None)
        return best if best is not None and sign * best.effect < 0 else None

    @property
    def rivals(self) -> list[Effect]:
        """Levels that may be as good as the one that is furthest: their intervals overlap with its."""
        best = self.saver
        if best is None or best.low is None or best.high is None:
            return []
        others = [e for e in self.effects if e.driver == best.driver and e != best]
        return [
            e for e in others if e.low is not None and e.high is not None and e.low <= best.high and best.low <= e.high
        ]

    @property
    def _change_word(self) -> str:
        return "save" if self.target in TARGETS else "gain" if self.wanted == "more" else "lower it"

    def amount(self, value: float) -> str:
        """A number of the target with its sign and unit."""
        return f"{value:+.3g} {self.unit}".strip()

    def by(self, driver: str) -> pd.DataFrame:
        """Shares of mean absolute SHAP within each level of a driver, one column a level.

        Raises:
            SpecError: There is no such driver.
        """
        import pandas as pd

        if driver not in self.frame:
            raise SpecError(f"{driver!r} drives nothing here.", fix=suggest(driver, [str(c) for c in self.frame]))
        levels = self.frame[driver].map(shown)
        columns = {}
        for level in sorted(set(levels)):
            sizes = np.abs(self.values[(levels == level).to_numpy()]).mean(axis=0)
            columns[level] = sizes / sizes.sum() if sizes.sum() else sizes
        return pd.DataFrame(columns, index=pd.Index([str(c) for c in self.frame], name="driver"))

    def waterfall(self, sample: str, label: str | None = None) -> list[Step]:
        """From the mean call to one call: its drivers, largest first, and what the surrogate does not know of it.

        Raises:
            SpecError: This call was not explained.
        """
        found = [i for i, (s, v, _) in enumerate(self.names) if s == sample and label in (None, v)]
        if not found:
            known = list(dict.fromkeys(s for s, v, _ in self.names if label in (None, v)))
            raise SpecError(f"no explained call of {self.title} has sample {sample!r}"
                            + (f" and variant {label!r}." if label else "."), fix=suggest(sample, known))  # fmt: skip
        i = found[0]
        order = np.argsort(-np.abs(self.values[i]), kind="stable")
        steps = [Step("mean call", "", self.base)]
        for column in order:
            name = str(self.frame.columns[column])
            steps.append(Step(name, shown(self.frame.iloc[i, column]), float(self.values[i, column])))
        rest = float(self.actual[i]) - self.base - float(self.values[i].sum())
        return [*steps, Step("not explained", "", rest), Step("this call", self.names[i][1], float(self.actual[i]))]

    def table(self) -> pd.DataFrame:
        """Drivers with their shares, one row each."""
        import pandas as pd

        return pd.DataFrame(self.shares, columns=list(Share._fields)).set_index("driver")

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        said = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        return said + (self.table().to_html(float_format=lambda x: f"{x:.3g}") if self.explained else "")


def shown(value: object) -> str:
    """A feature's value in words."""
    if isinstance(value, (float, np.floating)):
        return "(none)" if np.isnan(value) else f"{value:g}"
    return str(value)
