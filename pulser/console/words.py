"""The console's words: columns of the board, what a person may do at each stage, and how events are shown."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from pulser.console import assets


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the board: the API status it shows, its heading, and the stage that a card dropped on it should reach."""

    status: str
    title: str
    target: str
    empty: str


COLUMNS = (
    Column("queued", "Queued", "queued", "Nothing waits for a worker."),
    Column("waiting", "Waiting", "waiting", "Nothing waits for another task."),
    Column("running", "Running", "in_progress", "No agent is at work."),
    Column("in_review", "Review", "review", "Nothing is left to review."),
    Column("completed", "Done", "done", "Nothing is finished yet."),
    Column("failed", "Failed", "failed", "Nothing failed."),
    Column("cancelled", "Cancelled", "cancelled", "Nothing was cancelled."),
)
STATUS_TITLES = {column.status: column.title for column in COLUMNS} | {"in_review": "In review"}
PRIORITIES = ("critical", "high", "medium", "low")


@dataclass(frozen=True, slots=True)
class Move:
    """Something a person may do with a task: the button, and the request behind it."""

    name: str
    title: str
    icon: str
    path: str  # below /api/v1/tasks/{id}/
    to: str = ""  # the stage, for the transition route
    danger: bool = False
    primary: bool = False


APPROVE = Move("approve", "Approve", "checkmark", "transition", "approved", primary=True)
SEND_BACK = Move("send-back", "Send back", "undo", "transition", "queued")
REJECT = Move("reject", "Reject", "misuse", "transition", "failed", danger=True)
CANCEL = Move("cancel", "Cancel", "stop--outline", "cancel", danger=True)
RETRY = Move("retry", "Retry", "restart", "retry", primary=True)
REQUEUE = Move("requeue", "Requeue", "restart", "requeue", primary=True)
DISCARD = Move("discard", "Discard", "trash-can", "discard", danger=True)

_MOVES: dict[str, tuple[Move, ...]] = {
    "queued": (CANCEL,),
    "waiting": (CANCEL,),
    "claimed": (CANCEL,),
    "in_progress": (CANCEL,),
    "review": (APPROVE, SEND_BACK, REJECT, CANCEL),
    "approved": (CANCEL,),
    "merging": (CANCEL,),
    "failed": (REQUEUE, DISCARD),
    "cancelled": (RETRY,),
}


def moves(task: dict[str, Any]) -> tuple[Move, ...]:
    """What a person may do with ``task`` now; a discarded one can still be requeued."""
    found = _MOVES.get(str(task.get("stage")), ())
    return tuple(move for move in found if not (move is DISCARD and task.get("discarded")))


@cache
def kinds() -> dict[str, dict[str, str]]:
    """Kind of event → {icon, tone}; the same file that the browser reads."""
    loaded: dict[str, dict[str, str]] = json.loads(assets.tree()["kinds.json"])
    return loaded


def task_of(event: dict[str, Any]) -> str:
    """The task an event is about; empty if it is about something else."""
    target = str(event.get("target") or "")
    return str(event.get("task_id") or (target if target.startswith("tsk_") else ""))


def told(event: dict[str, Any]) -> dict[str, str]:
    """``{icon, tone, task, before, after}``: the event's sentence, with the id of its task taken out, to be a link."""
    kind = str(event.get("event") or "")
    look = kinds().get(kind, {})
    task = task_of(event)
    says = str(event.get("says") or f"{event.get('target') or event.get('actor') or 'pulser'}: {re.sub('[_.]', ' ', kind)}")
    if says.startswith("the "):
        says = "T" + says[1:]
    before, found, after = says.partition(task) if task else (says, "", "")
    return {"icon": look.get("icon", "activity"), "tone": look.get("tone", ""), "task": task, "before": before, "after": after if found else ""}
