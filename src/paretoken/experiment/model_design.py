"""A model of an experiment, ready to be called."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, cast

from paretoken.core.params import as_param
from paretoken.experiment.spec import ReplaySpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from paretoken.core.calls import Request
    from paretoken.core.protocols import Provider
    from paretoken.core.usage import Price
    from paretoken.experiment.spec import ModelSpec


@dataclass(frozen=True, slots=True)
class ModelDesign:
    """A model ready to be called: its provider is made, but has not connected or loaded anything.

    Attributes:
        price: The row in force when the design was made.
        price_stated: The spec states it, so it does not change during the run.
    """

    provider: Provider
    price: Price
    price_stated: bool
    entry: ModelSpec | ReplaySpec
    base_url: str = ""

    @property
    def cuts_thinking(self) -> bool:
        """Whether thinking that stands in an answer is kept from scorers."""
        return getattr(self.entry, "think", "keep") == "cut"

    def addressed(self, request: Request) -> Request:
        """A request with the endpoint and the parameters of the model's entry in the spec."""
        own = {name: as_param(value) for name, value in getattr(self.entry, "params", {}).items()}
        temperature = own.pop("temperature", request.temperature)
        params = tuple(sorted({**own, **dict(request.params)}.items()))
        return replace(request, base_url=self.base_url, temperature=float(cast("float", temperature)), params=params)

    def body(self, folder: Path) -> dict[str, Any]:
        """As the lock has it; of recorded answers with the hash of their file, for other answers are another run.

        Args:
            folder: What the file's path is relative to.
        """
        known = {"price": _price_body(self.price), "recorded": self.provider.recorded, "base_url": self.base_url}
        if params := getattr(self.entry, "params", None):
            known["params"] = params
        if self.cuts_thinking:
            known["think"] = "cut"
        if isinstance(self.entry, ReplaySpec):
            file = folder / self.entry.replay
            known["recording"] = _file_hash(file, file.stat().st_mtime_ns)
        return known


def model_bodies(models: Mapping[str, ModelDesign], spec: Path) -> dict[str, Any]:
    """Models as the lock lists them, by id; paths are relative to the spec's folder."""
    return {id_: model.body(spec.resolve().parent) for id_, model in models.items()}


@cache
def _file_hash(file: Path, changed_ns: int) -> str:
    """Of a file as it was last changed."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16]


def _price_body(price: Price) -> dict[str, Any]:
    """A price row without its zero meters, amounts as text."""
    return {name: value for name, value in _plain(asdict(price)).items() if value not in (None, "", "0", [])}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(v) for name, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, int) else str(value)
