"""Processes that load slow libraries while calls are in flight, and do one task when the run has ended."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import weakref
from typing import IO, TYPE_CHECKING, Any, cast

from paretoken.core.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class AsideEndedError(Exception):
    """The process is gone, and nothing is known of its task."""


class Aside:
    """A Python process of its own; it ends with this object, or with the process that made it.

    Args:
        module: Run as a script, which calls `serve`.
        setup: What the module is to get ready for, JSON.
    """

    def __init__(self, module: str, **setup: object) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - one of our own modules
            [sys.executable, "-P", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the run; a task that is under way comes to its end
        )
        weakref.finalize(self, _end, self._process)
        self._requests, self._answers = cast("IO[bytes]", self._process.stdin), cast("IO[bytes]", self._process.stdout)
        self._tell(setup)

    def begin(self, **task: object) -> None:
        """Hand over the task, JSON; returns at once."""
        self._tell(task)

    def answer(self) -> dict[str, Any]:
        """Wait for what came of the task.

        Raises:
            StoreError: As the task raised it.
            AsideEndedError: The process ended before.
        """
        line = self._answers.readline()
        if not line:
            raise AsideEndedError
        found = cast("dict[str, Any]", json.loads(line))
        if "error" in found:
            raise StoreError(found["error"])
        return found

    def _tell(self, what: Mapping[str, object]) -> None:
        try:
            self._requests.write(json.dumps(what).encode() + b"\n")
            self._requests.flush()
        except BrokenPipeError:  # `answer` says so
            pass


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


def serve(prepare: Callable[..., Callable[..., Mapping[str, object]]]) -> None:
    """Be the other end of an `Aside`.

    Args:
        prepare: Gets the setup; returns the function that gets the task and returns the answer, JSON.
    """
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        gc.disable()  # what is imported stays
        work = prepare(**json.loads(sys.stdin.readline()))
        gc.freeze()
        gc.enable()
        if line := sys.stdin.readline():  # none when the run came to no end
            try:
                answer = work(**json.loads(line))
            except StoreError as error:
                answer = {"error": str(error)}
            answers.write(json.dumps(answer) + "\n")
