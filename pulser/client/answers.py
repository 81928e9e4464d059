"""What the client takes and gives: the API's shapes, as types. Answers may carry more than is named here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

Json = dict[str, Any]


class TaskFields(TypedDict, total=False):
    """What a task may say of itself besides its type and payload."""

    priority: str
    title: str
    description: str
    agent: str
    requester: str
    run_at: str  # RFC 3339
    depends_on: Sequence[str]
    time_limit_s: float
    max_retries: int
    review: bool
    checklist: Sequence[Json | str]


class TaskRequest(TaskFields):
    """One task of a batch; ``ref`` is its name for ``depends_on`` of the others."""

    task_type: str
    payload: NotRequired[Mapping[str, Any]]
    ref: NotRequired[str]


class Filters(TypedDict, total=False):
    """Which tasks; times are RFC 3339."""

    status: str | Sequence[str]
    stage: str
    task_type: str
    agent: str
    priority: str
    requester: str
    q: str
    since: str
    until: str
    parent_id: str


class Artifact(TypedDict):
    """A file a run made."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str
    url: str


class Attempt(TypedDict):
    """One claim of the task."""

    generation: int
    attempt: int
    started_at: str
    ended_at: str | None
    worker_id: str
    outcome: str  # running, succeeded, failed, retried, lost, given_back, parked, cancelled
    error: Json | None
    log_url: str | None


class Submitted(TypedDict):
    """The answer to a submission."""

    task_id: str
    task_type: str
    action: str
    status: str
    stage: str
    assigned_agent: str
    priority: str
    routing: Json
    created_at: str
    estimated_completion: str | None
    ref: NotRequired[str]


class Task(Submitted):
    """A task. Lists leave payload, result and attempts out."""

    title: str | None
    description: str | None
    requester: str | None
    payload: NotRequired[Json]
    result: NotRequired[Json | None]
    error: Json | None
    progress: Json | None
    attempts: NotRequired[list[Attempt]]
    generation: int
    retry_count: int
    max_retries: int
    depends_on: list[str]
    waiting_for: str | None
    parent_id: str | None
    checklist: list[Json]
    artifacts: list[Artifact]
    available_at: str | None
    claimed_at: str | None
    started_at: str | None
    completed_at: str | None
    updated_at: str
    version: int
    discarded: bool


class Agent(TypedDict):
    """An agent: what it is for, who serves it, how it does."""

    name: str
    role: str
    description: str
    task_types: list[Json]  # task_type, default_action, time_limit_s
    skills: list[str]
    actions: list[Json]  # action, tool, summary
    paused: bool
    load: Json
    instances: list[Json]
    stats: Json


class Event(TypedDict):
    """One line of the log."""

    id: str
    cursor: str
    ts: str
    event: str  # the kind
    actor: str
    target: str
    says: str  # the same as a sentence
    details: Json


class File(TypedDict):
    """An uploaded file."""

    file: str  # the reference for a payload: file:<sha256>
    sha256: str
    size_bytes: int
    media_type: str
    name: str | None
