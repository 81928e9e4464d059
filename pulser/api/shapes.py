"""The shapes of answers as JSON Schemas, for the OpenAPI document. Answers may carry more than is named; what is named is there."""

from __future__ import annotations

from typing import Any, get_args

from pulser.core.task import PRIORITIES, STAGES, Status

Schema = dict[str, Any]

_ID = {"type": "string", "pattern": "^tsk_[0-9A-HJKMNP-TV-Z]{26}$", "examples": ["tsk_01J9ZQ4T3W8F5N6R7B2C4D6E8G"]}
_TIME = {"type": "string", "format": "date-time"}
_TEXT = {"type": "string"}
_INT = {"type": "integer"}
_JSON = {"type": "object"}
_TRUTH = {"type": "boolean"}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(meaning: str, /, optional: Schema | None = None, **properties: Schema) -> Schema:
    """An object whose ``properties`` are always there."""
    return {"type": "object", "description": meaning, "required": list(properties), "properties": {**properties, **(optional or {})}}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def ref(name: str) -> Schema:
    """A reference to one of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def page(of: str) -> Schema:
    """A page of a list."""
    return _object("A page; `next` is the cursor of the one after it.", items=_list(ref(of)), next=_or_null(_TEXT))


_STATUS = {"type": "string", "enum": list(get_args(Status))}
_STAGE = {"type": "string", "enum": list(STAGES)}
_PRIORITY = {"type": "string", "enum": list(PRIORITIES)}
_CARD: dict[str, Schema] = {
    "task_id": _ID,
    "task_type": _TEXT,
    "action": _TEXT,
    "title": _or_null(_TEXT),
    "priority": _PRIORITY,
    "status": _STATUS,
    "stage": _STAGE,
    "assigned_agent": _TEXT,
    "requester": _or_null(_TEXT),
    "progress": _or_null(_JSON),
    "error": _or_null(ref("Failure")),
    "generation": _INT,
    "retry_count": _INT,
    "max_retries": _INT,
    "reclaims": _INT,
    "time_limit_s": {"type": "number"},
    "waiting_for": _or_null(_TEXT),
    "parent_id": _or_null(_ID),
    "created_at": _TIME,
    "available_at": _or_null(_TIME),
    "claimed_at": _or_null(_TIME),
    "started_at": _or_null(_TIME),
    "completed_at": _or_null(_TIME),
    "updated_at": _TIME,
    "version": _INT,
    "review": _TRUTH,
    "discarded": _TRUTH,
}

SCHEMAS: dict[str, Schema] = {
    "Problem": _object(
        "What is wrong, and how to mend it (RFC 9457).",
        {
            "hint": {**_TEXT, "description": "How to mend it."},
            "errors": _list(_object("One place.", pointer={**_TEXT, "description": "JSON pointer."}, detail=_TEXT)),
            "allowed": {**_list(_STAGE), "description": "Of an illegal move: where the task may go."},
        },
        type={**_TEXT, "description": "/problems/<code>"},
        title=_TEXT,
        status=_INT,
        detail=_TEXT,
        request_id=_TEXT,
    ),
    "Failure": _object("Why it failed.", code=_TEXT, detail=_or_null(_TEXT), hint=_or_null(_TEXT)),
    "Routing": _object(
        "Which agent, and why.",
        {"rule": _TEXT, "confidence": {"type": "number"}},
        agent=_TEXT,
        reason=_TEXT,
        alternatives=_list(_object("Another one.", agent=_TEXT, reason=_TEXT)),
    ),
    "Receipt": _object(
        "A task that is on disk.",
        {"ref": _TEXT},
        task_id=_ID,
        task_type=_TEXT,
        action=_TEXT,
        status=_STATUS,
        stage=_STAGE,
        assigned_agent=_TEXT,
        priority=_PRIORITY,
        estimated_completion=_TIME,
        routing=ref("Routing"),
        created_at=_TIME,
    ),
    "Receipts": _object("In the order of the batch.", tasks=_list(ref("Receipt"))),
    "Attempt": _object(
        "One claim of the task.",
        {"error": _or_null(ref("Failure")), "worker_id": _or_null(_TEXT)},
        generation=_INT,
        attempt=_INT,
        started_at=_or_null(_TIME),
        ended_at=_or_null(_TIME),
        log_url=_or_null(_TEXT),
        outcome={"type": "string", "enum": ["running", "succeeded", "failed", "retried", "lost", "given_back", "parked", "cancelled"]},
    ),
    "Artifact": _object("A file it made.", name=_TEXT, media_type=_TEXT, size_bytes=_INT, sha256=_TEXT, url=_TEXT),
    "Card": _object("A task as lists show it.", **_CARD),
    "Task": _object(
        "A task with everything known of it.",
        **_CARD,
        description=_or_null(_TEXT),
        payload=_JSON,
        result=_or_null(_JSON),
        routing=ref("Routing"),
        checklist=_list(ref("ChecklistItem")),
        depends_on=_list(_ID),
        attempts=_list(ref("Attempt")),
        artifacts=_list(ref("Artifact")),
        estimated_completion=_or_null(_TIME),
    ),
    "TaskStatus": _object("The little that one polls for.", task_id=_ID, status=_STATUS, stage=_STAGE, progress=_or_null(_JSON), version=_INT),
    "Moved": _object("A move that was made.", task_id=_ID, old_status=_STAGE, new_status=_STAGE),
    "Requeued": _object("What was requeued and what not.", requeued=_list(_ID), skipped=_list(_object("Not this one.", task_id=_TEXT, reason=_TEXT))),
    "Agent": _object(
        "An agent, its instances, load and numbers.",
        {"targets": _JSON, "tools": _list(_TEXT), "backup": _or_null(_TEXT)},
        name=_TEXT,
        role=_TEXT,
        avatar_url=_TEXT,
        description=_TEXT,
        task_types=_list(_JSON),
        skills=_list(_TEXT),
        actions=_list(_JSON),
        paused=_TRUTH,
        load=_JSON,
        instances=_list(_JSON),
        stats=_JSON,
    ),
    "Agents": _object("All of them.", items=_list(ref("Agent"))),
    "TaskTypes": _object(
        "What can be asked for.",
        items=_list(
            _object(
                "A type.",
                task_type=_TEXT,
                agent=_TEXT,
                default_action=_TEXT,
                time_limit_s=_or_null({"type": "number"}),
                actions=_list(_object("What it can do.", action=_TEXT, summary=_TEXT, arguments=_JSON)),
            )
        ),
    ),
    "Event": _object(
        "One line of the log.",
        {"version": _or_null(_INT), "request_id": _or_null(_TEXT), "origin": _or_null(_TEXT)},
        id=_TEXT,
        cursor=_TEXT,
        ts=_TIME,
        event=_TEXT,
        actor=_TEXT,
        target=_TEXT,
        company_id=_TEXT,
        says=_TEXT,
        details=_JSON,
    ),
    "File": _object("A stored file; `file` is how payloads name it.", file=_TEXT, sha256=_TEXT, size_bytes=_INT, media_type=_TEXT, name=_TEXT),
    "Alive": _object("It answers.", ok=_TRUTH),
    "Ready": _object("Whether it can take work; why not, to who may look.", {"checks": _JSON}, ok=_TRUTH),
    "Health": _object("How everything is.", {"checks": _JSON, "agents": _JSON}, ok=_TRUTH, version=_TEXT),
    "Caller": _object("Who asks.", name=_TEXT, company_id=_TEXT, role=_TEXT, may_write=_TRUTH),
    "StartLink": _object("A secret that works once.", secret=_TEXT, expires_in_s=_INT),
}
SCHEMAS |= {"Cards": page("Card"), "Events": page("Event")}
