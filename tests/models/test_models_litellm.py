from __future__ import annotations

import sys

import pytest

from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.core.protocols import ProviderConfig
from paretoken.core.registry import load


def test_without_the_extra_it_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    make = load("paretoken.models", "litellm")
    monkeypatch.setattr("paretoken.models.litellm.find_spec", lambda name: None)
    with pytest.raises(SpecError, match=r"pip install 'paretoken\[litellm\]'"):
        make(ProviderConfig(id="litellm/anthropic/claude", name="anthropic/claude"), SystemClock())
    assert "litellm" not in sys.modules
