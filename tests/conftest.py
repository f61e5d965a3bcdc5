"""Fixtures for every room: no network but loopback, and a small experiment to work on."""

from __future__ import annotations

import ipaddress
import json
import socket
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # how long an example takes says something of the machine alone
settings.load_profile("untimed")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SPEC = """\
experiment: copy
question: Is the terse prompt cheaper?
seed: 7
dataset: {path: data.jsonl, fields: {reference: copy}, language: en}
prompts: [prompts/long.md, prompts/terse.md]
models:
  - id: echo/a
    price: {input_per_mtok: "1.00", output_per_mtok: "4.00"}
space:
  temperature: 0.0
  max_tokens: 24
scorers:
  - contains: free
  - max_chars: 90
minimize: [list_usd]
maximize: [contains]
plan:
  abtest:
    control: long
    treatment: [terse]
budget: {usd: "1.00"}
"""
LONG = """\
---
name: long
---
# system
You write product copy that people like to read.
# user
Please describe the product {{ product }} with care.
These are its features: {{ features }}.
"""
TERSE = """\
# user
Sell {{ product }}: {{ features }}
"""
PRODUCTS = ("kettle", "lamp", "chair", "desk", "mug", "pen", "clock", "scarf", "tent", "bike", "drum", "kite")


@pytest.fixture(autouse=True, scope="session")
def _no_network() -> Iterator[None]:
    """Refuse every connection that leaves this machine."""

    def guarded(name: str) -> Callable[..., object]:
        real = getattr(socket.socket, name)

        def connect(self: socket.socket, address: object) -> object:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(address):
                raise ConnectionRefusedError(f"tests may not connect to {address!r}")
            return real(self, address)

        return connect

    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, guarded(name))
        yield


def _is_loopback(address: object) -> bool:
    host = address[0] if isinstance(address, tuple) else address
    try:
        return host == "localhost" or ipaddress.ip_address(str(host)).is_loopback
    except ValueError:
        return False


@pytest.fixture
def fresh_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty user cache: nothing was fetched yet."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder


@dataclass
class Lab:
    """An experiment of two prompts on an echo, in a folder of a project of its own."""

    root: Path
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder = self.root / "lab"
        rows = [
            {"id": f"s{i}", "product": name, "features": f"small, {'free' if i % 3 else 'new'}, number {i}",
             "copy": f"A small {name}, made with care."}
            for i, name in enumerate(PRODUCTS)
        ]  # fmt: skip
        self.write("spec.yaml", SPEC)
        self.write("prompts/long.md", LONG)
        self.write("prompts/terse.md", TERSE)
        self.write("data.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def edit(self, old: str, new: str, name: str = "spec.yaml") -> None:
        text = (self.folder / name).read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        self.write(name, text.replace(old, new))

    def line(self, part: str, name: str = "spec.yaml") -> int:
        """Line of the only place where a text stands, counted from 1."""
        (found,) = (i for i, line in enumerate((self.folder / name).read_text().splitlines(), 1) if part in line)
        return found

    def files(self) -> dict[str, bytes]:
        """Every file below the project's root, with its content."""
        return {str(path.relative_to(self.root)): path.read_bytes() for path in self.root.rglob("*") if path.is_file()}

    def answered(self) -> list[str]:
        """Request keys of the attempts that were answered, in the records as they are."""
        if not self.database.is_file():
            return []
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True, timeout=10)
        try:
            rows = connection.execute("SELECT body FROM entries WHERE kind = 'attempt'").fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            connection.close()
        return [body["key"] for body in (json.loads(row[0]) for row in rows) if body["outcome"] == "ok"]

    @property
    def database(self) -> Path:
        return self.root / ".paretoken" / "paretoken.db"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    (tmp_path / "pyproject.toml").touch()
    monkeypatch.chdir(tmp_path)
    return Lab(tmp_path)
