"""Leases on anything but tasks: a time-limited, fenced right to work on a resource that its users agree to name alike.

A lease's row stays when it is free, so that its token only grows: whatever a late holder writes under an old token can be told from
what the next one writes. ``lock_id`` names one holding; it is new with each. Times are the database's. Functions of a company's transaction,
but for :func:`reclaim_stale`, which sweeps all companies in the engine's scope.
"""

from __future__ import annotations

import math
import re
from datetime import timedelta
from typing import Any

from sqlalchemy import insert, select, update

from pulser.core.clock import iso
from pulser.core.errors import BadInput, Conflict, LeaseLost
from pulser.core.ids import is_id
from pulser.events.append import emit
from pulser.store.tables import COMPANY, leases
from pulser.store.tx import Tx

MAX_TTL_S = 86_400.0
SWEEP = 500
_TEXT = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,198}[^\s\x00-\x1f\x7f])?\Z")
c = leases.c
Json = dict[str, Any]


def acquire(tx: Tx, resource: str, holder: str, ttl_s: float) -> Json:
    """Hold ``resource`` for ``ttl_s`` seconds; the lease as :func:`shown`. :class:`Conflict` while another holding lives, also one's own.

    A holding whose time has passed is taken over, and told as ``lease_reclaimed``.
    """
    _check(resource, holder, ttl_s)
    row = _locked(tx, resource)
    if row is not None and row["holder"] is not None and row["expires_at"] > tx.now:
        raise Conflict(
            f"{resource} is held by {row['holder']} until {iso(row['expires_at'])}", hint="Wait for its release, or for its time to pass.", holder=row["holder"]
        )
    if row is not None and row["holder"] is not None:
        _tell_reclaimed(tx, tx.company or "", row)
    held = {
        "lock_id": tx.new_id("lck"),
        "holder": holder,
        "token": (row["token"] if row is not None else 0) + 1,
        "acquired_at": tx.now,
        "heartbeat_at": tx.now,
        "ttl_seconds": float(ttl_s),
        "expires_at": tx.now + timedelta(seconds=ttl_s),
    }
    if row is None:
        tx.execute(insert(leases), {"resource": resource, **held})  # two at once: the key lets one in, and the other runs again and sees it
    else:
        tx.execute(update(leases).where(c.company_id == COMPANY, c.resource == resource).values(**held))
    details = {"holder": holder, "lock_id": held["lock_id"], "token": held["token"], "ttl_seconds": held["ttl_seconds"]}
    emit(tx, "lease_acquired", tx.company or "", resource, None, details)
    return shown({"resource": resource, **held})


def heartbeat(tx: Tx, lock_id: str, token: int | None = None) -> Json:
    """Hold it for another ``ttl_seconds`` from now; :class:`LeaseLost` if it is not held any more, or its time has passed."""
    row = _held(tx, lock_id, token)
    values = {"heartbeat_at": tx.now, "expires_at": tx.now + timedelta(seconds=row["ttl_seconds"])}
    tx.execute(update(leases).where(c.company_id == COMPANY, c.resource == row["resource"]).values(**values))
    return shown({**row, **values})


def release(tx: Tx, lock_id: str, token: int | None = None) -> None:
    """Let go; from now on anybody may acquire it. :class:`LeaseLost` if it is not held any more."""
    row = _held(tx, lock_id, token)
    _free(tx, tx.company or "", row["resource"])
    emit(tx, "lease_released", tx.company or "", row["resource"], None, {"token": row["token"], "outcome": "released"})


def reclaim(tx: Tx, resource: str, *, force: bool = False) -> bool:
    """Take back by hand what fell silent, or with ``force`` what still lives. False if it is free already."""
    _check(resource, "nobody", 1.0)
    row = _locked(tx, resource)
    if row is None or row["holder"] is None:
        return False
    if row["expires_at"] > tx.now and not force:
        raise Conflict(f"{resource} is held by {row['holder']}, who lives", hint="Ask for it by force if it must be.", holder=row["holder"])
    _free(tx, tx.company or "", resource)
    _tell_reclaimed(tx, tx.company or "", row)
    return True


def reclaim_stale(tx: Tx) -> int:
    """Take back, over all companies, up to 500 leases whose time has passed; returns how many. The engine's scope."""
    statement = select(leases).where(c.holder.is_not(None), c.expires_at <= tx.now).order_by(c.expires_at).limit(SWEEP)
    rows = tx.execute(statement if tx.sqlite else statement.with_for_update(skip_locked=True)).mappings().all()
    for row in rows:
        _free(tx, row["company_id"], row["resource"])
        _tell_reclaimed(tx, row["company_id"], row)
    return len(rows)


def check(tx: Tx, resource: str, token: int) -> None:
    """Raise :class:`LeaseLost` unless ``token`` is the living holding's: for writes on behalf of who holds ``resource``."""
    row = _locked(tx, resource)
    if row is None or row["holder"] is None or row["token"] != token or row["expires_at"] <= tx.now:
        raise LeaseLost(f"the lease on {resource[:200]!r} is not held under token {token}", hint="Stop; acquire it again to go on.")


def held(tx: Tx) -> list[Json]:
    """All leases that are held and live, by resource."""
    rows = tx.execute(select(leases).where(c.company_id == COMPANY, c.holder.is_not(None), c.expires_at > tx.now).order_by(c.resource)).mappings()
    return [shown(dict(row)) for row in rows]


def shown(row: Json) -> Json:
    """A lease as every door shows it."""
    times = {key: iso(row[key]) for key in ("acquired_at", "heartbeat_at", "expires_at")}
    return {**{key: row[key] for key in ("lock_id", "resource", "holder", "token", "ttl_seconds")}, **times}


def _check(resource: str, holder: str, ttl_s: float) -> None:
    errors = [
        {"pointer": f"/{name}", "detail": "1 to 200 characters, no control characters, no blanks at the ends"}
        for name, value in (("resource", resource), ("holder", holder))
        if not _TEXT.match(value)
    ]
    if not (math.isfinite(ttl_s) and 0 < ttl_s <= MAX_TTL_S):
        errors.append({"pointer": "/ttl_seconds", "detail": f"more than 0, at most {MAX_TTL_S:g} seconds"})
    if errors:
        raise BadInput(f"{errors[0]['pointer']}: {errors[0]['detail']}", errors=errors)


def _locked(tx: Tx, resource: str) -> Json | None:
    row = tx.execute(select(leases).where(c.company_id == COMPANY, c.resource == resource).with_for_update()).mappings().first()
    return dict(row) if row is not None else None


def _held(tx: Tx, lock_id: str, token: int | None) -> Json:
    """The row of a holding that lives, locked."""
    found = None
    if is_id(lock_id, "lck"):
        found = tx.execute(select(leases).where(c.company_id == COMPANY, c.lock_id == lock_id).with_for_update()).mappings().first()
    if found is None or found["holder"] is None or found["expires_at"] <= tx.now or token not in (None, found["token"]):
        raise LeaseLost(f"the lease {lock_id[:60]!r} is not held", hint="It was released, or its time passed and it was taken back. Acquire it again.")
    return dict(found)


def _free(tx: Tx, company: str, resource: str) -> None:
    statement = update(leases).where(c.company_id == COMPANY, c.resource == resource).values(holder=None, expires_at=None)
    tx.execute(statement, company=company)


def _tell_reclaimed(tx: Tx, company: str, row: Any) -> None:
    details = {"worker_id": row["holder"], "token": row["token"], "reclaims": 1}
    emit(tx, "lease_reclaimed", company, row["resource"], None, details)
