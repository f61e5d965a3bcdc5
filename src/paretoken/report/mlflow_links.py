"""How a tracking store is named and opened."""

from __future__ import annotations

import shlex
from urllib.parse import urlsplit


def open_line(uri: str) -> str:
    """The shell line that opens the tracking store: `mlflow ui --backend-store-uri sqlite:///mlruns/mlflow.db`."""
    shown = shlex.quote(without_password(uri))
    if urlsplit(uri).scheme in ("http", "https"):
        return f"python -m webbrowser {shown}"
    return f"mlflow ui --backend-store-uri {shown}"


def without_password(uri: str) -> str:
    """A URI as it may be shown."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def hide_password(text: str, uri: str) -> str:
    """A text in which the URI stands without its password."""
    return text.replace(uri, without_password(uri))
