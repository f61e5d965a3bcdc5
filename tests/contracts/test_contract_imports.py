from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from importlinter.cli import lint_imports

ROOT = Path(__file__).parents[2]
HEAVY = ("aiohttp", "duckdb", "jinja2", "litellm", "matplotlib", "mlflow", "numpy", "optuna", "pandas", "pyarrow",
         "pydantic", "scipy", "sqlalchemy", "torch", "transformers", "xllamacpp")  # fmt: skip


def test_rooms_import_only_what_they_may(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename="pyproject.toml", no_cache=True) == 0


def test_importing_the_package_and_its_command_loads_nothing_heavy():
    code = f"import sys, paretoken, paretoken.cli; print([name for name in {HEAVY} if name in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_an_experiment_loads_optuna_only_for_a_search():
    code = "import sys, paretoken.experiment.api, paretoken.experiment.study; print('optuna' in sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "False"


def test_the_core_stands_on_the_standard_library_alone():
    modules = [f"paretoken.core.{file.stem}" for file in (ROOT / "src/paretoken/core").glob("*.py")]
    code = (
        f"import sys, importlib; before = set(sys.modules); [importlib.import_module(m) for m in {modules}]; "
        "print(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "['paretoken']"
