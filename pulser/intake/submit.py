"""Submitting: drafts become rows, events and links in one transaction; submits that wait together are one many-row statement."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import insert, select

from pulser.core.actor import Actor
from pulser.core.clock import iso
from pulser.core.errors import BadInput, Conflict
from pulser.core.settings import Queue
from pulser.core.task import STATUS, TERMINAL, Priority, Stage
from pulser.events.append import STAGE, emit
from pulser.intake.request import Draft
from pulser.store import dependencies
from pulser.store.tables import COMPANY, idempotency_keys
from pulser.store.tasks import insert_rows
from pulser.store.tx import Tx


@dataclass(slots=True)
class Key:
    """An Idempotency-Key: within its company, principal and route it names one answer."""

    principal: str
    route: str
    key: str
    request: bytes  # the body, to tell another one apart

    @property
    def digest(self) -> bytes:
        """What is kept of the body."""
        return hashlib.sha256(self.request).digest()


@dataclass(slots=True)
class Submission:
    """One request: one task, or a batch that is written whole or not at all."""

    drafts: Sequence[Draft]
    batch: bool = False
    key: Key | None = None


@dataclass(slots=True)
class Submitted:
    """The answer: what to send (``body``, the same bytes again for the same key) and the tasks' ids."""

    task_ids: list[str]
    body: bytes
    replayed: bool = False


_encode = msgspec.json.Encoder().encode
_known = select(idempotency_keys.c.request_hash, idempotency_keys.c.body, idempotency_keys.c.headers)


class Submitter:
    """``submit_many`` with its settings."""

    def __init__(self, queue: Queue) -> None:
        self.ageing: dict[Priority, timedelta] = {
            "critical": timedelta(seconds=queue.ageing_critical_s),
            "high": timedelta(seconds=queue.ageing_high_s),
            "medium": timedelta(seconds=queue.ageing_medium_s),
            "low": timedelta(seconds=queue.ageing_low_s),
        }

    def submit_many(self, tx: Tx, items: Sequence[tuple[Submission, Actor]]) -> list[Submitted | BaseException]:
        """Write all submissions of one company; one that cannot be written is answered with its error, the others stand."""
        answers: list[Submitted | BaseException] = []
        rows: list[tuple[Any, ...]] = []
        for submission, actor in items:
            tx.actor = actor
            try:
                plain = submission.key is None and not any(draft.depends_on or (submission.batch and draft.ref) for draft in submission.drafts)
                answers.append(self._plain(tx, submission, rows) if plain else self._careful(tx, submission))
            except (BadInput, Conflict) as error:
                answers.append(error)
        insert_rows(tx, rows)
        return answers

    def _plain(self, tx: Tx, submission: Submission, rows: list[tuple[Any, ...]]) -> Submitted:
        ids = [draft.task_id or tx.new_id("tsk") for draft in submission.drafts]
        receipts = [self._row(tx, draft, task_id, rows, blockers=0) for draft, task_id in zip(submission.drafts, ids, strict=True)]
        return Submitted(ids, _encode({"tasks": receipts} if submission.batch else receipts[0]))

    def _careful(self, tx: Tx, submission: Submission) -> Submitted:
        """With a key or dependencies: nothing is added to the transaction before everything has been checked."""
        if submission.key is not None and (replayed := self._replay(tx, submission.key)):
            return replayed
        company = tx.company or ""
        ids = [draft.task_id or tx.new_id("tsk") for draft in submission.drafts]
        links = _links(submission.drafts, ids)
        waits: dict[str, list[str]] = {}
        for task_id, on, _ in links:
            waits.setdefault(task_id, []).append(on)
        known = set(ids)
        held = dependencies.hold(tx, company, [on for _, on, _ in links if on not in known])
        _check_held(submission.drafts, ids, links, held)
        rows: list[tuple[Any, ...]] = []
        receipts = []
        for draft, task_id in zip(submission.drafts, ids, strict=True):
            needed = waits.get(task_id, [])
            receipts.append(self._row(tx, draft, task_id, rows, blockers=sum(held.get(on) != "done" for on in needed), on=needed))
        insert_rows(tx, rows)
        dependencies.hold(tx, company, [on for _, on, _ in links if on in known])
        dependencies.add(tx, company, links)
        answer = Submitted(ids, _encode({"tasks": receipts} if submission.batch else receipts[0]))
        if (key := submission.key) is not None:
            row = {
                "principal": key.principal,
                "route": key.route,
                "key": key.key,
                "request_hash": key.digest,
                "status": 202,
                "headers": {"task_ids": ids},
                "body": answer.body,
                "created_at": tx.now,
            }
            tx.execute(insert(idempotency_keys), row)
        return answer

    def _replay(self, tx: Tx, key: Key) -> Submitted | None:
        k = idempotency_keys.c
        row = tx.execute(_known.where(k.company_id == COMPANY, k.principal == key.principal, k.route == key.route, k.key == key.key)).first()
        if row is None:
            return None
        if row.request_hash != key.digest:
            raise BadInput(
                "this Idempotency-Key was used with another body", hint="Use a new key for a new request.", errors=[{"pointer": "", "detail": "another body"}]
            )
        return Submitted(row.headers["task_ids"], row.body, replayed=True)

    def _row(self, tx: Tx, draft: Draft, task_id: str, rows: list[tuple[Any, ...]], *, blockers: int, on: Sequence[str] = ()) -> dict[str, Any]:
        company, now = tx.company, tx.now
        assert company is not None  # noqa: S101 - the store opens a company's transaction for submits
        stage: Stage = "waiting" if blockers else "queued"
        delayed = draft.run_at is not None and draft.run_at > now
        ready = not blockers and not delayed
        run_at = draft.run_at if delayed else None
        version = 3 if blockers else 2
        row: tuple[Any, ...] = (
            *(company, task_id, draft.task_type, draft.action, draft.priority, draft.agent, stage, tx.flag(ready), tx.time(now + self.ageing[draft.priority])),
            *(draft.max_retries, draft.time_limit_s, version, tx.now_value, tx.now_value, draft.routing, draft.payload),
        )
        special = (
            *(tx.time(run_at), draft.review, "dependency" if blockers else None, blockers, draft.parent_id),
            *(draft.title, draft.description, draft.requester, tx.json(draft.checklist)),
        )
        rows.append(row + special if any(special) else row)
        told = {"task_type": draft.task_type, "action": draft.action, "priority": draft.priority, "title": draft.title}
        emit(tx, "task_submitted", company, task_id, 1, told, after=STAGE["queued"])
        emit(tx, "task_routed", company, task_id, 2, draft.routing_told)
        if blockers:
            emit(tx, "task_waiting", company, task_id, 3, {"waiting_for": "dependency", "on": list(on)}, before=STAGE["queued"], after=STAGE["waiting"])
        if ready:
            tx.hints.agents.add(draft.agent)
        elif run_at is not None:
            tx.hints.due_at(run_at)
        receipt = {
            "task_id": task_id,
            "status": STATUS[stage],
            "stage": stage,
            "assigned_agent": draft.agent,
            "priority": draft.priority,
            "estimated_completion": iso(_expected(draft, now)),
            "task_type": draft.task_type,
            "action": draft.action,
            "routing": msgspec.Raw(draft.routing.encode()),
            "created_at": iso(now),
        }
        if draft.ref is not None:
            receipt["ref"] = draft.ref
        return receipt


def _expected(draft: Draft, now: datetime) -> datetime:
    return max(draft.run_at or now, now) + timedelta(seconds=draft.expected_s)


def _links(drafts: Sequence[Draft], ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """``(task, depends_on, needs)`` with refs resolved; a cycle or a doubled ref is bad input."""
    refs: dict[str, str] = {}
    for n, (draft, task_id) in enumerate(zip(drafts, ids, strict=True)):
        if draft.ref is not None and refs.setdefault(draft.ref, task_id) != task_id:
            raise BadInput(f"two tasks of the batch have the ref {draft.ref!r}", errors=[{"pointer": f"/tasks/{n}/ref", "detail": "used twice"}])
    links: list[tuple[str, str, str]] = [
        (task_id, refs.get(on, on), draft.needs) for draft, task_id in zip(drafts, ids, strict=True) for on in dict.fromkeys(draft.depends_on)
    ]
    waits: dict[str, set[str]] = {task_id: set() for task_id in ids} if links else {}
    for task_id, on, _ in links:
        if on in waits:
            waits[task_id].add(on)
    followers: dict[str, list[str]] = {}
    for task_id, on_these in waits.items():
        for on in on_these:
            followers.setdefault(on, []).append(task_id)
    free = [task_id for task_id, on_these in waits.items() if not on_these]
    while free:
        task_id = free.pop()
        del waits[task_id]
        for follower in followers.get(task_id, ()):
            waits[follower].discard(task_id)
            if not waits[follower]:
                free.append(follower)
    if waits:
        names = [drafts[ids.index(task)].ref or f"/tasks/{ids.index(task)}" for task in waits]
        pointer = f"/tasks/{ids.index(next(iter(waits)))}/depends_on"
        raise BadInput(
            f"these tasks wait for each other: {', '.join(names)}", hint="Break the cycle.", errors=[{"pointer": pointer, "detail": "part of a cycle"}]
        )
    return links


def _check_held(drafts: Sequence[Draft], ids: Sequence[str], links: Sequence[tuple[str, str, str]], held: dict[str, str]) -> None:
    errors = []
    place = {task_id: n for n, task_id in enumerate(ids)}
    for task_id, on, needs in links:
        if on in place:
            continue
        n = place[task_id]
        if on not in held:
            errors.append({"pointer": f"/tasks/{n}/depends_on", "detail": f"{on!r} is neither a task nor a ref of this batch"})
        elif held[on] in TERMINAL and held[on] != "done" and needs == "done":
            errors.append({"pointer": f"/tasks/{n}/depends_on", "detail": f"{on} is {held[on]} and will not succeed unless it is retried"})
    if errors:
        if len(drafts) == 1:
            errors = [{**e, "pointer": "/depends_on"} for e in errors]
        raise BadInput(errors[0]["detail"], errors=errors)
