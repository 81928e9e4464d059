"""Adding to the log: an event is written in the transaction of the change it tells of, with all others in one statement."""

from __future__ import annotations

from typing import Any

from pulser.store.tx import Tx

# before and after of a stage move, as JSON, made once
STAGE = {
    stage: f'{{"stage":"{stage}"}}' for stage in ("queued", "claimed", "in_progress", "waiting", "review", "approved", "merging", "done", "failed", "cancelled")
}


def emit(
    tx: Tx,
    event: str,
    company_id: str,
    target: str,
    version: int | None = None,
    details: dict[str, Any] | str | None = None,
    *,
    before: str | None = None,
    after: str | None = None,
    by: str | None = None,
) -> None:
    """Tell ``event`` (a name of the catalogue) of ``target``; ``by`` overrides the transaction's actor.

    ``before`` and ``after`` are JSON text, and ``details`` may be: the hot path writes its few fields by hand.
    """
    who = tx.actor
    tx.events.append(
        (
            company_id,
            tx.now_value,
            event,
            by or who.name,
            target,
            version,
            who.request_id,
            who.origin,
            before,
            after,
            details if isinstance(details, str) else tx.json(details),
        )
    )
