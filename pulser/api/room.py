"""What every route may use: handed in by ``app`` and kept on the application."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from pulser.access.local import LocalToken
from pulser.agents.registry import Registry
from pulser.core.settings import Settings
from pulser.events.follow import Follower
from pulser.intake.submit import Submitter
from pulser.store.blobs import Blobs
from pulser.store.store import Store
from pulser.worker.pool import Pool


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


def room(request: Request) -> Room:
    """The room of the application that serves ``request``."""
    found: Room = request.app.state.room
    return found


async def until(room_: Room, company: str, task_id: str, wanted: Any, wait_s: float) -> Any:
    """Wait up to ``wait_s`` for ``wanted(task)`` to be true; returns the task as it is then."""
    from pulser.collab import views
    from pulser.events.feed import Wanted

    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait_s
    stream = room_.follower.stream(company, None, Wanted(target=task_id), keep_alive_s=1.0)
    try:
        await anext(stream)
        while True:
            shown = await room_.store.read(views.task, task_id, company=company)
            left = deadline - loop.time()
            if wanted(shown) or left <= 0:
                return shown
            try:
                await asyncio.wait_for(anext(stream), left)
            except (TimeoutError, StopAsyncIteration):
                return await room_.store.read(views.task, task_id, company=company)
    finally:
        await stream.aclose()
