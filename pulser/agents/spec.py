"""An agent as data: what it is for, what it can do and with which tools, and what is expected of it.

The format is the one a user writes (``docs/how-to/write-an-agent.md``); the seven shipped agents are files of it. :func:`load` gives a
frozen :class:`AgentSpec` or one error that lists everything that is wrong, with lines; :func:`check` gives the list itself.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

from pulser.agents.document import Document, Path, Problem, read
from pulser.core.errors import BadInput

NAME = "^[a-z][a-z0-9_.-]{0,62}$"
TOOL = "^[a-z][a-z0-9_-]*(\\.[a-z0-9_-]+)+$"
DEFAULT_TIME_LIMIT_S = 600.0
AUTO = "auto"  # a task type that asks the router to choose; no agent may claim it

_name = {"type": "string", "pattern": NAME}
_line = {"type": "string", "minLength": 1, "maxLength": 400}
_seconds = {"type": "number", "exclusiveMinimum": 0, "maximum": 86_400}
_share = {"type": "number", "minimum": 0, "maximum": 1}

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Pulser agent",
    "type": "object",
    "required": ["name", "role", "task_types", "actions"],
    "additionalProperties": False,
    "properties": {
        "name": {**_name, "description": "How tasks and people call it."},
        "role": {**_line, "description": "A job title."},
        "description": {"type": "string", "maxLength": 4000, "description": "What it does, in a few sentences."},
        "avatar": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,60}\\.svg$", "description": "An SVG file beside the spec."},
        "task_types": {
            "description": "The task types that are routed to it. A type belongs to one agent.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 50,
            "propertyNames": _name,
            "additionalProperties": {
                "type": "object",
                "required": ["default_action"],
                "additionalProperties": False,
                "properties": {
                    "default_action": {**_name, "description": "The action when payload.action is not given."},
                    "time_limit_s": {**_seconds, "description": "Seconds a task of this type may take; the agent's own limit otherwise."},
                },
            },
        },
        "actions": {
            "description": "What payload.action may be.",
            "type": "object",
            "minProperties": 1,
            "maxProperties": 100,
            "propertyNames": _name,
            "additionalProperties": {
                "type": "object",
                "required": ["tool"],
                "additionalProperties": False,
                "properties": {
                    "tool": {"type": "string", "pattern": TOOL, "description": "The tool that does it, group.name."},
                    "summary": {**_line, "description": "One line for people and for the router."},
                    "defaults": {"type": "object", "description": "Arguments of the tool unless the payload gives them."},
                },
            },
        },
        "skills": {"type": "array", "maxItems": 200, "uniqueItems": True, "items": {"type": "string", "minLength": 1, "maxLength": 60}},
        "tools": {"type": "array", "maxItems": 200, "uniqueItems": True, "items": {"type": "string", "pattern": TOOL}},
        "time_limit_s": {**_seconds, "description": "Seconds one attempt may take."},
        "review": {
            "description": "Whether a person looks at a result before it takes effect.",
            "oneOf": [
                {"enum": ["never", "always"]},
                {
                    "type": "object",
                    "required": ["actions"],
                    "additionalProperties": False,
                    "properties": {"actions": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _name}},
                },
            ],
        },
        "backup": {**_name, "description": "The agent whose instances serve its tasks, with its actions, while it has no healthy one."},
        "max_retries": {"type": "integer", "minimum": 0, "maximum": 20, "description": "Retries of a transient error."},
        "targets": {
            "description": "Service levels it is measured against.",
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "completion_rate": {**_share, "description": "At least this share of tasks completes."},
                "response_p95_s": {**_seconds, "description": "Seconds within which 95 % of tasks complete."},
                "error_rate": {**_share, "description": "At most this share of attempts fails."},
            },
        },
        "model": {"type": "object", "description": "Reserved for the model policy."},
    },
}


@dataclass(frozen=True, slots=True)
class Action:
    """What an agent can do: the tool that does it, and arguments that hold unless a payload gives its own."""

    name: str
    tool: str
    summary: str
    defaults: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TaskType:
    """A kind of task that is routed to the agent."""

    name: str
    default_action: str
    time_limit_s: float


@dataclass(frozen=True, slots=True)
class Targets:
    """Expected service levels; None where nothing is promised."""

    completion_rate: float | None = None
    response_p95_s: float | None = None
    error_rate: float | None = None


@dataclass(frozen=True, slots=True)
class AgentSpec:
    """An agent, checked. ``digest`` (sha256, hex) changes exactly when the meaning of the file does; runs are pinned to it."""

    name: str
    role: str
    description: str
    avatar: str
    task_types: dict[str, TaskType]
    actions: dict[str, Action]
    skills: tuple[str, ...]
    tools: tuple[str, ...]
    time_limit_s: float
    review: Literal["never", "always", "actions"]
    review_actions: tuple[str, ...]
    backup: str | None
    max_retries: int | None
    targets: Targets
    model: dict[str, Any] | None
    digest: str
    source: str

    def limit_s(self, task_type: str) -> float:
        """Seconds an attempt at this type may take."""
        known = self.task_types.get(task_type)
        return known.time_limit_s if known else self.time_limit_s

    def reviewed(self, action: str) -> bool:
        """True if a person looks at this action's result before it takes effect."""
        return self.review == "always" or action in self.review_actions


def load(text: str, source: str) -> AgentSpec:
    """The spec in ``text``; ``source`` (a file name) is for messages. :class:`BadInput` lists every problem, with ``errors`` in its fields."""
    doc = _checked(text)
    if doc.problems:
        raise BadInput(
            f"{source} is not an agent spec:\n" + "\n".join(f"  {source}:{p.line}:{p.column}: {p.message}" for p in sorted(doc.problems)),
            hint="\n".join(dict.fromkeys(p.hint for p in sorted(doc.problems) if p.hint)),
            errors=[{"pointer": p.pointer, "detail": p.message, "line": p.line, "column": p.column, "hint": p.hint} for p in sorted(doc.problems)],
        )
    return _spec(doc.value, source)


def check(text: str, source: str = "") -> list[Problem]:
    """Everything that is wrong with ``text``, in the order of lines; empty if :func:`load` would take it."""
    return sorted(_checked(text).problems)


def _checked(text: str) -> Document:
    doc = read(text)
    if doc.value is None and not doc.problems:
        doc.problem((), "the text is empty", "Start from the template: pulser agents new NAME.")
    if doc.problems:
        return doc
    for error in _validator().iter_errors(doc.value):
        _tell(doc, tuple(error.instance_path), error)
    if not doc.problems:
        _check_references(doc)
    return doc


@cache
def _validator() -> Any:
    import jsonschema_rs

    return jsonschema_rs.validator_for(SCHEMA)


def _tell(doc: Document, path: Path, error: Any) -> None:
    """A schema error in words, at the line of the key it is about."""
    kind = error.kind
    where = f"{path[-1]!r}: " if path else ""
    if kind.name == "additionalProperties":
        known = _known_keys(error.schema_path)
        for key in kind.unexpected:
            close = get_close_matches(key, known, n=1, cutoff=0.6)
            doc.problem((*path, key), f"{key!r} is not a field of this", (f"Did you mean {close[0]!r}? " if close else "") + f"Fields: {', '.join(known)}.")
    elif kind.name == "required":
        doc.problem(path, f"{where}{kind.property!r} is missing", f"Add {kind.property}: here.")
    elif kind.name == "propertyNames":
        doc.problem(
            path, f"{where}a name in here is not acceptable: {error.message}", "Names are 1 to 63 characters of a-z, 0-9, _ . -, starting with a letter."
        )
    elif kind.name == "pattern":
        doc.problem(path, f"{where}{_value(doc, path)!r} is not acceptable", _PATTERN_HINTS.get(kind.pattern, ""))
    elif path and path[0] == "review":
        doc.problem(path, "'review' must be never, always, or a list of actions", "For example: review: {actions: [format]}.")
    else:
        doc.problem(path, f"{where}{error.message}")


_PATTERN_HINTS = {
    NAME: "Use 1 to 63 characters of a-z, 0-9, _ . and -, starting with a letter.",
    TOOL: "A tool is called group.name, for example data.profile.",
    SCHEMA["properties"]["avatar"]["pattern"]: "Name an .svg file beside the spec, without a folder.",
}


def _value(doc: Document, path: Path) -> Any:
    """The value at ``path``."""
    value = doc.value
    for part in path:
        value = value[part]
    return value


def _known_keys(schema_path: list[str | int]) -> list[str]:
    node: Any = SCHEMA
    for part in schema_path[:-1]:
        node = node[part]
    return sorted(node.get("properties", {}))


def _check_references(doc: Document) -> None:
    """What a schema cannot say: names in the file that must fit each other."""
    spec = doc.value
    actions = sorted(spec["actions"])

    def known_action(path: Path, name: str) -> None:
        if name not in spec["actions"]:
            close = get_close_matches(name, actions, n=1, cutoff=0.5)
            doc.problem(path, f"there is no action {name!r}", (f"Did you mean {close[0]!r}? " if close else "") + f"Actions: {', '.join(actions)}.")

    for type_name, task_type in spec["task_types"].items():
        if type_name == AUTO:
            doc.problem(("task_types", AUTO), f"{AUTO!r} is the type that asks the router to choose", "Use another name.")
        known_action(("task_types", type_name, "default_action"), task_type["default_action"])
    if isinstance(spec.get("review"), dict):
        for i, name in enumerate(spec["review"]["actions"]):
            known_action(("review", "actions", i), name)
    if "tools" in spec:
        for name, action in spec["actions"].items():
            if action["tool"] not in spec["tools"]:
                close = get_close_matches(action["tool"], spec["tools"], n=1, cutoff=0.6)
                doc.problem(
                    ("actions", name, "tool"),
                    f"the action {name!r} uses {action['tool']!r}, which 'tools' does not list",
                    (f"Did you mean {close[0]!r}? Otherwise add" if close else "Add") + f" {action['tool']} to tools, or leave tools away.",
                )
    if spec.get("backup") == spec["name"]:
        doc.problem(("backup",), "an agent cannot be its own backup", "Name another agent, or leave it away.")


def _spec(raw: dict[str, Any], source: str) -> AgentSpec:
    """The checked document as a spec, with everything that was left away filled in."""
    limit_s = float(raw.get("time_limit_s", DEFAULT_TIME_LIMIT_S))
    actions = {n: Action(n, a["tool"], a.get("summary", ""), a.get("defaults", {})) for n, a in raw["actions"].items()}
    types = {n: TaskType(n, t["default_action"], float(t.get("time_limit_s", limit_s))) for n, t in raw["task_types"].items()}
    review: Any = raw.get("review", "never")
    tools = tuple(raw["tools"]) if "tools" in raw else tuple(dict.fromkeys(a.tool for a in actions.values()))
    return AgentSpec(
        name=raw["name"],
        role=raw["role"],
        description=raw.get("description", "").strip(),
        avatar=raw.get("avatar", ""),
        task_types=types,
        actions=actions,
        skills=tuple(raw.get("skills", ())),
        tools=tools,
        time_limit_s=limit_s,
        review="actions" if isinstance(review, dict) else review,
        review_actions=tuple(review["actions"]) if isinstance(review, dict) else (),
        backup=raw.get("backup"),
        max_retries=raw.get("max_retries"),
        targets=Targets(**raw.get("targets", {})),
        model=raw.get("model"),
        digest=_digest(raw),
        source=source,
    )


def _digest(raw: dict[str, Any]) -> str:
    """Of the canonical form: order of keys, comments and layout do not count."""
    return hashlib.sha256(json.dumps(raw, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")).hexdigest()


def template(name: str) -> str:
    """A spec to start from, with a comment at each field; it passes :func:`check` as it is if ``name`` is a name."""
    return _TEMPLATE.replace("NAME", name)


_TEMPLATE = """\
# An agent of Pulser. Check it with: pulser agents validate FILE
name: NAME
role: Analyst of something
description: >-
  What it does, in a few sentences.
# avatar: NAME.svg          # an SVG beside this file

task_types:                 # tasks of these types are routed to it
  NAME_work:
    default_action: profile # when payload.action is not given
    time_limit_s: 600

actions:                    # what payload.action may be, and the tool that does it
  profile:
    tool: data.profile
    summary: Profile a data file
    defaults: {}            # arguments unless the payload gives them

skills: [profile, statistics] # words that lead free-text tasks here
# tools: [data.profile]     # what it may use; by default the tools of its actions
time_limit_s: 600
review: never               # never, always, or {actions: [profile]}
# backup: dash              # the agent whose instances step in
max_retries: 3
targets:
  completion_rate: 0.95
  response_p95_s: 60
  error_rate: 0.01
"""
