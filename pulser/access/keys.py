"""Companies and API keys. A key is shown once; its SHA-256 is kept. It is random (160 bits), so a fast hash is enough.

Functions of a transaction in the ``auth`` scope.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, insert, select, update

from pulser.core.actor import ROLES, Actor
from pulser.core.errors import BadInput, Conflict, NotFound
from pulser.core.ids import check_name
from pulser.events.append import emit
from pulser.store.tables import api_keys, companies
from pulser.store.tx import Tx

PREFIX = "pk_"
DEFAULT_COMPANY = "default"
k = api_keys.c


def create_company(tx: Tx, company_id: str, name: str) -> None:
    """Make a company; its id is a name a person chose."""
    check_name(company_id, "the company id")
    if tx.execute(select(companies.c.company_id).where(companies.c.company_id == company_id)).first():
        raise Conflict(f"there is a company {company_id!r} already")
    tx.execute(insert(companies), {"company_id": company_id, "name": name[:200], "created_at": tx.now})


def ensure_default(tx: Tx) -> None:
    """The company of the local operator."""
    if tx.execute(select(companies.c.company_id).where(companies.c.company_id == DEFAULT_COMPANY)).first() is None:
        create_company(tx, DEFAULT_COMPANY, "Default")


def list_companies(tx: Tx) -> list[dict[str, Any]]:
    """All companies."""
    return [dict(row) for row in tx.execute(select(companies).order_by(companies.c.company_id)).mappings()]


def create(tx: Tx, company_id: str, name: str, role: str, expires_at: datetime | None = None) -> tuple[str, str]:
    """Make a key; returns its id and its secret, which is not kept."""
    check_name(name, "the key's name")
    if role not in ROLES:
        raise BadInput(f"{role!r} is not a role", hint=f"Roles: {', '.join(ROLES)}.")
    if tx.execute(select(companies.c.company_id).where(companies.c.company_id == company_id)).first() is None:
        raise NotFound(f"there is no company {company_id!r}", hint="Make it with: pulser company create")
    if expires_at is not None and expires_at <= tx.now:
        raise BadInput("the key would have expired already", hint="Give a time to come.")
    secret = PREFIX + base64.b32encode(secrets.token_bytes(20)).decode().lower()
    key_id = tx.new_id("key")
    row = {"company_id": company_id, "key_id": key_id, "name": name, "role": role, "created_at": tx.now, "expires_at": expires_at}
    tx.execute(insert(api_keys), {**row, "secret_hash": digest(secret)})
    emit(tx, "key_created", company_id, key_id, None, {"role": role})
    return key_id, secret


def list_keys(tx: Tx) -> list[dict[str, Any]]:
    """All keys, without what could open anything."""
    columns = [column for column in api_keys.c if column.name != "secret_hash"]
    return [dict(row) for row in tx.execute(select(*columns).order_by(k.company_id, k.created_at)).mappings()]


def revoke(tx: Tx, company_id: str, key_id: str) -> None:
    """Make a key open nothing any more."""
    changed = tx.execute(
        update(api_keys).where(k.company_id == company_id, k.key_id == key_id, k.revoked_at.is_(None)).values(revoked_at=tx.now).returning(k.key_id)
    ).first()
    if changed is None:
        raise NotFound(f"there is no live key {key_id!r} in {company_id!r}", hint="List them with: pulser key list")
    emit(tx, "key_revoked", company_id, key_id)


def count(tx: Tx) -> int:
    """How many keys are live."""
    return int(tx.execute(select(func.count()).where(k.revoked_at.is_(None))).scalar_one())


def sign_in(tx: Tx, hashed: bytes) -> tuple[Actor, datetime | None] | None:
    """Who holds the key of that :func:`digest`, and until when; None if nobody does."""
    row = tx.execute(select(api_keys).where(k.secret_hash == hashed)).mappings().first()
    if row is None or row["revoked_at"] is not None or (row["expires_at"] is not None and row["expires_at"] <= tx.now):
        return None
    return Actor(f"key:{row['name']}", company_id=row["company_id"], role=row["role"]), row["expires_at"]


def used(tx: Tx, hashed: bytes) -> None:
    """Remember that a key was used, at most once an hour."""
    stale = tx.now - timedelta(hours=1)
    tx.execute(update(api_keys).where(k.secret_hash == hashed, (k.last_used_at.is_(None)) | (k.last_used_at < stale)).values(last_used_at=tx.now))


def digest(secret: str) -> bytes:
    """What is kept of a key."""
    return hashlib.sha256(secret.encode()).digest()
