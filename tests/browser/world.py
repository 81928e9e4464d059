"""A small world for the pages to show: tasks in every stage, seven agents, a log. Nothing of it is shipped."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from pulser.core import ids
from pulser.core.errors import Conflict, NotFound, NotSignedIn
from pulser.core.task import STATUS, Stage
from pulser.events.catalogue import KINDS

DATA: dict[str, Any] = yaml.safe_load((Path(__file__).parent / "world.yaml").read_text())
HOSTILE: str = DATA["hostile"]
FILES: dict[str, dict[str, str]] = DATA["files"]
TYPES: dict[str, dict[str, Any]] = DATA["types"]
WORKER = "wrk-host-4711"
ALLOWED = {"review": ["approved", "queued", "failed", "cancelled"], "failed": ["queued"], "cancelled": ["queued"], "done": []}


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _artifact(task_id: str, name: str, media_type: str, text: str) -> dict[str, Any]:
    checksum = hashlib.sha256(text.encode()).hexdigest()
    return {"name": name, "media_type": media_type, "size_bytes": len(text), "sha256": checksum, "url": f"/api/v1/tasks/{task_id}/artifacts/{name}"}


class World:
    """Tasks, agents and events in memory, changed by the same requests as the real thing."""

    def __init__(self, *, empty: bool = False) -> None:
        self.tasks: dict[str, dict[str, Any]] = {}
        self.events: list[dict[str, Any]] = []
        self.listeners: set[asyncio.Queue[dict[str, Any]]] = set()
        self.paused: set[str] = set()
        self.unavailable: set[str] = set()
        self.number = itertools.count(1)
        self.reads = 0
        self.began = datetime.now(UTC)
        if not empty:
            self.seed()

    # --- writing --------------------------------------------------------------------------------------------------------

    def tell(self, kind: str, task: dict[str, Any] | None, actor: str, *, target: str = "", at: datetime | None = None, **details: Any) -> None:
        n = next(self.number)
        target = task["task_id"] if task else target
        if task:
            task["version"] += 1
        words = {**details, "target": target, "actor": actor}
        says = KINDS[kind].says
        for name, value in words.items():
            says = says.replace("{" + name + "}", str(value))
        event = {
            "id": f"evt_{n:026d}",
            "cursor": f"c0-{n:x}",
            "ts": iso(at or datetime.now(UTC)),
            "event": kind,
            "actor": actor,
            "target": target,
            "company_id": "local",
            "version": task["version"] if task else None,
            "request_id": None,
            "origin": "api",
            "before": None,
            "after": None,
            "details": details,
            "says": says,
        }
        self.events.append(event)
        for queue in self.listeners:
            queue.put_nowait(event)

    def add(self, title: str, kind: str, action: str, priority: str, stage: Stage = "queued", *, age_s: float = 0, **more: Any) -> dict[str, Any]:
        agent = TYPES[kind]["agent"]
        at = datetime.now(UTC) - timedelta(seconds=age_s)
        task_id = ids.new_id("tsk", int(at.timestamp() * 1000))
        task: dict[str, Any] = {
            "task_id": task_id,
            "task_type": kind,
            "action": action,
            "title": title,
            "description": None,
            "priority": priority,
            "stage": stage,
            "status": STATUS[stage],
            "assigned_agent": agent,
            "requester": "local",
            "payload": {"action": action, "path": ".", "limit": 20, "strict": True, "tags": ["a", None]},
            "result": None,
            "error": None,
            "progress": None,
            "routing": {
                "agent": agent,
                "reason": f"{kind} is {agent}'s task type",
                "rule": "task_type",
                "confidence": 1.0,
                "alternatives": [{"agent": "pulser", "reason": "backup of " + agent}],
            },
            "attempts": [],
            "generation": 1,
            "retry_count": 0,
            "max_retries": 3,
            "reclaims": 0,
            "time_limit_s": 900.0,
            "review": False,
            "depends_on": [],
            "waiting_for": None,
            "parent_id": None,
            "checklist": [],
            "artifacts": [],
            "created_at": iso(at),
            "available_at": iso(at),
            "claimed_at": None,
            "started_at": None,
            "completed_at": None,
            "updated_at": iso(at),
            "estimated_completion": iso(at + timedelta(minutes=5)),
            "version": 0,
            "discarded": False,
        }
        self.tasks[task_id] = task
        self.tell("task_submitted", task, "local", at=at, task_type=kind, action=action, priority=priority, title=title)
        self.tell("task_routed", task, "pulser", at=at, agent=agent, rule="task_type", reason=task["routing"]["reason"])
        self._live(task, at, more)
        return task

    def _live(self, task: dict[str, Any], at: datetime, more: dict[str, Any]) -> None:
        if more.pop("artifacts", False):
            task["artifacts"] = [_artifact(task["task_id"], name, **found) for name, found in FILES.items()]
        if more.get("depends_on"):
            more["blockers"] = more["depends_on"]
            more["depends_on"] = list(self.tasks)[: more["depends_on"]]
        task.update(more)
        if task["stage"] in ("queued", "waiting", "cancelled"):
            return
        task["claimed_at"] = task["started_at"] = iso(at + timedelta(seconds=1))
        running = task["stage"] in ("claimed", "in_progress")
        ended = None if running else iso(at + timedelta(seconds=4.2))
        outcome = "running" if running else "failed" if task["stage"] == "failed" else "succeeded"
        log = f"/api/v1/tasks/{task['task_id']}/log?attempt=1&generation=1"
        task["attempts"] = [
            {
                "generation": 1,
                "attempt": 1,
                "started_at": task["started_at"],
                "ended_at": ended,
                "worker_id": WORKER,
                "outcome": outcome,
                "error": task["error"],
                "log_url": log,
            }
        ]
        self.tell("task_claimed", task, WORKER, at=at + timedelta(seconds=1), agent=task["assigned_agent"], attempt=1)
        self.tell("executor_started", task, task["assigned_agent"], at=at + timedelta(seconds=1), agent=task["assigned_agent"], attempt=1)
        if outcome == "succeeded":
            task["result"] = {"summary": "344 rows in 7 columns; 19 cells are missing and 2 values stand out.", "rows": 344, "missing": 19, "ok": True}
            self.tell("executor_succeeded", task, task["assigned_agent"], at=at + timedelta(seconds=4.2), agent=task["assigned_agent"], attempt=1)
        if outcome == "failed":
            self.tell(
                "executor_failed",
                task,
                task["assigned_agent"],
                at=at + timedelta(seconds=4.2),
                agent=task["assigned_agent"],
                error=task["error"]["detail"],
                code="permanent",
            )
        if task["stage"] in ("done", "failed"):
            task["completed_at"] = ended

    def seed(self) -> None:
        for n, one in enumerate(DATA["seed"]):
            self.add(one["title"], one["task_type"], one["action"], one["priority"], one["stage"], age_s=3 + 77 * n, **one.get("more", {}))
        for n in range(20):
            self.add(f"Nightly check {n + 1}", "orchestration", "noop", "low", "done", age_s=4000 + 600 * n)

    def move(self, task_id: str, stage: Stage, actor: str, kind: str = "task_moved") -> dict[str, Any]:
        task = self.task(task_id)
        task["stage"], task["status"] = stage, STATUS[stage]
        if stage in ("done", "failed", "cancelled"):
            task["completed_at"] = iso(datetime.now(UTC))
        self.tell(kind, task, actor, to=stage)
        return task

    def transition(self, task_id: str, to: str, actor: str) -> dict[str, Any]:
        task = self.task(task_id)
        allowed = ALLOWED.get(task["stage"], ["cancelled"])
        if to not in allowed:
            raise Conflict(f"a task that is {task['stage']} cannot become {to}", hint="", allowed=allowed)
        return self.move(task_id, to, actor)  # type: ignore[arg-type]

    # --- reading: what the console asks for ------------------------------------------------------------------------------

    def task(self, task_id: str) -> dict[str, Any]:
        if task_id not in self.tasks:
            raise NotFound(f"there is no task {task_id[:60]}", hint="It may belong to another company.")
        return self.tasks[task_id]

    async def get_task(self, _company: str, task_id: str) -> dict[str, Any]:
        return self.task(task_id)

    async def list_tasks(self, _company: str, **filters: Any) -> dict[str, Any]:
        self.reads += 1
        limit, cursor, q = filters.pop("limit", 50), filters.pop("cursor", ""), filters.pop("q", "").lower()
        newest = sorted(self.tasks.values(), key=lambda t: str(t["task_id"]), reverse=True)
        matching = [
            t for t in newest if all(t["assigned_agent" if k == "agent" else k] == v for k, v in filters.items()) and q in (t["title"] + t["task_id"]).lower()
        ]
        found = [t for t in matching if not cursor or t["task_id"] < cursor]
        page = [{k: v for k, v in t.items() if k not in ("payload", "result", "attempts", "depends_on", "artifacts", "routing")} for t in found[:limit]]
        return {"items": page, "next": page[-1]["task_id"] if len(found) > limit else None}

    async def list_agents(self, _company: str) -> dict[str, Any]:
        return {"items": [self.agent(kind, one["agent"], list(one["actions"]), n) for n, (kind, one) in enumerate(TYPES.items())]}

    def agent(self, kind: str, name: str, actions: list[str], n: int) -> dict[str, Any]:
        mine = [t for t in self.tasks.values() if t["assigned_agent"] == name]
        alive = n != 5
        instance = {
            "instance_id": f"ins-{name}",
            "worker_id": WORKER,
            "host": "host",
            "pid": 4711,
            "available": name not in self.unavailable,
            "running": 0,
            "capacity": 4,
            "last_seen_at": iso(datetime.now(UTC)),
            "alive": alive,
        }
        return {
            "name": name,
            "role": DATA["roles"][name],
            "avatar_url": f"/api/v1/agents/{name}/avatar.svg",
            "description": DATA["about"],
            "task_types": [{"task_type": kind}],
            "skills": [],
            "actions": [{"action": action} for action in actions],
            "tools": [],
            "review": "never",
            "backup": "pulser",
            "targets": {"completion_rate": 0.95, "response_p95_s": 30, "error_rate": 0.02},
            "time_limit_s": 900,
            "paused": name in self.paused,
            "load": {"running": sum(t["status"] == "running" for t in mine), "queued": sum(t["status"] == "queued" for t in mine)},
            "instances": [instance],
            "stats": {
                "completed": sum(t["stage"] == "done" for t in mine),
                "failed": sum(t["stage"] == "failed" for t in mine),
                "p50_s": 1.2 + n,
                "p95_s": 41.0 if n == 2 else 4.2 + n,
            },
        }

    async def list_events(self, _company: str, **filters: Any) -> dict[str, Any]:
        wanted = {"target": filters.get("task_id"), "event": filters.get("kind"), "actor": filters.get("actor")}
        before = int(str(filters.get("before") or "c0-ffffffff").split("-")[1], 16)
        found = [e for e in reversed(self.events) if all(v is None or e[k] == v for k, v in wanted.items()) and int(e["cursor"].split("-")[1], 16) < before]
        page = found[: filters.get("limit", 50)]
        return {"items": page, "next": page[-1]["cursor"] if page else "c0-0"}

    def check_write(self, signed_in: bool) -> None:
        if not signed_in:
            raise NotSignedIn("changing something needs a token", hint="Run `pulser open`.")
