"""Which files make up a log of calls, and where its days begin."""

from __future__ import annotations

from glob import glob, has_magic
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from paretoken.core.errors import SpecError


def find_parquet(source: str) -> list[str]:
    """The Parquet files that a file's name, a folder or a pattern means, sorted.

    Raises:
        SpecError: There are none, or one is no Parquet file.
    """
    if Path(source).is_dir():
        found = [str(path) for path in Path(source).rglob("*.parquet")]
        problem = "has no Parquet files (*.parquet)."
    elif Path(source).exists():
        found, problem = [source], ""
    else:
        found = [path for path in glob(source, recursive=True) if Path(path).is_file()]
        problem = "no file is called so." if has_magic(source) else "there is no such file."
    if not found:
        raise SpecError(problem, file=source)
    for name in found:
        with Path(name).open("rb") as file:
            if file.read(4) != b"PAR1":
                raise SpecError("is no Parquet file.", file=name)
    return sorted(found)


def known_zone(name: str) -> str:
    """A time zone by its IANA name.

    Raises:
        SpecError: There is none of this name.
    """
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SpecError(f"unknown time zone {name!r}.", fix="Write an IANA name, e.g. Asia/Shanghai.") from None
