"""The settings and the client of this call: what the options before the command say wins over the environment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulser.client import Client

if TYPE_CHECKING:
    from pulser.app.settings import Loaded

GIVEN: dict[str, Any] = {}  # settings by key, from the options before the command

Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def settings(**more: Any) -> Loaded:
    """The settings as they hold for this call; ``more`` by key with ``__`` for the dot."""
    from pulser.app.settings import load

    return load(overrides={**GIVEN, **{key.replace("__", "."): value for key, value in more.items() if value is not None}})


def client(timeout: float = 30.0) -> Client:
    """A client for the server that this call means."""
    return Client(GIVEN.get("server.url"), timeout=timeout, data_dir=GIVEN.get("store.data_dir"))


def before(
    url: Annotated[str | None, typer.Option(help="Address of the server. [PULSER_URL]", show_default=False)] = None,
    data: Annotated[Path | None, typer.Option(help="The data folder. [PULSER_DATA_DIR]", show_default=False)] = None,
) -> None:
    """A self-hosted runtime for teams of AI agents."""
    GIVEN.clear()
    GIVEN.update({key: value for key, value in {"server.url": url, "store.data_dir": data}.items() if value is not None})


@contextmanager
def store() -> Iterator[Any]:
    """The open store of these settings."""
    from pulser.app.build import open_store

    opened = open_store(settings().settings)
    try:
        yield opened
    finally:
        opened.close()


def sure(question: str, yes: bool) -> None:
    """Ask, on a terminal; elsewhere ``--yes`` must have been given."""
    from pulser.core.errors import BadInput

    if yes:
        return
    import sys

    if not sys.stdin.isatty():
        raise BadInput(f"this needs to be confirmed: {question}", hint="Give --yes.")
    typer.confirm(question, abort=True, err=True)
