"""``/api/v1/events``: pages of the log, and its tail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import MAXYEAR, MINYEAR, UTC, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request
from starlette.responses import Response, StreamingResponse

from pulser.api.room import room
from pulser.core.errors import BadInput, Gone
from pulser.events import feed
from pulser.events.catalogue import KINDS
from pulser.web.caller import caller, while_signed_in
from pulser.web.query import plain

router = APIRouter(tags=["events"])
_encode = msgspec.json.Encoder().encode
Kinds = Annotated[list[str] | None, Query(description="Kinds of events; several, or comma-separated")]


@router.get("/events", summary="A page of the log")
async def page(
    request: Request,
    after: Annotated[str, Query(description="A cursor or an ISO time: oldest first from there. Empty: the newest.")] = "",
    before: Annotated[str, Query(description="A cursor: newest first from there.")] = "",
    task_id: str = "",
    kind: Kinds = None,
    actor: str = "",
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
) -> Response:
    """`{items, next}`; `next` is the cursor to go on from, in the same direction."""
    store, company = room(request).store, caller(request).company_id
    wanted = _wanted(task_id, kind, actor)
    if after:
        cursor = await _cursor(request, after)
        items = await store.read(feed.after, cursor, limit, wanted, company=company)
    else:
        cursor = before
        items = await store.read(feed.before, before or None, limit, wanted, company=company)
    return Response(_encode({"items": items, "next": items[-1]["cursor"] if items else cursor or None}), media_type="application/json")


@router.get("/events/tail", summary="Follow the log", responses={200: {"content": {"text/event-stream": {}}}}, response_class=StreamingResponse)
async def tail(
    request: Request,
    since: Annotated[str, Query(description="A cursor or an ISO time; from now on if empty.")] = "",
    task_id: str = "",
    kind: Kinds = None,
    actor: str = "",
) -> Response:
    """Server-sent events: `id` is a cursor, `event` the kind, `data` the event. `Last-Event-ID` resumes without gap or double."""
    company = caller(request).company_id
    wanted = _wanted(task_id, kind, actor)
    start = request.headers.get("last-event-id") or since
    follower = room(request).follower
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    try:
        cursor = await _cursor(request, start) if start else None
    except Gone as error:
        return StreamingResponse(_expired(error), media_type="text/event-stream", headers=headers)
    frames = while_signed_in(request, follower.stream(company, cursor, wanted))
    return StreamingResponse(frames, media_type="text/event-stream", headers=headers)


async def _expired(error: Gone) -> AsyncIterator[bytes]:
    yield b"event: cursor_expired\ndata: %s\n\n" % _encode({"detail": error.detail, "hint": error.hint, "oldest": error.fields.get("oldest")})


async def _cursor(request: Request, text: str) -> str:
    store, company = room(request).store, caller(request).company_id
    if text.startswith("c") and "-" in text:
        await store.read(feed.check_cursor, text, company=company)
        return text
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{text[:60]!r} is neither a cursor nor an ISO time", hint="Pass `next` of a page, `id` of a stream, or 2026-01-31T12:00:00Z.") from None
    if at.tzinfo is None:
        raise BadInput(f"{text[:60]!r} has no offset", hint="Add Z for UTC.")
    if at.year in (MINYEAR, MAXYEAR):
        raise BadInput(f"{text[:60]!r} is at the edge of the calendar", hint="Give a time of this age.")
    return str(await store.read(feed.since, at.astimezone(UTC), company=company))


def _wanted(task_id: str, kinds: list[str] | None, actor: str) -> feed.Wanted:
    named = tuple(word for each in kinds or [] for word in each.split(",") if word)
    if unknown := [name for name in named if name not in KINDS]:
        raise BadInput(f"there is no event {unknown[0][:60]!r}", hint=f"Kinds: {', '.join(sorted(KINDS))}.")
    plain({"task_id": task_id, "actor": actor})
    return feed.Wanted(target=task_id, kinds=named, actor=actor)
