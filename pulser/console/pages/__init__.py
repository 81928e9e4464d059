"""The pages and their routes. ``routes(deps)`` is all that the application needs."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable

import msgspec
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from pulser.console import assets, render
from pulser.console.pages import agents, board, events, task
from pulser.console.pages.data import Caller, Data
from pulser.core.errors import PulserError
from pulser.web import problems

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
        Route("/problems/{code}", _problem, methods=["GET"], include_in_schema=False),
        Route("/favicon.ico", assets.favicon, methods=["GET"], include_in_schema=False),
        Route("/static/{digest}/{path:path}", assets.serve, methods=["GET"], include_in_schema=False),
    ]


async def _home(_request: Request) -> Response:
    return RedirectResponse("/board", status_code=307)


async def _problem(request: Request) -> Response:
    """GET /problems/{code}: what the ``type`` of a problem document leads to; for people and for programs."""
    found = problems.meaning(request.path_params["code"])
    if "text/html" in request.headers.get("accept", ""):
        return render.page(request, "problem.html", caller=request.scope.get("pulser.actor"), active="", problem=found)
    return Response(msgspec.json.encode(found), media_type="application/json")


def failed(request: Request, error: PulserError, caller: Caller | None = None) -> Response:
    """An error as a page."""
    return render.page(request, "error.html", http_status=error.status, caller=caller, error=error, active="")


async def _answer(deps: Data, request: Request, handler: Handler) -> Response:
    caller: Caller | None = None
    try:
        found = deps.caller(request)
        caller = await found if inspect.isawaitable(found) else found
        return await handler(deps, request, caller)
    except PulserError as error:
        return failed(request, error, caller)
