"""Now and then: forget old idempotency keys, old events as the policy says, and files that no row names.

All in small pieces, so that the writer is never kept from its work for long.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, delete, select, tuple_, update

from pulser.core.settings import Settings
from pulser.store.tables import companies, events, idempotency_keys
from pulser.store.tx import Tx

if TYPE_CHECKING:
    from pulser.store.blobs import Blobs
    from pulser.store.store import Store

LOG, PRUNED = "log", "log_pruned"  # target and kind of the event that stands for those that were pruned
CHUNK = 5_000  # rows in one transaction
CHUNKS = 40  # of each kind in one round

e, k = events.c, idempotency_keys.c


def tidy(store: Store, blobs: Blobs, settings: Settings) -> bool:
    """One round over all companies; blocks. True if there is more to do."""
    more = _in_chunks(store, forget_keys, settings.queue.idempotency_keep_s)
    more = _in_chunks(store, prune_events, settings.store.events_keep_days) or more
    names: list[str] = store.read_blocking(_companies, scope="engine")
    blobs.collect(names)
    return more


def _in_chunks(store: Store, fn: Callable[..., int], *args: Any) -> bool:
    return all(store.write_blocking(fn, *args, scope="owner") >= CHUNK for _ in range(CHUNKS))


def _companies(tx: Tx) -> list[str]:
    return list(tx.execute(select(companies.c.company_id)).scalars())


def forget_keys(tx: Tx, keep_s: float) -> int:
    """Drop the oldest ``CHUNK`` idempotency keys (and those as old as the last of them) that are older than that, of all companies; how many."""
    until = tx.now - timedelta(seconds=keep_s)
    last = tx.execute(select(k.created_at).where(k.created_at < until).order_by(k.created_at).offset(CHUNK - 1).limit(1)).scalar()
    return tx.execute(delete(idempotency_keys).where(k.created_at <= last if last is not None else k.created_at < until)).rowcount


def prune_events(tx: Tx, keep_days: int) -> int:
    """Drop the oldest ``CHUNK`` events, as far as they are older than that, of all companies; how many were. Of each company the last that was
    dropped stays as ``log_pruned``, to mark the place."""
    place: tuple[Any, ...] = (e.seq,) if tx.sqlite else (e.xid, e.seq)  # the order of the feed, as the key has it
    oldest = tx.execute(select(e.company_id, e.ts, e.xid, e.seq).where(e.event != PRUNED).order_by(*place).limit(CHUNK)).all()
    until = tx.now - timedelta(days=keep_days)
    old = list(takewhile(lambda row: row.ts < until, oldest))
    if not old:
        return 0
    blank = {"version": None, "request_id": None, "origin": None, "before": None, "after": None, "details": None}
    for company, last in {row.company_id: row for row in old}.items():
        tx.execute(delete(events).where(e.company_id == company, e.target == LOG, e.event == PRUNED))  # the mark of an earlier round
        tx.execute(update(events).where(_at(last, tx)).values(event=PRUNED, actor="system", target=LOG, **blank))
    end = e.seq <= old[-1].seq if tx.sqlite else tuple_(e.xid, e.seq) <= tuple_(old[-1].xid, old[-1].seq)
    tx.execute(delete(events).where(end, e.event != PRUNED))
    return len(old)


def _at(row: Any, tx: Tx) -> ColumnElement[bool]:
    return e.seq == row.seq if tx.sqlite else tuple_(e.xid, e.seq) == tuple_(row.xid, row.seq)
