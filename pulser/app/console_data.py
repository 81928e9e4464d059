"""What the console's pages are given: the API's shapes, read from the same functions."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from pulser.api.room import Room
from pulser.api.tasks import stages_of
from pulser.collab import views
from pulser.core.actor import Actor
from pulser.events import feed
from pulser.store.tasks import Filter
from pulser.web.caller import caller
from pulser.web.query import plain


class ConsoleData:
    """See :class:`pulser.console.pages.data.Data`."""

    def __init__(self, room: Room) -> None:
        self._room = room

    async def list_tasks(self, company: str, **filters: Any) -> dict[str, Any]:
        """``{items, next}``, newest first."""
        plain(filters)
        status = filters.get("status") or ()
        statuses = [status] if isinstance(status, str) else list(status)
        wanted = Filter(
            stages=stages_of([s for s in statuses if s], []),
            task_type=filters.get("task_type") or "",
            agent=filters.get("agent") or "",
            priority=filters.get("priority") or "",
            text=filters.get("q") or "",
        )
        limit = int(filters.get("limit") or 50)
        found: dict[str, Any] = await self._room.store.read(views.page, wanted, limit, filters.get("cursor") or None, company=company)
        return found

    async def get_task(self, company: str, task_id: str) -> dict[str, Any]:
        """The whole task."""
        found: dict[str, Any] = await self._room.store.read(views.task, task_id, company=company)
        return found

    async def list_agents(self, company: str) -> dict[str, Any]:
        """``{items}``."""
        found: dict[str, Any] = await self._room.store.read(views.agents, self._room.registry, company=company)
        return found

    async def list_events(self, company: str, **filters: Any) -> dict[str, Any]:
        """``{items, next}``; newest first, unless ``after`` is given."""
        plain(filters)
        kinds = filters.get("kind") or ()
        wanted = feed.Wanted(target=filters.get("task_id") or "", kinds=(kinds,) if isinstance(kinds, str) else tuple(kinds), actor=filters.get("actor") or "")
        limit = int(filters.get("limit") or 100)
        if after := filters.get("after"):
            items = await self._room.store.read(feed.after, after, limit, wanted, company=company)
        else:
            items = await self._room.store.read(feed.before, filters.get("before") or None, limit, wanted, company=company)
        return {"items": items, "next": items[-1]["cursor"] if len(items) == limit else None}

    def caller(self, request: Request) -> Actor:
        """Who asks."""
        return caller(request)
