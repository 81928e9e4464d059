"""What every route may use: handed in by ``app`` and kept on the application."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from pulser.access.local import LocalToken
from pulser.agents.registry import Registry
from pulser.collab import views
from pulser.core.clock import monotonic
from pulser.core.errors import NotSignedIn
from pulser.core.settings import Settings
from pulser.events.feed import Wanted
from pulser.events.follow import Follower
from pulser.intake.submit import Submitter
from pulser.store.blobs import Blobs
from pulser.store.store import Store
from pulser.tools.inputs import Places
from pulser.web.caller import CACHED_S, may_go_on
from pulser.worker.pool import Pool

Json = dict[str, Any]
LOOK_S = 3.0  # whether who waits is still there


@dataclass(slots=True)
class Room:
    """The parts of a running Pulser that the API speaks to. ``pool`` is None where this process does no work."""

    settings: Settings
    store: Store
    registry: Registry
    submitter: Submitter
    blobs: Blobs
    follower: Follower
    local: LocalToken | None
    pool: Pool | None
    heartbeat_age_s: Any  # () -> seconds since the last heartbeat, or None
    places: Places | None = None  # embedded: where paths may lead; elsewhere the worker has other folders
    answering: Callable[[], Awaitable[str]] | None = None  # whether the database does; made when first asked for


def room(request: Request) -> Room:
    """The room of the application that serves ``request``."""
    found: Room = request.app.state.room
    return found


async def until(request: Request, company: str, task_id: str, wanted: Callable[[Json], bool], wait_s: float) -> Json:
    """Wait up to ``wait_s`` for ``wanted(stage and status)`` to be true; returns the whole task as it is then.

    What is asked meanwhile is the little that one polls for, and only when the task's events say that something changed. It ends early for a
    caller who has gone away; one whose credential ended is refused.
    """
    r = room(request)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(wait_s), contextlib.aclosing(r.follower.stream(company, None, Wanted(target=task_id), keep_alive_s=LOOK_S)) as frames:
            looked = checked = monotonic()
            async for frame in frames:
                if not frame.startswith(b": keep") and wanted(await r.store.read(views.status, task_id, company=company)):
                    break
                at = monotonic()
                if at - looked >= LOOK_S:
                    looked = at
                    if await request.is_disconnected():
                        break
                if at - checked >= CACHED_S:
                    checked = at
                    if not await may_go_on(request):
                        raise NotSignedIn("what you signed in with opens nothing any more")
    found: Json = await r.store.read(views.task, task_id, company=company)
    return found
