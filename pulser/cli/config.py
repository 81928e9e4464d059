"""``pulser config`` and ``pulser version``: what holds here."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from pulser.cli import show
from pulser.cli.connect import Json, settings


def config(changed: Annotated[bool, typer.Option("--changed", help="Only what is not the default.")] = False, as_json: Json = False) -> None:
    """Print every setting, where it came from and what it means; secrets are masked."""
    from pulser.app.settings import describe

    loaded = settings()
    rows = [row for row in describe(loaded) if not changed or row.source != "default"]
    if as_json:
        show.document([asdict(row) for row in rows])
        return
    listed = ([row.name, row.value, row.source, row.meaning] for row in rows)
    show.table(("setting", "value", "source", "meaning"), listed, empty="Everything is at its default.")
    if loaded.reserved:
        show.note(f"Without effect yet: {', '.join(loaded.reserved)}")


def version(as_json: Json = False) -> None:
    """Print the version."""
    import platform

    from pulser import __version__

    if as_json:
        show.document({"pulser": __version__, "python": platform.python_version()})
    else:
        show.say(f"pulser {__version__}")
