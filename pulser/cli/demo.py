"""``pulser demo``: every agent at work on something real."""

from __future__ import annotations

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client
from pulser.core.errors import Unavailable


def demo(as_json: Json = False) -> None:
    """Give each of the seven agents real work on a running server and show how it goes; exit code 1 if a task failed."""
    from rich.console import Console

    from pulser.app.demo import run_demo

    with client() as pulser:
        try:
            pulser.health()
        except Unavailable as error:
            raise Unavailable(error.detail, hint="Start a server with its demo: pulser serve --demo. Or point PULSER_URL at a running one.") from None
        code = run_demo(pulser, Console(stderr=as_json, force_terminal=None if show.terminal() else False), json=as_json)
    raise typer.Exit(code)
