"""How long `import paretoken` and `paretoken --help` take, beside a bare interpreter.

    python bench/import_time.py [--quick]

Prints a table on stderr and one line of JSON per figure on stdout.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

TARGET_S = 0.3
COMMANDS = {
    "bare_python_s": [sys.executable, "-c", "pass"],
    "import_s": [sys.executable, "-c", "import paretoken"],
    "cli_help_s": [sys.executable, "-m", "paretoken", "--help"],
}


def measure(command: list[str]) -> float:
    """Wall time of one run [s]."""
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Measure all commands in interleaved rounds, after one warm-up round."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="5 rounds instead of 15")
    rounds = 5 if parser.parse_args().quick else 15
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for number in range(rounds + 1):
        for name, command in COMMANDS.items():
            seconds = measure(command)
            if number:
                times[name].append(seconds)
    print(f"{'figure':<16}{'median s':>10}{'low':>8}{'high':>8}", file=sys.stderr)
    for name, values in times.items():
        median, low, high = statistics.median(values), min(values), max(values)
        print(f"{name:<16}{median:>10.3f}{low:>8.3f}{high:>8.3f}", file=sys.stderr)
        figure = {"bench": "import_time", "figure": name, "value": round(median, 4), "low": round(low, 4),
                  "high": round(high, 4), "unit": "s", "n": rounds,
                  "target": "none" if name.startswith("bare") else f"<= {TARGET_S}"}  # fmt: skip
        print(json.dumps(figure))


if __name__ == "__main__":
    main()
