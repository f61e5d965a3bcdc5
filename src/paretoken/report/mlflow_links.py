"""How a tracking store is named and opened."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

if TYPE_CHECKING:
    from pathlib import Path

LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui` serves."""


def open_lines(uri: str, page: str) -> list[str]:
    """How a run is opened in MLflow: the shell line that serves a local store, then the page.

    Args:
        uri: Of the tracking store.
        page: The part of the page's address after the host; "" where it is not known.
    """
    shown = without_password(uri)
    if urlsplit(uri).scheme in ("http", "https"):
        return [f"{shown.rstrip('/')}/{page}"]
    return [f"mlflow ui --backend-store-uri {shlex.quote(shown)}", *([f"{LOCAL}/{page}"] if page else [])]


def view_page(experiment: str, run: str) -> str:
    """The runs list with the columns and the order of a view."""
    return f"#/experiments/{experiment}/runs?viewStateShareKey={quote(run)}"


def page_file(database: Path, run: str) -> Path:
    """Where a run's page in MLflow is noted."""
    return database.parent / "runs" / run / "mlflow-page.txt"


def without_password(uri: str) -> str:
    """A URI as it may be shown."""
    password = urlsplit(uri).password
    return uri.replace(f":{password}@", ":***@") if password else uri


def hide_password(text: str, uri: str) -> str:
    """A text in which the URI stands without its password."""
    return text.replace(uri, without_password(uri))
