"""Caps above a single run, in `.paretoken/budgets.yaml`: per experiment, tag, and for the whole project folder.

```yaml
timezone: Asia/Shanghai
caps:
  - {scope: all, usd: "200.00", window: month}
  - {scope: "experiment:product-copy", usd: "3.00", window: day}
  - {scope: "department:content", usd: "50.00", window: week}
```
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import ValidationError

from paretoken.core.registry import suggest
from paretoken.experiment.source import Source
from paretoken.experiment.spec import Strict, Usd, complaint
from paretoken.gateway.scopes import Cap, Window
from paretoken.records import database_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE_NAME = "budgets.yaml"
EVERYTHING = "all"


class CapSpec(Strict):
    """One cap."""

    scope: str
    usd: Usd
    window: Window | None = None


class BudgetsSpec(Strict):
    """The file.

    Attributes:
        timezone: Where days begin, an IANA name.
        on_unknown_scope: What happens to an experiment whose tag has caps, but none for its value.
    """

    caps: list[CapSpec]
    timezone: str = "UTC"
    on_unknown_scope: Literal["refuse", "open"] = "refuse"


def load_caps(root: Path, experiment: str, tags: Mapping[str, str]) -> tuple[Cap, ...]:
    """The caps an experiment draws on, outermost last; none without the file.

    Raises:
        SpecError: The file cannot be used, or refuses the experiment's tags.
    """
    path = database_path(root).with_name(FILE_NAME)
    if not path.is_file():
        return ()
    source = Source(path)
    try:
        spec = BudgetsSpec.model_validate(source.data)
    except ValidationError as error:
        raise complaint(source, error) from error
    try:
        zone = ZoneInfo(spec.timezone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise source.error(f"unknown time zone {spec.timezone!r}.", "timezone", fix="Write an IANA name, e.g. "
                           "Europe/Berlin.") from error  # fmt: skip
    for i, cap in enumerate(spec.caps):
        kind, _, value = cap.scope.partition(":")
        if cap.scope != EVERYTHING and not (kind and value and kind != "run"):
            raise source.error(f"{cap.scope!r} is no scope.", "caps", i, "scope",
                               fix=f"Write {EVERYTHING}, experiment:<name> or <tag>:<value>.")  # fmt: skip
    mine = [f"experiment:{experiment}", *(f"{tag}:{value}" for tag, value in tags.items()), EVERYTHING]
    if spec.on_unknown_scope == "refuse":
        for tag, value in tags.items():
            listed = [cap.scope for cap in spec.caps if cap.scope.startswith(f"{tag}:")]
            if listed and f"{tag}:{value}" not in listed:
                fix = f"{suggest(f'{tag}:{value}', listed)} Or write on_unknown_scope: open."
                raise source.error(f"no cap is set for {tag}:{value}.", "caps", fix=fix)
    return tuple(Cap(cap.scope, cap.usd, cap.window, zone) for scope in mine for cap in spec.caps if cap.scope == scope)
