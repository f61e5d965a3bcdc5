"""The layers put together, in the one order that keeps the laws."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paretoken.gateway.breaker import Breaker
from paretoken.gateway.budget import Budget
from paretoken.gateway.cache import Cache, CacheMode
from paretoken.gateway.gate import HoldGate
from paretoken.gateway.meter import Meter
from paretoken.gateway.retry import Backoff, Retry
from paretoken.gateway.throttle import Limits, Throttle
from paretoken.gateway.timeout import Timeout
from paretoken.gateway.waits import TellWait, tell_nobody
from paretoken.gateway.window import Window

if TYPE_CHECKING:
    from paretoken.core.protocols import ChatModel, Clock, PriceSource, Provider, RecordStore, ResponseCache

__all__ = ["Backoff", "HoldGate", "Limits", "Window", "build_onion"]


def build_onion(
    provider: Provider,
    *,
    model: str,
    prices: PriceSource,
    gate: HoldGate,
    journal: RecordStore,
    cache: ResponseCache,
    cache_mode: CacheMode,
    clock: Clock,
    limits: Limits,
    shared: Window,
    backoff: Backoff,
    timeout_s: float,
    seed: int,
    tell: TellWait = tell_nobody,
) -> ChatModel:
    """Wrap a provider: `Meter(Cache(Retry(Breaker(Throttle(Budget(Timeout(provider)))))))`."""
    timed = Timeout(provider, seconds=timeout_s)
    budgeted = Budget(
        timed,
        prices=prices,
        gate=gate,
        journal=journal,
        cache=None if cache_mode == "off" else cache,
        clock=clock,
        timeout_s=timeout_s,
        recorded=provider.recorded,
    )
    throttle = Throttle(budgeted, limits=limits, shared=shared, clock=clock, tell=tell)
    breaker = Breaker(throttle, model=model, clock=clock, tell=tell)
    retry = Retry(breaker, clock=clock, backoff=backoff, seed=seed, tell=tell)
    return Meter(Cache(retry, store=cache, mode=cache_mode), journal=journal, clock=clock)
