"""What the test endpoint knows: how it behaves, and what it was asked and paid."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, fields
from typing import Any

USD_PER_PROMPT_TOKEN = 1e-6
USD_PER_ANSWER_TOKEN = 4e-6
WINDOW_S = 60.0


@dataclass(slots=True)
class Behaviour:
    """How the endpoint answers.

    Rates are shares of all requests; a request fails by a coin that its text and number of tries decide, so every run
    meets the same faults.

    Attributes:
        latency: Time to an answer [s].
        out_words: Words of an answer that no `max_tokens` cuts.
        seed: Of the coins.
        retry_after: What a 429 says; empty leaves the header out.
        f429, f500, f503: Refused with that status, unpaid.
        freset: The connection breaks before an answer, unpaid.
        ftrunc: Half of the answer's JSON comes, paid.
        ftrickle: The answer drips for `trickle_s`, paid.
        fhang: Nothing comes, ever; unpaid.
        ftype: An HTML page comes with status 200, unpaid.
        fnousage: The answer says nothing of its usage, paid.
        ffilter: The answer is empty with `finish_reason` content_filter, paid.
        subsets: The usage names cached and reasoning tokens.
        status: Every request is refused with this status; 0 is off.
        rpm, tpm: Requests and tokens accepted within any 60 s; 0 is off.
        capacity: Requests worked on at once, more are refused with 429; 0 is off.
    """

    latency: float = 0.05
    out_words: int = 30
    seed: int = 1
    retry_after: str = "1"
    f429: float = 0.0
    f500: float = 0.0
    f503: float = 0.0
    freset: float = 0.0
    ftrunc: float = 0.0
    ftrickle: float = 0.0
    fhang: float = 0.0
    ftype: float = 0.0
    fnousage: float = 0.0
    ffilter: float = 0.0
    trickle_s: float = 5.0
    subsets: bool = False
    status: int = 0
    rpm: int = 0
    tpm: int = 0
    capacity: int = 0


_FAULTS = tuple(f.name for f in fields(Behaviour) if f.name[0] == "f")


class Endpoint:
    """Counters, faults and limits of the endpoint.

    Attributes:
        behaviour: How it answers; may be changed while it serves.
        flying: Requests that are being answered.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.flying: set[int] = set()
        self.reset()

    def reset(self) -> None:
        """Forget what was asked; what is being answered goes on."""
        self.tries: Counter[bytes] = Counter()
        self.coins: Counter[bytes] = Counter()
        self.paid: Counter[bytes] = Counter()
        self.n: Counter[str] = Counter()
        self.usd = 0.0
        self.most_active = 0
        self.window: deque[tuple[float, int]] = deque()
        self.first_s = self.last_s = 0.0

    def stats(self) -> dict[str, Any]:
        """What was asked and paid since the last reset; a key is a model with its messages."""
        return {
            "requests": self.n["requests"],
            "keys": len(self.tries),
            "paid": self.paid.total(),
            "paid_keys": len(self.paid),
            "paid_again": self.paid.total() - len(self.paid),
            "repeats": self.n["requests"] - len(self.tries),
            "undelivered_paid": self.n["undelivered"],
            "faults": {name: count for name, count in self.n.items() if name[0] == "f"},
            "rejected": self.n["rejected"],
            "never_answered": len(self.tries) - len(self.paid),
            "attempts_hist": {str(k): v for k, v in sorted(Counter(self.tries.values()).items())},
            "max_concurrency": self.most_active,
            "active": len(self.flying),
            "connections": self.n["connections"],
            "usd": round(self.usd, 9),
            "window_s": round(self.last_s - self.first_s, 4),
        }

    def configure(self, values: dict[str, Any]) -> dict[str, Any]:
        """Change the behaviour and forget what was asked.

        Raises:
            AttributeError: There is no such setting.
        """
        kinds = {name: type(getattr(self.behaviour, name)) for name in values}
        for name, value in values.items():
            setattr(self.behaviour, name, kinds[name](value))
        self.reset()
        return asdict(self.behaviour)

    def pay(self, key: bytes, usage: dict[str, Any]) -> None:
        """Count a paid answer."""
        self.paid[key] += 1
        self.usd += usage["prompt_tokens"] * USD_PER_PROMPT_TOKEN + usage["completion_tokens"] * USD_PER_ANSWER_TOKEN

    def fault(self, key: bytes) -> str | None:
        """Which fault the next answer to a key has."""
        b = self.behaviour
        if not any(getattr(b, name) for name in _FAULTS):
            return None
        coin = random.Random(f"{b.seed}/{key.hex()}/{self.coins[key]}").random()  # noqa: S311 - no secret
        for name in _FAULTS:
            coin -= getattr(b, name)
            if coin < 0:
                return name
        return None

    def admit(self, tokens: int) -> tuple[bool, dict[str, str]]:
        """Whether the sliding window has room, and the headers that say what is left of it."""
        b = self.behaviour
        if not (b.rpm or b.tpm):
            return True, {}
        now = time.monotonic()
        while self.window and self.window[0][0] <= now - WINDOW_S:
            self.window.popleft()
        requests, used = len(self.window), sum(n for _, n in self.window)
        fits = (not b.rpm or requests < b.rpm) and (not b.tpm or used + tokens <= b.tpm)
        if fits:
            self.window.append((now, tokens))
            requests, used = requests + 1, used + tokens
        reset_s = f"{self.window[0][0] + WINDOW_S - now:.3f}s" if self.window else "0s"
        headers: dict[str, str] = {}
        for meter, limit, taken in (("requests", b.rpm, requests), ("tokens", b.tpm, used)):
            if limit:
                headers |= {
                    f"x-ratelimit-limit-{meter}": str(limit),
                    f"x-ratelimit-remaining-{meter}": str(max(limit - taken, 0)),
                    f"x-ratelimit-reset-{meter}": reset_s,
                }
        return fits, headers
