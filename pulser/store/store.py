"""The one way to the database: ``write(fn)`` runs ``fn(tx)`` on a writer and answers after the commit, ``read(fn)`` on a reader.

Whoever calls says for whom: a company (``company=…``), or the engine's, the sign-in's or the owner's scope. Nothing is ambient.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from pulser.core.actor import SYSTEM, Actor
from pulser.core.errors import Unavailable
from pulser.store import group, postgres, sqlite
from pulser.store.job import Inbox, Job, answer
from pulser.store.tx import Hints, Scope, Tx

GROUP = 256  # jobs in one commit, at most

Committed = Callable[[Hints], None]


class Store:
    """An open database. ``offset_s`` moves its clock, for tests; ``tail`` joins every commit that makes work claimable."""

    def __init__(self, *, database_url: str, data_dir: Path, writers: int, readers: int, queue_limit: int, offset_s: float = 0.0) -> None:
        self.sqlite = not database_url
        self.path = data_dir / "pulser.db"
        self.offset_s = offset_s
        self.tail: group.Tail | None = None
        self._committed: list[Committed] = []
        self._sent: list[Committed] = []
        self._apart: Connection | None = None
        self._writes, self._reads = Inbox(queue_limit), Inbox(queue_limit)
        self.commits = 0
        if self.sqlite:
            self._lock = sqlite.WriteLock(data_dir)
            self._write_engine: Engine = sqlite.engine(self.path)
            self._read_engine: Engine = sqlite.engine(self.path, read_only=True)
            with self._lock, self._write_engine.connect() as connection:
                self.clock = sqlite.Clock(connection.connection.driver_connection)  # type: ignore[arg-type]
            writers = 1
        else:
            self._write_engine = self._read_engine = postgres.engine(database_url, writers + readers + 1)
        self._writers = writers
        self._threads = [threading.Thread(target=self._write_loop, name=f"store-writer-{n}", daemon=True) for n in range(writers)]
        self._threads += [threading.Thread(target=self._read_loop, name=f"store-reader-{n}", daemon=True) for n in range(readers)]
        for thread in self._threads:
            thread.start()

    # asking

    async def write(self, fn: Callable[..., Any], *args: Any, company: str | None = None, scope: Scope = "app", actor: Actor = SYSTEM) -> Any:
        """``fn(tx, *args)`` in a transaction; returns its value after the commit."""
        return await self._ask(self._writes, Job(fn, args, *_of(scope, company), actor, each=False))

    async def write_each(
        self, fn: Callable[[Tx, list[Any]], list[Any]], item: Any, *, company: str | None = None, scope: Scope = "app", actor: Actor = SYSTEM
    ) -> Any:
        """``fn(tx, [(item, actor), …])`` for all that wait together, answering a list; an exception in it goes to its own caller."""
        return await self._ask(self._writes, Job(fn, item, *_of(scope, company), actor, each=True))

    async def read(self, fn: Callable[..., Any], *args: Any, company: str | None = None, scope: Scope = "app") -> Any:
        """``fn(tx, *args)`` on a reader: one snapshot, nothing written."""
        return await self._ask(self._reads, Job(fn, args, *_of(scope, company), SYSTEM, each=False))

    def write_blocking(
        self, fn: Callable[..., Any], *args: Any, company: str | None = None, scope: Scope = "app", actor: Actor = SYSTEM, first: bool = False
    ) -> Any:
        """:meth:`write` for threads. ``first`` goes before what waits (heartbeats)."""
        return _wait(self._writes, Job(fn, args, *_of(scope, company), actor, each=False), first=first)

    def write_apart(self, fn: Callable[..., Any], *args: Any, actor: Actor, within_s: float) -> Any:
        """The heartbeat's way: in the engine's scope, past everything that waits. On Postgres on a connection of its own, in the calling
        thread, of which there is one; on SQLite through the writer, first in line. :class:`Unavailable` after ``within_s``."""
        job = Job(fn, args, "engine", None, actor, each=False)
        if self.sqlite:
            return _wait(self._writes, job, first=True, within_s=within_s)
        try:
            self._apart = self._commit_postgres(self._apart, [job])
        except BaseException as error:
            self._apart = None
            raise self._translate(error) from error
        if job.error is not None:
            raise self._translate(job.error)
        return job.result

    def read_blocking(self, fn: Callable[..., Any], *args: Any, company: str | None = None, scope: Scope = "app") -> Any:
        """:meth:`read` for threads."""
        return _wait(self._reads, Job(fn, args, *_of(scope, company), SYSTEM, each=False), first=False)

    def on_commit(self, told: Committed) -> None:
        """Call ``told(hints)`` after every commit that has any, from the writer's thread, or from delivery's for another process's commit."""
        self._committed.append(told)

    def send_to(self, send: Committed) -> None:
        """Call ``send(hints)`` after every commit of this process, to tell other processes."""
        self._sent.append(send)

    def hear(self, hints: Hints) -> None:
        """Another process committed."""
        for told in self._committed:
            told(hints)

    @property
    def waiting(self) -> int:
        """Writes that wait."""
        return len(self._writes)

    @property
    def alive(self) -> bool:
        """True while every thread runs."""
        return all(thread.is_alive() for thread in self._threads)

    def close(self) -> None:
        """Finish what waits and close."""
        self._writes.close()
        self._reads.close()
        for thread in self._threads:
            thread.join(timeout=30)
        _drop(self._apart)
        self._write_engine.dispose()
        self._read_engine.dispose()
        if self.sqlite:
            self._lock.close()

    async def _ask(self, inbox: Inbox, job: Job) -> Any:
        job.loop = asyncio.get_running_loop()
        job.future = job.loop.create_future()
        inbox.put(job)
        return await job.future

    # doing

    def _write_loop(self) -> None:
        connection: Connection | None = None
        while jobs := self._writes.take(GROUP, same=not self.sqlite):
            try:
                if self.sqlite:
                    connection = connection or self._write_engine.connect()
                    self._commit_sqlite(connection, jobs)
                else:
                    connection = self._commit_postgres(connection, jobs)
            except BaseException as error:  # the thread must live: every waiting caller hears of it
                if self.sqlite:
                    _drop(connection)
                connection = None
                for job in jobs:
                    job.error = error
            for job in jobs:
                if job.error is not None:
                    job.error = self._translate(job.error)
            answer(jobs)
        _drop(connection)

    def _commit_sqlite(self, connection: Connection, jobs: list[Job]) -> None:
        raw: Any = connection.connection.driver_connection
        with self._lock:
            if self.commits % 256 == 0:
                self._lock.take_duty(raw)
            for attempt in (group.run_together, group.run_apart):
                tx = sqlite.begin(connection, self.now_us, write=True)
                try:
                    attempt(tx, jobs, self.tail if attempt is group.run_together else None)
                    tx.cursor.execute("COMMIT")
                except Exception:
                    if raw.in_transaction:
                        tx.cursor.execute("ROLLBACK")
                    _tell(tx, False)
                    if attempt is group.run_apart:
                        raise
                    continue
                break
        self._after(tx)

    def _commit_postgres(self, connection: Connection | None, jobs: list[Job]) -> Connection:
        """Returns the connection to go on with: one that breaks before the commit is replaced, and the work runs again."""
        lead = jobs[0]
        for turn, attempt in enumerate((group.run_together, group.run_apart, group.run_apart, group.run_last)):
            tx: Tx | None = None
            try:
                connection = connection or self._write_engine.connect()
                tx = postgres.begin(connection, lead.scope, lead.company, int(self.offset_s * 1e6))
                attempt(tx, jobs, None if turn else self.tail)  # a claim that fails must not fail the submits it rides on
            except Exception as error:
                _tell(tx, False)
                if postgres.lost(error):
                    _drop(connection)
                    connection = None
                elif connection is not None:
                    _rollback(connection)
                if turn and (turn == 3 or not postgres.may_retry(error)):
                    _drop(connection)
                    raise
                continue
            try:
                connection.commit()
            except Exception:  # it may have held, or not: whoever asked must look
                _tell(tx, False)
                _drop(connection)
                raise
            self._after(tx)
            return connection
        raise AssertionError("the last turn returns or raises")

    def _after(self, tx: Tx) -> None:
        self.commits += 1
        _tell(tx, True)
        if tx.hints:
            for told in (*self._committed, *self._sent):
                told(tx.hints)

    def _read_loop(self) -> None:
        connection: Connection | None = None
        while jobs := self._reads.take(1):
            [job] = jobs
            for last in (False, True):
                try:
                    connection = connection or self._read_engine.connect()
                    if self.sqlite:
                        tx = sqlite.begin(connection, self.now_us, write=False)
                    else:
                        tx = postgres.begin(connection, job.scope, job.company, int(self.offset_s * 1e6))
                    tx.enter(job.scope, job.company, job.actor)
                    job.result = job.fn(tx, *job.item)
                    job.error = None
                except BaseException as error:
                    job.error = self._translate(error)
                    if not self.sqlite and postgres.lost(error):
                        _drop(connection)
                        connection = None
                        if not last:
                            continue
                if connection is not None:
                    _rollback(connection, sqlite_=self.sqlite)
                break
            answer(jobs)
        _drop(connection)

    def _translate(self, error: BaseException) -> BaseException:
        return sqlite.translate(error) if self.sqlite else postgres.translate(error)

    def now_us(self) -> int:
        """SQLite: the database's clock."""
        return self.clock.now_us() + int(self.offset_s * 1e6)

    def clock_us(self) -> int:
        """Now by the database's clock, as near as this process knows without asking; only for how long to wait, never for what is decided."""
        return self.now_us() if self.sqlite else time.time_ns() // 1000 + int(self.offset_s * 1e6)


def _of(scope: Scope, company: str | None) -> tuple[Scope, str | None]:
    if (scope == "app") != bool(company):
        raise Unavailable("a transaction of a company must name it, and only such a one may")
    return scope, company


def _wait(inbox: Inbox, job: Job, *, first: bool, within_s: float | None = None) -> Any:
    job.waiter = threading.Event()
    inbox.put(job, first=first)
    if not job.waiter.wait(within_s):
        raise Unavailable(f"the writer did not answer within {within_s:g} s", hint="Look for a long statement or a full disk.", retry_after_s=2)
    if job.error is not None:
        raise job.error
    return job.result


def _tell(tx: Tx | None, held: bool) -> None:
    for told in tx.after if tx is not None else ():
        told(held)


def _rollback(connection: Connection, *, sqlite_: bool = False) -> None:
    try:
        if sqlite_:
            connection.connection.cursor().execute("ROLLBACK")
        connection.rollback()
    except Exception:
        connection.invalidate()


def _drop(connection: Connection | None) -> None:
    if connection is not None:
        try:
            connection.invalidate()
            connection.close()
        except Exception:
            return
