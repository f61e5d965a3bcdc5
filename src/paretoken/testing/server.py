"""A deterministic chat-completions endpoint that counts what it was asked and paid, and fails on cue.

`python -m paretoken.testing.server --port 8899 --latency 0.05` serves on loopback and prints `ready 8899`. `GET /stats`
gives the counters, `POST /reset` clears them, `POST /config` sets fields of `Behaviour` and clears them too.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Self

from paretoken.testing.connection import Connection
from paretoken.testing.endpoint import Behaviour, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Behaviour", "MockServer"]


class MockServer(Endpoint):
    """The endpoint on a loopback port; `async with MockServer() as server` serves it at `server.url`.

    Args:
        behaviour: How it answers.
        port: 0 takes a free one.
    """

    def __init__(self, behaviour: Behaviour | None = None, port: int = 0) -> None:
        super().__init__(behaviour or Behaviour())
        self.port = port
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.BaseTransport] = set()

    @property
    def url(self) -> str:
        """Base URL, with `/v1`."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: Connection(self, self._connections), "127.0.0.1", self.port, backlog=4096
        )
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        for connection in list(self._connections):
            connection.close()


async def _serve(server: MockServer, ready: Callable[[int], None]) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with server:
        ready(server.port)
        await stop.wait()


def main(arguments: list[str] | None = None) -> None:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m paretoken.testing.server", description=main.__doc__)
    parser.add_argument("--port", type=int, default=8899, help="0 takes a free one")
    for name, value in asdict(Behaviour()).items():
        kind = (lambda text: text == "1") if isinstance(value, bool) else type(value)
        parser.add_argument(f"--{name.replace('_', '-')}", type=kind, default=value)
    options = vars(parser.parse_args(arguments))
    port = options.pop("port")

    def ready(taken: int) -> None:
        print("ready", taken, flush=True)

    asyncio.run(_serve(MockServer(Behaviour(**options), port), ready))


if __name__ == "__main__":
    main(sys.argv[1:])
