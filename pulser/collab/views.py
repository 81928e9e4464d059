"""Tasks, agents and their numbers as the API, the console and the command line show them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from pulser.agents import actions
from pulser.agents.registry import Registry
from pulser.agents.spec import AgentSpec
from pulser.collab.steer import found
from pulser.core.clock import iso
from pulser.core.errors import BadInput
from pulser.core.ids import is_id
from pulser.core.task import RUNNING, STATUS, TERMINAL
from pulser.store import dependencies, instances, tasks
from pulser.store.listing import NEWEST, SETTLED_ROWS, Filter, look
from pulser.store.tables import COMPANY, agent_pauses, task_queue
from pulser.store.tx import Tx

Json = dict[str, Any]
_PLAIN = (
    "task_id",
    "task_type",
    "action",
    "title",
    "priority",
    "stage",
    "assigned_agent",
    "requester",
    "progress",
    "error",
    "generation",
    "retry_count",
    "max_retries",
    "reclaims",
    "attempt",
    "time_limit_s",
    "waiting_for",
    "parent_id",
    "worker_id",
    "version",
)
_TIMES = ("created_at", "available_at", "claimed_at", "completed_at", "updated_at")


def _time(at: datetime | None) -> str | None:
    return iso(at) if at is not None else None


def card(row: Json) -> Json:
    """A task as lists show it."""
    shown: Json = {key: row[key] for key in _PLAIN}
    shown["status"] = STATUS[row["stage"]]
    shown |= {key: _time(row[key]) for key in _TIMES}
    shown["started_at"] = shown["claimed_at"]
    shown["review"], shown["discarded"] = bool(row["review"]), bool(row["discarded"])
    shown["blockers"] = row["blockers"]
    shown["url"] = f"/tasks/{row['task_id']}"
    return shown


def task(tx: Tx, task_id: str) -> Json:
    """A task with everything known of it."""
    row = found(tx, task_id, lock=False)
    shown = card(row)
    shown |= {key: row[key] for key in ("description", "payload", "result", "routing")}
    shown["checklist"] = row["checklist"] or []
    shown["depends_on"] = [link.depends_on for link in dependencies.of(tx, row["company_id"], task_id) if link.needs == "done"]
    shown["children"] = [
        {"task_id": c["task_id"], "title": c["title"], "stage": c["stage"], "assigned_agent": c["assigned_agent"]} for c in tasks.children(tx, task_id)
    ]
    files = tasks.artifacts_of(tx, task_id)
    base = f"/api/v1/tasks/{task_id}"
    shown["artifacts"] = [
        {"name": a["name"], "media_type": a["media_type"], "size_bytes": a["size_bytes"], "sha256": a["sha256"], "url": f"{base}/artifacts/{a['name']}"}
        for a in files
        if a["kind"] == "file"
    ]
    attempts = []
    for each in row["attempts"] or []:
        log = each.pop("log", None)
        attempts.append({**each, "log_url": f"{base}/log?generation={each['generation']}&attempt={each['attempt']}" if log else None})
    if row["stage"] in RUNNING:
        attempts.append(
            {
                "generation": row["generation"],
                "attempt": row["attempt"],
                "started_at": _time(row["claimed_at"]),
                "ended_at": None,
                "worker_id": row["worker_id"],
                "outcome": "running",
                "log_url": None,
            }
        )
    shown["attempts"] = attempts
    shown["estimated_completion"] = _time(_estimate(row))
    return shown


def _estimate(row: Json) -> datetime | None:
    if row["stage"] in TERMINAL:
        return row["completed_at"]  # type: ignore[no-any-return]
    began = row["claimed_at"] or row["available_at"] or row["created_at"]
    return began + timedelta(seconds=row["time_limit_s"]) if row["stage"] in RUNNING else None


def status(tx: Tx, task_id: str) -> Json:
    """The little that one polls for."""
    row = found(tx, task_id, lock=False)
    return {"task_id": task_id, "status": STATUS[row["stage"]], "stage": row["stage"], "progress": row["progress"], "version": row["version"]}


def page(tx: Tx, wanted: Filter, limit: int, cursor: str | None) -> Json:
    """``{items, next}``: tasks, newest first. There is a ``next`` without a full page when much had to be looked through: see ``listing.look``."""
    if cursor and not is_id(cursor, "tsk"):
        raise BadInput(f"{cursor[:60]!r} is not a cursor of this list", hint="Pass what `next` of the page before said.")
    rows, further = look(tx, wanted, limit, cursor)
    return {"items": [card(row) for row in rows], "next": further}


def counts(tx: Tx) -> Json:
    """How many open tasks there are by stage and by agent."""
    by_stage: dict[str, int] = {}
    by_agent: dict[str, dict[str, int]] = {}
    for (agent, stage), count in tasks.counts(tx).items():
        by_stage[stage] = by_stage.get(stage, 0) + count
        mine = by_agent.setdefault(agent, {"running": 0, "queued": 0, "waiting": 0, "review": 0})
        group = "running" if stage in ("claimed", "in_progress", "merging") else stage if stage in ("queued", "waiting") else "review"
        mine[group] += count
    return {"stages": by_stage, "agents": by_agent}


def agents(tx: Tx, registry: Registry) -> Json:
    """``{items}``: every agent with its load, instances and numbers."""
    load = counts(tx)["agents"]
    paused = set(tx.execute(select(agent_pauses.c.agent).where(agent_pauses.c.company_id == COMPANY)).scalars())
    lives: dict[str, list[Json]] = {}
    for row in instances.alive(tx):
        shown = {key: row[key] for key in ("instance_id", "worker_id", "host", "pid", "capacity", "running", "alive")}
        lives.setdefault(row["agent"], []).append(
            {**shown, "available": bool(row["available"]), "started_at": iso(row["started_at"]), "last_seen_at": iso(row["last_seen_at"])}
        )
    numbers = _numbers(tx)
    return {
        "items": [
            agent_card(spec)
            | {
                "paused": spec.name in paused,
                "load": load.get(spec.name, {"running": 0, "queued": 0, "waiting": 0, "review": 0}),
                "instances": lives.get(spec.name, []),
                "stats": numbers.get(spec.name, {"completed": 0, "failed": 0, "p50_s": None, "p95_s": None}),
            }
            for spec in registry.agents()
        ]
    }


def agent_card(spec: AgentSpec) -> Json:
    """What an agent is, from its spec."""
    return {
        "name": spec.name,
        "role": spec.role,
        "description": spec.description,
        "avatar_url": f"/api/v1/agents/{spec.name}/avatar.svg",
        "task_types": [{"task_type": t.name, "default_action": t.default_action, "time_limit_s": t.time_limit_s} for t in spec.task_types.values()],
        "actions": [{"action": a.name, "tool": a.tool, "summary": a.summary} for a in spec.actions.values()],
        "skills": list(spec.skills),
        "tools": list(spec.tools),
        "review": spec.review,
        "backup": spec.backup,
        "time_limit_s": spec.time_limit_s,
        "digest": spec.digest,
        "targets": {"completion_rate": spec.targets.completion_rate, "response_p95_s": spec.targets.response_p95_s, "error_rate": spec.targets.error_rate},
    }


def task_types(registry: Registry) -> Json:
    """``{items}``: what can be asked for, with the schema of each action's arguments."""
    items = []
    for spec in registry.agents():
        offered = [{"action": a.name, "summary": a.summary, "arguments": actions.schema(a.tool)} for a in spec.actions.values()]
        items += [
            {"task_type": t.name, "agent": spec.name, "default_action": t.default_action, "time_limit_s": t.time_limit_s, "actions": offered}
            for t in spec.task_types.values()
        ]
    return {"items": items}


RECENT = 500


def _numbers(tx: Tx) -> dict[str, Json]:
    """Ended tasks by agent: counts and nearest-rank percentiles of seconds, over the last 500 tasks."""
    t = task_queue.c
    columns = (t.task_id, t.assigned_agent, t.stage, t.claimed_at, t.completed_at)
    ended = [  # by stage, for so the index is ordered
        select(*columns).where(t.company_id == COMPANY, SETTLED_ROWS, t.stage == stage, t.task_id < NEWEST).order_by(t.task_id.desc()).limit(RECENT)
        for stage in ("done", "failed")
    ]
    recent = sorted((row for statement in ended for row in tx.execute(statement)), key=lambda row: str(row.task_id), reverse=True)[:RECENT]
    spans: dict[str, list[float]] = {}
    found_: dict[str, Json] = {}
    for row in recent:
        agent, stage, began, ended = row.assigned_agent, row.stage, row.claimed_at, row.completed_at
        mine = found_.setdefault(agent, {"completed": 0, "failed": 0, "p50_s": None, "p95_s": None})
        mine["completed" if stage == "done" else "failed"] += 1
        if began is not None and ended is not None:
            spans.setdefault(agent, []).append((ended - began).total_seconds())
    for agent, each in spans.items():
        each.sort()
        found_[agent] |= {"p50_s": each[int(0.5 * (len(each) - 1) + 0.5)], "p95_s": each[int(0.95 * (len(each) - 1) + 0.5)]}
    return found_


def queue_depths(tx: Tx) -> list[tuple[str, str, int]]:
    """``(agent, stage, count)`` of open tasks over all companies; the engine's scope, for metrics."""
    return [(agent, stage, number) for (agent, stage), number in tasks.counts(tx).items()]
