"""``pulser dead``: the dead letters, which failed for good."""

from __future__ import annotations

from typing import Annotated

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client
from pulser.cli.exits import CONFLICT
from pulser.cli.tasks import Id, Ids, Limit, _decide, show_
from pulser.core.errors import BadInput

app = typer.Typer(help="List, requeue and discard dead letters.", no_args_is_help=True)


@app.command("list")
def list_(limit: Limit = 50, as_json: Json = False) -> None:
    """List dead letters, newest first, with what went wrong."""
    with client() as pulser:
        found = list(pulser.dead(limit=limit))
    if as_json:
        show.document(found)
        return
    rows = (
        [task["task_id"], task["assigned_agent"], task["action"], show.when(task.get("completed_at")), (task.get("error") or {}).get("detail", "")]
        for task in found
    )
    show.table(("task", "agent", "action", "failed", "error"), rows, empty="There are no dead letters.")


@app.command("show")
def show_one(task_id: Id, as_json: Json = False) -> None:
    """Show a dead letter with all its attempts."""
    show_(task_id, as_json=as_json)


@app.command()
def requeue(
    task_ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", show_default=False)] = None,
    everything: Annotated[bool, typer.Option("--all", help="All dead letters.")] = False,
    as_json: Json = False,
) -> None:
    """Run dead letters again; exit code 5 if one could not be."""
    if bool(task_ids) == everything:
        raise BadInput("name dead letters, or give --all", hint="They are listed by: pulser dead list")
    with client() as pulser:
        told = pulser.requeue_dead(None if everything else task_ids)
    if as_json:
        show.document(told)
    else:
        for task_id in told["requeued"]:
            show.say(f"{task_id}  queued")
        for each in told["skipped"]:
            show.note(f"{each['task_id']}  skipped: {each['reason']}")
    raise typer.Exit(CONFLICT if told["skipped"] else 0)


@app.command()
def discard(task_ids: Ids, as_json: Json = False) -> None:
    """Put dead letters out of sight; they are not deleted."""
    _decide(task_ids, "discard", as_json)
