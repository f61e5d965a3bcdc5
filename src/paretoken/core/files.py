"""Text files as they come: UTF-8, or what their byte order mark says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from paretoken.core.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path

_MARKS = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
    (b"", "utf-8-sig"),
)
"""Byte order marks, and the encoding that each stands for."""


def read_text(path: Path, *, keep_line_ends: bool = False) -> str:
    """A whole text file, without its byte order mark, and with line feeds as line ends if these are not kept.

    Raises:
        SpecError: It is neither UTF-8 nor marked as UTF-16 or UTF-32; the line is named.
    """
    data = path.read_bytes()
    encoding = next(encoding for mark, encoding in _MARKS if data.startswith(mark))
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        name = "UTF-8" if encoding == "utf-8-sig" else encoding.upper()
        before = data[: error.start]
        line = len(re.findall(rb"\r\n?|\n", before)) + 1 if name == "UTF-8" else None
        raise SpecError(f"this is not {name} text.", fix="Save the file as UTF-8.", file=path, line=line) from error
    return text if keep_line_ends else re.sub("\r\n?", "\n", text)
