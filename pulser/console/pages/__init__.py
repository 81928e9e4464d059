"""The pages and their routes. ``routes(deps)`` is all that the application needs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pulser.console import assets, render
from pulser.console.pages import agents, board, events, task
from pulser.console.pages.data import Caller, Data
from pulser.core.errors import PulserError

Handler = Callable[[Data, Request, Caller], Awaitable[Response]]


def routes(deps: Data) -> list[BaseRoute]:
    """Every route of the console: pages, fragments, static files."""

    def at(path: str, handler: Handler) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _answer(deps, request, handler)

        return Route(path, endpoint, methods=["GET"], include_in_schema=False)

    return [
        Route("/", _home, methods=["GET"], include_in_schema=False),
        at("/board", board.show),
        at("/board/more/{status}", board.more),
        at("/tasks/{task_id}", task.show),
        at("/agents", agents.show),
        at("/events", events.show),
        Route("/favicon.ico", assets.favicon, methods=["GET"], include_in_schema=False),
        Route("/static/{digest}/{path:path}", assets.serve, methods=["GET"], include_in_schema=False),
    ]


async def _home(_request: Request) -> Response:
    return RedirectResponse("/board", status_code=307)


async def _answer(deps: Data, request: Request, handler: Handler) -> Response:
    caller: Caller | None = None
    try:
        found = deps.caller(request)
        caller = await found if inspect.isawaitable(found) else found
        return await handler(deps, request, caller)
    except PulserError as error:
        return render.page(request, "error.html", http_status=error.status, caller=caller, error=error, active="")
