"""The command. Verbs parse, call and print; what they call lives below."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line and exit with its code."""
    from paretoken.cli.app import run_command

    sys.exit(run_command(sys.argv[1:]))
