"""``/api/v1/agents``, ``/task-types`` and ``/route``: who does what, and who would."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from pulser.agents.route import decide
from pulser.api.room import room
from pulser.collab import team, views
from pulser.core.errors import NotFound
from pulser.web.caller import admin, caller, writer

router = APIRouter(tags=["agents"])
_encode = msgspec.json.Encoder().encode


@router.get("/agents", summary="The agents, their instances and load")
async def list_agents(request: Request) -> Response:
    """Every agent's spec, load, live instances and numbers of its last tasks."""
    r = room(request)
    return _json(await r.store.read(views.agents, r.registry, company=caller(request).company_id))


@router.get("/agents/{name}", summary="One agent")
async def show(request: Request, name: str) -> Response:
    """The same for one."""
    r = room(request)
    _known(request, name)
    listed = await r.store.read(views.agents, r.registry, company=caller(request).company_id)
    return _json(next(each for each in listed["items"] if each["name"] == name))


@router.get("/agents/{name}/avatar.svg", summary="Its face", response_class=FileResponse)
async def avatar(request: Request, name: str) -> Response:
    """An SVG."""
    _known(request, name)
    path = room(request).registry.avatar_file(name)
    if path is None:
        raise NotFound(f"{name!r} has no avatar", hint="Name a file beside the spec as its avatar.")
    return FileResponse(
        path,
        media_type="image/svg+xml",
        headers={"Cache-Control": "public, max-age=3600", "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
    )


@router.post("/agents/{name}/pause", summary="Start no more of its tasks")
async def pause(request: Request, name: str) -> Response:
    """What runs goes on; for your company only."""
    return await _set(request, name, team.pause)


@router.post("/agents/{name}/resume", summary="Let it go on")
async def resume(request: Request, name: str) -> Response:
    """Undo pause."""
    return await _set(request, name, team.resume)


class Availability(BaseModel):
    """Whether an instance takes work."""

    model_config = ConfigDict(extra="forbid")
    available: bool


@router.patch("/agents/{name}/instances/{instance_id}", summary="Let an instance take work, or not")
async def toggle(request: Request, name: str, instance_id: str, wanted: Availability) -> Response:
    """An instance serves every company, so this needs the role admin of the default company."""
    actor, r = admin(request), room(request)
    _known(request, name)
    await r.store.write(team.toggle, name, instance_id, wanted.available, company=actor.company_id, actor=actor)
    return await show(request, name)


class Question(BaseModel):
    """A task that is not submitted, only routed."""

    model_config = ConfigDict(extra="forbid")
    task_type: Annotated[str, Field(min_length=1, max_length=63)] = "auto"
    agent: str | None = None
    title: Annotated[str | None, Field(max_length=200)] = None
    description: Annotated[str | None, Field(max_length=20_000)] = None
    payload: dict[str, Any] = Field(default_factory=dict)


@router.post("/route", tags=["routing"], summary="Who would do it, and why")
async def route(request: Request, asked: Question) -> Response:
    """A dry run of the router: the decision with its reason and alternatives; nothing is written."""
    caller(request)
    return _json(msgspec.to_builtins(decide(room(request).registry, asked.task_type, asked.agent, asked.title, asked.description, asked.payload)))


@router.get("/task-types", tags=["routing"], summary="What can be asked for")
async def task_types(request: Request) -> Response:
    """Every task type with its agent, actions and the JSON Schema of their arguments."""
    caller(request)
    return _json(views.task_types(room(request).registry))


async def _set(request: Request, name: str, fn: Any) -> Response:
    actor, r = writer(request), room(request)
    _known(request, name)
    await r.store.write(fn, name, company=actor.company_id, actor=actor)
    return await show(request, name)


def _known(request: Request, name: str) -> None:
    registry = room(request).registry
    if name not in registry.specs:
        raise NotFound(f"there is no agent {name[:60]!r}", hint=f"Agents: {', '.join(sorted(registry.specs))}.")


def _json(value: Any) -> Response:
    return Response(_encode(value), media_type="application/json")
