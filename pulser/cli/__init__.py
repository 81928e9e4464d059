"""The command line, ``pulser``: one file per group of commands. ``exits`` lists the exit codes, ``show`` is how it prints."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and end the process with its exit code."""
    from pulser.cli.commands import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def __getattr__(name: str) -> Any:
    """``app``: the Typer application, made when it is first asked for."""
    if name == "app":
        from pulser.cli.commands import commands

        return commands()
    raise AttributeError(name)
