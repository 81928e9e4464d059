"""What people do to tasks on the board: move, cancel, retry, requeue, discard, change. Functions of a company's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pulser.core.clock import iso
from pulser.core.errors import Conflict, IllegalMove, NotFound
from pulser.core.task import MOVES, RUNNING, TERMINAL, Stage, check_move
from pulser.events.append import STAGE, emit
from pulser.store import dependencies, tasks
from pulser.store.tables import task_queue
from pulser.store.tx import Tx
from pulser.worker.dependents import tell_dependents

BY_HAND: tuple[Stage, ...] = ("approved", "queued", "failed", "cancelled")  # where a person may put a card


def found(tx: Tx, task_id: str, *, lock: bool = True) -> dict[str, Any]:
    """The row, locked; :class:`NotFound` otherwise."""
    row = tasks.one(tx, task_id, lock=lock)
    if row is None:
        raise NotFound(f"there is no task {task_id[:60]!r}", hint="GET /api/v1/tasks lists them.")
    return row


def cancel(tx: Tx, task_id: str, reason: str = "") -> None:
    """Cancel at once, from any stage that is not final; a worker that has it is told to stop, and its token is void. Its sub-tasks go with it."""
    row = found(tx, task_id)
    check_move(row["stage"], "cancelled")
    details = {"reason": reason or "asked to"}
    _end(tx, row, "cancelled", [("task_cancelled", details)], {})
    for child_id in tasks.child_ids(tx, task_id):
        if found(tx, child_id)["stage"] not in TERMINAL:
            cancel(tx, child_id, f"{task_id} was cancelled")


def _end(tx: Tx, row: dict[str, Any], stage: Stage, told: Sequence[tuple[str, dict[str, Any]]], values: dict[str, Any]) -> None:
    task_id, old = row["task_id"], row["stage"]
    ended: dict[str, Any] = {
        "stage": stage,
        "ready": False,
        "waiting_for": None,
        "available_at": None,
        "completed_at": tx.now,
        "lease_expires_at": None,
        "progress": None,
        "token": task_queue.c.token + 1,
    }
    if old in RUNNING:
        ended["attempts"] = [*(row["attempts"] or []), _stopped(tx, row, "cancelled")]
    version = tasks.put(tx, task_id, {**ended, **values}, events=len(told))
    for n, (event, details) in enumerate(told):
        first = n == 0
        emit(
            tx,
            event,
            row["company_id"],
            task_id,
            version - len(told) + 1 + n,
            details,
            before=STAGE[old] if first else None,
            after=STAGE[stage] if first else None,
        )
    if old in RUNNING:
        tx.hints.cancelled.append((task_id, row["token"]))
    if row["dependents"]:
        tell_dependents(tx, row["company_id"], [(task_id, stage)])


def _stopped(tx: Tx, row: dict[str, Any], outcome: str) -> dict[str, Any]:
    started = row["claimed_at"]
    return {
        "generation": row["generation"],
        "attempt": row["attempt"],
        "started_at": iso(started) if started else None,
        "ended_at": iso(tx.now),
        "worker_id": row["worker_id"],
        "outcome": outcome,
    }


def retry(tx: Tx, task_id: str, *, cascade: bool = False, within: bool = False) -> list[str]:
    """Begin the next generation of a failed or cancelled task; with ``cascade`` also of what its failure cancelled, and of its failed steps.

    Returns the ids that were queued, this one first. ``within`` a cascade, what it depends on is being retried, too.
    """
    row = found(tx, task_id)
    check_move(row["stage"], "queued")
    if row["stage"] not in TERMINAL:
        raise IllegalMove(
            f"a task that is {row['stage']} has not ended",
            hint="Only failed and cancelled tasks can be retried.",
            stage=row["stage"],
            allowed=sorted(MOVES[row["stage"]]),
        )
    doomed = [] if within else dependencies.doomed(dependencies.of(tx, row["company_id"], task_id))
    if doomed:
        raise Conflict(f"it depends on {', '.join(doomed)}, which did not succeed", hint="Retry that with cascade; this one then follows.", depends_on=doomed)
    again = [task_id]
    for child_id in tasks.child_ids(tx, task_id) if cascade else ():
        child = found(tx, child_id)  # locked: what was read without could be claimed by now
        if child["stage"] in ("failed", "cancelled"):
            again += _again(tx, child)
    _again(tx, row)
    if cascade:
        for waiting in dependencies.waiting_for(tx, row["company_id"], task_id):
            child_row = tasks.one(tx, waiting, lock=True)
            if child_row and child_row["stage"] == "cancelled" and (child_row["error"] or {}).get("code") == "dependency_failed":
                again += retry(tx, waiting, cascade=True, within=True)
    return again


def _again(tx: Tx, row: dict[str, Any]) -> list[str]:
    company, task_id = row["company_id"], row["task_id"]
    needed = [link.depends_on for link in dependencies.of(tx, company, task_id)]
    dependencies.hold(tx, company, needed)  # so that none ends between the look and the commit
    links = dependencies.of(tx, company, task_id)
    unmet = dependencies.unmet(links)
    stage = "waiting" if unmet else "queued"
    values = {
        "stage": stage,
        "ready": not unmet,
        "generation": row["generation"] + 1,
        "attempt": 0,
        "retry_count": 0,
        "reclaims": 0,
        "blockers": unmet,
        "discarded": False,
        "waiting_for": "dependency" if unmet else None,
        "completed_at": None,
        "available_at": None,
        "error": None,
        "error_message": None,
        "result": None,
        "token": task_queue.c.token + 1,
    }
    first = tasks.put(tx, task_id, values, events=2 if unmet else 1) - bool(unmet)
    dependencies.reopen(tx, company, task_id)
    emit(tx, "task_requeued", company, task_id, first, {"generation": row["generation"] + 1}, before=STAGE[row["stage"]], after=STAGE["queued"])
    if unmet:
        on = [link.depends_on for link in links]
        emit(tx, "task_waiting", company, task_id, first + 1, {"waiting_for": "dependency", "on": on}, before=STAGE["queued"], after=STAGE["waiting"])
    else:
        tx.hints.agents.add(row["assigned_agent"])
    return [task_id]


def requeue(tx: Tx, task_ids: Sequence[str], *, everything: bool = False) -> dict[str, Any]:
    """Retry dead letters: those named, or all of them (up to 1,000 at a time); tells which were skipped and why."""
    if everything:
        task_ids = [row["task_id"] for row in tasks.page(tx, tasks.Filter(stages=("failed",), discarded=False), 1000, None)]
    done: list[str] = []
    skipped = []
    for task_id in dict.fromkeys(task_ids):
        try:
            done += retry(tx, task_id)
        except (NotFound, Conflict) as error:
            skipped.append({"task_id": task_id, "reason": error.detail})
    return {"requeued": done, "skipped": skipped}


def discard(tx: Tx, task_id: str) -> None:
    """Put a dead letter out of sight; it is never deleted."""
    row = found(tx, task_id)
    if row["stage"] != "failed":
        raise IllegalMove(
            f"a task that is {row['stage']} is not a dead letter",
            hint="Only failed tasks can be discarded.",
            stage=row["stage"],
            allowed=sorted(MOVES[row["stage"]]),
        )
    if not row["discarded"]:
        version = tasks.put(tx, task_id, {"discarded": True}, events=1)
        emit(tx, "task_discarded", row["company_id"], task_id, version)


def transition(tx: Tx, task_id: str, to: Stage, note: str = "") -> tuple[str, str]:
    """Move a card by hand: approve, send back, reject, cancel, or queue again; returns the old and the new stage."""
    row = found(tx, task_id)
    old: Stage = row["stage"]
    by_hand = sorted(stage for stage in MOVES[old] if stage in BY_HAND and (stage != "queued" or old in ("review", "failed", "cancelled")))
    if to not in by_hand:
        why = f"only a worker moves a task from {old} to {to}" if to in MOVES[old] else f"a task that is {old} cannot become {to}"
        raise IllegalMove(why, hint=f"By hand: {', '.join(by_hand) or 'nothing'}.", stage=old, allowed=by_hand)
    if to == "cancelled":
        cancel(tx, task_id, note)
    elif old in ("failed", "cancelled"):
        return old, _stage_of(tx, retry(tx, task_id)[0])
    elif to == "approved":
        _move(tx, row, "approved", note, ready=True)
    elif to == "queued":
        _move(tx, row, "queued", note, ready=True)
    else:
        error = {"code": "rejected", "detail": note or "rejected in review", "hint": ""}
        moved = {"to": to, "note": note}
        failed = {"agent": row["assigned_agent"], "error": error["detail"], "code": "rejected"}
        _end(tx, row, "failed", [("task_moved", moved), ("task_failed", failed)], {"error": error, "error_message": error["detail"]})
    return old, to


def _stage_of(tx: Tx, task_id: str) -> str:
    return str(found(tx, task_id)["stage"])


def _move(tx: Tx, row: dict[str, Any], to: Stage, note: str, *, ready: bool) -> None:
    version = tasks.put(tx, row["task_id"], {"stage": to, "ready": ready, "completed_at": None}, events=1)
    emit(tx, "task_moved", row["company_id"], row["task_id"], version, {"to": to, "note": note}, before=STAGE[row["stage"]], after=STAGE[to])
    tx.hints.agents.add(row["assigned_agent"])


def change(tx: Tx, task_id: str, values: dict[str, Any]) -> None:
    """Change a card's title, description, priority or checklist. Its rank stays: it is fixed at submit."""
    row = found(tx, task_id)
    if row["stage"] in TERMINAL and set(values) - {"title", "description", "checklist"}:
        raise Conflict(f"the task is {row['stage']}: its priority matters no more", stage=row["stage"])
    before = {key: row[key] for key in values}
    if before == values:
        return
    version = tasks.put(tx, task_id, values, events=1)
    emit(tx, "task_changed", row["company_id"], task_id, version, {"fields": sorted(values)}, before=tx.json(before), after=tx.json(values))
