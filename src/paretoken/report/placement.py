"""Where names stand in a picture: close to their points, and covering little."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_PLACES = np.array([
    (dx * far, dy * far, right, top)
    for far in (1.0, 1.6, 2.4, 3.6)
    for dx, dy, right, top in (
        (7, 6, 0, 0), (-7, 6, 1, 0), (7, -6, 0, 1), (-7, -6, 1, 1), (9, 0, 0, 0.5), (-9, 0, 1, 0.5), (0, 9, 0.5, 0),
        (0, -9, 0.5, 1),
    )
])  # fmt: skip
"""Where a name may stand: offset from its point [pt], and which part of the name stands there."""


def place(
    sizes: Sequence[NDArray[np.float64]],
    anchors: Sequence[NDArray[np.float64]],
    fixed: NDArray[np.float64],
    room: NDArray[np.float64],
    pixels: float,
) -> list[NDArray[np.float64]]:
    """Lower left corners of names, close to their points and covering little.

    Args:
        sizes: Width and height of each name [px].
        anchors: Each name's point [px].
        fixed: Boxes `(x0, y0, x1, y1)` not to be covered, shape `(n, 4)` [px].
        room: The box to stay in [px].
        pixels: Pixels per point.
    """
    corners = list(anchors)
    placed: dict[int, NDArray[np.float64]] = {}
    for i in [*range(len(sizes))] * 3:  # the later rounds know where all others are
        taken = np.vstack([fixed, *(box for j, box in placed.items() if j != i)])
        corners[i] = _place(sizes[i], anchors[i], taken, room, pixels)
        placed[i] = np.array([*(corners[i] - 2), *(corners[i] + sizes[i] + 2)])
    return corners


def _place(
    size: NDArray[np.float64],
    anchor: NDArray[np.float64],
    taken: NDArray[np.float64],
    room: NDArray[np.float64],
    pixels: float,
) -> NDArray[np.float64]:
    """Lower left corner of a name where it covers least and stays close.

    Args:
        size: Width and height of the name [px].
        anchor: Its point [px].
        taken: Boxes `(x0, y0, x1, y1)` not to be covered, shape `(n, 4)` [px].
        room: The box to stay in [px].
        pixels: Pixels per point.
    """
    corners = anchor + _PLACES[:, :2] * pixels - _PLACES[:, 2:] * size
    boxes = np.hstack([corners, corners + size])
    outside = size.prod() - _overlap(boxes, room[None])
    cost = 3 * outside + _overlap(boxes, taken) + np.abs(_PLACES[:, :2]).sum(axis=1)
    best: NDArray[np.float64] = corners[int(cost.argmin())]
    return best


def _overlap(boxes: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Area that each box shares with all others together, shape `(n_boxes,)`."""
    upper = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    lower = np.maximum(boxes[:, None, :2], others[None, :, :2])
    area: NDArray[np.float64] = np.clip(upper - lower, 0, None).prod(axis=2).sum(axis=1)
    return area
