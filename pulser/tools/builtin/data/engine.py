"""DuckDB as these tools use it: an own database in the call's folder, with bounds on memory, threads, disk and time."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from pulser.core.errors import BadInput, Permanent

if TYPE_CHECKING:
    import duckdb

MEMORY = "400MB"
"""DuckDB's own bound; beyond it it spills into the scratch folder, bounded by :data:`SPILL`."""
SPILL = "128MB"
THREADS = 2
DISK_BYTES = 256 << 20
"""What a statement may write into the database of its call; less than the door allows, so that the error is ours."""
LOOK_S = 0.2


def scratch(out: Path) -> Path:
    """A folder for what is not kept, inside the call's own."""
    folder = out / ".scratch"
    folder.mkdir(exist_ok=True)
    return folder


def connect(folder: Path | None, database: Path | None = None, *, locked: bool = False, allowed: tuple[Path, ...] = ()) -> duckdb.DuckDBPyConnection:
    """A connection whose spill files lie in ``folder``; None: it never spills.

    ``locked``: no file, network, extension or setting can be reached through it, whatever the SQL says; only the files
    in ``allowed``, besides the database itself.
    """
    import duckdb

    config: dict[str, Any] = {
        "memory_limit": MEMORY,
        "threads": THREADS,
        "temp_directory": str(folder / "spill") if folder else "",
        "max_temp_directory_size": SPILL,
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "allow_community_extensions": "false",
        "allow_unsigned_extensions": "false",
        "allow_persistent_secrets": "false",
        "python_enable_replacements": "false",  # else a variable of ours could be read as a table
    }
    link = duckdb.connect(str(database) if database else ":memory:", config=config)
    link.execute("SET TimeZone = 'UTC'")
    if locked:
        if allowed:
            link.execute("SET allowed_paths = $1", [[str(path) for path in allowed]])
        link.execute("SET errors_as_json = true")
        link.execute("SET enable_external_access = false")
        link.execute("SET lock_configuration = true")
    return link


@contextmanager
def deadline(link: duckdb.DuckDBPyConnection, seconds: float, what: str, folder: Path | None = None) -> Iterator[None]:
    """Interrupt whatever runs on ``link`` after ``seconds``, or once ``folder`` holds more than :data:`DISK_BYTES`.

    Both are :class:`Permanent`, since the same work would come to the same end.
    """
    import duckdb

    why: list[str] = []
    done = threading.Event()
    watch = threading.Thread(target=_watch, args=(link, seconds, folder, done, why), daemon=True)
    watch.start()
    try:
        yield
    except duckdb.InterruptException as error:
        if why:
            raise Permanent(f"{what} {why[0]} and was stopped", hint="Ask for less: filter first, or avoid joins without a condition.") from error
        raise
    except duckdb.OutOfMemoryException as error:
        raise Permanent(f"{what} needs more memory than {MEMORY} and {SPILL} of scratch space", hint="Ask for fewer rows or columns at once.") from error
    finally:
        done.set()
        watch.join()


def _watch(link: duckdb.DuckDBPyConnection, seconds: float, folder: Path | None, done: threading.Event, why: list[str]) -> None:
    end = monotonic() + seconds
    while not done.wait(max(0.0, min(LOOK_S, end - monotonic()))):
        if monotonic() >= end:
            why.append(f"took longer than {seconds:g} s")
        elif folder and sum(file.stat().st_size for file in folder.glob("*.duckdb*") if file.exists()) > DISK_BYTES:
            why.append(f"wrote more than {DISK_BYTES:,} bytes")
        if why:
            link.interrupt()
            return


def quote(name: str) -> str:
    """``name`` as an identifier, in DuckDB, Postgres and SQLite alike; those take no NUL."""
    if not name or "\0" in name:
        raise BadInput(f"{name!r} cannot be the name of a table or column")
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """``value`` as a string literal of SQL."""
    return "'" + value.replace("'", "''") + "'"


def one(link: duckdb.DuckDBPyConnection, sql: str, values: list[Any] | None = None) -> tuple[Any, ...]:
    """The first row; for statements that always have one."""
    row = link.execute(sql, values or []).fetchone()
    if row is None:
        raise Permanent("a statement that always has a row had none")
    return row


def batches(link: duckdb.DuckDBPyConnection, table: str, limit: int, size: int = 5_000) -> Iterator[list[tuple[Any, ...]]]:
    """Rows of a table as Python values; zoned times as ISO text, since DuckDB would need another library to make objects of them."""
    kinds = link.execute(f"SELECT name, type FROM (DESCRIBE {table}) d(name, type, a, b, c, e)").fetchall()
    parts = [f"CAST({quote(name)} AS VARCHAR)" if "TIME ZONE" in kind or "VARIANT" in kind else quote(name) for name, kind in kinds]
    cursor = link.execute(f"SELECT {', '.join(parts)} FROM {table} LIMIT {int(limit)}")
    while rows := cursor.fetchmany(size):
        yield rows
