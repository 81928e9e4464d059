"""Reading the log: a page after a cursor, and the cursor itself.

On Postgres a transaction that began early may commit late, so numbers alone would skip its events. Each row has a place (``xid``): the number
of its transaction, or of the latest that had ended when the row was written if that is higher. Only rows below every running transaction are
shown, in the order (place, number): nothing can appear before them later, and what was written knowing of another change comes after it, also
where the later writer's transaction is the older one (it settles, then claims what was submitted meanwhile).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, select, text, tuple_

from pulser.core.clock import iso, to_us
from pulser.core.errors import BadInput, Gone
from pulser.core.ids import encode as encode_ulid
from pulser.events.catalogue import KINDS
from pulser.store.housekeeping import LOG, PRUNED
from pulser.store.tables import COMPANY, events
from pulser.store.tx import Tx

e = events.c
_CURSOR = re.compile(r"c([0-9a-f]{1,16})-([0-9a-f]{1,16})\Z")
START = "c0-0"


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events; empty fields do not filter."""

    target: str = ""
    kinds: tuple[str, ...] = ()
    actor: str = ""

    def matches(self, event: dict[str, Any]) -> bool:
        """True if ``event`` is one of them."""
        return (
            (not self.target or event["target"] == self.target)
            and (not self.kinds or event["event"] in self.kinds)
            and (not self.actor or event["actor"] == self.actor)
        )


def cursor_of(xid: int, seq: int) -> str:
    """The opaque cursor after that row."""
    return f"c{xid:x}-{seq:x}"


def parse_cursor(text_: str) -> tuple[int, int]:
    """The reverse; :class:`BadInput` for anything else."""
    m = _CURSOR.match(text_)
    if m is None or max(int(m[1], 16), int(m[2], 16)) >= 1 << 63:  # no number of a row is larger
        raise BadInput(f"{text_[:60]!r} is not a cursor", hint="Pass the cursor of an earlier answer, or an ISO time.")
    return int(m[1], 16), int(m[2], 16)


def event_id(ts: datetime, seq: int) -> str:
    """The ULID of an event: its time and its number, so it needs no room in the row."""
    return "evt_" + encode_ulid(((to_us(ts) // 1000) << 80) | seq)


def as_json(row: Any) -> dict[str, Any]:
    """One event as every door shows it."""
    shown = {
        "id": event_id(row.ts, row.seq),
        "cursor": cursor_of(row.xid, row.seq),
        "ts": iso(row.ts),
        "event": row.event,
        "actor": row.actor,
        "target": row.target,
        "company_id": row.company_id,
        "version": row.version,
        "request_id": row.request_id,
        "origin": row.origin,
        "before": row.before,
        "after": row.after,
        "details": row.details or {},
    }
    shown["says"] = says(shown)
    return shown


def says(event: dict[str, Any]) -> str:
    """The event as a sentence."""
    kind = KINDS.get(event["event"])
    words = {**event["details"], "target": event["target"], "actor": event["actor"]}
    return re.sub(r"\{(\w+)\}", lambda m: str(words.get(m[1], "")), kind.says) if kind else event["event"]


def _visible(tx: Tx, statement: Select[Any]) -> Select[Any]:
    return statement if tx.sqlite else statement.where(e.xid < text("pg_snapshot_xmin(pg_current_snapshot())::text::bigint"))


def _place(tx: Tx) -> Any:
    """What the log is ordered by: on SQLite the number, which is the row's own place; on Postgres its key."""
    return e.seq if tx.sqlite else tuple_(e.xid, e.seq)


def _at(tx: Tx, xid: int, seq: int) -> Any:
    return seq if tx.sqlite else tuple_(xid, seq)


def _newest(tx: Tx) -> list[Any]:
    return [e.seq.desc()] if tx.sqlite else [e.xid.desc(), e.seq.desc()]


def _oldest(tx: Tx) -> list[Any]:
    return [e.seq] if tx.sqlite else [e.xid, e.seq]


def head(tx: Tx) -> str:
    """The cursor after the last event that may be shown, of all companies."""
    statement = _visible(tx, select(e.xid, e.seq)).order_by(*_newest(tx)).limit(1)
    row = tx.execute(statement).first()
    return cursor_of(row.xid, row.seq) if row else START


def after(tx: Tx, cursor: str, limit: int, wanted: Wanted = Wanted(), *, company: str | None = None) -> list[dict[str, Any]]:
    """Up to ``limit`` events after ``cursor``, oldest first. Of one company in its scope, of all in the engine's."""
    xid, seq = parse_cursor(cursor)
    statement = _visible(tx, _filtered(wanted)).where(_place(tx) > _at(tx, xid, seq)).order_by(*_oldest(tx)).limit(limit)
    if tx.scope == "app":
        statement = statement.where(e.company_id == COMPANY)
    elif company:
        statement = statement.where(e.company_id == company)
    return [as_json(row) for row in tx.execute(statement)]


def brief(tx: Tx, cursor: str, limit: int, kinds: tuple[str, ...]) -> tuple[list[tuple[str, dict[str, Any], dict[str, Any]]], str]:
    """Up to ``limit`` events of these kinds after ``cursor``, of all companies, as ``(event, details, after)``; and the cursor after them."""
    statement = _visible(tx, select(e.xid, e.seq, e.event, e.details, e.after)).where(e.event.in_(kinds), _place(tx) > _at(tx, *parse_cursor(cursor)))
    rows = tx.execute(statement.order_by(*_oldest(tx)).limit(limit)).all()
    found = [(row.event, row.details or {}, row.after or {}) for row in rows]
    return found, cursor_of(rows[-1].xid, rows[-1].seq) if rows else cursor


def before(tx: Tx, cursor: str | None, limit: int, wanted: Wanted) -> list[dict[str, Any]]:
    """Up to ``limit`` events before ``cursor``, newest first."""
    statement = _visible(tx, _filtered(wanted)).where(e.company_id == COMPANY).order_by(*_newest(tx)).limit(limit)
    if cursor:
        xid, seq = parse_cursor(cursor)
        statement = statement.where(_place(tx) < _at(tx, xid, seq))
    return [as_json(row) for row in tx.execute(statement)]


def _filtered(wanted: Wanted) -> Select[Any]:
    statement = select(events)
    if wanted.target:
        statement = statement.where(e.target == wanted.target)
    if wanted.kinds:
        statement = statement.where(e.event.in_(wanted.kinds))
    if wanted.actor:
        statement = statement.where(e.actor == wanted.actor)
    return statement


def since(tx: Tx, at: datetime) -> str:
    """The cursor just before the first event of the company at or after ``at``."""
    row = tx.execute(_visible(tx, select(e.xid, e.seq)).where(e.company_id == COMPANY, e.ts >= at).order_by(*_oldest(tx)).limit(1)).first()
    if row is None:
        latest = tx.execute(_visible(tx, select(e.xid, e.seq)).where(e.company_id == COMPANY).order_by(*_newest(tx)).limit(1)).first()
        return cursor_of(latest.xid, latest.seq) if latest else START
    return cursor_of(row.xid, row.seq - 1)


def check_cursor(tx: Tx, cursor: str) -> None:
    """Raise :class:`Gone` if events after ``cursor`` have been pruned, or if it is beyond the end: the log was restored from before it."""
    xid, seq = parse_cursor(cursor)
    if (xid, seq) == (0, 0):
        return
    mark = tx.execute(select(e.xid, e.seq).where(e.company_id == COMPANY, e.target == LOG, e.event == PRUNED)).first()
    oldest = cursor_of(mark.xid, mark.seq) if mark is not None else START
    if mark is not None and (mark.xid, mark.seq) > (xid, seq):
        raise Gone("events after this cursor have been pruned", hint="Start again from the current state, without a cursor.", oldest=oldest)
    last = tx.execute(_visible(tx, select(e.xid, e.seq)).where(e.company_id == COMPANY).order_by(*_newest(tx)).limit(1)).first()
    if (last.xid, last.seq) < (xid, seq) if last is not None else True:
        raise Gone(
            "this cursor is beyond the end of the log: it was given out before the database was restored from an older backup",
            hint="Start again from the current state, without a cursor.",
            oldest=oldest,
        )
