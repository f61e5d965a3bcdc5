"""What every call goes through: `Meter(Cache(Retry(Quota(Budget(Timeout(provider))))))`, each layer a `ChatModel`."""

from paretoken.gateway.onion import Limits, build_onion

__all__ = ["Limits", "build_onion"]
