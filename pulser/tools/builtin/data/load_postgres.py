"""Staged rows into a Postgres table: COPY into a temporary table, then one statement, all in one transaction with time-outs."""

# ruff: noqa: S608  names in SQL go through engine.quote, values through parameters or engine.text
from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulser.core.errors import OperatorError, Permanent, Transient
from pulser.core.tool import Json
from pulser.tools.builtin.data.engine import quote
from pulser.tools.builtin.data.load import LEDGER, Load, staged_rows

if TYPE_CHECKING:
    import psycopg

CONNECT_S = 10
STATEMENT_MS = 300_000
LOCK_MS = 30_000
IDLE_MS = 60_000
TYPES = {
    "BIGINT": "bigint",
    "INTEGER": "integer",
    "SMALLINT": "smallint",
    "TINYINT": "smallint",
    "HUGEINT": "numeric(39,0)",
    "UBIGINT": "numeric(20,0)",
    "UINTEGER": "bigint",
    "DOUBLE": "double precision",
    "FLOAT": "real",
    "BOOLEAN": "boolean",
    "DATE": "date",
    "TIME": "time",
    "TIMESTAMP": "timestamp",
    "TIMESTAMP WITH TIME ZONE": "timestamptz",
    "UUID": "uuid",
    "BLOB": "bytea",
}


def load(url: str, staged: Path, load: Load) -> Json:
    """``{inserted, updated, unchanged}``; a second time all rows are unchanged. Errors never show the URL."""
    import psycopg

    options = f"-c statement_timeout={STATEMENT_MS} -c lock_timeout={LOCK_MS} -c idle_in_transaction_session_timeout={IDLE_MS} -c timezone=UTC"
    try:
        with psycopg.connect(url, connect_timeout=CONNECT_S, options=options, application_name="pulser data.etl") as link:
            return _within(link, staged, load)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure) as error:
        raise Transient(f"the target is busy: {_said(error)}") from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise OperatorError(
            f"the target's role may not do this: {_said(error)}", hint="Grant it CREATE on the schema, or INSERT, UPDATE and SELECT on the table."
        ) from error
    except psycopg.errors.QueryCanceled as error:
        raise Permanent(f"the load took longer than {STATEMENT_MS // 1000} s and was rolled back", hint="Load it in parts.") from error
    except psycopg.OperationalError:
        raise Transient("the target's database does not answer, or ended the connection") from None  # psycopg's words name the host and the user
    except psycopg.ProgrammingError as error:
        if error.sqlstate is None:
            raise OperatorError("the URL of the load target cannot be read", hint="postgresql://user@host:5432/database") from None  # they hold the URL
        raise Permanent(f"the target refuses the load: {_said(error)}") from error
    except psycopg.Error as error:
        raise Permanent(f"the target refuses a row: {_said(error)}", hint="Compare the columns' types and constraints with schema.json.") from error


def _said(error: psycopg.Error) -> str:
    return error.diag.message_primary or type(error).__name__


def qualified(table: str) -> str:
    """``schema.table`` or ``table``, quoted."""
    return ".".join(quote(part) for part in table.split(".", 1))


def _within(link: psycopg.Connection[Any], staged: Path, load: Load) -> Json:
    table = qualified(load.table)
    names = ", ".join(quote(name) for name in load.names)
    _run(link, "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"pulser:{load.table}"])
    _make(link, load, table)
    if load.mode == "append":
        # In the table's own schema, since that is where the role may create.
        ledger = qualified(f"{load.table.split('.', 1)[0]}.{LEDGER}" if "." in load.table else LEDGER)
        _run(link, f"CREATE TABLE IF NOT EXISTS {ledger} (load_id text PRIMARY KEY, target text NOT NULL, loaded_at timestamptz NOT NULL DEFAULT now())")
        if _run(link, f"INSERT INTO {ledger} (load_id, target) VALUES (%s, %s) ON CONFLICT DO NOTHING", [load.load_id, load.table]).rowcount == 0:
            return {"inserted": 0, "updated": 0, "unchanged": 0, "already_loaded": True}
    _run(link, f"CREATE TEMP TABLE _pulser_stage ON COMMIT DROP AS SELECT {names} FROM {table} WITH NO DATA")
    _copy(link, staged, load, names)
    total = _number(link, "SELECT count(*) FROM pg_temp._pulser_stage")
    if load.mode == "upsert":
        return _upsert(link, load, table, names, total)
    counts: Json = {"inserted": total, "updated": 0, "unchanged": 0}
    if load.mode == "replace":
        counts["deleted"] = _run(link, f"DELETE FROM {table}").rowcount
    _run(link, f"INSERT INTO {table} ({names}) SELECT {names} FROM pg_temp._pulser_stage")
    return counts


def _copy(link: psycopg.Connection[Any], staged: Path, load: Load, names: str) -> None:
    shapes = {name: _shape(name, kind) for name, kind in load.columns}
    with link.cursor() as cursor, cursor.copy(f"COPY pg_temp._pulser_stage ({names}) FROM STDIN".encode()) as copy:
        for rows in staged_rows(staged, load, shapes):
            for row in rows:
                copy.write_row(row)


def _upsert(link: psycopg.Connection[Any], load: Load, table: str, names: str, total: int) -> Json:
    keys = ", ".join(quote(name) for name in load.key)
    sets = ", ".join(f"{quote(name)} = excluded.{quote(name)}" for name in load.others)
    differs = " OR ".join(f"t.{quote(name)} IS DISTINCT FROM excluded.{quote(name)}" for name in load.others)
    act = f"DO UPDATE SET {sets} WHERE {differs}" if sets else "DO NOTHING"
    insert = f"INSERT INTO {table} AS t ({names}) SELECT {names} FROM pg_temp._pulser_stage ON CONFLICT ({keys}) {act} RETURNING (t.xmax = 0) AS new"
    row = _run(link, f"WITH done AS ({insert}) SELECT count(*) FILTER (WHERE new), count(*) FILTER (WHERE NOT new) FROM done").fetchone()
    inserted, updated = (int(value) for value in row or (0, 0))
    return {"inserted": inserted, "updated": updated, "unchanged": total - inserted - updated}


def _make(link: psycopg.Connection[Any], load: Load, table: str) -> None:
    if _run(link, "SELECT to_regclass(%s)", [table]).fetchone() in (None, (None,)):
        columns = ", ".join(f"{quote(name)} {kind_of(kind)}" for name, kind in load.columns)
        key = f", PRIMARY KEY ({', '.join(quote(name) for name in load.key)})" if load.key else ""
        _run(link, f"CREATE TABLE {table} ({columns}{key})")
        return
    known = {
        str(name)
        for (name,) in _run(link, "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped", [table]).fetchall()
    }
    missing = [name for name in load.names if name not in known]
    if missing:
        raise Permanent(f"the table {load.table} has no column {', '.join(missing)}", hint="Rename or drop the columns in 'columns', or add them to the table.")
    if load.mode == "upsert" and not _unique(link, table, load.key):
        raise Permanent(
            f"the table {load.table} has no unique key on {', '.join(load.key)}", hint="Create a unique index on these columns, or load into a new table."
        )


def _unique(link: psycopg.Connection[Any], table: str, key: tuple[str, ...]) -> bool:
    sql = """SELECT array_agg(a.attname::text) FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
             WHERE i.indrelid = to_regclass(%s) AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL GROUP BY i.indexrelid"""
    return any(set(names) == set(key) for (names,) in _run(link, sql, [table]).fetchall())


def kind_of(kind: str) -> str:
    """A DuckDB type in Postgres; what it has no like for is text."""
    if re.fullmatch(r"DECIMAL\(\d+,\d+\)", kind):
        return kind.replace("DECIMAL", "numeric")
    return TYPES.get(kind, "text")


def _shape(name: str, kind: str) -> str:
    if kind == "BLOB":
        return f"'\\x' || lower(hex({quote(name)}))"
    return f"CAST({quote(name)} AS VARCHAR)"


def _run(link: psycopg.Connection[Any], sql: str, values: list[Any] | None = None) -> psycopg.Cursor[Any]:
    return link.execute(sql.encode(), values)  # bytes: psycopg takes only literals as str


def _number(link: psycopg.Connection[Any], sql: str) -> int:
    row = _run(link, sql).fetchone()
    return int(row[0]) if row else 0
