"""``pulser tasks``: look at tasks, and decide about them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client

if TYPE_CHECKING:
    from pulser.client import Filters, Task

app = typer.Typer(help="List, show, stop, retry and review tasks.", no_args_is_help=True)
Id = Annotated[str, typer.Argument(metavar="ID", help="A task's id: tsk_…")]
Ids = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of tasks.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=1, help="How many at most.")]
COLUMNS = ("task", "status", "agent", "action", "priority", "created", "took", "title")


def row(task: Task) -> list[str]:
    """A line of a list."""
    took = show.span(show.between(task.get("started_at"), task.get("completed_at")))
    title = task.get("title") or ""
    return [
        task["task_id"], task["status"], task["assigned_agent"], task["action"], task["priority"], show.when(task["created_at"]), took,
        title if len(title) <= 60 else title[:59] + "…",
    ]  # fmt: skip


@app.command("list")
def list_(
    status: Annotated[str | None, typer.Option("--status", "-s", help="queued, waiting, running, in_review, completed, failed or cancelled.")] = None,
    stage: Annotated[str | None, typer.Option(help="The board's word for it.")] = None,
    task_type: Annotated[str | None, typer.Option("--type", "-t", help="A task type.")] = None,
    agent: Annotated[str | None, typer.Option(help="Who does it.")] = None,
    priority: Annotated[str | None, typer.Option(help="critical, high, medium or low.")] = None,
    requester: Annotated[str | None, typer.Option(help="For whom.")] = None,
    text: Annotated[str | None, typer.Option("--text", "-q", help="Words in title or description.")] = None,
    since: Annotated[str | None, typer.Option(help="Submitted at or after this RFC 3339 time.")] = None,
    until: Annotated[str | None, typer.Option(help="Submitted before this RFC 3339 time.")] = None,
    parent: Annotated[str | None, typer.Option(help="Sub-tasks of this task.")] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List tasks, newest first."""
    given = {
        "status": status, "stage": stage, "task_type": task_type, "agent": agent, "priority": priority, "requester": requester, "q": text,
        "since": since, "until": until, "parent_id": parent,
    }  # fmt: skip
    filters: Filters = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    with client() as pulser:
        found = list(pulser.tasks(limit=limit, **filters))
    if as_json:
        show.document(found)
    else:
        show.table(COLUMNS, map(row, found), empty="No such task.")


@app.command("show")
def show_(
    task_id: Id,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended or is in review; exit code 1 if it failed.")] = False,
    timeout_s: Annotated[float | None, typer.Option("--timeout", help="Seconds to wait at most. Implies --wait.")] = None,
    as_json: Json = False,
) -> None:
    """Show a task: its state, attempts, result and files."""
    from pulser.cli.submit import verdict

    waits = wait or timeout_s is not None
    with client() as pulser:
        task = pulser.wait(task_id, timeout_s) if waits else pulser.task(task_id)
    if as_json:
        show.document(task)
    else:
        _tell(task)
    if waits:
        raise typer.Exit(verdict(task))


def _tell(task: Task) -> None:
    names = (
        "task_id", "title", "status", "stage", "waiting_for", "priority", "task_type", "action", "assigned_agent", "requester", "parent_id", "depends_on",
        "generation", "retry_count", "created_at", "available_at", "started_at", "completed_at", "progress", "error",
    )  # fmt: skip
    values: dict[str, Any] = dict(task)
    shown = {name: values.get(name) for name in names}
    shown["routed"] = (values.get("routing") or {}).get("reason")
    show.pairs(shown)
    if task.get("attempts"):
        show.say()
        show.table(
            ("attempt", "outcome", "started", "took", "worker", "error"),
            (
                [f"{each['generation']}.{each['attempt']}", each["outcome"], show.when(each["started_at"]),
                 show.span(show.between(each["started_at"], each.get("ended_at"))), each["worker_id"], (each.get("error") or {}).get("detail", "")]
                for each in task["attempts"]
            ),
        )  # fmt: skip
    if task.get("artifacts"):
        show.say()
        _files(task)
    if task.get("result"):
        import json

        show.say()
        show.say(json.dumps(task["result"], ensure_ascii=False, indent=2))


def _files(task: Task) -> None:
    rows = ([each["name"], show.size(each["size_bytes"]), each["media_type"]] for each in task.get("artifacts", []))
    show.table(("file", "size", "kind"), rows, empty="It has no files.")


def _decide(task_ids: list[str], verb: str, as_json: bool, **more: Any) -> None:
    """``verb`` of the client for each, in order; the first refusal stops."""
    changed = []
    with client() as pulser:
        for task_id in task_ids:
            task = getattr(pulser, verb)(task_id, **more)
            changed.append(task)
            if not as_json:
                show.say(f"{task['task_id']}  {task['status']}")
    if as_json:
        show.document(changed[0] if len(changed) == 1 else changed)


@app.command()
def cancel(task_ids: Ids, as_json: Json = False) -> None:
    """Stop tasks, also running ones."""
    _decide(task_ids, "cancel", as_json)


@app.command()
def retry(task_ids: Ids, as_json: Json = False) -> None:
    """Run ended tasks again."""
    _decide(task_ids, "retry", as_json)


Note = Annotated[str | None, typer.Option("--note", help="Why, for the log.")]


@app.command()
def approve(task_ids: Ids, note: Note = None, as_json: Json = False) -> None:
    """Agree to what a task in review made; it is applied then."""
    _decide(task_ids, "transition", as_json, to="approved", note=note)


@app.command()
def reject(
    task_ids: Ids, note: Note = None, again: Annotated[bool, typer.Option("--again", help="Send it back to be done again.")] = False, as_json: Json = False
) -> None:
    """Refuse what a task in review made."""
    _decide(task_ids, "transition", as_json, to="queued" if again else "failed", note=note)


@app.command()
def log(
    task_id: Id,
    attempt: Annotated[int | None, typer.Option(help="Which attempt; the newest if not given.")] = None,
    generation: Annotated[int | None, typer.Option(help="Of which life of the task; the newest if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Print what an attempt printed."""
    with client() as pulser:
        text = pulser.log(task_id, attempt=attempt, generation=generation)
    if as_json:
        show.document({"task_id": task_id, "log": text})
    elif text:
        show.say(text.removesuffix("\n"))


@app.command()
def artifacts(
    task_id: Id,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Fetch this one; list them if not given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Fetch all.")] = False,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="File or folder to write to; - is standard output. The working directory if not given.")] = None,
    as_json: Json = False,
) -> None:
    """List a task's files, or fetch them."""
    with client() as pulser:
        if name and str(to) == "-":
            fetched = pulser.download_artifact(task_id, name)
            sys.stdout.buffer.write(fetched if isinstance(fetched, bytes) else b"")
            return
        task = pulser.task(task_id)
        if not name and not everything:
            if as_json:
                show.document(task["artifacts"])
            else:
                _files(task)
            return
        if everything and to is not None:
            to.mkdir(parents=True, exist_ok=True)
        names = [each["name"] for each in task["artifacts"]] if everything else [name or ""]
        written = [str(pulser.download_artifact(task_id, each, to or Path())) for each in names]
    if as_json:
        show.document({"written": written})
    else:
        for path in written:
            show.say(path)
