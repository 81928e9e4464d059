"""Group commit: jobs that wait together run in one transaction, are made durable by one sync, and are answered only after it.

If one of them fails the group is rolled back and each runs again under its own savepoint, so functions of a transaction must be pure:
they may run twice.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence

from pulser.store import postgres
from pulser.store.batch import Insertion, insert_many
from pulser.store.job import Job
from pulser.store.tables import events
from pulser.store.tx import Tx

Tail = Callable[[Tx], None]

EVENT_COLUMNS = ("company_id", "ts", "event", "actor", "target", "version", "request_id", "origin", "before", "after", "details")
_events = Insertion(events, EVENT_COLUMNS)


def run_together(tx: Tx, jobs: Sequence[Job], tail: Tail | None) -> None:
    """Run all jobs, then ``tail``, then write their events. Raises what the first failing one raises."""
    for run in _runs(jobs):
        _perform(tx, run)
    _finish(tx, tail)


def run_apart(tx: Tx, jobs: Sequence[Job], tail: Tail | None, *, last: bool = False) -> None:
    """Run each job under a savepoint; its error is its own, but for what ended the transaction, or (until the ``last`` turn) was a lost race."""
    for job in jobs:
        marked = len(tx.events)
        hints = copy.deepcopy(tx.hints)
        tx.cursor.execute("SAVEPOINT job")
        try:
            _perform(tx, [job])
        except Exception as error:
            if _over(tx, error, last):
                raise
            tx.cursor.execute("ROLLBACK TO SAVEPOINT job")
            job.result, job.error = None, error
            del tx.events[marked:]
            tx.hints = hints
        tx.cursor.execute("RELEASE SAVEPOINT job")
    _finish(tx, tail)


def run_last(tx: Tx, jobs: Sequence[Job], tail: Tail | None) -> None:
    """:func:`run_apart`, for the last time."""
    run_apart(tx, jobs, tail, last=True)


def _over(tx: Tx, error: Exception, last: bool) -> bool:
    """True if ``error`` ended the whole transaction and not just one job: a full disk, a lost race or connection."""
    if tx.sqlite:
        return not tx.connection.connection.driver_connection.in_transaction  # type: ignore[union-attr]
    return postgres.lost(error) if last else postgres.may_retry(error)


def _runs(jobs: Sequence[Job]) -> Iterator[list[Job]]:
    run: list[Job] = []
    for job in jobs:
        if run and not run[0].joins(job):
            yield run
            run = []
        run.append(job)
    if run:
        yield run


def _perform(tx: Tx, run: list[Job]) -> None:
    lead = run[0]
    tx.enter(lead.scope, lead.company, lead.actor)
    if not lead.each:
        lead.result = lead.fn(tx, *lead.item)
        lead.error = None
        return
    for job, result in zip(run, lead.fn(tx, [(job.item, job.actor) for job in run]), strict=True):
        job.result, job.error = (None, result) if isinstance(result, BaseException) else (result, None)


def _finish(tx: Tx, tail: Tail | None) -> None:
    """The engine's part of the commit: claim at once what became claimable, and write the events of all companies in one statement."""
    claims = tail is not None and bool(tx.hints.agents)
    if claims or tx.sqlite or (tx.events and tx.scope == "auth"):  # sign-in has no business with the log but to tell what it did
        if not tx.sqlite and tx.scope != "engine":
            postgres.become(tx, "engine")
        tx.enter("engine", None, tx.actor)
    if tail is not None and claims:
        tail(tx)
    if tx.events:
        insert_many(tx, _events, tx.events)
        tx.hints.events = True
