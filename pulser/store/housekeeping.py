"""Now and then: forget old idempotency keys, old events as the policy says, and files that no row names."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, select, update

from pulser.core.settings import Settings
from pulser.store.tables import COMPANY, companies, events, idempotency_keys
from pulser.store.tx import Tx

if TYPE_CHECKING:
    from pulser.store.blobs import Blobs
    from pulser.store.store import Store

LOG, PRUNED = "log", "log_pruned"  # target and kind of the event that stands for those that were pruned


def tidy(store: Store, blobs: Blobs, settings: Settings) -> None:
    """Once over all companies; blocks."""
    names: list[str] = store.read_blocking(_companies, scope="engine")
    for company in names:
        store.write_blocking(_forget_keys, settings.queue.idempotency_keep_s, company=company)
    store.write_blocking(prune_events, settings.store.events_keep_days, scope="owner")
    blobs.collect(names)


def _companies(tx: Tx) -> list[str]:
    return list(tx.execute(select(companies.c.company_id)).scalars())


def _forget_keys(tx: Tx, keep_s: float) -> None:
    k = idempotency_keys.c
    tx.execute(delete(idempotency_keys).where(k.company_id == COMPANY, k.created_at < tx.now - timedelta(seconds=keep_s)))


def prune_events(tx: Tx, keep_days: int) -> int:
    """Drop events older than that, over all companies; returns how many. The last of each company stays, as ``log_pruned``, to mark the place."""
    e = events.c
    old = e.ts < tx.now - timedelta(days=keep_days)
    dropped = 0
    for company in _companies(tx):
        mine = and_(e.company_id == company, old)
        last = tx.execute(select(e.seq).where(mine).order_by(e.xid.desc(), e.seq.desc()).limit(1)).scalar()
        if last is not None:
            blank = {"version": None, "request_id": None, "origin": None, "before": None, "after": None, "details": None}
            tx.execute(update(events).where(e.seq == last).values(event=PRUNED, actor="system", target=LOG, **blank))
            dropped += tx.execute(delete(events).where(mine, e.seq != last)).rowcount
    return dropped
