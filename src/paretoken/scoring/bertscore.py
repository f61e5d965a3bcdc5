"""BERTScore: how well the tokens of an answer match those of its reference in an encoder's space.

Source: Zhang et al., "BERTScore: Evaluating Text Generation with BERT", ICLR 2020, equations 1 to 3 and section 3;
equal to the package `bert-score` to 1e-5.
"""

from __future__ import annotations

import asyncio
import csv
import hashlib
import json
import math
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import Scored, ScoreItem
from paretoken.scoring.encoder import BUNDLED, BUNDLED_LAYERS, find_tokenizer, load_encoder
from paretoken.scoring.legibility import BEST, CHINESE, MAX_UNKNOWN_RATE, OTHER, letters, unknown_rate, unread

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from paretoken.scoring.embeddings import Embeddings

Tokens = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Read:
    """A text as the encoder reads it; vectors have shape `(n_tokens, width)`."""

    text: str
    tokens: Tokens
    vectors: Tensor


class BertScore:
    """BERTScore precision, recall and F1.

    Scoring has a thread of its own, which takes all that has come while it was busy as one batch. The encoder is
    loaded with the first one and kept; a text that was encoded before, in whichever run, is not encoded again. Texts
    are cut at the encoder's window (512 tokens for the bundled one), and the score says so. An answer that is blank, or
    of which the encoder knows no token, scores 0. Of several references each of the three takes its largest value.
    Values are rounded to 6 decimals.

    Args:
        model: A Hugging Face encoder's id, or a folder; None for the language's default: all-MiniLM-L6-v2, which comes
            with this package's requirements, for English; bert-base-chinese for Chinese; else
            bert-base-multilingual-cased.
        quality: `best` for microsoft/deberta-xlarge-mnli (English, 750 million parameters), which agrees best with
            people; give this or `model`.
        layer: Layer whose output is compared, counted from 1. Default: the last of the bundled encoder; the one
            `bert-score` recommends for an encoder it knows; else the last.
        idf: Weigh tokens by how rare they are among the dataset's references.
        rescale: Spread scores over the range that unlike texts leave: with the baseline that `bert-score` ships for the
            encoder, or that of a file of its form (lines `layer,P,R,F`).
        fast: Reckon in 16-bit floats; needs a GPU, errs by less than 0.001.
        language: The dataset's language, e.g. `en`.
        references: The dataset's references, in order; whether the encoder reads them is checked at once.
        folder: What paths are relative to.
        on_disk: Keep embeddings in the user's cache folder for later runs.

    Raises:
        SpecError: An argument cannot be used, or the encoder does not read the references.
    """

    name = "bertscore"
    metrics = ("bertscore_precision", "bertscore_recall", "bertscore_f1")
    needs_reference = True

    def __init__(
        self,
        model: str | None = None,
        *,
        quality: str | None = None,
        layer: int | None = None,
        idf: bool = False,
        rescale: bool | str = False,
        fast: bool = False,
        language: str | None = None,
        references: Sequence[str] | None = None,
        folder: Path = Path(),
        on_disk: bool = True,
    ) -> None:
        if model is not None and (not isinstance(model, str) or not model.strip()):
            raise SpecError(f"bertscore's model is {model!r}.", fix="Give a Hugging Face id or a folder.")
        if quality not in (None, "best") or (quality and model):
            raise SpecError(f"bertscore's quality is {quality!r}.", fix="Say `quality: best`, or name a `model`.")
        if layer is not None and (isinstance(layer, bool) or not isinstance(layer, int) or layer < 1):
            raise SpecError(f"bertscore's layer is {layer!r}.", fix="Give a whole number from 1.")
        for option, value in (("idf", idf), ("fast", fast), ("on_disk", on_disk)):
            if not isinstance(value, bool):
                raise SpecError(f"bertscore's {option} is {value!r}.", fix="Say true or false.")
        source = _source(BEST if quality else model, language, folder)
        if source is None and layer is not None and layer > BUNDLED_LAYERS:
            raise SpecError(f"bertscore's layer is {layer}, {BUNDLED} has {BUNDLED_LAYERS}.")
        if idf and references is None:
            raise SpecError("bertscore's idf weights are those of a dataset's references.", fix="Give `references`.")
        if fast:
            _check_gpu()
        self._encoder = load_encoder(source, layer, half=fast)
        self._idf = tuple(references or ()) if idf else None
        self._base = None if rescale is False else _baseline(rescale, source, layer, language, folder)
        self._on_disk = on_disk
        self._waiting: deque[tuple[Sequence[ScoreItem], Future[list[list[Scored]]]]] = deque()
        self._worker = ThreadPoolExecutor(1, "bertscore")
        file = None if references is None else find_tokenizer(source)
        self._checked = file is not None
        if file is not None and (rate := unknown_rate(file, references or ())) > MAX_UNKNOWN_RATE:
            problem, fix = unread(rate, self._encoder.label, references or ())
            raise SpecError(problem, fix=fix)

    @property
    def provenance(self) -> str:
        """Versions, encoder with the hash of its weights, layer, precision, idf weights and baseline."""
        idf = "no-idf" if self._idf is None else f"idf of {len(self._idf)} references {_hash(self._idf)[:12]}"
        base = "" if self._base is None else f" rescaled by {', '.join(f'{b:g}' for b in self._base)}"
        return f"{self._encoder.provenance} {idf}{base}"

    @property
    def ranges(self) -> Mapping[str, tuple[float, float]]:
        """0 to 1; after rescaling from below 0."""
        base = self._base or (0.0, 0.0, 0.0)
        return {
            metric: (math.floor(-1e6 * b / (1 - b)) / 1e6, 1.0) for metric, b in zip(self.metrics, base, strict=True)
        }

    async def fetch(self) -> None:
        """Get the encoder's weights if they are not on this machine.

        Raises:
            ScoreError: They cannot be had.
        """
        if not self._encoder.here:
            await asyncio.get_running_loop().run_in_executor(self._worker, self._encoder.load)

    async def score(self, items: Sequence[ScoreItem]) -> list[list[Scored]]:
        """Score a batch in the worker thread.

        Args:
            items: Answers, shape `(n,)`.

        Returns:
            Precision, recall and F1 of each item, shape `(n, 3)`; larger is better, 1 is a perfect match.

        Raises:
            ScoreError: The encoder cannot be loaded, or more than 10 % of the references' tokens are unknown to it.
        """
        if not items:
            return []
        future: Future[list[list[Scored]]] = Future()
        self._waiting.append((items, future))
        self._worker.submit(self._work)
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        """Score all that waits; of as many turns as there were calls, the first may have left the others nothing."""
        asked = [self._waiting.popleft() for _ in range(len(self._waiting))]
        asked = [(items, future) for items, future in asked if future.set_running_or_notify_cancel()]
        if not asked:
            return
        try:
            with self._encoder.lock:
                read = self._read([item for items, _ in asked for item in items])
                for items, future in asked:
                    try:
                        self._check_language(items)
                        future.set_result([self._match(item, read) for item in items])
                    except ScoreError as error:
                        future.set_exception(error)
        except BaseException as error:
            for _, future in asked:
                if not future.done():
                    future.set_exception(error)

    def _check_language(self, items: Sequence[ScoreItem]) -> None:
        if self._checked:
            return
        references = list(dict.fromkeys(reference for item in items for reference in item.references))
        tokens = [token for text in references for token in self._encoder.tokens(letters(text))]
        tokens = [token for token in tokens if token not in self._encoder.silent]
        rate = tokens.count(-1 if self._encoder.unknown is None else self._encoder.unknown) / max(1, len(tokens))
        if rate > MAX_UNKNOWN_RATE:
            problem, fix = unread(rate, self._encoder.label, references)
            raise ScoreError(f"{problem[:-1]}: {fix}")

    @cached_property
    def _embeddings(self) -> Embeddings:
        from platformdirs import user_cache_path

        from paretoken.scoring.embeddings import Embeddings

        return Embeddings(user_cache_path("paretoken") / "embeddings.db" if self._on_disk else None)

    def _read(self, items: Sequence[ScoreItem]) -> dict[str, _Read]:
        """What the encoder makes of every text; each is encoded once."""
        import torch

        references = {text for item in items for text in item.references}
        texts = {text: self._encoder.tokens(text) for text in references | {item.answer for item in items}}
        encoder = self._encoder.provenance
        keys = {text: _hash((encoder, *tokens)) for text, tokens in texts.items() if self._knows(tokens)}
        tokens_of = {key: texts[text] for text, key in keys.items()}
        resident = {keys[text] for text in references if text in keys}
        known = self._embeddings.find({key: len(tokens) for key, tokens in tokens_of.items()}, resident)
        missing = [key for key in tokens_of if key not in known]
        encoded = self._encoder.embed([tokens_of[key] for key in missing])
        new = {key: vectors.numpy() for key, vectors in zip(missing, encoded, strict=True)}
        self._embeddings.keep(new, resident)
        found = {key: torch.from_numpy(vectors) for key, vectors in (known | new).items()}
        return {text: _Read(text, tokens_of[key], found[key]) for text, key in keys.items()}

    def _knows(self, tokens: Tokens) -> bool:
        """Whether the encoder knows a token of a text."""
        return any(token != self._encoder.unknown and token not in self._encoder.silent for token in tokens)

    @cached_property
    def _rarity(self) -> dict[int, float]:
        """Idf weight by token; that of tokens of no reference under -1."""
        references = self._idf or ()
        counts = Counter(token for text in references for token in set(self._encoder.tokens(text)))
        n = len(references)
        return {token: math.log((n + 1) / (count + 1)) for token, count in counts.items()} | {-1: math.log(n + 1)}

    def _weights(self, tokens: Tokens) -> Tensor:
        import torch

        if self._idf is None:
            weights = [0.0 if token in self._encoder.silent else 1.0 for token in tokens]
        else:
            weights = [self._rarity.get(token, self._rarity[-1]) for token in tokens]
        found = torch.tensor(weights)
        return found / found.sum()

    def _match(self, item: ScoreItem, read: Mapping[str, _Read]) -> list[Scored]:
        """A pair by itself: in a batch, the package lifts negative similarities to 0 beside longer pairs."""
        if not item.references:
            return [Scored(metric, None, "the sample has no reference") for metric in self.metrics]
        references = [read[text] for text in item.references if text in read]
        if not references:
            reason = f"{self._encoder.label} knows no token of the reference"
            return [Scored(metric, None, reason) for metric in self.metrics]
        answer = read.get(item.answer)
        if answer is None:
            zero = self._rescaled((0.0, 0.0, 0.0))
            return [Scored(metric, value) for metric, value in zip(self.metrics, zero, strict=True)]
        pairs = [self._similarity(answer, reference) for reference in references]
        if any(math.isnan(value) for pair in pairs for value in pair):
            return [Scored(metric, None, "its tokens are in every reference: idf 0") for metric in self.metrics]
        values = self._rescaled([max(pair[k] for pair in pairs) for k in range(3)])
        p, r, f = (Scored(metric, value) for metric, value in zip(self.metrics, values, strict=True))
        return [p, r, replace(f, reason=self._cut(answer, references))]

    def _cut(self, answer: _Read, references: Sequence[_Read]) -> str | None:
        """Says so if a text is longer than the encoder's window."""
        cut = ["answer"] if self._encoder.cut(answer.text, answer.tokens) else []
        cut += ["reference"] if any(self._encoder.cut(r.text, r.tokens) for r in references) else []
        return f"only {self._encoder.window} tokens of the {' and of the '.join(cut)} were read" if cut else None

    def _similarity(self, answer: _Read, reference: _Read) -> list[float]:
        import torch

        with torch.inference_mode():
            similar = answer.vectors @ reference.vectors.T
            p = (similar.amax(dim=1) * self._weights(answer.tokens)).sum()
            r = (similar.amax(dim=0) * self._weights(reference.tokens)).sum()
            f = 2 * p * r / (p + r)
        return [min(1.0, max(0.0, value)) if value == value else math.nan for value in (p.item(), r.item(), f.item())]

    def _rescaled(self, values: Sequence[float]) -> list[float]:
        base = self._base or (0.0, 0.0, 0.0)
        return [round((value - b) / (1 - b), 6) for value, b in zip(values, base, strict=True)]


def _source(model: str | None, language: str | None, folder: Path) -> str | None:
    """The encoder's id or folder; None is the bundled one."""
    if model is not None:
        return str(folder / model) if (folder / model).is_dir() else model
    if language is None or language.lower().startswith("en"):
        return None
    return CHINESE if language.lower().startswith("zh") else OTHER


def _check_gpu() -> None:
    import torch

    if not torch.cuda.is_available():
        raise SpecError("bertscore's fast mode needs a GPU: on a CPU 16-bit floats are slower, and 8-bit ones err too "
                        "much.", fix="Leave `fast` out.")  # fmt: skip


def _baseline(
    rescale: bool | str, source: str | None, layer: int | None, language: str | None, folder: Path
) -> tuple[float, float, float]:
    """What unlike texts score: precision, recall and F1."""
    import bert_score
    from bert_score.utils import model2layers

    label = source or BUNDLED
    if isinstance(rescale, str):
        file = folder / rescale
        fix = "Give a file with the lines `layer,P,R,F`, or `rescale: true` for one that bert-score ships."
    else:
        file = Path(bert_score.__file__).parent / "rescale_baseline" / (language or "en")[:2] / f"{label}.tsv"
        fix = "Leave `rescale` out, or give the file of a baseline."
    layer = layer or (BUNDLED_LAYERS if source is None else model2layers.get(label))
    if not file.is_file():
        raise SpecError(f"bertscore has no baseline of {label!r} to rescale by: {file} does not exist.", fix=fix)
    with file.open(encoding="utf-8") as lines:
        rows = {row[0]: row[1:4] for row in csv.reader(lines)}
    try:
        p, r, f = map(float, rows[str(layer)])
    except (KeyError, ValueError) as error:
        raise SpecError(f"{file} has no baseline of layer {layer}.", fix=fix) from error
    return p, r, f


def _hash(value: object) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
