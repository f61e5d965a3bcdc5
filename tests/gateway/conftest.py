from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from gateway_rig import Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    rigs: list[Rig] = []

    def make(*steps: object, **options: object) -> Rig:
        folder = tmp_path / str(len(rigs))
        rigs.append(Rig(folder, *steps, **options))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.database.close()
