"""Agents as people steer them: paused for a company, an instance made unavailable."""

from __future__ import annotations

from sqlalchemy import delete, insert, select

from pulser.core.errors import NotFound
from pulser.events.append import emit
from pulser.store import instances
from pulser.store.tables import COMPANY, agent_pauses
from pulser.store.tx import Tx

p = agent_pauses.c


def pause(tx: Tx, agent: str) -> bool:
    """Start no more of this company's tasks of ``agent``; what runs goes on. False if it was paused already."""
    if tx.execute(select(p.agent).where(p.company_id == COMPANY, p.agent == agent)).first():
        return False
    tx.execute(insert(agent_pauses), {"agent": agent, "paused_at": tx.now, "paused_by": tx.actor.name})
    emit(tx, "agent_paused", tx.company or "", agent)
    return True


def resume(tx: Tx, agent: str) -> bool:
    """Undo :func:`pause`; False if it was not paused."""
    gone = tx.execute(delete(agent_pauses).where(p.company_id == COMPANY, p.agent == agent).returning(p.agent)).first()
    if gone is None:
        return False
    emit(tx, "agent_resumed", tx.company or "", agent)
    tx.hints.agents.add(agent)
    return True


def toggle(tx: Tx, agent: str, instance_id: str, available: bool) -> None:
    """Let one instance take work, or not."""
    if instances.set_available(tx, instance_id, available) != agent:
        raise NotFound(f"the agent {agent!r} has no instance {instance_id[:60]!r}", hint="GET /api/v1/agents lists them.")
    emit(tx, "instance_toggled", tx.company or "", agent, None, {"instance_id": instance_id, "state": "available" if available else "unavailable"})
    tx.hints.agents.add(agent)
