"""``/healthz``, ``/health``, ``/readyz``, ``/metrics``, and the session of a browser."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pulser import __version__
from pulser.access import keys
from pulser.access.sessions import LOCAL, MAX_AGE_S
from pulser.api.room import Room, room
from pulser.collab import views
from pulser.core.errors import NotSignedIn, PulserError
from pulser.store import instances
from pulser.store.tx import Tx
from pulser.web import metrics
from pulser.web.caller import caller, callers, local_operator, session_name, session_of

router = APIRouter(tags=["health"])
CHECK_S = 2.0  # whoever asks whether all is well wants to hear it also when it is not


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Response:
    """Yes, if this answers."""
    return _json({"ok": True})


@router.get("/health", summary="How is everything?")
async def health(request: Request) -> Response:
    """`ok`, version, and every agent's live instances."""
    r = room(request)
    checks = await _checks(r)
    live: dict[str, int] = {spec.name: 0 for spec in r.registry.agents()}
    try:
        async with asyncio.timeout(CHECK_S):
            for row in await r.store.read(instances.alive, scope="engine"):
                live[row["agent"]] = live.get(row["agent"], 0) + bool(row["alive"])
    except (PulserError, TimeoutError):
        checks["database"] = "unreachable"
    shown = {name: {"status": "healthy" if count else "absent", "instances": count} for name, count in sorted(live.items())}
    return _json({"ok": all(value == "ok" for value in checks.values()), "version": __version__, "checks": checks, "agents": shown})


@router.get("/readyz", summary="Can it take work?", responses={503: {"description": "Not now; `checks` says why."}})
async def readyz(request: Request) -> Response:
    """Migrations current, writer alive, workers alive: 200 or 503."""
    checks = await _checks(room(request))
    ok = all(value == "ok" for value in checks.values())
    return _json({"ok": ok, "checks": checks}, 200 if ok else 503)


async def _checks(r: Room) -> dict[str, str]:
    checks: dict[str, str] = {"writer": "ok" if r.store.alive else "a database thread has died"}
    try:
        async with asyncio.timeout(CHECK_S):
            await r.store.write(_touch, scope="engine")
        checks["database"] = "ok"
    except TimeoutError:
        checks["database"] = f"no answer for {CHECK_S:.0f} s"
    except PulserError as error:
        checks["database"] = error.detail
    if r.pool is not None:
        age = r.heartbeat_age_s()
        late = age is None or age > r.settings.worker.lease_s
        checks["workers"] = f"no heartbeat for {age:.0f} s" if late and age is not None else "paused" if r.pool.paused else "ok"
    return checks


def _touch(tx: Tx) -> None:
    """A transaction that begins and ends."""


@router.get("/metrics", summary="For Prometheus", response_class=Response)
async def show_metrics(request: Request) -> Response:
    """Counters of this process, and the queue as it is now."""
    r = room(request)
    caller(request)
    metrics.set_queue(
        await r.store.read(views.queue_depths, scope="engine"), await r.store.read(instances.alive, scope="engine"), [spec.name for spec in r.registry.agents()]
    )
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


class Start(BaseModel):
    """What opens a browser's session."""

    model_config = ConfigDict(extra="forbid")
    secret: Annotated[str, Field(min_length=8, max_length=200)]


@router.post("/session", tags=["session"], status_code=204, summary="Begin a browser's session")
async def begin_session(request: Request, start: Start) -> Response:
    """With a start link's secret, the local token, or an API key; sets a cookie that scripts cannot read. It lasts for seven days, or as long as the key."""
    known = callers(request)
    if known.local is not None and known.local.starts(start.secret):
        cookie = known.sessions.begin(LOCAL)
    elif start.secret.startswith(keys.PREFIX):
        await known.by_key(start.secret)
        cookie = known.sessions.begin(keys.digest(start.secret).hex())
    else:
        raise NotSignedIn("this secret opens nothing", hint="Start links work once, for 15 minutes. Make a new one with: pulser open")
    answer = Response(status_code=204)
    safe = request.url.scheme == "https" or request.headers.get("x-forwarded-proto") == "https"
    answer.set_cookie(session_name(request.scope), cookie, max_age=MAX_AGE_S, httponly=True, samesite="strict", secure=safe, path="/")
    return answer


@router.delete("/session", tags=["session"], status_code=204, summary="End it")
async def end_session(request: Request) -> Response:
    """The cookie opens nothing any more, wherever it was copied to."""
    callers(request).sessions.end(session_of(request.scope, request.headers.get("cookie", "")))
    answer = Response(status_code=204)
    answer.delete_cookie(session_name(request.scope), path="/", httponly=True, samesite="strict")
    return answer


@router.post("/session/link", tags=["session"], summary="A secret for a start link")
async def start_link(request: Request) -> Response:
    """For `pulser open`: good once, within 15 minutes. It belongs into the fragment of the link, never into its path."""
    local = room(request).local
    local_operator(request)  # the link opens a session as such: no key may make one
    if local is None:
        raise NotSignedIn("there is no local operator here", hint="Sign in with a key.")
    return _json({"secret": local.start_secret(), "expires_in_s": 900})


@router.get("/session", tags=["session"], summary="Who am I?")
async def who(request: Request) -> Response:
    """The name, company and role of whoever asks."""
    actor = caller(request)
    return _json({"name": actor.name, "company_id": actor.company_id, "role": actor.role, "may_write": actor.may_write})


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")
