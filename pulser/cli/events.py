"""``pulser events``: the log of what happened."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client

if TYPE_CHECKING:
    from pulser.client import Event


def events(
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as things happen, until Ctrl-C.")] = False,
    kind: Annotated[str | None, typer.Option("--kind", "-k", help="One kind, such as task_failed; several with commas.")] = None,
    task: Annotated[str | None, typer.Option(help="Of this task only.")] = None,
    actor: Annotated[str | None, typer.Option(help="By this actor only.")] = None,
    since: Annotated[str | None, typer.Option(help="After this RFC 3339 time or cursor. With --follow: from now on if not given.")] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="How many at most.")] = None,
    as_json: Json = False,
) -> None:
    """Print events, oldest first; with --json one per line. The newest 100, or all from --since on."""
    with client() as pulser:
        found: Iterable[Event]
        if follow:
            found = pulser.tail(since=since, task_id=task, kind=kind, actor=actor, retries=20)
        elif since:
            found = pulser.events(after=since, task_id=task, kind=kind, actor=actor, limit=limit)
        else:
            found = pulser.latest_events(min(limit or 100, 500), task_id=task, kind=kind, actor=actor)
        for number, event in enumerate(found, 1):
            tell(event, as_json=as_json)
            if follow and number == limit:
                return


def tell(event: Event, *, as_json: bool) -> None:
    """One event as a line."""
    if as_json:
        show.json_line(event)
    else:
        show.say(f"{show.when(event['ts'])}  {event['event']:<20}  {event.get('says') or event['target']}")
