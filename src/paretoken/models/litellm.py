"""Every provider that litellm knows, through the optional extra."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from paretoken.core.errors import ProviderError, SpecError, Timeout, Unavailable
from paretoken.core.keys import hider
from paretoken.models.chat_format import read_reply, write_body
from paretoken.models.failures import failure
from paretoken.models.headers import retry_after_s
from paretoken.models.options import read_options

if TYPE_CHECKING:
    from paretoken.core.calls import Request, Response
    from paretoken.core.protocols import Clock, Provider, ProviderConfig


@dataclass(frozen=True, slots=True)
class LitellmOptions:
    """`litellm/<litellm id>` takes no options; keys come from the variables that litellm reads, or `api_key_env`."""


class LitellmChat:
    """One model by its litellm id. litellm's own retries are off, as the gateway retries and books every attempt."""

    slots: int | None = None
    recorded = False

    def __init__(self, config: ProviderConfig, clock: Clock, key: str | None) -> None:
        self._config, self._clock, self._key, self._hide = config, clock, key, hider([key or ""])

    async def generate(self, request: Request) -> Response:
        """Answer through litellm.

        Raises:
            ProviderError: No usable answer.
        """
        config, body, litellm = self._config, write_body(request), _litellm()
        if "seed" in body and "seed" not in (litellm.get_supported_openai_params(model=config.name) or ()):
            del body["seed"]  # litellm would refuse the request
        started_s = self._clock.monotonic()
        try:
            reply = await litellm.acompletion(
                **body,
                model=config.name,
                api_key=self._key,
                base_url=config.base_url or None,
                timeout=config.timeout_s,
                num_retries=0,
            )
        except Exception as error:  # litellm raises what its vendors' libraries raise
            raise self._error(error) from None
        latency_s = self._clock.monotonic() - started_s
        try:
            answer = read_reply(reply.model_dump(), request, latency_s=latency_s)
        except ProviderError as error:
            error.args = (self._hide(f"{config.id}: {error}"),)
            raise
        return replace(answer, text=self._hide(answer.text))

    async def count_tokens(self, request: Request) -> int | None:
        """Unknown: the tokeniser is elsewhere."""
        return None

    async def aclose(self) -> None:
        """Nothing to give back: litellm keeps its clients for the whole process."""

    def _error(self, error: Exception) -> ProviderError:
        said = self._hide(str(error))
        message = f"{self._config.id}: {type(error).__name__}: {said}"
        status = getattr(error, "status_code", None)
        if type(error).__name__ == "Timeout" or isinstance(error, TimeoutError):
            return Timeout(message)
        if not isinstance(status, int) or type(error).__name__ == "APIConnectionError":
            return Unavailable(message)
        sent = getattr(error, "litellm_response_headers", None) or {}
        headers = {name.lower(): value for name, value in sent.items()}
        body = getattr(error, "body", None)
        reply = body if isinstance(body, dict) else {"error": {"message": said, "code": getattr(error, "code", None)}}
        return failure(status, reply, message, retry_after_s=retry_after_s(headers, self._clock.now(), said))


@cache
def _litellm() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import litellm

    litellm.telemetry = False
    return litellm


def make(config: ProviderConfig, clock: Clock) -> Provider:
    """Make a model of litellm.

    Raises:
        SpecError: The extra is not installed, or the key's environment variable is not set.
    """
    if find_spec("litellm") is None:
        raise SpecError(f"{config.id} needs litellm.", fix="Run `pip install 'paretoken[litellm]'`.", field="id")
    read_options(config, LitellmOptions)
    key = os.environ.get(config.api_key_env) if config.api_key_env else None
    if config.api_key_env and not key:
        raise SpecError(
            f"the environment variable {config.api_key_env} is not set.",
            fix=f"Run `export {config.api_key_env}=...`.",
            field="api_key_env",
        )
    return LitellmChat(config, clock, key)
