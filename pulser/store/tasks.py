"""Task rows: write many, read one, page through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import String, cast, delete, func, insert, or_, select, update

from pulser.store.batch import Insertion, Row, insert_many
from pulser.store.tables import COMPANY, artifacts, task_queue
from pulser.store.tx import Tx

t = task_queue.c

PLAIN = (
    *("company_id", "task_id", "task_type", "action", "priority", "assigned_agent", "stage", "ready", "rank_at", "max_retries", "time_limit_s"),
    *("version", "created_at", "updated_at", "routing", "payload"),
)
SPECIAL = ("available_at", "review", "waiting_for", "blockers", "parent_id", "title", "description", "requester", "checklist")
_plain, _whole = Insertion(task_queue, PLAIN), Insertion(task_queue, PLAIN + SPECIAL)


def insert_rows(tx: Tx, rows: Sequence[Row]) -> None:
    """Insert new tasks; a row holds driver values in the order of ``PLAIN``, or of ``PLAIN`` and ``SPECIAL``.

    Two statements, because binding NULL costs SQLite's driver more than binding a text.
    """
    insert_many(tx, _plain, [row for row in rows if len(row) == len(PLAIN)])
    insert_many(tx, _whole, [row for row in rows if len(row) > len(PLAIN)])


def one(tx: Tx, task_id: str, *, lock: bool = False) -> dict[str, Any] | None:
    """The whole row, or None; ``lock`` holds it until the commit."""
    statement = select(task_queue).where(t.company_id == COMPANY, t.task_id == task_id)
    found = tx.execute(statement.with_for_update() if lock else statement).mappings().first()
    return dict(found) if found is not None else None


def put(tx: Tx, task_id: str, values: Mapping[str, Any], *, events: int) -> int:
    """Change a row that this transaction has locked; returns its new version, ``events`` higher."""
    statement = (
        update(task_queue)
        .where(t.company_id == COMPANY, t.task_id == task_id)
        .values(**values, version=t.version + events, updated_at=tx.now)
        .returning(t.version)
    )
    return int(tx.execute(statement).scalar_one())


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks to list; empty fields do not filter."""

    stages: tuple[str, ...] = ()
    task_type: str = ""
    agent: str = ""
    priority: str = ""
    requester: str = ""
    text: str = ""
    parent_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    discarded: bool | None = None


HEAVY = ("payload", "result", "attempts", "routing", "checklist", "description")
_LIST = [column for column in task_queue.c if column.name not in HEAVY]


def page(tx: Tx, wanted: Filter, limit: int, before: str | None) -> list[dict[str, Any]]:
    """Up to ``limit`` tasks older than the id ``before``, newest first, without their heavy columns."""
    statement = select(*_LIST).where(t.company_id == COMPANY).order_by(t.task_id.desc()).limit(limit)
    if before:
        statement = statement.where(t.task_id < before)
    if wanted.stages:
        statement = statement.where(t.stage.in_(wanted.stages))
    for column, value in (
        (t.task_type, wanted.task_type),
        (t.assigned_agent, wanted.agent),
        (t.priority, wanted.priority),
        (t.requester, wanted.requester),
        (t.parent_id, wanted.parent_id),
    ):
        if value:
            statement = statement.where(column == value)
    if wanted.since:
        statement = statement.where(t.created_at >= wanted.since)
    if wanted.until:
        statement = statement.where(t.created_at < wanted.until)
    if wanted.discarded is not None:
        statement = statement.where(t.discarded == wanted.discarded)
    if wanted.text:
        like = "%" + wanted.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        statement = statement.where(or_(*[cast(column, String).ilike(like, escape="\\") for column in (t.title, t.description, t.task_id, t.action)]))
    return [dict(row) for row in tx.execute(statement).mappings()]


def child_ids(tx: Tx, parent_id: str) -> list[str]:
    """The ids of the sub-tasks of a task, in their order, which is also the order to lock them in."""
    return list(tx.execute(select(t.task_id).where(t.company_id == COMPANY, t.parent_id == parent_id).order_by(t.task_id)).scalars())


def children(tx: Tx, parent_id: str) -> list[dict[str, Any]]:
    """The sub-tasks of a task, oldest first."""
    statement = select(task_queue).where(t.company_id == COMPANY, t.parent_id == parent_id).order_by(t.task_id)
    return [dict(row) for row in tx.execute(statement).mappings()]


def counts(tx: Tx) -> dict[tuple[str, str], int]:
    """How many tasks there are by (agent, stage), ended ones left out."""
    statement = (
        select(t.assigned_agent, t.stage, func.count().label("number"))
        .where(t.company_id == COMPANY, t.stage.not_in(("done", "failed", "cancelled")))
        .group_by(t.assigned_agent, t.stage)
    )
    return {(row.assigned_agent, row.stage): row.number for row in tx.execute(statement)}


def put_artifacts(tx: Tx, rows: Sequence[Mapping[str, Any]]) -> None:
    """Name files that a task made; a later attempt's file of the same name replaces the earlier one's."""
    a = artifacts.c
    for row in rows:
        tx.execute(delete(artifacts).where(a.company_id == COMPANY, a.task_id == row["task_id"], a.name == row["name"]))
    if rows:
        tx.execute(insert(artifacts), [dict(row) for row in rows])


def artifacts_of(tx: Tx, task_id: str) -> list[dict[str, Any]]:
    """The files of a task, its logs included (``kind``)."""
    a = artifacts.c
    return [dict(row) for row in tx.execute(select(artifacts).where(a.company_id == COMPANY, a.task_id == task_id).order_by(a.name)).mappings()]
