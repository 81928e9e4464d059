"""Who calls: the local operator, a key, or nobody; from sign-in alone."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from starlette.requests import Request

from pulser.access import keys
from pulser.access.local import LocalToken
from pulser.access.sessions import LOCAL, Sessions
from pulser.core.actor import Actor
from pulser.core.clock import monotonic, now
from pulser.core.errors import Forbidden, NotSignedIn, Unavailable
from pulser.store.store import Store

CACHED_S = 15.0
SESSION = "pulser_session"
ANYBODY = Actor("anybody", company_id=keys.DEFAULT_COMPANY, role="viewer")
OPERATOR = Actor("operator", company_id=keys.DEFAULT_COMPANY, role="admin")  # who came by the local token; known by identity, for a key may have any name


@dataclass(slots=True)
class _Known:
    actor: Actor | None
    until: float
    expires_at: datetime | None


class Callers:
    """Finds the actor of a request. ``local`` is None off loopback: there everybody needs a key."""

    def __init__(self, store: Store, local: LocalToken | None, sessions: Sessions) -> None:
        self._store, self.local, self.sessions = store, local, sessions
        self._known: dict[bytes, _Known] = {}

    async def of(self, authorization: str, session: str, *, same_origin: bool) -> Actor | None:
        """The actor; None if nobody signed in. :class:`NotSignedIn` for a credential in the header that opens nothing.

        ``session`` is the cookie's value; it is believed only where the request is of a page of ours. One that opens nothing is nobody's.
        """
        if authorization:
            kind, _, secret = authorization.partition(" ")
            if kind.lower() != "bearer" or not secret:
                raise NotSignedIn("the Authorization header is not of the form 'Bearer <key>'", hint="Send an API key, or the local token.")
            if self.local is not None and self.local.opens(secret):
                return OPERATOR
            return await self.by_key(secret)
        whose = self.sessions.whose(session) if session and same_origin else None
        if whose is None or whose == LOCAL:
            return OPERATOR if whose else None
        return await self._by_digest(bytes.fromhex(whose))

    async def by_key(self, secret: str) -> Actor:
        """The actor of an API key; :class:`NotSignedIn` if it opens nothing."""
        actor = await self._by_digest(keys.digest(secret)) if secret.startswith(keys.PREFIX) else None
        if actor is None:
            raise NotSignedIn("this key opens nothing", hint="It may be mistyped, expired or revoked. Make one with: pulser key create")
        return actor

    async def _by_digest(self, hashed: bytes) -> Actor | None:
        known = self._known.get(hashed)
        if known is None or known.until < monotonic():
            found = await self._store.read(keys.sign_in, hashed, scope="auth")
            known = _Known(found[0] if found else None, monotonic() + CACHED_S, found[1] if found else None)
            if len(self._known) > 10_000:
                self._known.clear()
            self._known[hashed] = known
            if found:
                await self._store.write(keys.used, hashed, scope="auth")
        return None if known.expires_at is not None and known.expires_at <= now() else known.actor


def session_name(scope: Any) -> str:
    """The cookie's name: with the port, for browsers send the cookies of one port of a host to all."""
    server = scope.get("server")
    return f"{SESSION}_{server[1]}" if server and server[1] else SESSION


def session_of(scope: Any, cookies: str) -> str:
    """The session's cookie in a Cookie header; empty if there is none."""
    name = session_name(scope)
    for part in cookies.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""


def callers(request: Request) -> Callers:
    """Those of the application that serves ``request``."""
    found: Callers = request.app.state.callers
    return found


async def while_signed_in(request: Request, frames: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """The frames of an endless answer, until who asked may not hear them any more: looked at with a frame, a keep-alive at the latest."""
    checked = monotonic()
    async with contextlib.aclosing(frames):
        async for frame in frames:
            if monotonic() - checked >= CACHED_S:
                if not await may_go_on(request):
                    return
                checked = monotonic()
            yield frame


async def may_go_on(request: Request) -> bool:
    """False once what ``request`` signed in with opens nothing any more: for answers that last. Known anew at most every ``CACHED_S``."""
    actor = request.scope.get("pulser.actor")
    if actor is None:
        return True
    headers = request.headers
    try:
        found = await callers(request).of(headers.get("authorization", ""), session_of(request.scope, headers.get("cookie", "")), same_origin=True)
    except NotSignedIn:
        return False
    except Unavailable:  # the database may come back, and the answer with it
        return True
    return bool(found == actor)


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


def is_operator(request: Request) -> bool:
    """True for the local operator: who came by the local token, or by a session begun with it."""
    return request.scope.get("pulser.actor") is OPERATOR


def local_operator(request: Request) -> Actor:
    """The local operator, and nobody else: a key of whatever role is not."""
    actor = writer(request)
    if not is_operator(request):
        raise Forbidden(f"{actor.name} is not the local operator", hint="Send the contents of the file 'token' in the data folder, on the machine itself.")
    return actor


def runs_installation(actor: Actor) -> bool:
    """True for who may see and change what all companies share: the local operator, and admins of the default company."""
    return actor.role == "admin" and actor.company_id == keys.DEFAULT_COMPANY


def admin(request: Request) -> Actor:
    """The actor of a request that changes what all companies share."""
    actor = writer(request)
    if not runs_installation(actor):
        raise Forbidden(
            f"{actor.name} is {actor.role} of {actor.company_id}; this is for admins of {keys.DEFAULT_COMPANY}, for it concerns every company",
            hint=f"Use the local token, or a key with the role admin of the company {keys.DEFAULT_COMPANY}.",
        )
    return actor


def _origin(request: Request) -> str:
    return f"http:{request.client.host}" if request.client else "http"
