"""The proxy that the environment names."""

from __future__ import annotations

import os
from ipaddress import ip_address
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from paretoken.core.errors import SpecError


def find_proxy(url: str) -> str | None:
    """The proxy for a URL: `https_proxy` or `http_proxy` by its scheme, else `all_proxy`; never for this machine.

    Raises:
        SpecError: The variable holds no http:// URL, and no other kind of proxy is spoken to.
    """
    parts = urlsplit(url)
    if is_loopback(url) or proxy_bypass(parts.hostname or ""):
        return None
    proxies = getproxies()
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    if kind is None:
        return None
    proxy = proxies[kind]
    if not _is_http(proxy):
        name = next((n for n in (f"{kind}_proxy", f"{kind.upper()}_PROXY") if os.environ.get(n)), f"{kind}_proxy")
        bare = proxy.rpartition("://")[2].rpartition("@")[2]
        raise SpecError(
            f"the environment variable {name} holds no http:// URL, and a proxy of another kind is not spoken to.",
            fix=f"Run `export {name}=http://{bare}` if it is an HTTP proxy, or `unset {name}`, "
            f"or `export no_proxy={parts.hostname}`.",
            field="base_url",
        )
    return proxy


def _is_http(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme == "http" and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
