"""``pulser open`` and ``pulser dashboard``: the console's link."""

from __future__ import annotations

from typing import Annotated

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client


def open_(
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in a browser; else the link is printed only.")] = True, as_json: Json = False
) -> None:
    """Print and open a link that signs the browser in; it works once, within 15 minutes."""
    with client() as pulser:
        link = pulser.start_link()
    if as_json:
        show.document({"url": link})
        return
    show.say(link)
    if browser and show.terminal():
        typer.launch(link)


def dashboard(as_json: Json = False) -> None:
    """Print a link that opens the console signed in."""
    open_(browser=False, as_json=as_json)
