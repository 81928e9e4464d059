"""The demo: every agent at work on something real, shown as it goes, with a table at the end.

It speaks to a running Pulser through :class:`pulser.client.Client` (handed in). ``pulser serve --demo`` makes :func:`demo_roots` readable;
against another server, single files are uploaded instead, and what needs a folder that the server may not read is left out, aloud.
"""

from __future__ import annotations

import json as json_
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulser.app.demo_tasks import Piece, capacity, demo_roots, pieces
from pulser.core.clock import monotonic
from pulser.core.errors import BadInput, Unavailable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["demo_roots", "run_demo"]

BEGINNING = "1970-01-01T00:00:00Z"  # where nothing has happened yet
ENDED = ("completed", "failed", "cancelled", "in_review")
STYLES = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan", "in_review": "magenta"}


@dataclass(slots=True)
class Shown:
    """A task of the demo as it goes."""

    piece: Piece
    task_id: str
    agent: str
    action: str
    status: str
    began: float  # monotonic
    uploaded: bool = False
    task: dict[str, Any] = field(default_factory=dict)  # whole, once it has ended

    def took_s(self) -> float:
        """Seconds of work if it has ended, else seconds since it was submitted."""
        start = self.task.get("created_at" if self.action == "coordinate" else "started_at")  # that one waits for its steps
        return _seconds(start, self.task["completed_at"]) if start and self.task.get("completed_at") else monotonic() - self.began


def run_demo(client: Any, console: Console, json: bool = False) -> int:
    """Run it against ``client``'s server, showing it on ``console``; the exit code: 1 if a task failed. With ``json`` the end is a document on stdout."""
    if not console.is_terminal:
        console.width = max(console.width, 160)
    _need_workers(client)
    shown: list[Shown] = []
    skipped: list[str] = []
    since = client.latest_events(1)
    began = monotonic()
    with _display(console, shown):
        openapi = client.upload(json_.dumps(client.openapi()).encode(), "openapi.json")["file"] + "/openapi.json"
        for each in pieces(openapi):
            if isinstance(each, Piece):
                _submit(client, each, shown, skipped)
            else:
                skipped.append(each)
        _follow(client, console, shown, skipped, since[-1]["cursor"] if since else BEGINNING)
        subtasks = {each.task_id: _steps(client, each) for each in shown}
        _submit(client, capacity(_durations([each.task for each in shown] + [step for steps in subtasks.values() for step in steps])), shown, skipped)
        shown[-1].task = client.wait(shown[-1].task_id)
        _told(console, shown[-1])
    if json:
        print(json_.dumps(_document(client.url, shown, skipped, subtasks), ensure_ascii=False, indent=2))
    else:
        _summary(console, client.url, shown, skipped, subtasks, monotonic() - began)
    return 0 if all(each.status == "completed" for each in shown) else 1


def _need_workers(client: Any) -> None:
    idle = [a["name"] for a in client.agents() if not any(each["alive"] and each["available"] for each in a["instances"])]
    if idle:
        raise Unavailable(f"no worker serves {', '.join(idle)}", hint="Start one with: pulser worker. Or start the server without --no-workers.")


# ---- submitting


def _submit(client: Any, piece: Piece, shown: list[Shown], skipped: list[str], *, upload: bool = False) -> None:
    """Submit ``piece``; where the server may not read its files, again with uploaded ones; otherwise leave it out."""
    needs = [each.task_id for each in shown if each.piece.name in piece.needs]
    try:
        payload = _placed(piece.payload, client if upload else None)
        made = client.submit(
            piece.task_type, payload, title=f"Demo: {piece.name}", requester="demo", **({"depends_on": needs} if needs else {}), **piece.fields
        )
    except BadInput as error:
        _instead(client, piece, shown, skipped, error.detail, uploaded=upload)
        return
    shown.append(Shown(piece, made["task_id"], made["assigned_agent"], made["action"], made["status"], monotonic(), upload))


def _instead(client: Any, piece: Piece, shown: list[Shown], skipped: list[str], why: str, *, uploaded: bool) -> None:
    places = list(_places(piece.payload))
    if not places or uploaded or not all(place.is_file() for place in places):
        skipped.append(f"{piece.name}: {why}")
    else:
        _submit(client, piece, shown, skipped, upload=True)


def _places(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _places(each)


def _placed(value: Any, client: Any) -> Any:
    """The payload with its places as paths, or, with a client to upload them, as references."""
    if isinstance(value, Path):
        return f"{client.upload(value)['file']}/{value.name}" if client is not None else str(value)
    if isinstance(value, dict):
        return {name: _placed(each, client) for name, each in value.items()}
    return [_placed(each, client) for each in value] if isinstance(value, list) else value


# ---- following


def _follow(client: Any, console: Console, shown: list[Shown], skipped: list[str], since: str) -> None:
    """Until all have ended: each event about one of them is a reason to look."""
    for event in client.tail(since=since):
        row = next((each for each in shown if each.task_id == event["target"]), None)
        if row is not None and event["event"] != "executor_progress" and row.status not in ENDED:
            row.status = client.status(row.task_id)["status"]
            if row.status in ENDED:
                _ended(client, console, row, shown, skipped)
        if all(each.status in ENDED for each in shown):
            return


def _ended(client: Any, console: Console, row: Shown, shown: list[Shown], skipped: list[str]) -> None:
    row.task = client.task(row.task_id)
    failed = [each for each in [row.task, *_steps(client, row)] if each["status"] == "failed"]
    refused = next((each["error"]["detail"] for each in failed if (each.get("error") or {}).get("code") == "bad-input"), None)
    if refused and list(_places(row.piece.payload)) and not row.uploaded:
        shown.remove(row)  # the server may not read what is here: not its failure
        for each in failed:
            client.discard(each["task_id"])
        _instead(client, row.piece, shown, skipped, refused, uploaded=False)
        return
    _told(console, row)


def _told(console: Console, row: Shown) -> None:
    row.status = row.task["status"]
    if not console.is_terminal:
        console.print(f"{row.status:<10} {row.piece.name} ({row.agent}, {row.took_s():.1f} s)", markup=False, highlight=False)


def _steps(client: Any, row: Shown) -> list[Any]:
    """Sub-tasks in the order they ran."""
    if row.action != "coordinate":
        return []
    return sorted(client.tasks(parent_id=row.task_id), key=lambda step: step["started_at"] or "~")


def _durations(tasks: list[Any]) -> list[float]:
    """Seconds of work of those that have ended; what was too short to see counts as a millisecond."""
    return [max(_seconds(task["started_at"], task["completed_at"]), 0.001) for task in tasks if task.get("started_at") and task.get("completed_at")]


def _seconds(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


# ---- showing


@contextmanager
def _display(console: Console, shown: list[Shown]) -> Iterator[None]:
    """A table that lives while the work goes on, on a terminal."""
    if not console.is_terminal:
        yield
        return
    from rich.live import Live

    with Live(get_renderable=lambda: _table(shown), console=console, refresh_per_second=8, transient=True):
        yield


def _table(shown: list[Shown], *, ended: bool = False, subtasks: dict[str, list[Any]] | None = None) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("demo task", "agent", "status", "took", *(("files", "look at") if ended else ())):
        table.add_column(name, justify="right" if name == "took" else "left", no_wrap=name == "look at", overflow="fold")
    for each in list(shown):
        cells: list[Any] = [each.piece.name, f"{each.agent}: {each.action}", Text(each.status, STYLES.get(each.status, "dim")), f"{each.took_s():.1f} s"]
        table.add_row(*cells, *((_files(each.task), f"/tasks/{each.task_id}") if ended else ()))
        for step in (subtasks or {}).get(each.task_id, ()):
            took = f"{sum(_durations([step])):.1f} s"
            status = Text(step["status"], STYLES.get(step["status"], "dim"))
            table.add_row(f"  └ {step['title']}", f"{step['assigned_agent']}: {step['action']}", status, took, "", f"/tasks/{step['task_id']}")
    return table


def _files(task: dict[str, Any]) -> str:
    names = [each["name"] for each in task.get("artifacts", [])]
    short = [name if len(name) <= 24 else name[:23] + "…" for name in names[:2]]
    return ", ".join(short) + (f" + {len(names) - 2}" if len(names) > 2 else "")


def _summary(console: Console, url: str, shown: list[Shown], skipped: list[str], subtasks: dict[str, list[Any]], took_s: float) -> None:
    console.print(_table(shown, ended=True, subtasks=subtasks))
    for each in shown:
        error = each.task.get("error")
        if error:
            console.print(f"{each.piece.name}: {error.get('detail')} {error.get('hint') or ''}", style="red", markup=False)
    for line in skipped:
        console.print(f"left out: {line}", style="yellow", markup=False)
    done = sum(each.status == "completed" for each in shown)
    agents = len({each.agent for each in shown} | {step["assigned_agent"] for steps in subtasks.values() for step in steps})
    files = sum(len(each.task.get("artifacts", [])) for each in shown)
    console.print(f"{done} of {len(shown)} tasks completed by {agents} agents in {took_s:.0f} s, {files} files made.", markup=False, highlight=False)
    console.print(f"Look around: {url} (board)   {url}/agents   {url}/events   {url}/docs (API)", markup=False, highlight=False, soft_wrap=True)
    console.print("To change something in the browser, open it with: pulser open", markup=False, highlight=False)


def _document(url: str, shown: list[Shown], skipped: list[str], subtasks: dict[str, list[Any]]) -> dict[str, Any]:
    tasks = [
        {
            "name": each.piece.name,
            "task_id": each.task_id,
            "agent": each.agent,
            "action": each.action,
            "status": each.status,
            "took_s": round(each.took_s(), 3),
            "artifacts": [artifact["name"] for artifact in each.task.get("artifacts", [])],
            "summary": (each.task.get("result") or {}).get("summary"),
            "error": each.task.get("error"),
            "url": f"{url}/tasks/{each.task_id}",
            "steps": [{name: step[name] for name in ("task_id", "title", "assigned_agent", "status")} for step in subtasks.get(each.task_id, ())],
        }
        for each in shown
    ]
    return {"ok": all(each.status == "completed" for each in shown), "tasks": tasks, "left_out": skipped, "url": url}
