"""What a caller may ask for, checked; and the draft it becomes before it is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pulser.agents.actions import check_payload
from pulser.agents.registry import Registry
from pulser.agents.route import Decision, decide
from pulser.core.errors import BadInput, Malformed, TooLarge, UnknownName
from pulser.core.settings import Queue
from pulser.core.task import Priority
from pulser.tools.arguments import check_json
from pulser.tools.inputs import Places

Model = TypeVar("Model", bound=BaseModel)
Short = Annotated[str, Field(min_length=1, max_length=200)]
TEXT = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$"  # no control characters but tab and line ends


class ChecklistItem(BaseModel):
    """One line of the definition of done."""

    model_config = ConfigDict(extra="forbid")
    text: Annotated[str, Field(min_length=1, max_length=500, pattern=TEXT)]
    done: bool = False


class TaskRequest(BaseModel):
    """A task as it is submitted. Unknown fields are refused, so that a slip of the pen is not silently lost."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"task_type": "documentation", "priority": "high", "payload": {"action": "changelog", "path": "."}, "title": "What changed?"}]
        },
    )
    task_type: Annotated[
        str, Field(min_length=1, max_length=63, pattern=TEXT, description="A task type (GET /api/v1/task-types), or auto: routed by its words.")
    ]
    priority: Priority = "medium"
    payload: Annotated[dict[str, Any], Field(description="`action` says what to do; the other keys are its arguments.")] = Field(default_factory=dict)
    requester: Annotated[Short | None, Field(pattern=TEXT, description="A label; who acted is known from sign-in.")] = None
    title: Annotated[Short | None, Field(pattern=TEXT)] = None
    description: Annotated[str | None, Field(max_length=20_000, pattern=TEXT)] = None
    agent: Annotated[Short | None, Field(pattern=TEXT, description="Which agent, instead of the routing table's.")] = None
    run_at: Annotated[datetime | None, Field(description="Not before then; a time with an offset.")] = None
    depends_on: Annotated[list[Short], Field(max_length=200, description="Ids of tasks, or refs of the same batch, that must succeed first.")] = Field(
        default_factory=list
    )
    time_limit_s: Annotated[float | None, Field(gt=0, le=86_400, allow_inf_nan=False)] = None
    max_retries: Annotated[int | None, Field(ge=0, le=100, strict=True)] = None
    review: Annotated[bool | None, Field(description="Whether a person is to look before it is done; the agent's rule otherwise.")] = None
    checklist: Annotated[list[ChecklistItem], Field(max_length=100)] = Field(default_factory=list)
    ref: Annotated[Short | None, Field(pattern=TEXT, description="A name for this task within its batch.")] = None

    @field_validator("run_at")
    @classmethod
    def _aware(cls, value: datetime | None) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time needs an offset, such as Z")
        if value is not None and value.year >= 9999:  # sums of times must stay within the calendar
            raise ValueError("a time before the year 9999 is wanted")
        return value.astimezone(UTC) if value is not None else None


class BatchRequest(BaseModel):
    """Several tasks, all or nothing."""

    model_config = ConfigDict(extra="forbid")
    tasks: Annotated[list[TaskRequest], Field(min_length=1)]


def parse(kind: type[Model], body: bytes) -> Model:
    """``body`` as ``kind``; all problems at once, with pointers."""
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise as_problem(error) from None


def as_problem(error: ValidationError) -> BadInput | Malformed:
    """Pydantic's errors as ours."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found and found[0]["type"] == "json_invalid":
        return Malformed(
            f"the body is not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}", hint="Send UTF-8 encoded JSON, not nested deeper than 64 levels."
        )
    errors = [{"pointer": "/" + "/".join(str(p).replace("~", "~0").replace("/", "~1") for p in each["loc"]), "detail": each["msg"]} for each in found]
    return BadInput(f"{errors[0]['pointer']}: {errors[0]['detail']}" + (f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""), errors=errors)


@dataclass(slots=True)
class Draft:
    """A checked and routed task, ready to be written."""

    task_type: str
    action: str
    agent: str
    priority: Priority
    payload: str  # JSON
    routing: str  # JSON: the decision
    routing_told: str  # JSON: what the event says of it
    time_limit_s: float
    max_retries: int
    review: bool
    expected_s: float
    run_at: datetime | None = None
    depends_on: list[str] = field(default_factory=list)
    needs: Literal["done", "ended"] = "done"
    title: str | None = None
    description: str | None = None
    requester: str | None = None
    checklist: list[dict[str, Any]] | None = None
    parent_id: str | None = None
    ref: str | None = None
    task_id: str | None = None  # given by who hands out sub-tasks that name each other


_encode = msgspec.json.Encoder().encode


@lru_cache(maxsize=4096)
def _as_json(decision: Decision) -> tuple[str, str]:
    return _encode(decision).decode(), _encode({"agent": decision.agent, "rule": decision.rule, "reason": decision.reason}).decode()


def draft(request: TaskRequest, registry: Registry, queue: Queue, *, pointer: str = "", places: Places | None = None) -> Draft:
    """Check ``request`` against its action's schema and route it; :class:`BadInput` with pointers otherwise. Writes nothing.

    With ``places``, paths are looked at, too, unless the task is for later: then they need not be there yet.
    """
    now = request.run_at is None and not request.depends_on
    wanted = request.payload.get("action")
    if wanted is not None and not isinstance(wanted, str):
        raise BadInput("payload.action is the name of an action", errors=[{"pointer": f"{pointer}/payload/action", "detail": "must be a string"}])
    try:
        decision = decide(registry, request.task_type, request.agent, request.title, request.description, request.payload)
        spec, name, action = registry.resolve(decision.task_type, decision.agent, wanted or decision.action or None)
    except UnknownName as error:
        error.fields.setdefault("errors", [{"pointer": f"{pointer}/task_type", "detail": error.detail}])
        raise
    args = {key: value for key, value in request.payload.items() if key != "action"}
    payload = _encode({"action": name, **action.defaults, **args}).decode()
    if len(payload) > queue.payload_limit_bytes:
        raise TooLarge(
            f"the payload has {len(payload)} bytes; {queue.payload_limit_bytes} are allowed",
            hint="Upload the data with POST /api/v1/files and name it as file:<sha256>.",
        )
    if "null" in payload:  # which is how NaN and Infinity are written, too
        check_json(args, f"{pointer}/payload")
    check_payload(action.tool, {**action.defaults, **args}, payload, pointer=f"{pointer}/payload", places=places if now else None)
    routing, routing_told = _as_json(decision)
    return Draft(
        task_type=decision.task_type,
        action=name,
        agent=decision.agent,
        priority=request.priority,
        payload=payload,
        routing=routing,
        routing_told=routing_told,
        time_limit_s=request.time_limit_s or spec.limit_s(decision.task_type),
        max_retries=request.max_retries if request.max_retries is not None else spec.max_retries if spec.max_retries is not None else queue.max_retries,
        review=request.review if request.review is not None else spec.reviewed(name),
        expected_s=spec.targets.response_p95_s or 60.0,
        run_at=request.run_at,
        depends_on=request.depends_on,
        title=request.title,
        description=request.description,
        requester=request.requester,
        checklist=[item.model_dump() for item in request.checklist] or None,
        ref=request.ref,
    )
