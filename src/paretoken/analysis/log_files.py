"""Which files make up a log of calls, and where its days begin."""

from __future__ import annotations

import os
from glob import glob, has_magic
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator


HIDDEN = (".", "_")
"""Names that begin so are no data: of what is being written, of copies, of the system."""


def find_parquet(source: str) -> list[str]:
    """The Parquet files that a file's name, a folder or a pattern means, sorted.

    Links are followed, and a file that is reached on several ways is one. Hidden files and folders are left out, if the
    pattern does not ask for them.

    Raises:
        SpecError: There are none, or one is no Parquet file.
    """
    if Path(source).is_dir():
        found = list(_walk(source))
        problem = "has no Parquet files (*.parquet)."
    elif Path(source).exists():
        found, problem = [source], ""
    else:
        asked = {part[:1] for part in Path(source).parts}
        found = [path for path in glob(source, recursive=True) if Path(path).is_file()]
        found = [path for path in found if all(c[:1] not in HIDDEN or c[:1] in asked for c in Path(path).parts)]
        problem = "no file is called so." if has_magic(source) else "there is no such file."
    if not found:
        raise SpecError(problem, file=source)
    files = {os.path.realpath(name): name for name in sorted(found, key=lambda name: (-len(name), name))}
    for name in files.values():
        with Path(name).open("rb") as file:
            if file.read(4) != b"PAR1":
                raise SpecError("is no Parquet file.", file=name)
    return sorted(files.values())


def _walk(source: str) -> Iterator[str]:
    """Parquet files below a folder, each folder once even where links make a loop."""
    seen: set[str] = set()
    for folder, below, names in os.walk(source, followlinks=True):
        real = os.path.realpath(folder)
        below[:] = [] if real in seen else sorted(name for name in below if not name.startswith(HIDDEN))
        names = [] if real in seen else names
        seen.add(real)
        yield from (
            str(Path(folder, name))
            for name in names
            if name.endswith(".parquet") and not name.startswith(HIDDEN) and Path(folder, name).is_file()
        )


def known_zone(name: str) -> str:
    """A time zone by its IANA name.

    Raises:
        SpecError: There is none of this name.
    """
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SpecError(f"unknown time zone {name!r}.", fix="Write an IANA name, e.g. Asia/Shanghai.") from None
