"""coordinate: steps with dependencies become sub-tasks of other agents, run as a graph, and their results are joined.

The first attempt hands out the sub-tasks and parks the task until all of them have ended; the next one joins what they brought. A failed step
stops only what depends on it. A step may use another's file: ``"step:<name>/<artifact>"`` where a path is wanted.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pulser.core.errors import BadInput, Permanent
from pulser.core.ids import with_hash

RESULT_BYTES = 1_000_000
"""The results of all steps together, as the joined result repeats them; what is longer stands in the steps' own tasks."""
ARGUMENTS: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["steps"],
    "properties": {
        "steps": {
            "type": "array",
            "minItems": 1,
            "maxItems": 200,
            "description": "What is to be done, in any order; depends_on and step:<name>/<artifact> say what waits for what.",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "minLength": 1, "maxLength": 63, "pattern": "^[A-Za-z0-9_.-]+$", "description": "Its name among the steps."},
                    "task_type": {"type": "string", "description": "A task type, or auto."},
                    "agent": {"type": "string", "description": "Who does it; by the task type if not given."},
                    "title": {"type": "string", "maxLength": 200, "description": "For people; the step's name if not given."},
                    "description": {"type": "string", "maxLength": 20000, "description": "The task in words; auto routes by it."},
                    "payload": {
                        "type": "object",
                        "description": "As of a task of its own; step:<name>/<artifact> in place of a path stands for another step's file.",
                    },
                    "depends_on": {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "description": "Names of steps that must succeed first."},
                    "priority": {"enum": ["critical", "high", "medium", "low"], "description": "medium if not given."},
                    "time_limit_s": {"type": "number", "exclusiveMinimum": 0, "description": "The agent's own if not given."},
                    "max_retries": {"type": "integer", "minimum": 0, "description": "The agent's own if not given."},
                },
            },
        },
        "allow_failures": {"type": "boolean", "default": False, "description": "Succeed even where steps failed; the result tells which."},
    },
}


def child_ids(args: dict[str, Any], parent_id: str) -> dict[str, str]:
    """The task id of each step, by name. They follow from the parent's, so that handing out twice hands out the same."""
    return {step["name"]: with_hash(parent_id, hashlib.sha256(f"{parent_id}/{step['name']}".encode()).digest()) for step in args["steps"]}


def requests(args: dict[str, Any], ids: dict[str, str]) -> list[dict[str, Any]]:
    """The sub-tasks to submit, as task requests with refs; ``ids`` gives each step's task id, so that steps can name each other's files."""
    steps = args["steps"]
    names = [step["name"] for step in steps]
    if doubled := {name for name in names if names.count(name) > 1}:
        raise BadInput(f"two steps are called {doubled.pop()!r}", hint="Names of steps are unique.")
    made = []
    for step in steps:
        if unknown := set(step.get("depends_on", ())) - set(names):
            raise BadInput(f"step {step['name']!r} depends on {unknown.pop()!r}, which is no step", hint=f"Steps: {', '.join(names)}.")
        request = {key: step[key] for key in ("agent", "title", "description", "priority", "time_limit_s", "max_retries") if key in step}
        needed = set(step.get("depends_on", ()))
        payload = _with_files(step.get("payload", {}), ids, needed, step["name"])
        made.append(
            {
                **request,
                "task_type": step.get("task_type", "auto"),
                "title": step.get("title") or step["name"],
                "payload": payload,
                "ref": step["name"],
                "depends_on": sorted(needed),
            }
        )
    return made


def _with_files(value: Any, ids: dict[str, str], needed: set[str], step: str) -> Any:
    if isinstance(value, dict):
        return {key: _with_files(each, ids, needed, step) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_files(each, ids, needed, step) for each in value]
    if isinstance(value, str) and value.startswith("step:"):
        name, _, artifact = value.removeprefix("step:").partition("/")
        if name not in ids or not artifact or name == step:
            raise BadInput(f"step {step!r} asks for {value!r}", hint=f"Write step:<name>/<artifact>; steps: {', '.join(ids)}.")
        needed.add(name)
        return f"artifact:{ids[name]}/{artifact}"
    return value


def _within(result: Any, limit: int) -> Any:
    """``result``, or its summary where it is longer than its share."""
    if not isinstance(result, dict) or len(json.dumps(result)) <= limit:
        return result
    return {"summary": str(result.get("summary", ""))[:1000], "note": f"The rest, of more than {limit:,} characters, is in the step's own task."}


def join(args: dict[str, Any], children: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One result of what the steps (``children`` by name) brought; :class:`Permanent`, with that result, if a step failed and that is not allowed."""
    steps = []
    share = RESULT_BYTES // len(args["steps"])
    for step in args["steps"]:
        child = children.get(step["name"])
        if child is None:
            continue
        steps.append(
            {
                "name": step["name"],
                "task_id": child["task_id"],
                "agent": child["assigned_agent"],
                "stage": child["stage"],
                "result": _within(child["result"], share),
                "error": child["error"],
                "artifacts": child["artifacts"],
            }
        )
    counts = {word: sum(step["stage"] == stage for step in steps) for word, stage in (("completed", "done"), ("failed", "failed"), ("skipped", "cancelled"))}
    said = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    result = {"summary": f"{len(steps)} steps: {said}", "counts": counts, "steps": steps}
    if counts["completed"] < len(steps) and not args.get("allow_failures"):
        failed = [step["name"] for step in steps if step["stage"] != "done"]
        raise Permanent(
            f"steps that did not succeed: {', '.join(failed)}", hint="See the steps in the result; retry those with cascade, then this task.", result=result
        )
    return result
