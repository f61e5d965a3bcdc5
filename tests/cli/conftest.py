from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from paretoken.cli.app import run_command

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Said:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """The command line, in this process, on a screen that is wide enough for everything."""
    monkeypatch.setenv("COLUMNS", "2000")

    def call(*arguments: object) -> Said:
        capsys.readouterr()
        code = run_command([str(argument) for argument in arguments])
        return Said(code, *capsys.readouterr())

    return call
