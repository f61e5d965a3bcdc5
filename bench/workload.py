"""The workload of the call path: 2 prompts x 2 models x 500 samples against the test server, and how it is measured."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PROMPTS = {
    "plain": "Is this review positive or negative? Answer with one word first.\n\n{{ input }}",
    "careful": "Weigh what the review praises against what it blames, then give the label positive or negative.\n\n"
    "Review: {{ input }}\nLabel:",
}
MODELS = ("model-a", "model-b")
MAX_TOKENS = 64
N_SAMPLES = 500
N_CALLS = N_SAMPLES * len(PROMPTS) * len(MODELS)
WORDS = ("handle", "lid", "spout", "base", "switch", "cord", "colour", "weight", "noise", "steam")
ROOT = Path(__file__).parent


def sample(i: int) -> dict[str, str]:
    """A made-up review."""
    said = " ".join(f"The {WORDS[(i * k + k) % 10]} is {'fine' if (i + k) % 3 else 'poor'}." for k in range(1, 9))
    return {"id": f"s{i:05d}", "input": f"[{i:05d}] {said}", "label": "positive" if i % 4 else "negative"}


def write_spec(
    folder: Path,
    base_url: str,
    *,
    n: int = N_SAMPLES,
    concurrency: int = 64,
    budget_usd: str | None = "100",
    cache: bool = True,
    mlflow: bool = False,
    rpm: int | None = None,
) -> None:
    """Write the experiment into a project folder of its own.

    Args:
        folder: Where to; emptied first.
        base_url: The server, with `/v1`.
        n: Samples; calls are four times as many.
        concurrency: Calls at once.
        budget_usd: The cap [USD]; None is none.
        cache: Whether equal calls are served from earlier ones.
        mlflow: Log to a tracking store of the folder's own.
        rpm: Stated limit of each model [requests per minute].
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "pyproject.toml").touch()  # a project of its own
    (folder / "data.jsonl").write_text("".join(json.dumps(sample(i)) + "\n" for i in range(n)))
    for name, text in PROMPTS.items():
        (folder / f"{name}.md").write_text(f"# user\n{text}\n")
    models = "".join(
        f"""
  - id: openai/{model}
    base_url: {base_url}
    api_key_env: MOCK_KEY
    timeout_s: 20
    price: {{input_per_mtok: "1", output_per_mtok: "4"}}
    {f"limits: {{rpm: {rpm}}}" if rpm else ""}"""
        for model in MODELS
    )
    (folder / "spec.yaml").write_text(f"""\
experiment: load
seed: 7
dataset: {{path: data.jsonl, fields: {{id: id, input: input, reference: null}}}}
prompts: [{", ".join(f"{name}.md" for name in PROMPTS)}]
models:{models}
space: {{max_tokens: {{choices: [{MAX_TOKENS}]}}}}
concurrency: {concurrency}
cache: {{mode: {"read_write" if cache else "off"}}}
scorers: [{{contains: positive}}]
minimize: [list_usd]
maximize: [contains]
{f'budget: {{usd: "{budget_usd}"}}' if budget_usd else ""}
{"track: {mlflow: sqlite:///mlruns/mlflow.db}" if mlflow else ""}
""")


@dataclass(frozen=True, slots=True)
class Measured:
    """One process from its start to its end.

    Attributes:
        wall_s, cpu_s: Time, user and system together [s].
        rss_mb: Most memory resident at once [MB].
        code: Exit code.
        out, err: What it printed.
    """

    wall_s: float
    cpu_s: float
    rss_mb: float
    code: int
    out: str
    err: str


def environment() -> dict[str, str]:
    """The process environment with the key that the spec names."""
    return {**os.environ, "MOCK_KEY": "none", "NO_PROXY": "127.0.0.1"}


def start(command: Sequence[str], folder: Path) -> subprocess.Popen[bytes]:
    """Start a command; its output goes to files in the folder."""
    with (folder / "out.txt").open("wb") as out, (folder / "err.txt").open("wb") as err:
        return subprocess.Popen(command, cwd=folder, env=environment(), stdout=out, stderr=err)


def finish(process: subprocess.Popen[bytes], folder: Path, started_s: float) -> Measured:
    """Wait for a process and read what it used."""
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Measured(
        time.perf_counter() - started_s,
        used.ru_utime + used.ru_stime,
        used.ru_maxrss / 1024,
        process.returncode,
        (folder / "out.txt").read_text(),
        (folder / "err.txt").read_text(),
    )


def measure(command: Sequence[str], folder: Path) -> Measured:
    """Run a command to its end."""
    started_s = time.perf_counter()
    return finish(start(command, folder), folder, started_s)


def run_command(*options: str) -> list[str]:
    """`paretoken run` on the folder the process starts in."""
    return [sys.executable, "-m", "paretoken", "run", ".", "--no-picture", *options]


def verb_command(*words: str) -> list[str]:
    """A verb in the folder the process starts in."""
    return [sys.executable, "-m", "paretoken", *words]


def bare_command(base_url: str, n: int, concurrency: int) -> list[str]:
    """The bare loop as a process."""
    return [sys.executable, str(ROOT / "workload.py"), base_url, str(n), str(concurrency)]


class Server:
    """A running test server, by its control URLs."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self._root = base_url.removesuffix("/v1")

    def configure(self, **behaviour: object) -> None:
        """Set its behaviour and clear its counters."""
        self._ask("/config", json.dumps(behaviour).encode())

    def stats(self) -> dict[str, Any]:
        """Its counters."""
        return self._ask("/stats", None)

    def _ask(self, path: str, body: bytes | None) -> dict[str, Any]:
        request = urllib.request.Request(self._root + path, data=body)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as reply:
            answer: dict[str, Any] = json.load(reply)
            return answer


@contextmanager
def serving(url: str | None) -> Iterator[Server]:
    """A server that runs already, or one of our own for as long as it is needed."""
    if url is not None:
        yield Server(url.rstrip("/").removesuffix("/v1") + "/v1")
        return
    command = [sys.executable, "-m", "paretoken.testing.server", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield Server(f"http://127.0.0.1:{process.stdout.readline().split()[1]}/v1")
        finally:
            process.terminate()


async def _bare(base_url: str, n: int, concurrency: int) -> None:
    """The least a program can do: post, parse, write a line; no price, no budget, no retry, no cache."""
    import aiohttp

    work = iter([(model, text, i) for i in range(n) for model in MODELS for text in PROMPTS.values()])
    connector = aiohttp.TCPConnector(limit=concurrency)
    with Path("bare.jsonl").open("w") as out:  # noqa: ASYNC230 - as a simple script would
        async with aiohttp.ClientSession(connector=connector) as session:

            async def worker() -> None:
                for model, text, i in work:
                    prompt = text.replace("{{ input }}", sample(i)["input"])
                    messages: list[Mapping[str, str]] = [{"role": "user", "content": prompt}]
                    body = {"model": model, "messages": messages, "max_tokens": MAX_TOKENS, "temperature": 0}
                    async with session.post(f"{base_url}/chat/completions", json=body) as reply:
                        answer = json.loads(await reply.read())
                    said = answer["choices"][0]["message"]["content"]
                    row = {"model": model, "id": i, "said": said, "usage": answer["usage"], "good": "positive" in said}
                    out.write(json.dumps(row) + "\n")

            await asyncio.gather(*(worker() for _ in range(concurrency)))


if __name__ == "__main__":
    asyncio.run(_bare(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
