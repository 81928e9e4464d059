"""What the end of a task means for those that wait for it."""

from __future__ import annotations

from collections.abc import Sequence

from pulser.events.append import STAGE, emit
from pulser.store import dependencies
from pulser.store.tx import Tx


def tell_dependents(tx: Tx, company: str, ended: Sequence[tuple[str, str]]) -> None:
    """Release or cancel, down the whole graph, what waits for ``ended`` (``(task_id, stage)``), and tell of it."""
    released, cancelled = dependencies.ended(tx, company, ended)
    for row in released:
        emit(tx, "task_unblocked", company, row.task_id, row.version, before=STAGE["waiting"], after=STAGE["queued"])
        tx.hints.agents.add(row.assigned_agent)
    for task_id, version, cause in cancelled:
        emit(
            tx, "task_cancelled", company, task_id, version, {"reason": "dependency_failed", "cause": cause}, before=STAGE["waiting"], after=STAGE["cancelled"]
        )
