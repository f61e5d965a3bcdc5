"""Tables and prompts as files that MLflow shows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd


def write_table(rows: Sequence[Mapping[str, object]] | pd.DataFrame, path: Path) -> bool:
    """Write a table as MLflow shows one; False, and no file, without rows."""
    import pandas as pd

    frame = rows if isinstance(rows, pd.DataFrame) else pd.DataFrame(rows).convert_dtypes()
    if not frame.empty:
        frame.to_json(path, orient="split", index=False, date_format="iso", force_ascii=False, double_precision=15)
    return not frame.empty


def write_parts(parts: Iterable[pd.DataFrame], path: Path) -> None:
    """Write a table that comes in parts, of the same columns, as `write_table` writes it in one."""
    with path.open("w", encoding="utf-8") as file:
        for i, frame in enumerate(parts):
            head = f'{{"columns":{json.dumps(list(frame), ensure_ascii=False)},"data":['
            file.write("," if i else head)
            rows = frame.to_json(orient="values", date_format="iso", force_ascii=False, double_precision=15)
            file.write(rows.removeprefix("[").removesuffix("]"))
        file.write("]}")


def prompt_file(prompt: str) -> str:
    """The name of a prompt's file."""
    return f"{prompt.replace('/', '_')}.md"
