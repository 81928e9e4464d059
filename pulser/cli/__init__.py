"""The command line, ``pulser``: one file per group of commands. ``exits`` lists the exit codes, ``show`` is how it prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    from pulser.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
