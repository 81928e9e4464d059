"""What the pages are given by the application: async functions that answer in the JSON shapes of the HTTP API."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any, Protocol

from starlette.requests import Request

Shape = dict[str, Any]


class Caller(Protocol):
    """Who asks."""

    @property
    def company_id(self) -> str:
        """Whose data is shown."""

    @property
    def name(self) -> str:
        """Who asks."""

    @property
    def may_write(self) -> bool:
        """False for a reader who has not signed in."""


class Data(Protocol):
    """Readers of one company. Unknown ids raise :class:`pulser.core.errors.NotFound`."""

    async def list_tasks(self, company: str, **filters: Any) -> Shape:
        """``{items, next}``, newest first. Filters: status, agent, task_type, priority, q, limit, cursor."""

    async def get_task(self, company: str, task_id: str) -> Shape:
        """The whole task resource, with ``children`` (task_id, title, stage)."""

    async def list_agents(self, company: str) -> Shape:
        """``{items}``: the agents with load, instances and statistics."""

    async def list_events(self, company: str, **filters: Any) -> Shape:
        """``{items, next}``. Filters: task_id, kind, actor, limit, before (a cursor), order ("desc": newest first)."""

    def caller(self, request: Request) -> Caller | Awaitable[Caller]:
        """Who asks; raises NotSignedIn where reading needs it."""
