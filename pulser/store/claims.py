"""The lease on a task, from claim to settlement. Every write on behalf of the work names its fencing token."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, update

from pulser.core.task import RUNNING, Claimed
from pulser.store import postgres, sqlite
from pulser.store.batch import Change, update_many
from pulser.store.tables import COMPANY, task_queue
from pulser.store.tx import Tx

Agents = frozenset[str] | None  # None: all

_CLOSED = """SELECT company_id, agent FROM agent_pauses UNION ALL SELECT '', agent FROM instances WHERE worker_id = ? AND NOT available"""

_CLAIM = """UPDATE task_queue t SET stage = CASE t.stage WHEN 'approved' THEN 'merging' ELSE 'in_progress' END, ready = {false}, token = t.token + 1,
 attempt = t.attempt + 1, version = t.version + 2, worker_id = {worker}, lease_expires_at = {expires}, claimed_at = {now}, updated_at = {now},
 available_at = NULL
 {which}
 RETURNING {t}company_id, {t}task_id, {t}token, {t}stage, {t}task_type, {t}action, {t}assigned_agent, {t}payload, {t}attempt, {t}retry_count, {t}max_retries,
 {t}time_limit_s, {t}review, {t}version, {t}generation, {t}parent_id, {t}requester, {t}result, {t}attempts, {t}created_at"""
_CLAIM_SQLITE = _CLAIM.replace("task_queue t", "task_queue AS t").format(
    false="0", worker="?1", expires="?2", now="?3", which="WHERE rowid IN (SELECT value FROM json_each(?4))", t=""
)
_CLAIM_POSTGRES = _CLAIM.format(
    false="false",
    worker="%(worker)s",
    expires="%(expires)s",
    now="%(now)s",
    which="FROM picked p WHERE t.company_id = p.company_id AND t.task_id = p.task_id",
    t="t.",
)


def claim(tx: Tx, worker_id: str, agents: Agents, limit: int, lease_s: float, *, critical: bool = False) -> list[Claimed]:
    """Lease up to ``limit`` tasks to ``worker_id``; with ``critical`` only such. The caller writes the events."""
    expires = tx.time(tx.now + timedelta(seconds=lease_s))
    if tx.sqlite:
        closed = {(company, agent) for company, agent in tx.raw(_CLOSED, (worker_id,), "agent_pauses", "instances")}
        keys = sqlite.candidates(tx, agents, closed, limit, critical=critical)
        rows = tx.raw(_CLAIM_SQLITE, (worker_id, expires, tx.now_value, json.dumps(keys)), "task_queue") if keys else []
    else:
        rows = postgres.claim(tx, worker_id, agents, limit, expires, _CLAIM_POSTGRES, critical=critical)
    document = tx.document
    return [
        Claimed(
            company_id=row[0],
            task_id=row[1],
            token=row[2],
            stage=row[3],
            task_type=row[4],
            action=row[5],
            agent=row[6],
            payload=document(row[7]),
            attempt=row[8],
            retries=row[9],
            max_retries=row[10],
            time_limit_s=row[11],
            review=bool(row[12]),
            version=row[13],
            generation=row[14],
            parent_id=row[15],
            requester=row[16],
            result=document(row[17]),
            attempts=document(row[18]) or [],
            claimed_at=tx.now,
            created_at=tx.instant(row[19]) or tx.now,
        )
        for row in rows
    ]


@dataclass(slots=True)
class Settlement:
    """The end of an attempt, as it is written."""

    company_id: str
    task_id: str
    token: int
    stage: str
    ready: bool
    available_at: datetime | None
    completed: bool
    failures: int  # added to retry_count
    attempts: list[dict[str, Any]]
    events: int  # how many events tell of it
    result: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    waiting_for: str | None = None
    blockers: int = 0


_KEY = ("company_id", "task_id", "token")
_HELD = "t.stage IN ('claimed', 'in_progress', 'merging')"
_ANSWER = ("company_id", "task_id", "version", "dependents")
_ENDED = {
    "version": "t.version + d.version",
    "lease_expires_at": "NULL",
    "progress": "NULL",
    "updated_at": "d.updated_at",
    "attempts": "d.attempts",
    "result": "d.result",
}

_DONE = Change(  # most tasks end so; binding the NULLs of the others costs SQLite's driver more than the values
    task_queue,
    key=_KEY,
    data=(*_KEY, "attempts", "result", "version", "updated_at"),
    sets={**_ENDED, "stage": "'done'", "completed_at": "d.updated_at", "error_message": "NULL", "error": "NULL"},
    where=_HELD,
    returning=_ANSWER,
)
_OTHER = ("stage", "ready", "available_at", "completed_at", "retry_count", "error_message", "error", "waiting_for", "blockers")
_SETTLE = Change(
    task_queue,
    key=_KEY,
    data=(*_KEY, "attempts", "result", "version", "updated_at", *_OTHER),
    sets={**_ENDED, **{name: f"d.{name}" for name in _OTHER}, "retry_count": "t.retry_count + d.retry_count"},
    where=_HELD,
    returning=_ANSWER,
)


def settle(tx: Tx, settlements: Sequence[Settlement]) -> dict[tuple[str, str], tuple[int, int]]:
    """Write the ends of attempts whose lease still holds: ``(company, task) → (version, dependents)``. Who is missing has lost its lease."""
    now = tx.now_value
    done: list[tuple[Any, ...]] = []
    other: list[tuple[Any, ...]] = []
    for s in sorted(settlements, key=lambda s: (s.company_id, s.task_id)):  # everybody locks rows in this order
        row = (s.company_id, s.task_id, s.token, tx.json(s.attempts), tx.json(s.result), s.events, now)
        if s.stage == "done":
            done.append(row)
            continue
        times = (tx.time(s.available_at), now if s.completed else None)
        error = (s.error["detail"] if s.error else None, tx.json(s.error))
        other.append((*row, s.stage, s.ready, *times, s.failures, *error, s.waiting_for, s.blockers))
    return {(row[0], row[1]): (row[2], row[3]) for row in [*update_many(tx, _DONE, done), *update_many(tx, _SETTLE, other)]}


_RENEW = Change(
    task_queue,
    key=("company_id", "task_id", "token"),
    data=("company_id", "task_id", "token", "lease_expires_at"),
    sets={"lease_expires_at": "d.lease_expires_at"},
    where="t.stage IN ('claimed', 'in_progress', 'merging')",
)


def renew(tx: Tx, held: Sequence[tuple[str, str, int]], lease_s: float) -> set[tuple[str, str]]:
    """Renew all leases ``(company, task, token)`` of a worker in one statement; returns those that still hold."""
    expires = tx.time(tx.now + timedelta(seconds=lease_s))
    return {(row[0], row[1]) for row in update_many(tx, _RENEW, [(*key, expires) for key in sorted(held)])}


_EXPIRED = """SELECT company_id, task_id, token, stage, worker_id, reclaims, attempts, attempt, generation, claimed_at, assigned_agent FROM task_queue
 WHERE lease_expires_at IS NOT NULL AND lease_expires_at < {now} AND stage IN ('claimed', 'in_progress', 'merging') ORDER BY lease_expires_at LIMIT {limit}"""


@dataclass(slots=True)
class Expired:
    """A task whose worker fell silent."""

    company_id: str
    task_id: str
    token: int
    stage: str
    worker_id: str
    reclaims: int
    attempts: list[dict[str, Any]]
    attempt: int
    generation: int
    claimed_at: datetime
    agent: str


def expired(tx: Tx, limit: int) -> list[Expired]:
    """Tasks whose lease has run out, locked until the commit."""
    if tx.sqlite:
        rows = tx.raw(_EXPIRED.format(now="?", limit="?"), (tx.now_value, limit), "task_queue")
    else:
        rows = tx.raw(_EXPIRED.format(now="%s", limit="%s") + " FOR UPDATE SKIP LOCKED", (tx.now_value, limit), "task_queue")
    return [
        Expired(
            company_id=row[0],
            task_id=row[1],
            token=row[2],
            stage=row[3],
            worker_id=row[4],
            reclaims=row[5],
            attempts=tx.document(row[6]) or [],
            attempt=row[7],
            generation=row[8],
            claimed_at=tx.instant(row[9]) or tx.now,
            agent=row[10],
        )
        for row in rows
    ]


_RECLAIM = Change(
    task_queue,
    key=("company_id", "task_id", "token"),
    data=(*_KEY, "stage", "ready", "available_at", "completed_at", "attempts", "error_message", "error", "version", "updated_at"),
    sets={
        "stage": "d.stage",
        "ready": "d.ready",
        "available_at": "d.available_at",
        "completed_at": "d.completed_at",
        "attempts": "d.attempts",
        "error_message": "d.error_message",
        "error": "d.error",
        "version": "t.version + d.version",
        "updated_at": "d.updated_at",
        "reclaims": "t.reclaims + 1",
        "token": "t.token + 1",
        "lease_expires_at": "NULL",
        "progress": "NULL",
    },
    returning=("company_id", "task_id", "version", "dependents"),
)


def reclaim(tx: Tx, rows: Sequence[tuple[Any, ...]]) -> dict[tuple[str, str], tuple[int, int]]:
    """Take expired leases back; the token grows, so that the late holder's writes change nothing."""
    return {(row[0], row[1]): (row[2], row[3]) for row in update_many(tx, _RECLAIM, rows)}


_DUE = """UPDATE task_queue SET ready = {true}, updated_at = {now} WHERE {key} IN (SELECT {key} FROM task_queue
 WHERE stage IN ('queued', 'approved') AND {not_ready}
 AND available_at IS NOT NULL AND available_at <= {now} ORDER BY available_at LIMIT 1000{lock}) RETURNING assigned_agent"""


def release_due(tx: Tx) -> set[str]:
    """Make delayed tasks claimable whose time has come; returns their agents."""
    if tx.sqlite:
        rows = tx.raw(_DUE.format(true="1", now="?1", key="rowid", not_ready="ready = 0", lock=""), (tx.now_value,), "task_queue")
    else:
        sql = _DUE.format(true="true", now="%(now)s", key="(company_id, task_id)", not_ready="NOT ready", lock=" FOR UPDATE SKIP LOCKED")
        rows = tx.raw(sql.replace("SELECT (company_id, task_id) FROM", "SELECT company_id, task_id FROM"), {"now": tx.now_value}, "task_queue")
    return {row[0] for row in rows}


_NEXT_DUE = "SELECT min(available_at) FROM task_queue WHERE stage IN ('queued', 'approved') AND {not_ready} AND available_at IS NOT NULL"


def next_due(tx: Tx) -> datetime | None:
    """When the next delayed task becomes claimable."""
    not_ready = "ready = 0" if tx.sqlite else "NOT ready"
    [[value]] = tx.raw(_NEXT_DUE.format(not_ready=not_ready), (), "task_queue")
    return tx.instant(value)


_PROGRESS = (
    update(task_queue)
    .where(
        task_queue.c.company_id == COMPANY, task_queue.c.task_id == bindparam("id"), task_queue.c.token == bindparam("held"), task_queue.c.stage.in_(RUNNING)
    )
    .values(progress=bindparam("said"), version=task_queue.c.version + 1)
    .returning(task_queue.c.version)
)


def progress(tx: Tx, task_id: str, token: int, said: dict[str, Any]) -> int | None:
    """Write how far the work is, if the lease still holds; returns the new version."""
    return tx.execute(_PROGRESS, {"id": task_id, "held": token, "said": said}).scalar_one_or_none()
