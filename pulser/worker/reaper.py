"""The sweep: expired leases are taken back, delayed tasks come due. One statement each, acting on what it reads."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from pulser.core.clock import iso
from pulser.core.retry import apart
from pulser.core.settings import Queue
from pulser.events.append import STAGE, emit
from pulser.store import claims
from pulser.store.tx import Tx
from pulser.worker.dependents import tell_dependents

BATCH = 500


def sweep(tx: Tx, queue: Queue) -> tuple[int, bool]:
    """Take back what fell silent and release what is due; returns how many leases were reclaimed, and whether to come back at once."""
    tx.hints.agents |= claims.release_due(tx)
    due = claims.next_due(tx)
    if due is not None:
        tx.hints.due_at(due)
    silent = claims.expired(tx, BATCH)
    rows: list[tuple[Any, ...]] = []
    for task in silent:
        buried = task.reclaims + 1 > queue.max_reclaims
        apart_s = 0.0 if buried else apart(task.reclaims + 1, int.from_bytes(tx.random(2), "big") / 65536, queue.retry_delays_s)
        at = tx.now + timedelta(seconds=apart_s) if apart_s else None
        stage = "failed" if buried else "approved" if task.stage == "merging" else "queued"
        attempt = {
            "generation": task.generation,
            "attempt": task.attempt,
            "started_at": iso(task.claimed_at),
            "ended_at": iso(tx.now),
            "worker_id": task.worker_id,
            "outcome": "lost",
        }
        error = (
            {
                "code": "worker_lost",
                "detail": f"its worker fell silent {task.reclaims + 1} times",
                "hint": "Look at the workers' logs: it may be what kills them.",
            }
            if buried
            else None
        )
        rows.append(
            (
                task.company_id,
                task.task_id,
                task.token,
                stage,
                not buried and at is None,
                tx.time(at),
                tx.now_value if buried else None,
                tx.json([*task.attempts, attempt]),
                error["detail"] if error else None,
                tx.json(error),
                2 if buried else 1,
                tx.now_value,
            )
        )
    versions = claims.reclaim(tx, rows)
    for task, row in zip(silent, rows, strict=True):
        key = (task.company_id, task.task_id)
        if key not in versions:
            continue
        version, dependents = versions[key]
        stage = row[3]
        details = {"worker_id": task.worker_id, "token": task.token, "reclaims": task.reclaims + 1}
        tx.hints.cancelled.append((task.task_id, task.token))
        if row[5] is not None:
            tx.hints.due_at(tx.instant(row[5]) or tx.now)
        if stage == "failed":
            emit(tx, "lease_reclaimed", *key, version - 1, details, before=STAGE[task.stage], after=STAGE[stage])
            emit(tx, "task_failed", *key, version, {"agent": task.agent, "error": row[8], "code": "worker_lost"})
            if dependents:
                tell_dependents(tx, task.company_id, [(task.task_id, "failed")])
        else:
            emit(tx, "lease_reclaimed", *key, version, details, before=STAGE[task.stage], after=STAGE[stage])
    if any(row[4] for row in rows):
        tx.hints.agents.add("*")
    return len(versions), len(silent) == BATCH
