from __future__ import annotations

import pytest

from paretoken.core.errors import SpecError
from paretoken.core.registry import load, registered, suggest


def test_the_nearest_word_is_suggested():
    assert suggest("bertscor", ["bertscore", "chrf"]) == "Did you mean 'bertscore'?"
    assert suggest("xyz", ["chrf", "bertscore"]) == "Known: bertscore, chrf."


def test_names_are_sorted_and_load_to_objects():
    names = registered("paretoken.scorers")
    assert names == sorted(names)
    assert "chrf" in names
    assert load("paretoken.scorers", "contains").__name__ == "Contains"
    assert callable(load("paretoken.models", "echo"))


@pytest.mark.parametrize(
    ("group", "name", "text"),
    [
        ("paretoken.models", "opnai", "unknown model 'opnai'. Did you mean 'openai'?"),
        ("paretoken.scorers", "chrff", "unknown scorer 'chrff'. Did you mean 'chrf'?"),
        ("paretoken.trackers", "wandb", "unknown tracker 'wandb'. Known: mlflow."),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(group: str, name: str, text: str):
    with pytest.raises(SpecError) as caught:
        load(group, name)
    assert str(caught.value) == text
