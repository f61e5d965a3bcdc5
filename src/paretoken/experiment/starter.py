"""The spec that `paretoken init` writes: small, complete, and it runs."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from paretoken.core.errors import SpecError


def write_starter(folder: Path) -> list[Path]:
    """Copy the starter experiment into a folder.

    Args:
        folder: An empty or new folder.

    Returns:
        The files written.

    Raises:
        SpecError: The folder is not empty; nothing was written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(
            "this is not an empty folder.", fix="Name a new one: `paretoken init my-experiment`.", file=folder
        )
    written = []
    with as_file(files("paretoken.experiment") / "starter") as source:
        for file in sorted(path for path in source.rglob("*") if path.suffix in (".yaml", ".md", ".jsonl")):
            target = folder / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(file).read_bytes())
            written.append(target)
    return written
