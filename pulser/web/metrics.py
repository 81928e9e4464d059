"""The numbers for Prometheus, under the documents' names. Counters follow the event log; the queue is read when scraped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prometheus_client import Counter, Gauge, Histogram

TASKS = Counter("pulser_tasks", "Tasks submitted", ["task_type", "priority"])
COMPLETED = Counter("pulser_tasks_completed", "Tasks that succeeded", ["agent"])
FAILED = Counter("pulser_tasks_failed", "Tasks that failed for good", ["agent"])
RETRIED = Counter("pulser_tasks_retried", "Attempts that will be tried again", ["agent"])
RECLAIMED = Counter("pulser_leases_reclaimed", "Leases taken back from silent workers")
DURATION = Histogram("pulser_task_duration_seconds", "Seconds from claim to end", ["agent"], buckets=(0.005, 0.02, 0.1, 0.5, 2, 10, 60, 300, 1800))
DEPTH = Gauge("pulser_queue_depth", "Open tasks", ["agent", "stage"])
INSTANCES = Gauge("pulser_agent_instances", "Live instances", ["agent"])
HEALTH = Gauge("pulser_agent_health", "1 if an available instance lives, else 0", ["agent"])


COUNTED = ("task_submitted", "executor_succeeded", "task_failed", "task_retried", "lease_reclaimed")


def count(kind: str, details: dict[str, Any], after: dict[str, Any]) -> None:
    """Count one event of the log."""
    if kind == "task_submitted":
        TASKS.labels(details.get("task_type", ""), details.get("priority", "")).inc()
    elif kind == "executor_succeeded" and after == {"stage": "done"}:
        COMPLETED.labels(details.get("agent", "")).inc()
    elif kind == "task_failed":
        FAILED.labels(details.get("agent", "")).inc()
    elif kind == "task_retried":
        RETRIED.labels(details.get("agent", "")).inc()
    elif kind == "lease_reclaimed":
        RECLAIMED.inc()


def observe(agent: str, seconds: float) -> None:
    """An attempt took that long."""
    DURATION.labels(agent).observe(seconds)


def set_queue(depths: Sequence[tuple[str, str, int]], instances: Sequence[dict[str, Any]], agents: Sequence[str]) -> None:
    """The queue and the instances as they are now."""
    DEPTH.clear()
    for agent in agents:
        DEPTH.labels(agent, "queued").set(0)  # an empty queue is a number too
    for agent, stage, number in depths:
        DEPTH.labels(agent, stage).set(number)
    for agent in agents:
        mine = [row for row in instances if row["agent"] == agent and row["alive"]]
        INSTANCES.labels(agent).set(len(mine))
        HEALTH.labels(agent).set(1 if any(row["available"] for row in mine) else 0)
