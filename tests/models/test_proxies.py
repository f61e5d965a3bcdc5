from __future__ import annotations

import pytest

from paretoken.core.clock import SystemClock
from paretoken.core.errors import SpecError
from paretoken.core.protocols import ProviderConfig
from paretoken.models.openai import make
from paretoken.models.proxies import find_proxy

FAR = "https://models.test.invalid/v1/chat/completions"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_the_environment_names_the_proxy(variable: str, monkeypatch: pytest.MonkeyPatch):
    assert find_proxy(FAR) is None
    monkeypatch.setenv(variable, "http://user:pass@proxy.test:3128")
    assert find_proxy(FAR) == "http://user:pass@proxy.test:3128"
    assert find_proxy("http://127.0.0.1:8000/v1") is None
    monkeypatch.setenv("no_proxy", "test.invalid")
    assert find_proxy(FAR) is None


def test_the_own_variable_of_a_scheme_wins_over_all_proxy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("all_proxy", "socks5://proxy.test:1080")
    monkeypatch.setenv("https_proxy", "http://proxy.test:3128")
    assert find_proxy(FAR) == "http://proxy.test:3128"
    with pytest.raises(SpecError, match="all_proxy"):
        find_proxy(FAR.replace("https", "http"))


@pytest.mark.parametrize(
    "proxy", ["10.0.0.7:7890", "proxy.test:7890", "socks5://proxy.test:1", "socks5h://u:secret@proxy.test:1",
              "https://proxy.test:7890", "http://", "http://proxy.test:no"]
)  # fmt: skip
def test_a_proxy_that_cannot_be_spoken_to_is_refused_before_anything_is_sent(
    proxy: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("THE_KEY", "sk-0123456789abc")
    config = ProviderConfig("openai/m", "m", base_url=FAR.removesuffix("/chat/completions"), api_key_env="THE_KEY")
    with pytest.raises(SpecError, match="HTTPS_PROXY holds no http:// URL") as caught:
        make(config, SystemClock())
    assert "secret" not in str(caught.value)
    assert caught.value.field == "base_url"
