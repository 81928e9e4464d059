"""Who calls: the local operator, a key, or nobody; from sign-in alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from starlette.requests import Request

from pulser.access import keys
from pulser.access.local import SESSION, LocalToken
from pulser.core.actor import Actor
from pulser.core.clock import monotonic, now
from pulser.core.errors import Forbidden, NotSignedIn
from pulser.store.store import Store

CACHED_S = 15.0
ANYBODY = Actor("anybody", company_id=keys.DEFAULT_COMPANY, role="viewer")


@dataclass(slots=True)
class _Known:
    actor: Actor | None
    until: float
    expires_at: datetime | None


class Callers:
    """Finds the actor of a request. ``local`` is None off loopback: there everybody needs a key."""

    def __init__(self, store: Store, local: LocalToken | None) -> None:
        self._store, self.local = store, local
        self._known: dict[str, _Known] = {}
        self._operator = Actor("operator", company_id=keys.DEFAULT_COMPANY, role="admin")

    async def of(self, authorization: str, cookies: str, *, same_origin: bool) -> Actor | None:
        """The actor; None if nobody signed in. :class:`NotSignedIn` for a credential that opens nothing."""
        if authorization:
            kind, _, secret = authorization.partition(" ")
            if kind.lower() != "bearer" or not secret:
                raise NotSignedIn("the Authorization header is not of the form 'Bearer <key>'", hint="Send an API key, or the local token.")
            if self.local is not None and self.local.opens(secret):
                return self._operator
            return await self._by_key(secret)
        if self.local is not None and same_origin and (session := _cookie(cookies, SESSION)) and self.local.has_session(session):
            return self._operator
        return None

    async def _by_key(self, secret: str) -> Actor:
        known = self._known.get(secret)
        if known is None or known.until < monotonic():
            found = await self._store.read(keys.sign_in, secret, scope="auth") if secret.startswith(keys.PREFIX) else None
            known = _Known(found[0] if found else None, monotonic() + CACHED_S, found[1] if found else None)
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[secret] = known
            if found:
                await self._store.write(keys.used, secret, scope="auth")
        if known.actor is None or (known.expires_at is not None and known.expires_at <= now()):
            raise NotSignedIn("this key opens nothing", hint="It may be mistyped, expired or revoked. Make one with: pulser key create")
        return known.actor


def _cookie(header: str, name: str) -> str:
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def caller(request: Request) -> Actor:
    """The actor of a request that reads; on loopback that may be anybody."""
    actor: Actor | None = request.scope.get("pulser.actor")
    if actor is None:
        if not request.scope.get("pulser.open"):
            raise NotSignedIn("this needs a key", hint="Send 'Authorization: Bearer pk_…'. Make one with: pulser key create")
        actor = ANYBODY
    return replace(actor, request_id=request.scope.get("pulser.request_id"), origin=_origin(request))


def writer(request: Request) -> Actor:
    """The actor of a request that changes something."""
    actor = caller(request)
    if actor.name == ANYBODY.name:
        raise NotSignedIn(
            "changing something needs the local token",
            hint="Send 'Authorization: Bearer …' with the contents of the file 'token' in the data folder, or an API key.",
        )
    if not actor.may_write:
        raise Forbidden(f"{actor.name} may only look", hint="Use a key with the role operator or admin.")
    return actor


def admin(request: Request) -> Actor:
    """The actor of a request that changes the installation."""
    actor = writer(request)
    if actor.role != "admin":
        raise Forbidden(f"{actor.name} is {actor.role}; this needs admin", hint="Use a key with the role admin.")
    return actor


def _origin(request: Request) -> str:
    return f"http:{request.client.host}" if request.client else "http"
