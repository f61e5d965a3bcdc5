"""The workload of `call_path.py` for a runner that measures several tools on one server.

    python bench/peer_adapter.py --base-url URL --work DIR [--n 500 --concurrency 64 --cache 0 --resume 0 --budget 0]

Writes `result.json` into the folder: `scored`, `errors`, `mean` and a note. A line for such a runner's list of peers:

    "paretoken": {"py": "<python>", "script": "<here>/bench/peer_adapter.py", "cache": true, "resume": true,
                  "budget": true}
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from pathlib import Path

import paretoken
from workload import MODELS, PROMPTS, environment, write_spec


def main() -> None:
    """Run the workload once, or go on with it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--cache", type=int, default=0)
    parser.add_argument("--resume", type=int, default=0)
    parser.add_argument("--budget", type=float, default=0.0)
    parser.add_argument("--n", type=int, default=500)
    options = parser.parse_args()
    folder = options.work / "project"
    again = folder.is_dir() and (options.cache or options.resume)
    if not again:
        shutil.rmtree(folder, ignore_errors=True)
        write_spec(
            folder, options.base_url, n=options.n, concurrency=options.concurrency, cache=bool(options.cache),
            budget_usd=f"{options.budget:.9f}" if options.budget else None,
        )  # fmt: skip
    os.environ.update(environment())
    outcome = paretoken.run(folder, fresh=bool(again and options.cache and not options.resume))
    summaries = outcome.results.summaries
    means = [found.mean for summary in summaries if (found := summary.estimates.get("contains")) is not None]
    scored = sum(summary.n - summary.n_failed for summary in summaries)
    result = {
        "scored": scored,
        "errors": len(PROMPTS) * len(MODELS) * options.n - scored,
        "mean": sum(means) / max(len(means), 1),
        "note": outcome.ending.reason,
    }
    (options.work / "result.json").write_text(json.dumps(result))
    raise SystemExit(0 if outcome.exit_code == 3 else outcome.exit_code)


if __name__ == "__main__":
    main()
