"""What is installed, cached and set, for `paretoken doctor`."""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from paretoken.core.registry import registered
from paretoken.experiment.archive import find_root
from paretoken.models.openai import PRESETS
from paretoken.models.weights import BUNDLES, cached_weights
from paretoken.records import database_path

PACKAGES = ("xllamacpp", "bert-score", "torch", "mlflow", "genai-prices", "litellm", "psycopg", "redis", "ray")


def examine() -> list[dict[str, str]]:
    """One row per thing that may be missing."""
    rows = [{"what": f"package {name}", "state": _package(name)} for name in PACKAGES]
    rows += [
        {"what": f"weights {name}", "state": str(cached_weights(name) or "fetched at first use")} for name in BUNDLES
    ]
    keys = sorted({preset.key_env for preset in PRESETS.values() if preset.key_env})
    rows += [{"what": f"key {name}", "state": "set" if os.environ.get(name) else "not set"} for name in keys]
    file = database_path(find_root(Path()))
    rows.append({"what": "records", "state": str(file) if file.is_file() else f"{file} (made by the first run)"})
    rows.append({"what": "providers", "state": ", ".join(registered("paretoken.models"))})
    rows.append({"what": "scorers", "state": ", ".join(registered("paretoken.scorers"))})
    return rows


def _package(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
