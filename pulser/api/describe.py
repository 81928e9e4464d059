"""The OpenAPI document, from the routes and one table of what they cannot say themselves: stable ids, answers, problems, examples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from pulser.api.shapes import SCHEMAS, ref
from pulser.intake.request import BatchRequest, TaskRequest

Json = dict[str, Any]
PROBLEMS = {
    400: "The body cannot be read.",
    401: "Not signed in, or the credential opens nothing.",
    403: "Not allowed: the role, the host or the origin.",
    404: "There is no such thing in your company.",
    409: "Its state does not allow this; `allowed` says what would be.",
    410: "The cursor's events were pruned.",
    413: "Too large.",
    422: "A value is not acceptable; `errors` says where.",
    503: "A back end is down or full, or maintenance: try again.",
}
TAGS = {
    "tasks": "Submit work, look at it, steer it.",
    "dead letters": "What failed for good.",
    "agents": "Who does the work.",
    "routing": "Who would do what.",
    "events": "What happened.",
    "files": "Files for payloads.",
    "health": "For probes and Prometheus.",
    "session": "A browser's sign-in.",
}


@dataclass(frozen=True, slots=True)
class Operation:
    """``answer`` is the schema of the 2xx answer. ``problems`` come besides those every request may meet."""

    name: str
    answer: str = ""
    problems: tuple[int, ...] = ()
    examples: Json = field(default_factory=dict)
    also: dict[str, str] = field(default_factory=dict)  # further statuses and their schemas


_NOOP = {"task_type": "orchestration", "payload": {"action": "noop"}}
_SUBMIT = {
    "changelog": {"task_type": "documentation", "payload": {"action": "changelog", "path": "."}, "title": "What changed?", "priority": "high"},
    "lint": {"task_type": "testing", "payload": {"action": "lint", "path": "src", "fix": True}, "review": True},
    "free text": {"task_type": "auto", "title": "Profile this table and show the outliers", "payload": {"path": "data/penguins.csv"}},
    "later": {**_NOOP, "run_at": "2030-01-31T12:00:00Z"},
}
_BATCH = {"one after the other": {"tasks": [{**_NOOP, "ref": "first"}, {**_NOOP, "depends_on": ["first"]}]}}
_ONE = (404, 409)

OPERATIONS: dict[tuple[str, str], Operation] = {
    ("post", "/api/v1/tasks"): Operation("submitTask", "Receipt", (413, 503), _SUBMIT, {"200": "Task"}),
    ("post", "/api/v1/tasks/batch"): Operation("submitBatch", "Receipts", (413, 503), _BATCH),
    ("get", "/api/v1/tasks"): Operation("listTasks", "Cards"),
    ("get", "/api/v1/tasks/{task_id}"): Operation("getTask", "Task", (404,)),
    ("patch", "/api/v1/tasks/{task_id}"): Operation(
        "changeTask", "Task", _ONE, {"tick": {"checklist": [{"text": "Read it", "done": True}]}, "rename": {"title": "Better"}}
    ),
    ("get", "/api/v1/tasks/{task_id}/status"): Operation("getTaskStatus", "TaskStatus", (404,)),
    ("get", "/api/v1/tasks/{task_id}/artifacts/{name}"): Operation("getArtifact", "", (404,)),
    ("get", "/api/v1/tasks/{task_id}/log"): Operation("getLog", "", (404,)),
    ("post", "/api/v1/tasks/{task_id}/cancel"): Operation("cancelTask", "Task", _ONE, {"why": {"reason": "not needed any more"}}),
    ("post", "/api/v1/tasks/{task_id}/retry"): Operation("retryTask", "Task", _ONE, {"with what depends on it": {"cascade": True}}),
    ("post", "/api/v1/tasks/{task_id}/requeue"): Operation("requeueTask", "Task", _ONE),
    ("post", "/api/v1/tasks/{task_id}/discard"): Operation("discardTask", "Task", _ONE),
    ("post", "/api/v1/tasks/{task_id}/transition"): Operation(
        "moveTask",
        "Moved",
        _ONE,
        {"approve": {"to": "approved", "note": "Looks right"}, "send back": {"to": "queued"}, "reject": {"to": "failed", "note": "Wrong file"}},
    ),
    ("get", "/api/v1/dead"): Operation("listDeadLetters", "Cards"),
    ("post", "/api/v1/dead/requeue"): Operation(
        "requeueDeadLetters", "Requeued", (), {"all": {"all": True}, "some": {"task_ids": ["tsk_01J9ZQ4T3W8F5N6R7B2C4D6E8G"]}}
    ),
    ("get", "/api/v1/agents"): Operation("listAgents", "Agents"),
    ("get", "/api/v1/agents/{name}"): Operation("getAgent", "Agent", (404,)),
    ("get", "/api/v1/agents/{name}/avatar.svg"): Operation("getAvatar", "", (404,)),
    ("post", "/api/v1/agents/{name}/pause"): Operation("pauseAgent", "Agent", (404,)),
    ("post", "/api/v1/agents/{name}/resume"): Operation("resumeAgent", "Agent", (404,)),
    ("patch", "/api/v1/agents/{name}/instances/{instance_id}"): Operation("setInstance", "Agent", (404,), {"no more work": {"available": False}}),
    ("post", "/api/v1/route"): Operation("route", "Routing", (), {"free text": {"task_type": "auto", "title": "Find dead links in the docs"}}),
    ("get", "/api/v1/task-types"): Operation("listTaskTypes", "TaskTypes"),
    ("get", "/api/v1/events"): Operation("listEvents", "Events", (410,)),
    ("get", "/api/v1/events/tail"): Operation("followEvents"),
    ("post", "/api/v1/files"): Operation("uploadFile", "File", (413, 503)),
    ("get", "/api/v1/files/{sha256}"): Operation("getFile", "", (404,)),
    ("get", "/healthz"): Operation("alive", "Alive"),
    ("get", "/health"): Operation("health", "Health"),
    ("get", "/readyz"): Operation("ready", "Ready", (), {}, {"503": "Ready"}),
    ("get", "/metrics"): Operation("metrics"),
    ("post", "/session"): Operation("beginSession", "", (), {"start link": {"secret": "the part of the link after #start="}}),
    ("get", "/session"): Operation("whoAmI", "Caller"),
    ("delete", "/session"): Operation("endSession"),
    ("post", "/session/link"): Operation("makeStartLink", "StartLink"),
}
_BINARY = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
_CONTENT: dict[str, Json] = {  # of answers that are not JSON
    "getArtifact": {"*/*": {}},
    "getFile": _BINARY,
    "getLog": {"text/plain": {"schema": {"type": "string"}}},
    "getAvatar": {"image/svg+xml": {"schema": {"type": "string"}}},
    "followEvents": {"text/event-stream": {"schema": {"type": "string"}}},
    "metrics": {"text/plain": {"schema": {"type": "string"}}},
}


def describe(app: FastAPI) -> None:
    """Let ``app`` describe itself with this document; it is made when first asked for."""

    def openapi() -> Json:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def _document(app: FastAPI) -> Json:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes, openapi_version="3.1.0")
    components = made.setdefault("components", {})
    _, models = models_json_schema([(TaskRequest, "validation"), (BatchRequest, "validation")], ref_template="#/components/schemas/{model}")
    schemas = components.get("schemas", {}) | models["$defs"] | SCHEMAS
    components["schemas"] = {name: schemas[name] for name in sorted(schemas) if name not in ("HTTPValidationError", "ValidationError")}
    components["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer", "description": "An API key (pk_…), or on loopback the contents of the file `token` in the data folder."},
        "session": {"type": "apiKey", "in": "cookie", "name": "pulser_session_8000", "description": "A browser's session; its name ends with the port."},
    }
    components["responses"] = {
        f"Problem{status}": {"description": meaning, "content": {"application/problem+json": {"schema": ref("Problem")}}}
        for status, meaning in PROBLEMS.items()
    }
    made["tags"] = [{"name": name, "description": meaning} for name, meaning in TAGS.items()]
    made["info"]["license"] = {"name": "AGPL-3.0-or-later", "identifier": "AGPL-3.0-or-later"}
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _complete(operation, OPERATIONS[method, path], method, path)
    return made


def _complete(operation: Json, said: Operation, method: str, path: str) -> None:
    operation["operationId"] = said.name
    safe = method == "get" or said.name in ("route", "beginSession", "endSession")
    operation["security"] = [{"bearer": []}, {"session": []}, *([{}] if safe else [])]
    answers = operation["responses"]
    for status, answer in answers.items():
        if status.startswith("2") and status != "204":
            answer["content"] = _CONTENT.get(said.name) or {"application/json": {"schema": ref(said.answer)}}
    answers |= {
        status: {"description": "Ended in time." if status == "200" else "Not now.", "content": {"application/json": {"schema": ref(name)}}}
        for status, name in said.also.items()
    }
    body = operation.get("requestBody")
    probe = path in ("/healthz", "/health", "/readyz")
    usual = () if probe else (401, 403, 422) if method in ("get", "delete") else (400, 401, 403, 413, 422)
    answers.pop("422", None)
    for status in sorted({*usual, *said.problems}):
        answers[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    if body is not None and said.examples:
        content = body["content"]["application/json"]
        content["examples"] = {name: {"value": value} for name, value in said.examples.items()}
