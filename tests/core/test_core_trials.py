from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from paretoken.core.trials import Variant, label_variants

prompts = st.sampled_from(["terse@3f9a1c", "terse@aaaaaa", "long@000000", "x|y@1"])
models = st.sampled_from(["openai/mini", "vllm/mini", "openai/big", "mini", "a/b/mini"])
params = st.dictionaries(
    st.sampled_from(["temperature", "max_tokens", "edits"]),
    st.sampled_from([0, 0.0, 1, 1.0, True, None, "none", "0", 48]),
    max_size=3,
).map(lambda chosen: tuple(sorted(chosen.items())))
variants = st.lists(st.builds(Variant, prompts, models, params), max_size=8, unique_by=lambda variant: variant.id)


@given(variants)
def test_labels_are_unique_and_there_is_one_each(variants: list[Variant]):
    labels = label_variants(variants)
    assert set(labels) == {variant.id for variant in variants}
    assert len(set(labels.values())) == len(variants)
    assert all(labels.values())


def _labels(*variants: Variant) -> list[str]:
    return list(label_variants(variants).values())


def test_only_what_varies_is_in_the_label():
    assert _labels(Variant("terse@1", "openai/mini", (("t", 0),))) == ["terse"]
    assert _labels(Variant("terse@1", "openai/mini"), Variant("long@1", "openai/mini")) == ["terse", "long"]
    assert _labels(Variant("terse@1", "openai/mini"), Variant("terse@1", "openai/big")) == ["mini", "big"]
    assert _labels(Variant("terse@1", "openai/mini"), Variant("terse@1", "vllm/mini")) == ["openai/mini", "vllm/mini"]
    assert _labels(
        Variant("terse@1", "openai/mini", (("n", 1), ("t", 0))), Variant("long@1", "openai/big", (("n", 1), ("t", 1)))
    ) == ["terse|mini|t=0", "long|big|t=1"]


def test_a_parameter_that_only_some_have_varies():
    assert _labels(Variant("p@1", "m"), Variant("p@1", "m", (("t", 0),))) == ["p", "t=0"]


def test_labels_that_would_be_equal_carry_their_id():
    one, two = Variant("terse@1", "m"), Variant("terse@2", "m")
    assert _labels(one, two) == [f"terse|{one.id}", f"terse|{two.id}"]


def test_the_id_is_six_digits_of_the_content():
    base = Variant("terse@1", "m", (("t", 0),))
    assert len(base.id) == 6
    assert int(base.id, 16) >= 0
    assert base.id == Variant("terse@1", "m", (("t", 0),)).id
    others = [Variant("terse@2", "m", (("t", 0),)), Variant("terse@1", "n", (("t", 0),)), Variant("terse@1", "m"),
              Variant("terse@1", "m", (("t", 1),)), Variant("terse@1", "m", (("t", "0"),))]  # fmt: skip
    assert len({base.id, *(other.id for other in others)}) == 6
