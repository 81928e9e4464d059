"""A task: its stages, the one table of allowed moves, its priorities and the words other rooms use for it."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from pulser.core.errors import IllegalMove

Stage = Literal["queued", "claimed", "in_progress", "waiting", "review", "approved", "merging", "done", "failed", "cancelled"]
Status = Literal["queued", "waiting", "running", "in_review", "completed", "failed", "cancelled"]
Priority = Literal["critical", "high", "medium", "low"]
WaitingFor = Literal["dependency", "approval", "quota", "budget", "event"]

# from -> {to: why}. The drawing in docs/reference/stages.md is generated from this table.
MOVES: dict[Stage, dict[Stage, str]] = {
    "queued": {"claimed": "a worker takes it", "waiting": "it depends on something", "cancelled": "a person or a failed dependency"},
    "claimed": {
        "in_progress": "the work starts",
        "queued": "given back, or its lease expired",
        "failed": "its worker was lost too often",
        "cancelled": "a person",
    },
    "in_progress": {
        "done": "finished",
        "review": "finished, and a person is to look",
        "queued": "retry, given back, or its lease expired",
        "waiting": "it waits for something",
        "failed": "a permanent error, or no retries left",
        "cancelled": "a person",
    },
    "waiting": {"queued": "what it waited for is there", "cancelled": "a person or a failed dependency", "failed": "what it waited for cannot come"},
    "review": {"approved": "a person agrees", "queued": "a person sends it back", "cancelled": "a person", "failed": "a person rejects it"},
    "approved": {"merging": "a worker applies it", "cancelled": "a person"},
    "merging": {"done": "applied", "approved": "given back, retry, or its lease expired", "failed": "it cannot be applied", "cancelled": "a person"},
    "done": {},
    "failed": {"queued": "requeued: the next generation"},
    "cancelled": {"queued": "retried: the next generation"},
}
STAGES: tuple[Stage, ...] = tuple(MOVES)
RUNNING: tuple[Stage, ...] = ("claimed", "in_progress", "merging")  # under a lease
TERMINAL: tuple[Stage, ...] = ("done", "failed", "cancelled")
STATUS: dict[Stage, Status] = {
    "queued": "queued",
    "waiting": "waiting",
    "claimed": "running",
    "in_progress": "running",
    "review": "in_review",
    "approved": "in_review",
    "merging": "in_review",
    "done": "completed",
    "failed": "failed",
    "cancelled": "cancelled",
}
PRIORITIES: tuple[Priority, ...] = ("critical", "high", "medium", "low")


def check_move(old: Stage, new: Stage) -> None:
    """Raise :class:`IllegalMove` with the allowed moves unless ``old`` leads to ``new``."""
    if new not in MOVES[old]:
        allowed = sorted(MOVES[old])
        raise IllegalMove(
            f"a task that is {old} cannot become {new}",
            hint=f"From {old} it can become: {', '.join(allowed)}." if allowed else f"{old} is final.",
            stage=old,
            allowed=allowed,
        )


@dataclass(slots=True)
class Claimed:
    """What a worker holds: the task as it was claimed, and the fencing token that every write on its behalf must name."""

    company_id: str
    task_id: str
    token: int
    stage: Stage  # in_progress, or merging when an approved result is to be applied
    task_type: str
    action: str
    agent: str
    payload: dict[str, Any]
    attempt: int  # 1 for the first claim of this generation
    retries: int  # failed attempts of this generation so far
    max_retries: int
    time_limit_s: float
    review: bool
    version: int  # number of the last event of this task
    claimed_at: datetime
    created_at: datetime
    generation: int = 1
    parent_id: str | None = None
    requester: str | None = None
    result: dict[str, Any] | None = None  # of the reviewed attempt, in merging
    attempts: list[dict[str, Any]] = field(default_factory=list)  # ended ones, oldest first


@dataclass(slots=True)
class Artifact:
    """A file a run made, already stored by content."""

    name: str
    sha256: str
    size_bytes: int
    media_type: str


@dataclass(slots=True)
class Outcome:
    """How one attempt ended. ``end`` decides the move; the rest is what is written with it."""

    task: Claimed
    end: Literal["finish", "retry", "fail", "park", "give_back"]
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None  # {"code", "detail", "hint"}
    artifacts: list[Artifact] = field(default_factory=list)
    log: Artifact | None = None  # what the attempt printed
    waiting_for: WaitingFor | None = None
    spawn: list[Any] = field(default_factory=list)  # sub-tasks (intake requests) to submit in the same transaction
    started_at: datetime | None = None
