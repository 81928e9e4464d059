"""``pulser doctor``: whether this machine and these settings can run Pulser."""

from __future__ import annotations

from dataclasses import asdict

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client, settings
from pulser.cli.exits import OPERATOR


def doctor(as_json: Json = False) -> None:
    """Look for what could keep Pulser from running well; exit code 7 if something does."""
    from pulser.app.doctor import examine
    from pulser.core.errors import PulserError

    def ask() -> tuple[str, object]:
        with client(timeout=3) as pulser:
            try:
                return pulser.url, pulser.health()
            except PulserError as error:
                return pulser.url, error

    found = examine(settings(), ask)
    if as_json:
        show.document([asdict(each) for each in found])
    else:
        show.table(("state", "what", "found"), ([each.state, each.name, each.says + (f" — {each.hint}" if each.hint else "")] for each in found))
    raise typer.Exit(OPERATOR if any(each.state == "fail" for each in found) else 0)
