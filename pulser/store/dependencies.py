"""Tasks that wait for tasks: told when what they wait for ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, bindparam, case, insert, select, update

from pulser.core.task import TERMINAL
from pulser.store.tables import COMPANY, task_dependencies, task_queue
from pulser.store.tx import Tx

t, d = task_queue.c, task_dependencies.c

_HOLD = (
    update(task_queue)
    .where(t.company_id == COMPANY, t.task_id.in_(bindparam("ids", expanding=True)))
    .values(dependents=t.dependents + 1)
    .returning(t.task_id, t.stage)
)


def hold(tx: Tx, company: str, task_ids: Sequence[str]) -> dict[str, str]:
    """Mark ``task_ids`` as waited for and lock them, so that none ends unseen: ``id → stage`` of those that exist."""
    if not task_ids:
        return {}
    return {row.task_id: row.stage for row in tx.execute(_HOLD, {"ids": sorted(set(task_ids))}, company=company)}


def add(tx: Tx, company: str, links: Sequence[tuple[str, str, str]]) -> None:
    """Record ``(task, depends_on, needs)``."""
    if links:
        tx.execute(insert(task_dependencies), [{"company_id": company, "task_id": task, "depends_on": on, "needs": needs} for task, on, needs in links])


_WAITING = select(d.task_id, d.depends_on, d.needs).where(d.company_id == COMPANY, d.depends_on.in_(bindparam("ids", expanding=True)))

_MET = (
    update(task_queue)
    .where(t.company_id == COMPANY, t.task_id == bindparam("id"), t.stage == "waiting", t.waiting_for == "dependency")
    .values(
        blockers=t.blockers - bindparam("met"),
        stage=case((t.blockers <= bindparam("met"), "queued"), else_="waiting"),
        ready=and_(t.blockers <= bindparam("met"), t.available_at.is_(None)),
        waiting_for=case((t.blockers <= bindparam("met"), None), else_=t.waiting_for),
        version=t.version + case((t.blockers <= bindparam("met"), 1), else_=0),
        updated_at=bindparam("now"),
    )
    .returning(t.task_id, t.stage, t.version, t.assigned_agent)
)

_CANCEL = (
    update(task_queue)
    .where(t.company_id == COMPANY, t.task_id == bindparam("id"), t.stage == "waiting")
    .values(
        stage="cancelled",
        ready=False,
        waiting_for=None,
        version=t.version + 1,
        updated_at=bindparam("now"),
        completed_at=bindparam("now"),
        error_message=bindparam("message"),
        error=bindparam("error", type_=task_queue.c.error.type),
    )
    .returning(t.task_id, t.version, t.dependents)
)


def ended(tx: Tx, company: str, tasks: Sequence[tuple[str, str]]) -> tuple[list[Any], list[Any]]:
    """Tell who waits for ``tasks`` (``(id, stage)``, ended) of it, down the whole graph.

    Returns the rows that became claimable ``(id, stage, version, agent)`` and those cancelled because what they needed failed ``(id, version, cause)``.
    """
    released, cancelled = [], []
    wave = dict(tasks)
    while wave:
        met: dict[str, int] = {}
        doomed: dict[str, str] = {}
        for link in tx.execute(_WAITING, {"ids": list(wave)}, company=company):
            task_id, on, needs = link.task_id, link.depends_on, link.needs
            if wave[on] == "done" or needs == "ended":
                met[task_id] = met.get(task_id, 0) + 1
            else:
                doomed[task_id] = on
        for task_id, count in sorted(met.items()):
            if task_id not in doomed:
                rows = tx.execute(_MET, {"id": task_id, "met": count, "now": tx.now}, company=company).all()
                released += [row for row in rows if row.stage == "queued"]
        wave = {}
        for task_id, cause in sorted(doomed.items()):
            error = {
                "code": "dependency_failed",
                "detail": f"{cause}, which it depends on, did not succeed",
                "hint": "Retry that task with cascade, or submit this one again.",
            }
            for row in tx.execute(_CANCEL, {"id": task_id, "now": tx.now, "message": error["detail"], "error": error}, company=company):
                cancelled.append((row.task_id, row.version, cause))
                if row.dependents:
                    wave[row.task_id] = "cancelled"
    return released, cancelled


_REOPEN = (
    update(task_queue)
    .where(
        t.company_id == COMPANY,
        t.stage == "waiting",
        t.waiting_for == "dependency",
        t.task_id.in_(select(d.task_id).where(d.company_id == COMPANY, d.depends_on == bindparam("id"), d.needs == "ended")),
    )
    .values(blockers=t.blockers + 1)
)


def reopen(tx: Tx, company: str, task_id: str) -> None:
    """``task_id``, which had ended, begins again: who waits for its end (and still waits, for others) waits for it once more."""
    tx.execute(_REOPEN, {"id": task_id}, company=company)


_OPEN = (
    select(d.depends_on, d.needs, t.stage)
    .select_from(task_dependencies.join(task_queue, and_(t.company_id == d.company_id, t.task_id == d.depends_on)))
    .where(d.company_id == COMPANY, d.task_id == bindparam("id"))
)


def of(tx: Tx, company: str, task_id: str) -> list[Any]:
    """What ``task_id`` depends on: rows of ``depends_on, needs, stage``."""
    return list(tx.execute(_OPEN, {"id": task_id}, company=company).all())


def waiting_for(tx: Tx, company: str, task_id: str) -> list[str]:
    """Ids of the tasks that depend on ``task_id``."""
    return sorted(row.task_id for row in tx.execute(_WAITING, {"ids": [task_id]}, company=company))


def doomed(rows: Sequence[Any]) -> list[str]:
    """Those of these rows that ended without the success that is needed."""
    return [row.depends_on for row in rows if row.needs == "done" and row.stage in TERMINAL and row.stage != "done"]


def unmet(rows: Sequence[Any]) -> int:
    """How many of those rows are not met yet."""
    return sum(not (row.stage == "done" or (row.needs == "ended" and row.stage in TERMINAL)) for row in rows)
