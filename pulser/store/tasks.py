"""Task rows: write many, read one, page through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, func, insert, or_, select, update

from pulser.store.batch import Insertion, Row, insert_many
from pulser.store.listing import DELAYED_ROWS, LEASED_ROWS, SETTLED_ROWS, look
from pulser.store.listing import Filter as Filter
from pulser.store.tables import COMPANY, artifacts, companies, task_queue
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


def page(tx: Tx, wanted: Filter, limit: int, before: str | None) -> list[dict[str, Any]]:
    """Up to ``limit`` tasks older than the id ``before``, newest first, without their heavy columns; looks until it has them, or at all there are."""
    rows: list[dict[str, Any]] = []
    while True:
        more, before = look(tx, wanted, limit - len(rows), before)
        rows += more
        if before is None or len(rows) == limit:
            return rows


def child_ids(tx: Tx, parent_id: str) -> list[str]:
    """The ids of the sub-tasks of a task, in their order, which is also the order to lock them in."""
    return list(tx.execute(select(t.task_id).where(t.company_id == COMPANY, t.parent_id == parent_id).order_by(t.task_id)).scalars())


def children(tx: Tx, parent_id: str) -> list[dict[str, Any]]:
    """The sub-tasks of a task, oldest first."""
    statement = select(task_queue).where(t.company_id == COMPANY, t.parent_id == parent_id).order_by(t.task_id)
    return [dict(row) for row in tx.execute(statement).mappings()]


def counts(tx: Tx) -> dict[tuple[str, str], int]:
    """How many tasks there are by (agent, stage), ended ones left out; of the company, or in the engine's scope of all.

    Counted from the partial indexes: what may be claimed or is delayed is queued, but for what is approved.
    """
    mine = t.company_id == COMPANY if tx.scope == "app" else t.company_id.in_(select(companies.c.company_id))
    agent, number = t.assigned_agent, func.count().label("number")
    found: dict[tuple[str, str], int] = {}
    approved = (SETTLED_ROWS, t.stage == "approved", or_(t.ready, t.available_at.is_not(None)))
    parts: list[tuple[tuple[ColumnElement[bool], ...], int]] = [((t.ready,), 1), (DELAYED_ROWS, 1), (approved, -1)]
    for where, sign in parts:
        for row in tx.execute(select(agent, number).where(mine, *where).group_by(agent)):
            found[row.assigned_agent, "queued"] = found.get((row.assigned_agent, "queued"), 0) + sign * row.number
    for others in (and_(SETTLED_ROWS, t.stage.in_(("waiting", "review", "approved"))), LEASED_ROWS):
        for row in tx.execute(select(agent, t.stage, number).where(mine, others).group_by(agent, t.stage)):
            found[row.assigned_agent, row.stage] = row.number
    return {key: number for key, number in found.items() if number}


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
