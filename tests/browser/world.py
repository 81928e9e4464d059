"""A small world for the pages to show: tasks in every stage, seven agents, a log. Nothing of it is shipped."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from pulser.core import ids
from pulser.core.errors import Conflict, NotFound, NotSignedIn
from pulser.core.task import STATUS, Stage
from pulser.events.catalogue import KINDS

HOSTILE = "<script>window.hacked=1</script><img src=x onerror=\"window.hacked=1\">'\"&{{7*7}}"
REPORT = "# Profile of penguins.csv\n\n344 rows, 7 columns, **19 cells missing**. See <script>window.hacked=1</script>.\n\n| column | type | missing |\n|---|---|---|\n| species | text | 0 |\n| body_mass_g | integer | 2 |\n\n- `sex` has 11 gaps\n- two outliers in `flipper_length_mm`\n\n[docs](javascript:window.hacked=1)\n"
CHART = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 300 120"><rect x="10" y="40" width="60" height="70" fill="#0f62fe"/><rect x="90" y="20" width="60" height="90" fill="#42be65"/><rect x="170" y="60" width="60" height="50" fill="#fa4d56"/></svg>'
PAGE = "<!doctype html><style>body{font:16px sans-serif;margin:24px}h1{color:#0f62fe}</style><h1>Data profile</h1><p id=p>344 rows</p><script>parent.hacked=1;document.getElementById('p').textContent='script ran'</script>"
FILES = {"report.md": ("text/markdown", REPORT), "chart.svg": ("image/svg+xml", CHART), "profile.html": ("text/html", PAGE), "profile.json": ("application/json", '{"rows":344,"columns":7}')}
TYPES = {
    "testing": ("echo", {"lint": {"properties": {"path": {"type": "string", "description": "a folder", "examples": ["."]}}, "required": ["path"]}, "test": {"properties": {}}}),
    "documentation": ("maya", {"changelog": {"properties": {}}, "check_links": {"properties": {}}}),
    "analytics": ("dash", {"profile": {"properties": {"path": {"type": "string"}}, "required": ["path"]}, "query": {"properties": {"sql": {"type": "string"}}}}),
    "data_engineering": ("data_fabcon", {"etl": {"properties": {}}, "quality": {"properties": {}}}),
    "infrastructure": ("arkie", {"validate": {"properties": {}}, "capacity": {"properties": {}}}),
    "learning": ("learnbot", {"mine_failures": {"properties": {}}}),
    "orchestration": ("pulser", {"noop": {"properties": {"sleep_ms": {"type": "integer"}}}, "coordinate": {"properties": {}}}),
}
ROLES = {"echo": "QA engineer", "maya": "Technical writer", "dash": "Data analyst", "data_fabcon": "Data engineer", "arkie": "Platform engineer", "learnbot": "Learning engineer", "pulser": "Coordinator"}
ABOUT = "Lints code and offers fixes as a patch; runs a project's tests with coverage, apart from everything else, and gives a verdict by a quality gate."
SEED: list[tuple[str, str, str, str, str, dict[str, Any]]] = [
    ("Profile the penguins data set", "analytics", "profile", "high", "in_progress", {"progress": {"message": "reading 344 rows", "fraction": 0.42, "at": None}}),
    ("Run the sample project's tests with coverage", "testing", "test", "critical", "in_progress", {}),
    ("Mine last week's dead letters", "learning", "mine_failures", "low", "claimed", {}),
    ("Check every link in docs/", "documentation", "check_links", "medium", "queued", {}),
    (HOSTILE, "orchestration", "noop", "low", "queued", {"payload": {"action": "noop", "note": HOSTILE}}),
    ("Capacity plan for the spring sale", "infrastructure", "capacity", "high", "queued", {}),
    ("Load orders into the warehouse", "data_engineering", "etl", "medium", "queued", {"retry_count": 1}),
    ("Join the three reports", "orchestration", "coordinate", "medium", "waiting", {"waiting_for": "dependency", "depends_on": 2}),
    ("Changelog for 0.2", "documentation", "changelog", "medium", "review", {"artifacts": True, "review": True}),
    ("Fix unused imports", "testing", "lint", "medium", "merging", {"review": True}),
    ("Profile of the orders table", "analytics", "profile", "medium", "done", {"artifacts": True}),
    ("Lint the repository", "testing", "lint", "medium", "done", {}),
    ("Validate docker-compose.yml", "infrastructure", "validate", "low", "done", {}),
    ("Quality rules of customers.csv", "data_engineering", "quality", "high", "failed", {"error": {"code": "permanent", "detail": "line 18 of customers.csv is not UTF-8", "hint": "Name its encoding with `encoding`."}}),
    ("Old experiment", "orchestration", "noop", "low", "cancelled", {}),
]


def iso(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


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
        event = {"id": f"evt_{n:026d}", "cursor": f"c0-{n:x}", "ts": iso(at or datetime.now(UTC)), "event": kind, "actor": actor, "target": target, "company_id": "local",
                 "version": task["version"] if task else None, "request_id": None, "origin": "api", "before": None, "after": None, "details": details, "says": says}  # fmt: skip
        self.events.append(event)
        for queue in self.listeners:
            queue.put_nowait(event)

    def add(self, title: str, kind: str, action: str, priority: str, stage: Stage = "queued", *, age_s: float = 0, **more: Any) -> dict[str, Any]:
        agent = TYPES[kind][0]
        at = datetime.now(UTC) - timedelta(seconds=age_s)
        task_id = ids.new_id("tsk", int(at.timestamp() * 1000))
        task: dict[str, Any] = {
            "task_id": task_id, "task_type": kind, "action": action, "title": title, "description": None, "priority": priority, "stage": stage, "status": STATUS[stage],
            "assigned_agent": agent, "requester": "local", "payload": {"action": action, "path": ".", "limit": 20, "strict": True, "tags": ["a", None]}, "result": None, "error": None, "progress": None,
            "routing": {"agent": agent, "reason": f"{kind} is {agent}'s task type", "rule": "task_type", "confidence": 1.0, "alternatives": [{"agent": "pulser", "reason": "backup of " + agent}]},
            "attempts": [], "generation": 1, "retry_count": 0, "max_retries": 3, "reclaims": 0, "time_limit_s": 900.0, "review": False, "depends_on": [], "waiting_for": None, "parent_id": None,
            "checklist": [], "artifacts": [], "created_at": iso(at), "available_at": iso(at), "claimed_at": None, "started_at": None, "completed_at": None, "updated_at": iso(at),
            "estimated_completion": iso(at + timedelta(minutes=5)), "version": 0, "discarded": False,
        }  # fmt: skip
        self.tasks[task_id] = task
        self.tell("task_submitted", task, "local", at=at, task_type=kind, action=action, priority=priority, title=title)
        self.tell("task_routed", task, "pulser", at=at, agent=agent, rule="task_type", reason=task["routing"]["reason"])
        self._live(task, at, more)
        return task

    def _live(self, task: dict[str, Any], at: datetime, more: dict[str, Any]) -> None:
        if more.pop("artifacts", False):
            task["artifacts"] = [
                {"name": name, "media_type": kind, "size_bytes": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest(), "url": f"/api/v1/tasks/{task['task_id']}/artifacts/{name}"}
                for name, (kind, text) in FILES.items()
            ]
        if more.get("depends_on"):
            more["depends_on"] = list(self.tasks)[: more["depends_on"]]
        task.update(more)
        if task["stage"] in ("queued", "waiting", "cancelled"):
            return
        task["claimed_at"] = task["started_at"] = iso(at + timedelta(seconds=1))
        running = task["stage"] in ("claimed", "in_progress")
        ended = None if running else iso(at + timedelta(seconds=4.2))
        outcome = "running" if running else "failed" if task["stage"] == "failed" else "succeeded"
        log = f"/api/v1/tasks/{task['task_id']}/log?attempt=1&generation=1"
        task["attempts"] = [{"generation": 1, "attempt": 1, "started_at": task["started_at"], "ended_at": ended, "worker_id": "wrk-host-4711", "outcome": outcome, "error": task["error"], "log_url": log}]
        self.tell("task_claimed", task, "wrk-host-4711", at=at + timedelta(seconds=1), agent=task["assigned_agent"], attempt=1)
        self.tell("executor_started", task, task["assigned_agent"], at=at + timedelta(seconds=1), agent=task["assigned_agent"], attempt=1)
        if outcome == "succeeded":
            task["result"] = {"summary": "344 rows in 7 columns; 19 cells are missing and 2 values stand out.", "rows": 344, "missing": 19, "ok": True}
            self.tell("executor_succeeded", task, task["assigned_agent"], at=at + timedelta(seconds=4.2), agent=task["assigned_agent"], attempt=1)
        if outcome == "failed":
            self.tell("executor_failed", task, task["assigned_agent"], at=at + timedelta(seconds=4.2), agent=task["assigned_agent"], error=task["error"]["detail"], code="permanent")
        if task["stage"] in ("done", "failed"):
            task["completed_at"] = ended

    def seed(self) -> None:
        for n, (title, kind, action, priority, stage, more) in enumerate(SEED):
            self.add(title, kind, action, priority, stage, age_s=3 + 77 * n, **more)  # type: ignore[arg-type]
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
        allowed = {"review": ["approved", "queued", "failed", "cancelled"], "failed": ["queued"], "cancelled": ["queued"], "done": []}.get(task["stage"], ["cancelled"])
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
        found = [
            t for t in sorted(self.tasks.values(), key=lambda t: t["task_id"], reverse=True)
            if all(t["assigned_agent" if k == "agent" else k] == v for k, v in filters.items()) and q in (t["title"] + t["task_id"]).lower() and (not cursor or t["task_id"] < cursor)
        ]  # fmt: skip
        page = [{k: v for k, v in t.items() if k not in ("payload", "result", "attempts")} for t in found[:limit]]
        return {"items": page, "next": page[-1]["task_id"] if len(found) > limit else None}

    async def list_agents(self, _company: str) -> dict[str, Any]:
        return {"items": [self.agent(kind, agent, list(actions), n) for n, (kind, (agent, actions)) in enumerate(TYPES.items())]}

    def agent(self, kind: str, name: str, actions: list[str], n: int) -> dict[str, Any]:
        mine = [t for t in self.tasks.values() if t["assigned_agent"] == name]
        alive = n != 5
        instance = {"instance_id": f"ins-{name}", "worker_id": "wrk-host-4711", "host": "host", "pid": 4711, "available": name not in self.unavailable, "running": 0, "capacity": 4, "last_seen_at": iso(datetime.now(UTC)), "alive": alive}  # fmt: skip
        return {
            "name": name, "role": ROLES[name], "avatar_url": f"/api/v1/agents/{name}/avatar.svg", "description": ABOUT, "task_types": [kind], "skills": [], "actions": actions, "tools": [],
            "review": "never", "backup": "pulser", "targets": {"completion_rate": 0.95, "response_p95_s": 30, "error_rate": 0.02}, "time_limit_s": 900, "paused": name in self.paused,
            "load": {"running": sum(t["status"] == "running" for t in mine), "queued": sum(t["status"] == "queued" for t in mine)}, "instances": [instance],
            "stats": {"completed": sum(t["stage"] == "done" for t in mine), "failed": sum(t["stage"] == "failed" for t in mine), "p50_s": 1.2 + n, "p95_s": 41.0 if n == 2 else 4.2 + n},
        }  # fmt: skip

    async def list_events(self, _company: str, **filters: Any) -> dict[str, Any]:
        wanted = {"target": filters.get("task_id"), "event": filters.get("kind"), "actor": filters.get("actor")}
        before = int(str(filters.get("before") or "c0-ffffffff").split("-")[1], 16)
        found = [e for e in reversed(self.events) if all(v is None or e[k] == v for k, v in wanted.items()) and int(e["cursor"].split("-")[1], 16) < before]
        page = found[: filters.get("limit", 50)]
        return {"items": page, "next": page[-1]["cursor"] if len(found) > len(page) else None}

    def check_write(self, signed_in: bool) -> None:
        if not signed_in:
            raise NotSignedIn("changing something needs a token", hint="Run `pulser open`.")
