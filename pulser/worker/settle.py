"""Writing how attempts ended: stage, events, result, files and sub-tasks together, once, under the fencing token."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pulser.core.clock import iso
from pulser.core.retry import delay_s
from pulser.core.settings import Queue
from pulser.core.task import Artifact, Claimed, Outcome
from pulser.events.append import STAGE, emit
from pulser.store import claims, dependencies
from pulser.store.claims import Settlement
from pulser.store.tasks import put_artifacts
from pulser.store.tx import Tx
from pulser.worker.dependents import tell_dependents

Spawn = Callable[[Tx, Claimed, list[Any]], list[str]]  # submits drafts as sub-tasks, returns their ids
Told = tuple[str, dict[str, Any] | str | None]  # an event and its details


@dataclass(slots=True)
class Move:
    """What an outcome means for its row."""

    stage: str
    events: list[Told]
    word: str  # for the attempt's record
    ready: bool = False
    available_at: datetime | None = None
    completed: bool = False
    failures: int = 0
    waiting_for: str | None = None
    blockers: int = 0


class Settler:
    """``settle`` with its settings; ``spawn`` is the submit function, handed in by ``app``."""

    def __init__(self, queue: Queue, spawn: Spawn) -> None:
        self._queue = queue
        self._spawn = spawn

    def settle(self, tx: Tx, outcomes: Sequence[Outcome]) -> list[Claimed]:
        """Write all ends; returns the tasks whose lease was lost, of which nothing was written."""
        moves = [self._move(tx, outcome) for outcome in outcomes]
        settlements = [_settlement(tx, outcome, move) for outcome, move in zip(outcomes, moves, strict=True)]
        held = claims.settle(tx, settlements)
        lost: list[Claimed] = []
        ended: dict[str, list[tuple[str, str]]] = {}
        for outcome, move in zip(outcomes, moves, strict=True):
            task = outcome.task
            row = held.get((task.company_id, task.task_id))
            if row is None:
                lost.append(task)
                continue
            version, dependents = row
            self._tell(tx, task, move, version)
            if move.ready:
                tx.hints.agents.add(task.agent)
            if move.available_at is not None:
                tx.hints.due_at(move.available_at)
            if dependents and move.completed:
                ended.setdefault(task.company_id, []).append((task.task_id, move.stage))
            if outcome.artifacts or outcome.log:
                _keep_files(tx, outcome)
            if outcome.spawn:
                children = self._spawn(tx, task, outcome.spawn)
                dependencies.hold(tx, task.company_id, children)
                dependencies.add(tx, task.company_id, [(task.task_id, child, "ended") for child in children])
        for company, tasks in ended.items():
            tell_dependents(tx, company, tasks)
        return lost

    def _tell(self, tx: Tx, task: Claimed, move: Move, version: int) -> None:
        first = version - len(move.events) + 1
        before, after = STAGE[task.stage], STAGE[move.stage]
        for n, (event, details) in enumerate(move.events):
            moved = n == 0
            emit(tx, event, task.company_id, task.task_id, first + n, details, before=before if moved else None, after=after if moved else None)

    def _move(self, tx: Tx, outcome: Outcome) -> Move:
        task = outcome.task
        back = "approved" if task.stage == "merging" else "queued"
        if outcome.end == "finish":
            stage = "review" if task.review and task.stage != "merging" else "done"
            details: dict[str, Any] | str = f'{{"agent":"{task.agent}","attempt":{task.attempt}}}'
            if outcome.artifacts:
                details = {"agent": task.agent, "attempt": task.attempt, "artifacts": [a.name for a in outcome.artifacts]}
            return Move(stage, [("executor_succeeded", details), _released(task, "succeeded")], "succeeded", completed=stage == "done")
        if outcome.end == "retry":
            wait_s = delay_s(task.retries + 1, int.from_bytes(tx.random(2), "big") / 65536, self._queue.retry_delays_s)
            at = tx.now + timedelta(seconds=wait_s)
            told: Told = ("task_retried", {"agent": task.agent, "available_at": iso(at), "retry": task.retries + 1, "delay_s": round(wait_s, 3)})
            return Move(back, [_failure(outcome), _released(task, "retried"), told], "retried", available_at=at, failures=1)
        if outcome.end == "fail":
            error = outcome.error or {}
            told = ("task_failed", {"agent": task.agent, "error": error.get("detail"), "code": error.get("code")})
            return Move("failed", [_failure(outcome), _released(task, "failed"), told], "failed", completed=True)
        if outcome.end == "park":
            told = ("task_waiting", {"waiting_for": outcome.waiting_for, "on": [draft.task_id for draft in outcome.spawn]})
            return Move("waiting", [told, _released(task, "parked")], "parked", waiting_for=outcome.waiting_for, blockers=len(outcome.spawn))
        return Move(back, [_released(task, "given_back")], "given_back", ready=True)


def _failure(outcome: Outcome) -> Told:
    error = outcome.error or {}
    return "executor_failed", {"agent": outcome.task.agent, "attempt": outcome.task.attempt, "error": error.get("detail"), "code": error.get("code")}


def _released(task: Claimed, outcome: str) -> Told:
    return "lease_released", f'{{"token":{task.token},"outcome":"{outcome}"}}'


def _settlement(tx: Tx, outcome: Outcome, move: Move) -> Settlement:
    task = outcome.task
    attempt = {
        "generation": task.generation,
        "attempt": task.attempt,
        "started_at": iso(task.claimed_at),
        "ended_at": iso(tx.now),
        "worker_id": tx.actor.name,
        "outcome": move.word,
    }
    if outcome.error:
        attempt["error"] = outcome.error
    if outcome.log:
        attempt["log"] = log_name(task)
    result = outcome.result if outcome.result is not None else task.result
    return Settlement(
        task.company_id,
        task.task_id,
        task.token,
        move.stage,
        move.ready,
        move.available_at,
        move.completed,
        move.failures,
        [*task.attempts, attempt],
        len(move.events),
        result,
        outcome.error,
        move.waiting_for,
        move.blockers,
    )


def log_name(task: Claimed) -> str:
    """The name of an attempt's log among the artifacts."""
    return f"log/{task.generation}-{task.attempt}.txt"


def _keep_files(tx: Tx, outcome: Outcome) -> None:
    task = outcome.task

    def row(artifact: Artifact, name: str, kind: str) -> dict[str, Any]:
        return {
            "company_id": task.company_id,
            "task_id": task.task_id,
            "name": name,
            "attempt": task.attempt,
            "generation": task.generation,
            "kind": kind,
            "sha256": artifact.sha256,
            "size_bytes": artifact.size_bytes,
            "media_type": artifact.media_type,
            "created_at": tx.now,
        }

    rows = [row(artifact, artifact.name, "file") for artifact in outcome.artifacts]
    if outcome.log is not None:
        rows.append(row(outcome.log, log_name(task), "log"))
    put_artifacts(tx, rows)
