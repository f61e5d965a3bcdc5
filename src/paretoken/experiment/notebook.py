"""Where a notebook differs: its event loop is running already, and progress is shown by its own means."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import time
from concurrent.futures import Future
from html import escape
from importlib import import_module
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from paretoken.experiment.runner import Progress

T = TypeVar("T")
SHOWN_S = 0.2
"""How often a bar is drawn anew [s]."""


def complete(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end: here, or on a thread of its own where an event loop is running here already.

    Raises:
        KeyboardInterrupt: The user stopped it; by then it has been cancelled and has cleaned up.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    started: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []
    stopped = Event()

    async def main() -> T:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in a task
        started.append((asyncio.get_running_loop(), task))
        if stopped.is_set():
            task.cancel()
        return await coroutine

    result: Future[T] = Future()

    def work() -> None:
        try:
            result.set_result(asyncio.run(main()))
        except BaseException as error:
            result.set_exception(error)

    thread = Thread(target=contextvars.copy_context().run, args=(work,), name="paretoken")
    try:
        thread.start()
        return result.result()
    except KeyboardInterrupt:
        stopped.set()
        for loop, task in started:
            loop.call_soon_threadsafe(task.cancel)
        raise
    finally:
        thread.join()


def notebook_bar() -> Callable[[Progress], None] | None:
    """A progress bar below the running cell; None outside of notebooks."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    if shell is None or not hasattr(shell, "kernel"):
        return None
    shown: Any = import_module("IPython.display")
    handle = shown.display(shown.HTML("<progress></progress>"), display_id=True)
    shown_s = 0.0

    def update(progress: Progress) -> None:
        nonlocal shown_s
        now_s = time.monotonic()
        if now_s - shown_s >= SHOWN_S or progress.done >= progress.total or progress.waiting:
            shown_s = now_s
            handle.update(shown.HTML(bar_html(progress)))

    return update


def bar_html(progress: Progress) -> str:
    """A bar, and beside it calls, money and what is waited for."""
    limit = "" if progress.limit_usd is None else f" of ${progress.limit_usd:f}"
    said = [f"{progress.done} of {progress.total} calls", f"${progress.spent_usd:.6f}{limit}"]
    said += [f"{progress.failed} failed"] if progress.failed else []
    said += [progress.waiting] if progress.waiting else []
    words = escape(" \N{MIDDLE DOT} ".join(said))
    return f'<progress value="{progress.done}" max="{max(progress.total, 1)}"></progress> {words}'
