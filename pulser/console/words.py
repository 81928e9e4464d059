"""The console's words: columns of the board, what a person may do at each stage, and sentences for events."""

from __future__ import annotations

import json
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
def sentences() -> dict[str, dict[str, str]]:
    """Kind → {icon, tone, text}; the same file that the browser reads, so that both say the same."""
    loaded: dict[str, dict[str, str]] = json.loads(assets.tree()["sentences.json"])
    return loaded


def sentence(event: dict[str, Any]) -> dict[str, str]:
    """``{icon, tone, text}`` of an event; an unknown kind is told by its name and actor."""
    kind = str(event.get("event") or "")
    known = sentences().get(kind)
    if known is None:
        return {"icon": "activity", "tone": "", "text": f"{kind.replace('_', ' ').replace('.', ' ').capitalize()} by {event.get('actor') or 'pulser'}"}
    details = event.get("details") or {}
    text = known["text"]
    for part, default in _holes(text):
        name = part.removeprefix("details.")
        value = details.get(name) if part.startswith("details.") else event.get(part)
        shown = default if value is None or value == "" else _short(value)
        text = text.replace("{" + part + ("|" + default if default else "") + "}", shown)
    return {"icon": known["icon"], "tone": known.get("tone", ""), "text": " ".join(text.split())}


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 160 else text[:159] + "…"


def _holes(text: str) -> list[tuple[str, str]]:
    holes = []
    for piece in text.split("{")[1:]:
        name, _, default = piece.partition("}")[0].partition("|")
        holes.append((name, default))
    return holes
