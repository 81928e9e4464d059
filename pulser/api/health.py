"""``/healthz``, ``/health``, ``/readyz``, ``/metrics``, and the session of a browser."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
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
from pulser.core.clock import monotonic
from pulser.core.errors import Forbidden, NotSignedIn, PulserError
from pulser.store import instances
from pulser.store.store import Store
from pulser.store.tx import Tx
from pulser.web import metrics
from pulser.web.caller import caller, callers, local_operator, runs_installation, session_name, session_of

router = APIRouter(tags=["health"])
FRESH_S = 1.0
CHECK_S = 2.0  # whoever asks whether all is well wants to hear it also when it is not


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Response:
    """Yes, if this answers."""
    return _json({"ok": True})


@router.head("/health", include_in_schema=False)
@router.get("/health", summary="How is everything?")
async def health(request: Request) -> Response:
    """`ok` and version; to who may look, also what was checked and every agent's live instances."""
    r = room(request)
    checks = await _checks(r)
    if not _may_look(request):
        return _json({"ok": _fine(checks), "version": __version__})
    live: dict[str, int] = {spec.name: 0 for spec in r.registry.agents()}
    try:
        async with asyncio.timeout(CHECK_S):
            for row in await r.store.read(instances.alive, scope="engine"):
                live[row["agent"]] = live.get(row["agent"], 0) + bool(row["alive"])
    except (PulserError, TimeoutError):
        checks["database"] = "unreachable"
    shown = {name: {"status": "healthy" if count else "absent", "instances": count} for name, count in sorted(live.items())}
    return _json({"ok": _fine(checks), "version": __version__, "checks": checks, "agents": shown})


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Can it take work?", responses={503: {"description": "Not now; `checks` says why, to who may look."}})
async def readyz(request: Request) -> Response:
    """Database answering, writer, log reader and workers alive: 200 or 503."""
    checks = await _checks(room(request))
    ok = _fine(checks)
    return _json({"ok": ok, "checks": checks} if _may_look(request) else {"ok": ok}, 200 if ok else 503)


def _may_look(request: Request) -> bool:
    return request.scope.get("pulser.actor") is not None or bool(request.scope.get("pulser.open"))


def _fine(checks: dict[str, str]) -> bool:
    return all(value == "ok" for value in checks.values())


async def _checks(r: Room) -> dict[str, str]:
    checks: dict[str, str] = {"writer": "ok" if r.store.alive else "a database thread has died", "database": await _answering(r)}
    checks["log"] = "ok" if r.follower.alive else "the reader of the log has died: streams tell nothing"
    if r.pool is not None:
        age = r.heartbeat_age_s()
        late = age is None or age > r.settings.worker.lease_s
        checks["workers"] = f"no heartbeat for {age:.0f} s" if late and age is not None else "paused" if r.pool.paused else "ok"
    return checks


class Answering:
    """Whether the database takes a write, asked at most once a second however many want to know, and by one at a time."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._fine_at = -FRESH_S
        self._asking: asyncio.Task[str] | None = None

    async def __call__(self) -> str:
        """``ok``, or what is wrong. Only a good answer is remembered: what has recovered is ready at once."""
        if monotonic() - self._fine_at < FRESH_S:
            return "ok"
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask())
        return await asyncio.shield(self._asking)

    async def _ask(self) -> str:
        try:
            async with asyncio.timeout(CHECK_S):
                await self._store.write(_touch, scope="engine")
        except TimeoutError:
            return f"no answer for {CHECK_S:.0f} s"
        except PulserError as error:
            return error.detail
        self._fine_at = monotonic()
        return "ok"


def _answering(r: Room) -> Awaitable[str]:
    if r.answering is None:
        r.answering = Answering(r.store)
    return r.answering()


def _touch(tx: Tx) -> None:
    """A transaction that begins and ends."""


@router.get("/metrics", summary="For Prometheus", response_class=Response)
async def show_metrics(request: Request) -> Response:
    """Counters of this process over all companies, and the queue as it is now: open on the machine itself, else for admins of the default company."""
    r, actor = room(request), caller(request)
    if not runs_installation(actor) and not (request.scope.get("pulser.open") and actor.company_id == keys.DEFAULT_COMPANY):
        raise Forbidden(
            f"{actor.name} may see the numbers of {actor.company_id} only; these are of every company",
            hint=f"Use a key with the role admin of the company {keys.DEFAULT_COMPANY}.",
        )
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
