"""Models in this process: GGUF files run by llama.cpp, with continuous batching and the engine's own token counts."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import secrets
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from importlib.metadata import version
from pathlib import Path
from threading import Event, Lock
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from paretoken.core.errors import ProviderError, Refused, SpecError, Unavailable
from paretoken.core.registry import suggest
from paretoken.models.busy import BusyTime
from paretoken.models.chat_format import has_text, join_chunks, read_reply, write_body
from paretoken.models.failures import read_error
from paretoken.models.options import read_options
from paretoken.models.weights import BUNDLES, ensure_weights, hub_weights

if TYPE_CHECKING:
    from collections.abc import Callable

    from paretoken.core.calls import Request, Response
    from paretoken.core.errors import Billing
    from paretoken.core.protocols import Clock, Provider, ProviderConfig


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """Options of a local model.

    Attributes:
        slots: How many answers are generated at once.
        threads: Threads of the engine; None takes all cores.
        deterministic: One slot and no prompt cache, so that an answer never depends on what else is in the engine.
        context_tokens: Prompt and answer of one request together have room for this many tokens.
    """

    slots: int = 4
    threads: int | None = None
    deterministic: bool = False
    context_tokens: int = 2048


class LocalChat:
    """One GGUF file, loaded at the first request and kept until `aclose`.

    Each slot is one thread that waits for the engine, so a request's latency starts when it has a slot. A cancelled
    request leaves the engine at its next token and frees its slot then.
    """

    recorded = False

    def __init__(self, config: ProviderConfig, clock: Clock, find: Callable[[], Path]) -> None:
        options = read_options(config, LocalOptions)
        for name in ("slots", "threads", "context_tokens"):
            value = getattr(options, name)
            if value is not None and value < 1:
                raise SpecError(f"{value} is not positive.", fix=f"Give 1 or more at {config.id}.", field=name)
        self._options, self._id, self._clock, self._find = options, config.id, clock, find
        self.slots = 1 if options.deterministic else options.slots
        self._busy = BusyTime(clock.monotonic)
        self._workers = ThreadPoolExecutor(self.slots, thread_name_prefix="paretoken-local")
        self._closing = Event()
        self._loading = Lock()
        self._engine: Any = None
        self._served = ""
        self._secret = secrets.token_hex(16)

    async def generate(self, request: Request) -> Response:
        """Answer in this process.

        Raises:
            Refused: The request does not fit the context or is not one for this model.
        """
        body = self._body(request)
        if self._engine is None or self._closing.is_set():
            await asyncio.to_thread(self._load)
        stop = Event()
        try:
            self._refuse_stopped(stop, "none")
            return await asyncio.get_running_loop().run_in_executor(
                self._workers, partial(self._generate, request, body, stop)
            )
        finally:
            stop.set()

    async def count_tokens(self, request: Request) -> int:
        """Prompt tokens by the model's own chat template and tokeniser."""
        return await asyncio.to_thread(self._count, self._body(request))

    async def aclose(self) -> None:
        """Stop what is running and free the model's memory."""
        self._closing.set()
        await asyncio.to_thread(self._workers.shutdown)
        with self._loading:
            self._engine = None

    def _body(self, request: Request) -> dict[str, Any]:
        if any(message.images for message in request.messages):
            raise Refused(f"{self._id} reads text only; the request has images")
        return {**write_body(request), "cache_prompt": not self._options.deterministic}

    def _load(self) -> Any:
        with self._loading:
            if self._closing.is_set():
                raise Unavailable(f"{self._id} was closed", billing="none")
            if self._engine is None:
                self._engine = self._start(self._find())
            return self._engine

    def _start(self, file: Path) -> Any:
        # OpenMP's waiting threads spin 300,000 rounds by default: on a busy machine answers then take three times as
        # long. Sleeping at once costs a third on an idle one.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        import xllamacpp

        self._served = f"{file.name} xllamacpp {version('xllamacpp')}"
        params = xllamacpp.CommonParams()
        params.verbosity = -1
        params.model.path = str(file)
        params.n_parallel = self.slots
        params.n_ctx = self.slots * self._options.context_tokens
        threads = self._options.threads or _cores()
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.cache_ram_mib = 0
        params.ui = params.endpoint_slots = False
        params.n_threads_http = 2
        params.api_keys = [self._secret]
        try:
            return xllamacpp.Server(params)
        except RuntimeError as error:
            raise SpecError(
                f"llama.cpp cannot load {file}.",
                fix="Check that it is a whole GGUF file of a kind this version knows, and that memory suffices.",
                field="id",
            ) from error

    def _generate(self, request: Request, body: dict[str, Any], stop: Event) -> Response:
        """Runs in a slot's thread, which it holds until the engine has let go of the request."""
        chunks: list[Any] = []
        ttft_s: float | None = None
        self._refuse_stopped(stop, "none")
        started_s = self._clock.monotonic()

        def take(chunk: Any) -> bool:
            nonlocal ttft_s
            if ttft_s is None and has_text(chunk):
                ttft_s = self._clock.monotonic() - started_s
            chunks.append(chunk)
            return stop.is_set() or self._closing.is_set()

        whole: Any = None
        ticket = self._busy.enter()
        try:
            if request.tools is None:
                self._engine.handle_chat_completions(
                    {**body, "stream": True, "stream_options": {"include_usage": True}}, take
                )
            else:
                whole = self._engine.handle_chat_completions(body)
        except (ValueError, RuntimeError) as error:
            raise Refused(f"{self._id}: {error}") from error
        finally:
            share_s = self._busy.leave(ticket)
        latency_s = self._clock.monotonic() - started_s
        if whole is None:
            self._refuse_stopped(stop, "unknown")
        return self._read(request, join_chunks(chunks) if whole is None else whole, latency_s, ttft_s, share_s)

    def _refuse_stopped(self, stop: Event, billing: Billing) -> None:
        if stop.is_set() or self._closing.is_set():
            raise Unavailable(f"{self._id} was stopped", billing=billing)

    def _read(self, request: Request, whole: Any, latency_s: float, ttft_s: float | None, share_s: float) -> Response:
        if "error" in whole:
            raise Refused(f"{self._id}: {read_error(whole)} (the option `context_tokens` sets the context size)")
        try:
            answer = read_reply(whole, request, latency_s=latency_s, ttft_s=ttft_s)
        except ProviderError as error:
            error.args = (f"{self._id}: {error}",)
            raise
        usage = replace(answer.usage, compute_s=Decimal(f"{share_s:.9f}"))
        if answer.finish_reason == "length" and usage.output_tokens < request.max_tokens:
            raise Refused(
                f"{self._id}: {usage.input_tokens} prompt tokens leave no room for {request.max_tokens} more in a "
                f"context of {self._options.context_tokens}: raise the option `context_tokens` or lower max_tokens",
                billing="known",
                usage=usage,
            )
        return replace(answer, usage=usage, model_version=self._served)

    def _count(self, body: dict[str, Any]) -> int:
        engine = self._load()
        prompt = self._ask(engine, "/apply-template", body)["prompt"]
        return len(self._ask(engine, "/tokenize", {"content": prompt, "add_special": True})["tokens"])

    def _ask(self, engine: Any, path: str, body: dict[str, Any]) -> Any:
        """The engine's own loopback endpoint, for what it offers nowhere else."""
        address = urlsplit(engine.listening_address)
        connection = http.client.HTTPConnection(address.hostname or "127.0.0.1", address.port, timeout=60)
        try:
            headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self._secret}"}
            connection.request("POST", path, json.dumps(body), headers)
            reply = connection.getresponse()
            answer = json.loads(reply.read())
        finally:
            connection.close()
        if reply.status != 200:
            raise Refused(f"{self._id}: {read_error(answer)}")
        return answer


def _cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make(config: ProviderConfig, clock: Clock) -> Provider:
    """Make a local model from a bundled name, the path of a .gguf file, or `hf:owner/repository/file.gguf`.

    Raises:
        SpecError: The name is unknown or the file is missing.
    """
    name = config.name
    if name in BUNDLES:
        find = partial(ensure_weights, name)
    elif name.startswith("hf:"):
        find = partial(hub_weights, name.removeprefix("hf:"))
    elif name.endswith(".gguf"):
        path = (config.root / name).resolve()
        if not path.is_file():
            raise SpecError(f"there is no file {path}.", fix="Correct the path after `local/`.", field="id")
        find = partial(Path, path)
    else:
        fix = f"{suggest(name, BUNDLES)} Or write local/./path/model.gguf or local/hf:owner/repository/file.gguf."
        raise SpecError(f"unknown local model {name!r}.", fix=fix, field="id")
    return LocalChat(config, clock, find)
