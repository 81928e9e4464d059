"""The route that is asked thousands of times a second, past the router and its layers; everything else goes the usual way.

The same endpoint stands in the router, for requests with a query, for other origins, and for the API's description.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from pulser.core import errors
from pulser.observe import logs
from pulser.web import problems
from pulser.web.gate import App, Receive, Scope, Send

log = logs.get("web")
Endpoint = Callable[[Request], Awaitable[Response]]


class Express:
    """Wraps the application ``app`` (``owner`` is the FastAPI object that requests see as theirs)."""

    def __init__(self, app: App, owner: Any, routes: Mapping[tuple[str, str], Endpoint]) -> None:
        self._app, self._owner, self._routes = app, owner, routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        endpoint = self._routes.get((scope.get("method", ""), scope.get("path", "")))
        if endpoint is None or scope["query_string"] or any(name == b"origin" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return
        scope["app"] = self._owner
        try:
            response = await endpoint(Request(scope, receive))
        except errors.PulserError as error:
            response = problems.response(error, scope.get("pulser.request_id"))
        except Exception:
            log.exception("unexpected error", path=scope["path"])
            unexpected = errors.PulserError("an unexpected error; it was logged under the request id", hint="Please report it with the request id.")
            response = problems.response(unexpected, scope.get("pulser.request_id"))
        await response(scope, receive, send)
