"""Staged rows into a table of a SQLite file, in one transaction.

SQLite has no exact decimals and no integers beyond 64 bits: both are kept as text, so that no digit changes.
"""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from time import monotonic

from pulser.core.errors import Permanent, Transient
from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import quote
from pulser.tools.builtin.data.load import LEDGER, Load, staged_rows

BUSY_S = 10.0
LOAD_S = 300.0
MAGIC = b"SQLite format 3\0"
TYPES = {
    "BIGINT": "INTEGER",
    "INTEGER": "INTEGER",
    "SMALLINT": "INTEGER",
    "TINYINT": "INTEGER",
    "UINTEGER": "INTEGER",
    "BOOLEAN": "INTEGER",
    "DOUBLE": "REAL",
    "FLOAT": "REAL",
    "BLOB": "BLOB",
}


def load(path: Path, staged: Path, load: Load) -> Json:
    """``{inserted, updated, unchanged}``; a second time all rows are unchanged."""
    if path.exists() and path.stat().st_size and _magic(path) != MAGIC:
        raise Permanent(f"{path.name} is there and is not a SQLite database", hint="Name another file.")
    with closing(sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)) as link:
        link.execute("PRAGMA trusted_schema = OFF")  # the table may have triggers that anybody wrote
        end = monotonic() + LOAD_S
        link.set_progress_handler(lambda: monotonic() > end, 1_000_000)
        try:
            link.execute("BEGIN IMMEDIATE")
            counts = _within(link, staged, load)
            link.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":
                raise Permanent(
                    f"the load into {path.name} took longer than {LOAD_S:g} s and was rolled back", hint="Look at the table's triggers, or load it in parts."
                ) from error
            if "locked" in str(error) or "busy" in str(error):
                raise Transient(f"{path.name} is locked by another program") from error
            raise
        except sqlite3.IntegrityError as error:
            raise Permanent(f"{path.name} refuses a row: {error}", hint="The table has constraints that the rows break.") from error
    return counts


def _magic(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(MAGIC))


def _within(link: sqlite3.Connection, staged: Path, load: Load) -> Json:
    table, names = quote(load.table), ", ".join(quote(name) for name in load.names)
    _make(link, load)
    if load.mode == "append":
        link.execute(f"CREATE TABLE IF NOT EXISTS {LEDGER} (load_id TEXT PRIMARY KEY, target TEXT NOT NULL)")
        if link.execute(f"INSERT OR IGNORE INTO {LEDGER} VALUES (?, ?)", (load.load_id, load.table)).rowcount == 0:
            return {"inserted": 0, "updated": 0, "unchanged": 0, "already_loaded": True}
    link.execute(f"CREATE TEMP TABLE _pulser_stage AS SELECT {names} FROM {table} WHERE 0")
    shapes = {name: _shape(name, kind) for name, kind in load.columns}
    marks = ", ".join("?" for _ in load.names)
    for rows in staged_rows(staged, load, shapes):
        link.executemany(f"INSERT INTO temp._pulser_stage VALUES ({marks})", rows)
    total = _count(link, "SELECT count(*) FROM temp._pulser_stage")
    if load.mode == "append":
        link.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM temp._pulser_stage")
        return {"inserted": total, "updated": 0, "unchanged": 0}
    if load.mode == "replace":
        return _replace(link, load, table, names, total)
    return _upsert(link, load, table, names, total)


def _replace(link: sqlite3.Connection, load: Load, table: str, names: str, total: int) -> Json:
    before = _count(link, f"SELECT count(*) FROM {table}")
    link.execute(f"DELETE FROM {table}")
    link.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM temp._pulser_stage")
    return {"inserted": total, "updated": 0, "unchanged": 0, "deleted": before}


def _upsert(link: sqlite3.Connection, load: Load, table: str, names: str, total: int) -> Json:
    same = " AND ".join(f"t.{quote(name)} = s.{quote(name)}" for name in load.key)
    there = _count(link, f"SELECT count(*) FROM temp._pulser_stage s WHERE EXISTS (SELECT 1 FROM {table} t WHERE {same})")
    differs = " OR ".join(f"t.{quote(name)} IS NOT s.{quote(name)}" for name in load.others)
    changed = _count(link, f"SELECT count(*) FROM temp._pulser_stage s JOIN {table} t ON {same} WHERE {differs}") if differs else 0
    keys = ", ".join(quote(name) for name in load.key)
    sets = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in load.others)
    where = " OR ".join(f"{table}.{quote(name)} IS NOT excluded.{quote(name)}" for name in load.others)
    act = f"DO UPDATE SET {sets} WHERE {where}" if sets else "DO NOTHING"
    link.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM temp._pulser_stage WHERE true ON CONFLICT ({keys}) {act}")
    return {"inserted": total - there, "updated": changed, "unchanged": there - changed}


def _make(link: sqlite3.Connection, load: Load) -> None:
    table = quote(load.table)
    known = [str(row[1]) for row in link.execute(f"PRAGMA table_info({table})")]
    if not known:
        columns = ", ".join(f"{quote(name)} {TYPES.get(kind, 'TEXT')}{' NOT NULL' if name in load.key else ''}" for name, kind in load.columns)
        key = f", PRIMARY KEY ({', '.join(quote(name) for name in load.key)})" if load.key else ""
        link.execute(f"CREATE TABLE {table} ({columns}{key})")
        return
    missing = [name for name in load.names if name.lower() not in {column.lower() for column in known}]
    if missing:
        raise Permanent(
            f"the table {load.table!r} has no column {', '.join(missing)}", hint="Rename or drop the columns in 'columns', or add them to the table."
        )
    if load.mode == "upsert" and not _unique(link, table, load.key):
        raise Permanent(
            f"the table {load.table!r} has no unique key on {', '.join(load.key)}", hint="Create a unique index on these columns, or load into a new table."
        )


def _unique(link: sqlite3.Connection, table: str, key: tuple[str, ...]) -> bool:
    wanted = {name.lower() for name in key}
    if {str(row[1]).lower() for row in link.execute(f"PRAGMA table_info({table})") if row[5]} == wanted:
        return True
    for row in link.execute(f"PRAGMA index_list({table})").fetchall():
        if row[2] and not row[4] and {str(column[2]).lower() for column in link.execute(f"PRAGMA index_info({quote(str(row[1]))})")} == wanted:
            return True
    return False


def _shape(name: str, kind: str) -> str:
    if kind == "BOOLEAN":
        return f"CAST({quote(name)} AS INTEGER)"
    return quote(name) if kind in TYPES else f"CAST({quote(name)} AS VARCHAR)"


def _count(link: sqlite3.Connection, sql: str) -> int:
    return int(link.execute(sql).fetchone()[0])
