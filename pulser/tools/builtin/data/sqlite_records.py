"""A table of a SQLite file as records. The file is opened read-only and its schema is not trusted."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote as percent

from pulser.core.errors import BadInput, UnknownName, nearest
from pulser.tools.builtin.data.engine import quote
from pulser.tools.builtin.data.recognise import at

VALUE_BYTES = 16 << 20
STEPS_PER_ROW = 1_000_000_000
"""Instructions of SQLite's machine that one row may cost, about half a minute: a view may be a loop without end that yields none."""
_STEPS_A_TICK = 1_000_000


def open_sqlite(path: Path) -> sqlite3.Connection:
    """A read-only connection; views and triggers of the file may call no function with side effects, and make no huge values."""
    link = sqlite3.connect(f"file:{percent(str(path))}?mode=ro&immutable=1", uri=True)
    link.text_factory = lambda raw: raw.decode("utf-8", errors="replace")
    link.execute("PRAGMA trusted_schema = OFF")
    link.execute("PRAGMA query_only = ON")
    link.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, VALUE_BYTES)
    return link


class _Patience:
    """Counts what the next row costs; SQLite stops where :meth:`tick` is true."""

    def __init__(self, path: Path, link: sqlite3.Connection) -> None:
        self._name, self._ticks = path.name, 0
        link.set_progress_handler(self.tick, _STEPS_A_TICK)

    def tick(self) -> bool:
        self._ticks += 1
        return self._ticks > STEPS_PER_ROW // _STEPS_A_TICK

    def renew(self) -> None:
        """A row has come."""
        self._ticks = 0

    def problem(self, error: sqlite3.DatabaseError, otherwise: BadInput) -> BadInput:
        """What went wrong, as an error of ours."""
        if self._ticks > STEPS_PER_ROW // _STEPS_A_TICK:
            return at("/table", f"{self._name}: the view takes more than {STEPS_PER_ROW:,} steps to its next row", "Name a table, or a simpler view.")
        if isinstance(error, sqlite3.DataError) or "too big" in str(error):
            return at("/table", f"{self._name} holds a value of more than {VALUE_BYTES:,} bytes", "Leave that column out.")
        return otherwise


def tables(path: Path) -> list[str]:
    """Names of its tables and views."""
    try:
        with closing(open_sqlite(path)) as link:
            rows = link.execute(
                "SELECT name FROM sqlite_master WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name"
            ).fetchall()
    except sqlite3.DatabaseError as error:
        raise at("/path", f"{path.name} is a damaged SQLite database: {error}", "Restore it, or dump what is left with sqlite3 .recover.") from error
    return [str(name) for (name,) in rows]


def choose(path: Path, table: str) -> str:
    """``table`` if it is there, the only one if none is asked for."""
    known = tables(path)
    if not known:
        raise at("/path", f"{path.name} has no tables")
    if table:
        if table not in known:
            raise UnknownName(f"{path.name} has no table {table!r}", hint=nearest(table, known), errors=[{"pointer": "/table", "detail": "no such table"}])
        return table
    if len(known) > 1:
        raise at("/table", f"{path.name} has {len(known)} tables; say which", f"Known: {', '.join(known[:50])}.")
    return known[0]


def sqlite_records(path: Path, table: str) -> tuple[list[str], Iterator[list[tuple[str | None, str]]]]:
    """Names, and rows of ``(text, kind)`` as :func:`json_records.cell` gives; kind ``f`` is a float, ``x`` bytes as hex."""
    link = open_sqlite(path)
    patience = _Patience(path, link)
    try:
        cursor = link.execute(f"SELECT * FROM {quote(table)}")
    except sqlite3.DatabaseError as error:
        link.close()
        raise patience.problem(error, at("/table", f"{path.name}: {table!r} cannot be read: {error}")) from error
    names = [column[0] for column in cursor.description]

    def rows() -> Iterator[list[tuple[str | None, str]]]:
        with closing(link):
            try:
                for row in cursor:
                    patience.renew()
                    yield [_cell(value) for value in row]
            except sqlite3.DatabaseError as error:
                raise patience.problem(error, at("/path", f"{path.name} is a damaged SQLite database: {error}")) from error

    return names, rows()


def _cell(value: object) -> tuple[str | None, str]:
    if value is None:
        return None, ""
    if isinstance(value, int):
        return str(value), "n"
    if isinstance(value, float):
        return repr(value), "f"
    if isinstance(value, bytes):
        return value.hex(), "x"
    return str(value), "s"
