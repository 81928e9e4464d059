"""The API as the pages see it, over a :class:`World` in memory: for building pages and testing them alone. Never shipped.

``python -m tests.browser.standin [PORT]`` serves it; ``STANDIN_SECRET`` signs in.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from pulser.console.pages import routes
from pulser.console.render import environment
from pulser.core.errors import BadInput, NotFound, PulserError
from tests.browser.world import FILES, TYPES, World

SECRET = "let-me-in"
COOKIE = "pulser_session"


def build(world: World) -> Starlette:
    """The pages and the API over ``world``; ``app.state.world`` may be exchanged."""

    def current() -> World:
        found: World = app.state.world
        return found

    class Deps:
        def caller(self, request: Request) -> Any:
            signed_in = _signed_in(request)
            return SimpleNamespace(company_id="local", name="local" if signed_in else "anybody", may_write=signed_in)

        def __getattr__(self, name: str) -> Any:
            return getattr(current(), name)

    async def problem(_request: Request, error: Exception) -> Response:
        assert isinstance(error, PulserError)
        body = {"type": f"/problems/{error.code}", "title": error.title, "status": error.status, "detail": error.detail, "hint": error.hint, **error.fields}
        return JSONResponse(body, error.status, media_type="application/problem+json")

    app = Starlette(routes=[*routes(Deps()), *_api(current)], exception_handlers={PulserError: problem})
    app.state.world = world
    return app


def _signed_in(request: Request) -> bool:
    return request.cookies.get(COOKIE) == SECRET


def _api(current: Any) -> list[Route]:
    async def session(request: Request) -> Response:
        if (await request.json()).get("secret") != SECRET or request.headers.get("x-pulser-console") != "1":
            current().check_write(False)
        answer = JSONResponse({"name": "local"})
        answer.set_cookie(COOKIE, SECRET, httponly=True, samesite="strict")
        return answer

    async def end_session(_request: Request) -> Response:
        answer = Response(status_code=204)
        answer.delete_cookie(COOKIE)
        return answer

    async def submit(request: Request) -> Response:
        current().check_write(_signed_in(request))
        asked = await request.json()
        payload = asked["payload"]
        if asked["task_type"] not in TYPES:
            raise BadInput("unknown type", errors=[{"pointer": "/task_type", "detail": "there is no such type"}])
        required = TYPES[asked["task_type"]]["actions"][payload["action"]].get("required", [])
        if missing := [name for name in required if not payload.get(name)]:
            raise BadInput("The payload does not fit the action.", errors=[{"pointer": f"/payload/{name}", "detail": "is required"} for name in missing])
        task = current().add(asked.get("title") or "", asked["task_type"], payload["action"], asked.get("priority", "medium"))
        return JSONResponse(task, 202)

    async def act(request: Request) -> Response:
        world = current()
        world.check_write(_signed_in(request))
        task_id, verb = request.path_params["task_id"], request.path_params["verb"]
        to = (await request.json())["to"] if verb == "transition" else {"cancel": "cancelled", "retry": "queued", "requeue": "queued"}.get(verb)
        if verb == "discard":
            world.task(task_id)["discarded"] = True
            world.tell("task_discarded", world.task(task_id), "local")
            return JSONResponse(world.task(task_id))
        return JSONResponse(world.transition(task_id, to, "local"))

    async def artifact(request: Request) -> Response:
        found = FILES[request.path_params["name"]]
        headers = {
            "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
            "x-frame-options": "DENY",
        }
        if not request.query_params.get("view"):
            headers["content-disposition"] = "attachment"
        return Response(found["text"], media_type=found["media_type"], headers=headers)

    async def log(_request: Request) -> Response:
        return PlainTextResponse("12:00:01 started\n12:00:02 <b>read</b> 344 rows\n12:00:04 wrote report.md\n")

    async def task_types(_request: Request) -> Response:
        items = []
        for kind, one in TYPES.items():
            actions = [
                {"action": name, "summary": f"Do {name} on what the payload names", "arguments": {"type": "object", **schema}}
                for name, schema in one["actions"].items()
            ]
            items.append({"task_type": kind, "agent": one["agent"], "default_action": actions[0]["action"], "time_limit_s": 900, "actions": actions})
        return JSONResponse({"items": items})

    async def agent(request: Request) -> Response:
        world = current()
        world.check_write(_signed_in(request))
        name, verb = request.path_params["name"], request.path_params.get("verb")
        if verb is None:
            available = (await request.json())["available"]
            (world.unavailable.discard if available else world.unavailable.add)(name)
            world.tell("instance_toggled", None, "local", target=name, state="available" if available else "unavailable")
        else:
            (world.paused.add if verb == "pause" else world.paused.discard)(name)
            world.tell(f"agent_{verb}d", None, "local", target=name)
        return JSONResponse({})

    async def avatar(request: Request) -> Response:
        if request.path_params["name"] == "learnbot":
            raise NotFound("no picture")
        from importlib.resources import files

        found = files("pulser.agents") / "avatars" / f"{request.path_params['name']}.svg"
        return Response(found.read_bytes(), media_type="image/svg+xml")

    async def tail(request: Request) -> Response:
        world = current()
        queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        since = request.query_params.get("since", "")
        missed = [e for e in world.events if since and e["ts"] >= since]
        world.listeners.add(queue)

        async def frames() -> AsyncIterator[str]:
            yield ": hello\n\n"
            try:
                for event in missed:
                    yield _frame(event)
                while True:
                    yield _frame(await queue.get())
            finally:
                world.listeners.discard(queue)

        return StreamingResponse(frames(), media_type="text/event-stream", headers={"cache-control": "no-store"})

    return [
        Route("/session", session, methods=["POST"]),
        Route("/session", end_session, methods=["DELETE"]),
        Route("/api/v1/tasks", submit, methods=["POST"]),
        Route("/api/v1/task-types", task_types),
        Route("/api/v1/tasks/{task_id}/artifacts/{name}", artifact),
        Route("/api/v1/tasks/{task_id}/log", log),
        Route("/api/v1/tasks/{task_id}/{verb}", act, methods=["POST"]),
        Route("/api/v1/agents/{name}/avatar.svg", avatar),
        Route("/api/v1/agents/{name}/instances/{instance_id}", agent, methods=["PATCH"]),
        Route("/api/v1/agents/{name}/{verb}", agent, methods=["POST"]),
        Route("/api/v1/events/tail", tail),
    ]


def _frame(event: dict[str, Any]) -> str:
    return f"id: {event['cursor']}\nevent: {event['event']}\ndata: {json.dumps(event)}\n\n"


if __name__ == "__main__":
    import uvicorn

    environment().auto_reload = True
    uvicorn.run(build(World(empty="empty" in sys.argv)), port=int(sys.argv[1]) if len(sys.argv) > 1 else 8765, log_level="warning")
