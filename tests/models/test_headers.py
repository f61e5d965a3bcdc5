from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paretoken.models.headers import DAY_S, read_rate_limit, retry_after_s

NOW = datetime(2026, 12, 1, 8, tzinfo=UTC)


def _asked(text: str) -> float | None:
    return retry_after_s({"retry-after": text}, NOW)


@given(st.integers(0, 80_000))
def test_a_wait_is_understood_in_every_form(seconds: int):
    at = NOW + timedelta(seconds=seconds)
    minutes, rest = divmod(seconds, 60)
    forms = [
        str(seconds), f"{seconds}s", f"{seconds} seconds", f"{minutes}m{rest}s", f"{seconds * 1000}ms",
        f"{minutes} minutes {rest} sec",
        f"PT{minutes}M{rest}S", f"P0DT{minutes}M{rest}S", format_datetime(at), at.isoformat(),
        at.astimezone().isoformat(), str(at.timestamp()), str(int(at.timestamp() * 1000)),
    ]  # fmt: skip
    for form in forms:
        assert _asked(form) == pytest.approx(seconds, abs=1e-3), form
    assert retry_after_s({"retry-after-ms": str(seconds * 1000)}, NOW) == seconds
    for words in (f"Please try again in {seconds}s.", f"Retry after {minutes}m{rest}s", f"请在 {seconds} 秒后重试"):
        assert retry_after_s({}, NOW, words) == seconds, words


@given(
    st.text(max_size=12) | st.floats().map(str) | st.integers().map(str) | st.from_regex(r"P?T?[0-9.]{1,12}[dhms]{1,2}")
)
def test_whatever_is_asked_is_understood_within_a_day_or_not_at_all(text: str):
    for asked in (
        _asked(text),
        retry_after_s({"retry-after-ms": text}, NOW),
        retry_after_s({}, NOW, f"Please try again in {text}."),
    ):
        assert asked is None or 0 <= asked <= DAY_S
    said = read_rate_limit({"x-ratelimit-remaining-requests": "3", "x-ratelimit-reset-requests": text}, NOW)
    assert said is None or 0 <= said.reset_s <= DAY_S


@pytest.mark.parametrize(
    "words",
    ["You can retry after 5 model runs.", "Try again later.", "We waited 5 s. Try again.", "retry with 2 messages", ""],
)
def test_words_that_ask_for_no_time_are_no_wait(words: str):
    assert retry_after_s({}, NOW, words) is None


@pytest.mark.parametrize("reset", ["30s", "30", "2026-12-01T08:00:30Z", str(NOW.timestamp() + 30), "PT30S"])
def test_a_limit_resets_at_a_time_in_every_form(reset: str):
    said = read_rate_limit({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}, NOW)
    assert said is not None
    assert (said.remaining, said.reset_s) == (0, pytest.approx(30))
