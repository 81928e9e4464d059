"""``pulser submit``: one task, and, if asked, its end."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client
from pulser.cli.exits import FAILED, UNAVAILABLE
from pulser.core.errors import BadInput

if TYPE_CHECKING:
    from pulser.client import Client, Task, TaskFields


def submit(
    task_type: Annotated[str, typer.Argument(metavar="TYPE", help="A task type, or auto: the router chooses by title and description.")],
    arguments: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Parts of the payload, as in --payload.", show_default=False)] = None,
    payload: Annotated[
        list[str] | None, typer.Option("--payload", "-p", help="A JSON object, @FILE with one (@- is standard input), or key=value. Repeatable; later wins.")
    ] = None,
    action: Annotated[str | None, typer.Option("--action", "-a", help="What is to be done; the type's default action if not given.")] = None,
    priority: Annotated[str | None, typer.Option(help="critical, high, medium or low.")] = None,
    title: Annotated[str | None, typer.Option(help="One line for the board.")] = None,
    description: Annotated[str | None, typer.Option(help="What is wanted, in words.")] = None,
    agent: Annotated[str | None, typer.Option(help="Who is to do it, in place of the router's choice.")] = None,
    run_at: Annotated[str | None, typer.Option(help="Not before this RFC 3339 time.")] = None,
    depends_on: Annotated[list[str] | None, typer.Option(help="A task that must succeed first. Repeatable.")] = None,
    time_limit_s: Annotated[float | None, typer.Option("--time-limit", help="Seconds one attempt may take.")] = None,
    key: Annotated[str | None, typer.Option("--key", help="Idempotency-Key: the same key submits the same task once.")] = None,
    review: Annotated[bool | None, typer.Option("--review/--no-review", help="Whether a person looks at the result first.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option("--wait", "-w", help="Wait until it has ended or is in review; exit code 1 if it failed.")] = False,
    timeout_s: Annotated[float | None, typer.Option("--timeout", help="Seconds to wait at most; exit code 6 when they are over. Implies --wait.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait, and tell what happens. With --json: an event per line, the task last.")] = False,
    as_json: Json = False,
) -> None:
    """Submit a task.

    For example: pulser submit testing action=lint path=src --wait
    """
    body = merged([*(arguments or []), *(payload or [])])
    if action:
        body["action"] = action
    given: dict[str, Any] = {
        "priority": priority, "title": title, "description": description, "agent": agent, "run_at": run_at, "depends_on": depends_on,
        "time_limit_s": time_limit_s, "review": review,
    }  # fmt: skip
    fields: TaskFields = {name: value for name, value in given.items() if value is not None}  # type: ignore[assignment]
    with client() as pulser:
        made = pulser.submit(task_type, body, key=key, **fields)
        if not (wait or follow or timeout_s is not None):
            if as_json:
                show.document(made)
            else:
                show.say(f"{made['task_id']}  {made['status']}  {made['assigned_agent']}: {made['action']}")
            return
        task = followed(pulser, made["task_id"], made["created_at"], as_json=as_json) if follow else pulser.wait(made["task_id"], timeout_s)
    told(task, as_json=as_json, line=follow)
    raise typer.Exit(verdict(task))


def merged(parts: list[str]) -> dict[str, Any]:
    """The payload that ``parts`` make together; :class:`BadInput` says which one cannot be read."""
    made: dict[str, Any] = {}
    for part in parts:
        if part.lstrip().startswith("{") or part.startswith("@"):
            made.update(_object(part))
            continue
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise BadInput(f"{part[:80]!r} is neither key=value, nor a JSON object, nor @FILE", hint='For example: path=src, or \'{"path": "src"}\'')
        made[name] = _value(value)
    return made


def _value(text: str) -> Any:
    """``true``, ``12``, ``[1]`` and the like as JSON; anything else is a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def _object(part: str) -> dict[str, Any]:
    where = "the payload"
    try:
        if part.startswith("@"):
            where = part[1:]
            part = sys.stdin.read() if part == "@-" else Path(where).read_text("utf-8")
        value = json.loads(part)
    except (OSError, ValueError) as error:
        raise BadInput(f"{where} cannot be read: {error}", hint="It must hold one JSON object, in UTF-8.") from None
    if not isinstance(value, dict):
        raise BadInput(f"{where} holds no JSON object", hint='For example: {"action": "lint", "path": "src"}')
    return value


def followed(pulser: Client, task_id: str, since: str, *, as_json: bool) -> Task:
    """Tell the task's events until it has ended or is in review."""
    from pulser.client import SETTLED

    for event in pulser.tail(task_id=task_id, since=since):
        if as_json:
            show.json_line(event)
        else:
            show.say(f"{show.when(event['ts'])}  {event.get('says') or event['event']}")
        if event["event"] != "executor_progress" and pulser.status(task_id)["status"] in SETTLED:
            break
    return pulser.task(task_id)


def told(task: Task, *, as_json: bool, line: bool = False) -> None:
    """The task and what came of it."""
    if as_json:
        (show.json_line if line else show.document)(task)
        return
    took = show.span(show.between(task.get("started_at"), task.get("completed_at")))
    show.say(f"{task['task_id']}  {task['status']}  {task['assigned_agent']}: {task['action']}  {took}".rstrip())
    if error := task.get("error"):
        show.note(f"  {error.get('detail') or error.get('code')}")
        if error.get("hint"):
            show.note(f"  {error['hint']}")
    if summary := (task.get("result") or {}).get("summary"):
        show.say(str(summary))
    for artifact in task.get("artifacts", []):
        show.say(f"  {artifact['name']}  {show.size(artifact['size_bytes'])}")


def verdict(task: Task) -> int:
    """The exit code that the task's end stands for."""
    if task["status"] in ("failed", "cancelled"):
        return FAILED
    if task["status"] not in ("completed", "in_review"):
        show.note(f"pulser: not done in time: {task['task_id']} is {task['status']}")
        return UNAVAILABLE
    return FAILED if str((task.get("result") or {}).get("verdict", "")).lower() in ("fail", "failed") else 0
