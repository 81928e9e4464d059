"""What SQLite needs: one writer at a time over all processes, a clock that wall jumps do not move, and its way to claim.

Processes take turns by a file lock, first come first served, not by SQLite's busy handler (which sleeps: p50 831 ms against 0.3).
One of them, whoever holds ``checkpoint.lock``, copies the log back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from heapq import merge
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, NullPool, create_engine

from pulser.core.errors import OperatorError, Unavailable
from pulser.store.tx import Tx

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def boot_us() -> int:
    """Microseconds since this machine started, suspended time included; no wall clock moves it."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000


def connect(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection in autocommit mode: transactions are begun and ended by name. The file is its owner's alone, also one of long before."""
    try:
        _private(path)
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, cached_statements=256, timeout=10)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = {-2000 if read_only else -16000}")
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        return connection
    except (sqlite3.Error, OSError) as error:
        raise OperatorError(f"cannot open the database {path}: {error}", hint="Check that PULSER_DATA_DIR is a folder this user may write.") from error


def _private(path: Path) -> None:
    """Make the database, if there is none, and all its files readable by their owner only; SQLite gives the log the rights of the database.

    A database that is there is never opened here: closing any descriptor of it would drop the locks of every connection of this process, and
    the next process to leave would take itself for the last one and remove the log under our feet.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    for file in (path, path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")):
        with contextlib.suppress(FileNotFoundError):
            if file.stat().st_mode & 0o077:
                file.chmod(0o600)


def engine(path: Path, *, read_only: bool = False) -> Engine:
    """A SQLAlchemy engine over :func:`connect`, for compiling and running Core statements."""
    return create_engine("sqlite+pysqlite://", creator=lambda: connect(path, read_only=read_only), poolclass=NullPool)


class WriteLock:
    """The right to write, over processes; and one process's duty to checkpoint."""

    def __init__(self, folder: Path) -> None:
        self._turn = os.open(folder / "write.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._duty = os.open(folder / "checkpoint.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._on_duty = False

    def __enter__(self) -> None:
        fcntl.flock(self._turn, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._turn, fcntl.LOCK_UN)

    def take_duty(self, connection: Any) -> None:
        """Become the one that checkpoints if nobody is."""
        if self._on_duty:
            return
        try:
            fcntl.flock(self._duty, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._on_duty = True
        except BlockingIOError:
            pass
        connection.execute(f"PRAGMA wal_autocheckpoint = {4000 if self._on_duty else 0}")

    def close(self) -> None:
        """Give everything back."""
        os.close(self._turn)
        os.close(self._duty)


class Clock:
    """The database's clock: the wall's time when this boot first opened the database, moved on by the boot clock.

    All processes on one file read the same row, so that a wall clock that jumps steals no lease and strands no retry.
    """

    def __init__(self, raw: sqlite3.Connection) -> None:
        try:
            boot_id = BOOT_ID.read_text().strip()
        except OSError:  # not Linux: one boot as far as we know; a restart is seen by the boot clock running backwards
            boot_id = "unknown"
        boot, wall = boot_us(), time.time_ns() // 1000
        raw.execute("BEGIN IMMEDIATE")
        row = raw.execute("SELECT boot_us, wall_us FROM clock WHERE boot_id = ?", (boot_id,)).fetchone()
        last = raw.execute("SELECT ts FROM events ORDER BY seq DESC LIMIT 1").fetchone()  # time never runs backwards over a restart
        if row is None or row[0] > boot:
            raw.execute("DELETE FROM clock")
            row = (boot, max(wall, last[0] if last else 0))
            raw.execute("INSERT INTO clock (boot_id, boot_us, wall_us) VALUES (?, ?, ?)", (boot_id, *row))
        raw.execute("COMMIT")
        self._offset_us = int(row[1] - row[0])
        self.drift_s = (wall - boot - self._offset_us) / 1e6  # how far the wall has moved since; doctor tells

    def now_us(self) -> int:
        """Microseconds since 1970."""
        return boot_us() + self._offset_us


def begin(connection: Connection, clock: Callable[[], int], *, write: bool) -> Tx:
    """Begin a transaction; the file lock is held by the caller if it writes."""
    cursor = connection.connection.cursor()
    cursor.execute("BEGIN IMMEDIATE" if write else "BEGIN")
    return Tx(connection, cursor, sqlite=True, now_us=clock())


def translate(error: BaseException) -> BaseException:
    """SQLite's own errors as ours: what a caller may try again, and what the operator must mend."""
    error = getattr(error, "orig", None) or error
    text = str(error)
    if isinstance(error, sqlite3.OperationalError) and ("full" in text or "disk I/O" in text):
        return Unavailable("the disk is full: nothing was written", hint="Free some space under PULSER_DATA_DIR; Pulser goes on by itself.", retry_after_s=10)
    if isinstance(error, sqlite3.OperationalError) and ("locked" in text or "busy" in text):
        return Unavailable("the database is busy", hint="Another process holds it; try again.", retry_after_s=1)
    if isinstance(error, sqlite3.OperationalError) and ("unable to open" in text or "readonly" in text):
        return Unavailable(f"the database cannot be written: {text}", hint="Look at the rights of PULSER_DATA_DIR and at open files.", retry_after_s=5)
    return error


_LANE = """SELECT company_id, assigned_agent, rank_at, rowid FROM task_queue WHERE ready = 1{critical}
 AND {beyond} ORDER BY company_id, assigned_agent, rank_at, task_id LIMIT 1"""
_NEXT = """SELECT rank_at, rowid FROM task_queue WHERE ready = 1{critical} AND company_id = ? AND assigned_agent = ? ORDER BY rank_at, task_id LIMIT ?"""
_CRITICAL = " AND priority = 'critical'"
_RUNNING = "SELECT company_id, count(*) FROM task_queue WHERE lease_expires_at IS NOT NULL GROUP BY company_id"

Ranked = tuple[int, int]  # rank, row id


def candidates(tx: Tx, agents: frozenset[str] | None, closed: set[tuple[str, str]], limit: int, *, critical: bool) -> list[int]:
    """Row ids of up to ``limit`` claimable tasks: companies take turns, who runs least first; each company's own in order of rank."""
    only = _CRITICAL if critical else ""
    execute = tx.cursor.execute
    further = _LANE.format(critical=only, beyond="company_id = ? AND assigned_agent > ?")
    beyond = _LANE.format(critical=only, beyond="company_id > ?")
    pick = _NEXT.format(critical=only)
    lanes: dict[str, dict[str, Ranked]] = {}
    lane = execute(_LANE.format(critical=only, beyond="company_id > ''")).fetchone()
    while lane is not None:
        company, agent, *head = lane
        if (agents is None or agent in agents) and (company, agent) not in closed and ("", agent) not in closed:
            lanes.setdefault(company, {})[agent] = (head[0], head[1])
        lane = execute(further, (company, agent)).fetchone() or execute(beyond, (company,)).fetchone()
    if not lanes:
        return []
    if len(lanes) == 1:
        [(company, heads)] = lanes.items()
        rows = list(heads.values()) if limit == 1 else [row for agent in heads for row in execute(pick, (company, agent, limit)).fetchall()]
        return [row for _, row in sorted(rows)[:limit]]

    def rest(company: str, agent: str, head: Ranked) -> Iterator[Ranked]:
        """A lane; it is looked into when its head has been taken: most of very many lanes are not."""
        yield head
        yield from execute(pick, (company, agent, limit)).fetchall()[1:]

    def turns(company: str, heads: dict[str, Ranked]) -> Iterator[tuple[int, int, int]]:
        rows = merge(*[rest(company, agent, head) for agent, head in heads.items()])
        return ((turn, rank, row) for turn, (rank, row) in enumerate(rows, running.get(company, 0)))

    running = dict(execute(_RUNNING).fetchall())
    return [row for _, _, row in islice(merge(*[turns(company, heads) for company, heads in lanes.items()]), limit)]
