"""Many bets at once: wealths that grow where a mean exceeds a bound, sampled without replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from paretoken.analysis.sequences import DESIGN_EFFECT, SPREAD

if TYPE_CHECKING:
    from numpy.typing import NDArray

N_BETS = 9
AT_STAKE = 0.96
"""Largest share of a wealth that one sample can take."""
ROUNDING = 1e-9
"""What sums may be off by, relative to the spread."""
_GRID = np.linspace(-2.4, 2.4, N_BETS)
_LOG_PRIOR = np.log(np.exp(-0.5 * _GRID**2) / np.exp(-0.5 * _GRID**2).sum())


class Wealths:
    """Wealths of bets, each a mixture over effects; `best` is the logarithm of the largest that each has ever been.

    Args:
        n_dims: 1 for one wealth a variant, 2 for one a pair; there are none before `grow`.
        total: Samples of the population, for which the effects are chosen.

    Source: Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", JRSS-B 86,
    section 4.3 for mixtures over predictable bets and section 5 for sampling without replacement.
    """

    def __init__(self, n_dims: int, total: int) -> None:
        self._effects = DESIGN_EFFECT / max(total / 8, 1.0) ** 0.5 * np.exp(SPREAD * _GRID)
        self._log = np.empty((*(0,) * n_dims, N_BETS))
        self.best = np.zeros((0,) * n_dims)

    def grow(self, n: int) -> None:
        """Make room for n variants."""
        old, self._log = self._log, np.broadcast_to(_LOG_PRIOR, (*(n,) * self.best.ndim, N_BETS)).copy()
        self._log[tuple(slice(size) for size in old.shape)] = old
        self.best = padded(self.best, n)

    def restart(self, chosen: Any) -> None:
        """Forget what was won.

        Args:
            chosen: An index into the wealths.
        """
        self._log[chosen] = _LOG_PRIOR
        self.best[chosen] = 0.0

    def bet(
        self,
        chosen: Any,
        gain: NDArray[np.float64],
        room: NDArray[np.float64],
        spread: NDArray[np.float64],
        on: NDArray[np.bool_],
    ) -> NDArray[np.float64]:
        """Bet on gains whose expected value is not positive if the bound holds.

        Args:
            chosen: An index of m wealths.
            gain: What samples bring, one after the other, shape `(n, m)`.
            room: The most that each could have cost; where that is negative, the bound is refuted.
            spread: Standard deviation of the gain, from the samples before.
            on: Which of the bets are made.

        Returns:
            `best` as it was before each sample, shape `(n, m)`.
        """
        with np.errstate(divide="ignore"):
            stakes = np.minimum(self._effects / spread[..., None], (AT_STAKE / np.maximum(room, 1e-12))[..., None])
        log = np.log1p(np.where(on[..., None], stakes * gain[..., None], 0.0))
        log[0] += self._log[chosen]
        np.cumsum(log, axis=0, out=log)
        self._log[chosen] = log[-1]
        peak = log.max(axis=-1)
        mixed = peak + np.log(np.exp(log - peak[..., None]).sum(axis=-1))
        won = np.where(on, np.where(room < -ROUNDING * spread, np.inf, mixed), 0.0)
        best = np.maximum.accumulate(np.concatenate([self.best[chosen][None], won]))
        self.best[chosen] = best[-1]
        return best[:-1]


def padded(array: NDArray[Any], n: int) -> NDArray[Any]:
    """An array over variants with room for n of them in every dimension."""
    larger = np.zeros((n,) * array.ndim, array.dtype)
    larger[tuple(slice(size) for size in array.shape)] = array
    return larger
