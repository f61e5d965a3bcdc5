"""What every call goes through, each layer a `ChatModel`.

`Meter(Cache(Retry(Breaker(Throttle(Budget(Timeout(provider)))))))`
"""

from paretoken.gateway.onion import Limits, build_onion

__all__ = ["Limits", "build_onion"]
