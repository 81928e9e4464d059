"""``/api/v1/tasks``: submit, look, steer."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from pulser.api.room import room, until
from pulser.collab import steer, views
from pulser.core.actor import Actor
from pulser.core.errors import BadInput, NotFound, TooLarge, Unavailable
from pulser.core.task import STAGES, STATUS, Priority, Stage
from pulser.intake.request import TEXT, BatchRequest, ChecklistItem, TaskRequest, draft, parse
from pulser.intake.submit import Key, Submission, Submitted
from pulser.store.tasks import Filter, artifacts_of
from pulser.web.caller import caller, writer
from pulser.web.query import REVALIDATED, plain, unchanged

router = APIRouter(tags=["tasks"])
JSON = "application/json"
SEARCHED = "Text in title, description, action or id. A page looks at 20,000 tasks at most: it may be short, or empty, and still have `next`."
Wait = Annotated[float, Query(ge=0, le=300, description="Wait up to that many seconds for the task to end, or to need a person.")]
_HARMLESS = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
_encode = msgspec.json.Encoder().encode
_KEY = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 200},
    "description": "The same key gives the same answer for 24 hours.",
}
_SUBMITTED = {
    "202": {
        "description": "On disk and on its way.",
        "headers": {"Location": {"schema": {"type": "string"}}},
        "content": {JSON: {"schema": {"type": "object"}}},
    }
}


def _body(model: type[BaseModel]) -> dict[str, Any]:
    """The schema itself is put among the components by ``describe``."""
    return {"requestBody": {"required": True, "content": {JSON: {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}}, "parameters": [_KEY]}


@router.post("/tasks", status_code=202, responses=_SUBMITTED, openapi_extra=_body(TaskRequest), summary="Submit a task")  # type: ignore[arg-type]
async def submit(request: Request, wait_s: Wait = 0) -> Response:
    """Submit one task. 202 means it is on disk; with `wait_s` the answer is the ended task, if it ends in time."""
    r, actor = room(request), writer(request)
    body = await request.body()
    made = draft(parse(TaskRequest, body), r.registry, r.settings.queue, places=r.places)
    done = await _write(request, actor, Submission([made], key=_key(request, actor, "POST /tasks", body)))
    location = f"/api/v1/tasks/{done.task_ids[0]}"
    if wait_s:
        shown = await until(request, actor.company_id, done.task_ids[0], _settled, wait_s)
        if _settled(shown):
            return Response(_encode(shown), media_type=JSON, headers={"Location": location})
    headers = {"Location": location, "Idempotent-Replayed": "true"} if done.replayed else {"Location": location}
    return Response(done.body, status_code=202, media_type=JSON, headers=headers)


@router.post(
    "/tasks/batch",
    status_code=202,
    responses={"202": {"description": "All of them are on disk."}},
    openapi_extra=_body(BatchRequest),
    summary="Submit several, all or none",
)
async def submit_batch(request: Request) -> Response:
    """Up to 1,000 tasks, all or nothing. `ref` names a task within the batch, so that `depends_on` can."""
    r, actor = room(request), writer(request)
    body = await request.body()
    batch = parse(BatchRequest, body)
    if len(batch.tasks) > r.settings.queue.batch_limit:
        raise TooLarge(f"{len(batch.tasks)} tasks in one batch; {r.settings.queue.batch_limit} are allowed", hint="Send several batches.")
    drafts = [draft(each, r.registry, r.settings.queue, pointer=f"/tasks/{n}", places=r.places) for n, each in enumerate(batch.tasks)]
    done = await _write(request, actor, Submission(drafts, batch=True, key=_key(request, actor, "POST /tasks/batch", body)))
    return Response(done.body, status_code=202, media_type=JSON, headers={"Idempotent-Replayed": "true"} if done.replayed else {})


async def _write(request: Request, actor: Actor, submission: Submission) -> Submitted:
    r = room(request)
    if r.settings.server.maintenance:
        raise Unavailable("maintenance: no new work is taken", hint="What runs is finished; try again later.", retry_after_s=30)
    done: Submitted = await r.store.write_each(r.submitter.submit_many, submission, company=actor.company_id, actor=actor)
    return done


def _key(request: Request, actor: Actor, route: str, body: bytes) -> Key | None:
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not 0 < len(key.strip()) <= 200 or not key.isprintable():
        raise BadInput("the Idempotency-Key is empty, too long or has control characters", hint="Use up to 200 printable characters.")
    return Key(actor.name, route, key, body)


def _settled(shown: dict[str, Any]) -> bool:
    return shown["stage"] in ("done", "failed", "cancelled", "review")


@router.get("/tasks", summary="List tasks, newest first")
async def list_tasks(
    request: Request,
    status: Annotated[list[str] | None, Query(description="queued, waiting, running, in_review, completed, failed, cancelled")] = None,
    stage: Annotated[list[str] | None, Query(description="The board's words")] = None,
    task_type: str = "",
    agent: str = "",
    priority: str = "",
    requester: str = "",
    parent_id: str = "",
    q: Annotated[str, Query(max_length=200, description=SEARCHED)] = "",
    since: datetime | None = None,
    until_: Annotated[datetime | None, Query(alias="until")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: str | None = None,
) -> Response:
    """`{items, next}`; pass `next` as `cursor` for the next page."""
    actor = caller(request)
    stages = stages_of(status or [], stage or [])
    for name, at in (("since", since), ("until", until_)):
        if at is not None and at.tzinfo is None:
            raise BadInput(f"{name} needs an offset, such as Z", errors=[{"pointer": f"/{name}", "detail": "no offset"}])
    plain({"task_type": task_type, "agent": agent, "priority": priority, "requester": requester, "parent_id": parent_id, "q": q})
    if (status or stage) and not stages:
        return _json({"items": [], "next": None})  # no stage is both
    wanted = Filter(stages, task_type, agent, priority, requester, q, parent_id, since, until_)
    return _json(await room(request).store.read(views.page, wanted, limit, cursor, company=actor.company_id))


def stages_of(statuses: list[str], stages: list[str]) -> tuple[str, ...]:
    statuses = [word for each in statuses for word in each.split(",") if word]
    stages = [word for each in stages for word in each.split(",") if word]
    known = sorted(set(STATUS.values()))
    for word, listed in [(w, known) for w in statuses] + [(w, sorted(STAGES)) for w in stages]:
        if word not in listed:
            raise BadInput(
                f"{word[:60]!r} is none of: {', '.join(listed)}", errors=[{"pointer": "/status" if listed is known else "/stage", "detail": "unknown"}]
            )
    found = {s for s in STAGES if STATUS[s] in statuses} if statuses else set(STAGES)
    found &= set(stages) if stages else set(STAGES)
    return tuple(s for s in STAGES if s in found) if statuses or stages else ()


@router.get("/tasks/{task_id}", summary="One task, whole")
async def show(request: Request, task_id: str, wait_s: Wait = 0) -> Response:
    """Everything known of a task: result, attempts with errors and times, routing reason, files."""
    actor, r = caller(request), room(request)
    if wait_s:
        await r.store.read(views.status, task_id, company=actor.company_id)
        return _json(await until(request, actor.company_id, task_id, _settled, wait_s))
    return _json(await r.store.read(views.task, task_id, company=actor.company_id))


@router.get("/tasks/{task_id}/status", summary="Its status")
async def status_of(request: Request, task_id: str) -> Response:
    """The little that one polls for."""
    return _json(await room(request).store.read(views.status, task_id, company=caller(request).company_id))


@router.get("/tasks/{task_id}/artifacts/{name:path}", summary="A file that it made", response_class=FileResponse)
async def artifact(request: Request, task_id: str, name: str) -> Response:
    """The file's bytes. Shown in a browser it can do nothing: it is sandboxed."""
    import asyncio

    actor, r = caller(request), room(request)
    rows = await r.store.read(artifacts_of, task_id, company=actor.company_id)
    row = next((row for row in rows if row["name"] == name and row["kind"] == "file"), None)
    if row is None:
        raise NotFound(f"{task_id[:60]} has no artifact {name[:200]!r}", hint="GET /api/v1/tasks/{id} lists them.")
    tag = f'"{row["sha256"]}"'
    headers = {"Content-Security-Policy": _HARMLESS, "Cache-Control": REVALIDATED, "ETag": tag}
    if same := unchanged(request, tag, headers):
        return same
    path = await asyncio.to_thread(r.blobs.path, actor.company_id, row["sha256"])
    inline = row["media_type"].split(";")[0] in ("text/plain", "text/markdown", "application/json", "image/svg+xml", "image/png", "text/html", "text/csv")
    media_type = row["media_type"] if inline else "application/octet-stream"
    return FileResponse(
        path, media_type=media_type, filename=name.rsplit("/", 1)[-1], content_disposition_type="inline" if inline else "attachment", headers=headers
    )


@router.get("/tasks/{task_id}/log", summary="What an attempt printed", response_class=PlainTextResponse)
async def log_of(request: Request, task_id: str, generation: Annotated[int, Query(ge=0)] = 0, attempt: Annotated[int, Query(ge=0)] = 0) -> Response:
    """The log of one attempt; of the last one that has one, if none is named."""
    import asyncio

    actor, r = caller(request), room(request)
    rows = [row for row in await r.store.read(artifacts_of, task_id, company=actor.company_id) if row["kind"] == "log"]
    rows = [row for row in rows if (not generation or row["generation"] == generation) and (not attempt or row["attempt"] == attempt)]
    if not rows:
        raise NotFound(f"{task_id[:60]} has no such log", hint="Only attempts that printed something have one.")
    row = max(rows, key=lambda row: (row["generation"], row["attempt"]))
    tag, headers = f'"{row["sha256"]}"', {"Cache-Control": REVALIDATED}
    if same := unchanged(request, tag, headers):
        return same
    path = await asyncio.to_thread(r.blobs.path, actor.company_id, row["sha256"])
    return FileResponse(path, media_type="text/plain; charset=utf-8", headers={**headers, "ETag": tag})


class Reason(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=500, pattern=TEXT)] = ""


class Again(BaseModel):
    """How far a retry reaches."""

    model_config = ConfigDict(extra="forbid")
    cascade: Annotated[bool, Field(description="Also what its failure cancelled, and its failed steps.")] = False


class Move(BaseModel):
    """Where a card goes."""

    model_config = ConfigDict(extra="forbid")
    to: Stage
    note: Annotated[str, Field(max_length=500, pattern=TEXT)] = ""


class Change(BaseModel):
    """What may be changed of a card."""

    model_config = ConfigDict(extra="forbid")
    title: Annotated[str | None, Field(max_length=200, pattern=TEXT)] = None
    description: Annotated[str | None, Field(max_length=20_000, pattern=TEXT)] = None
    priority: Priority | None = None
    checklist: Annotated[list[ChecklistItem] | None, Field(max_length=100)] = None


class Letters(BaseModel):
    """Which dead letters: ids, or all."""

    model_config = ConfigDict(extra="forbid")
    task_ids: Annotated[list[str], Field(max_length=1000)] = Field(default_factory=list)
    all: Literal[True] | None = None


async def _steer(request: Request, fn: Any, task_id: str, *args: Any) -> Response:
    actor, r = writer(request), room(request)
    await r.store.write(fn, task_id, *args, company=actor.company_id, actor=actor)
    return _json(await r.store.read(views.task, task_id, company=actor.company_id))


@router.post("/tasks/{task_id}/cancel", summary="Cancel, at once")
async def cancel(request: Request, task_id: str, why: Reason | None = None) -> Response:
    """From any stage that is not final; running work is stopped."""
    return await _steer(request, steer.cancel, task_id, why.reason if why else "")


@router.post("/tasks/{task_id}/retry", summary="Try again: the next generation")
async def retry(request: Request, task_id: str, how: Again | None = None) -> Response:
    """Of a failed or cancelled task."""
    cascade = bool(how and how.cascade)
    return await _steer(request, lambda tx, each: steer.retry(tx, each, cascade=cascade), task_id)


@router.post("/tasks/{task_id}/requeue", summary="Requeue a dead letter")
async def requeue_one(request: Request, task_id: str) -> Response:
    """The same as retry, for a dead letter."""
    return await _steer(request, steer.retry, task_id)


@router.post("/tasks/{task_id}/discard", summary="Put a dead letter out of sight")
async def discard(request: Request, task_id: str) -> Response:
    """It is kept, and shown where one asks for it by id."""
    return await _steer(request, steer.discard, task_id)


@router.post("/tasks/{task_id}/transition", summary="Move a card by hand")
async def transition(request: Request, task_id: str, move: Move) -> Response:
    """Approve (`approved`), send back (`queued`), reject (`failed`) or cancel; 409 tells the allowed moves."""
    actor, r = writer(request), room(request)
    old, new = await r.store.write(steer.transition, task_id, move.to, move.note, company=actor.company_id, actor=actor)
    return _json({"task_id": task_id, "old_status": old, "new_status": new})


@router.patch("/tasks/{task_id}", summary="Change a card")
async def change(request: Request, task_id: str, values: Change) -> Response:
    """Title, description, priority, checklist; what is not named stays."""
    named = {key: value for key, value in values.model_dump(exclude_unset=True).items() if value is not None or key in ("title", "description")}
    if not named:
        raise BadInput("nothing to change", hint="Name title, description, priority or checklist.")
    return await _steer(request, steer.change, task_id, named)


@router.get("/dead", tags=["dead letters"], summary="Dead letters, newest first")
async def dead(request: Request, limit: Annotated[int, Query(ge=1, le=200)] = 50, cursor: str | None = None, agent: str = "", task_type: str = "") -> Response:
    """Failed tasks that nobody requeued or discarded."""
    plain({"agent": agent, "task_type": task_type})
    wanted = Filter(stages=("failed",), agent=agent, task_type=task_type, discarded=False)
    return _json(await room(request).store.read(views.page, wanted, limit, cursor, company=caller(request).company_id))


@router.post("/dead/requeue", tags=["dead letters"], summary="Requeue several")
async def requeue(request: Request, letters: Letters) -> Response:
    """Those named, or `all` (up to 1,000 a call)."""
    actor = writer(request)
    if bool(letters.task_ids) == bool(letters.all):
        raise BadInput("name task_ids, or say all: true", hint="One of the two.")
    every = bool(letters.all)
    answer = await room(request).store.write(lambda tx: steer.requeue(tx, letters.task_ids, everything=every), company=actor.company_id, actor=actor)
    return _json(answer)


def _json(value: Any, status: int = 200) -> Response:
    return Response(_encode(value), status_code=status, media_type=JSON)
