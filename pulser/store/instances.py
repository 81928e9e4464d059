"""Instances: live processes that serve an agent. Installation-wide; a row lives as long as its heartbeat."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from pulser.store.tables import instances
from pulser.store.tx import Tx

TTL_S = 60
i = instances.c

_SEEN = (
    update(instances)
    .where(i.worker_id == bindparam("worker"), i.agent == bindparam("of"))
    .values(running=bindparam("now_running"), last_seen_at=bindparam("now"))
    .returning(i.agent)
)


def seen(tx: Tx, worker_id: str, host: str, pid: int, capacity: int, running: dict[str, int]) -> None:
    """Say that ``worker_id`` lives and how many tasks of each agent it runs; forget those long silent."""
    for agent, count in running.items():
        if tx.execute(_SEEN, {"worker": worker_id, "of": agent, "now_running": count, "now": tx.now}).first() is None:
            row = {
                "worker_id": worker_id,
                "agent": agent,
                "host": host,
                "pid": pid,
                "capacity": capacity,
                "running": count,
                "available": True,
                "started_at": tx.now,
                "last_seen_at": tx.now,
            }
            tx.execute(insert(instances), {"instance_id": tx.new_id("ins"), **row})
    tx.execute(delete(instances).where(i.last_seen_at < tx.now - timedelta(seconds=2 * TTL_S)))


def remove(tx: Tx, worker_id: str) -> None:
    """The worker has gone."""
    tx.execute(delete(instances).where(i.worker_id == worker_id))


def alive(tx: Tx) -> list[dict[str, Any]]:
    """All instances seen within their time to live, by agent."""
    rows = tx.execute(select(instances).order_by(i.agent, i.instance_id)).mappings()
    return [{**row, "alive": row["last_seen_at"] > tx.now - timedelta(seconds=TTL_S)} for row in rows]


def set_available(tx: Tx, instance_id: str, available: bool) -> str | None:
    """Let an instance take work, or not; returns its agent, None if there is no such instance."""
    return tx.execute(update(instances).where(i.instance_id == instance_id).values(available=available).returning(i.agent)).scalar_one_or_none()
