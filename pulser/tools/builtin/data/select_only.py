"""Is this one SELECT over the tables we gave, and nothing else? Two parsers must agree, each against a list of what is allowed.

DuckDB's own parser says what DuckDB would run, and its tree is walked; sqlglot reads it too (statement, tables, functions), so that
neither a difference between parsers nor a new node of one of them opens anything. The third wall is the connection: no file, network or setting can be
reached through it (:func:`engine.connect`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pulser.core.errors import BadInput, UnknownName, nearest
from pulser.tools.builtin.data.functions import FUNCTIONS, OPERATORS, TABLE_FUNCTIONS

if TYPE_CHECKING:
    import duckdb
    from sqlglot.expressions import Expression

MAX_LENGTH = 50_000
MAX_DEPTH = 200
RESERVED = ("duckdb_", "pg_", "sqlite_", "pragma_", "information_schema", "_pulser")
EXPRESSIONS = frozenset(
    [
        "COLUMN_REF",
        "CONSTANT",
        "FUNCTION",
        "STAR",
        "CASE",
        "CAST",
        "COMPARISON",
        "CONJUNCTION",
        "OPERATOR",
        "SUBQUERY",
        "WINDOW",
        "BETWEEN",
        "COLLATE",
        "LAMBDA",
        "TYPE",
        "POSITIONAL_REFERENCE",
    ]
)
NODES = frozenset(
    [
        "SELECT_NODE",
        "SET_OPERATION_NODE",
        "CTE_NODE",
        "RECURSIVE_CTE_NODE",
        "BASE_TABLE",
        "SUBQUERY",
        "JOIN",
        "TABLE_FUNCTION",
        "EMPTY",
        "EXPRESSION_LIST",
        "PIVOT",
        "ORDER_MODIFIER",
        "LIMIT_MODIFIER",
        "LIMIT_PERCENT_MODIFIER",
        "DISTINCT_MODIFIER",
        "ORDER_DEFAULT",
        "ASCENDING",
        "DESCENDING",
        "ORDER_ASCENDING",
        "ORDER_DESCENDING",
    ]
)


def place(sql: str, offset: int) -> tuple[int, int]:
    """Line and column, both from 1 and in characters, of a byte: DuckDB counts bytes."""
    before = sql.encode()[: max(0, offset)].decode(errors="ignore")
    return before.count("\n") + 1, len(before) - (before.rfind("\n") + 1) + 1


def refused(sql: str, detail: str, hint: str = "", offset: int | None = None) -> BadInput:
    """A :class:`BadInput` about ``/sql`` that says where."""
    where: dict[str, Any] = {"pointer": "/sql", "detail": detail}
    if offset is not None:
        line, column = place(sql, offset)
        where |= {"line": line, "column": column}
        detail = f"Line {line}, column {column}: {detail}"
    return BadInput(detail, hint=hint, errors=[where])


def check(link: duckdb.DuckDBPyConnection, sql: str, tables: list[str]) -> str:
    """``sql`` without its final semicolon, if it is one SELECT over ``tables``; :class:`BadInput` otherwise, with line and column."""
    sql = sql.strip().rstrip(";").rstrip()
    if not sql:
        raise refused(sql, "there is no statement")
    if len(sql) > MAX_LENGTH or "\0" in sql:
        raise refused(sql, f"a statement has at most {MAX_LENGTH:,} characters and no NUL")
    tree = _duckdb_tree(link, sql)
    _walk(sql, tree["node"], {table.lower() for table in tables}, tables, 0)
    if tree.get("named_param_map"):
        raise refused(sql, "parameters ($1, ?) have no values here", "Write the value itself.")
    _sqlglot_agrees(sql, tables)
    return sql


def _duckdb_tree(link: duckdb.DuckDBPyConnection, sql: str) -> dict[str, Any]:
    row = link.execute("SELECT CAST(json_serialize_sql($1) AS VARCHAR)", [sql]).fetchone()
    answer: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if answer.get("error"):
        message = str(answer.get("error_message", "it cannot be read"))
        if answer.get("error_type") == "parser":
            raise refused(sql, message, "Check the SQL near there; it is DuckDB's dialect.", _offset(answer.get("position")))
        raise refused(sql, "only one SELECT is run here, and nothing that changes or configures", "Begin with SELECT, WITH or FROM.")
    statements = answer["statements"]
    if len(statements) != 1:
        raise refused(sql, f"{len(statements)} statements were given; only one is run", "Submit them one by one.")
    found: dict[str, Any] = statements[0]
    return found


def _offset(value: Any) -> int | None:
    return int(value) if isinstance(value, (int, str)) and str(value).isdigit() and int(value) < MAX_LENGTH else None


def _walk(sql: str, node: Any, known: set[str], tables: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise refused(sql, "it is nested too deep")
    if isinstance(node, list):
        for item in node:
            _walk(sql, item, known, tables, depth + 1)
        return
    if not isinstance(node, dict):
        return
    at = _offset(node.get("query_location"))
    _kind(sql, node, at)
    known = known | set(_ctes(sql, node))
    if node.get("type") == "BASE_TABLE":
        _table(sql, node, known, tables, at)
    if "function_name" in node:
        _function(sql, node, at)
    for key, value in node.items():
        if key == "function" and node.get("type") == "TABLE_FUNCTION":
            _table_function(sql, value, at)
            _walk(sql, value.get("arguments"), known, tables, depth + 1)
        elif key != "literal":
            _walk(sql, value, known, tables, depth + 1)


def _kind(sql: str, node: dict[str, Any], at: int | None) -> None:
    kind = node.get("class")
    if kind is not None:
        if kind not in EXPRESSIONS:
            raise refused(sql, f"{str(kind).lower().replace('_', ' ')} is not allowed here", offset=at)
        return
    kind = node.get("type")
    if isinstance(kind, str) and kind not in NODES:
        hint = "DESCRIBE, SHOW and SUMMARIZE are what data.profile is for." if kind == "SHOW_REF" else "Only SELECT is run."
        raise refused(sql, f"{kind.lower().replace('_', ' ')} is not allowed here", hint, at)


def _ctes(sql: str, node: dict[str, Any]) -> Iterator[str]:
    held = node.get("cte_map")
    for item in held.get("map", []) if isinstance(held, dict) else []:
        name = str(item.get("key", "")).lower()
        if name.startswith(RESERVED):
            raise refused(sql, f"{name!r} cannot name a WITH query", "Choose a name that no system table begins with.")
        yield name


def _table(sql: str, node: dict[str, Any], known: set[str], tables: list[str], at: int | None) -> None:
    name = str(node.get("table_name", ""))
    if node.get("catalog_name") or node.get("schema_name") or name.lower() not in known:
        full = ".".join(part for part in (str(node.get("catalog_name") or ""), str(node.get("schema_name") or ""), name) if part)
        problem = refused(sql, f"there is no table {full!r}", nearest(name, tables), at)
        raise UnknownName(problem.detail, hint=problem.hint, **problem.fields)


def _function(sql: str, node: dict[str, Any], at: int | None) -> None:
    name = str(node["function_name"])
    if node.get("catalog") or (name.lower() not in FUNCTIONS and name not in OPERATORS):
        problem = refused(sql, f"the function {name!r} is not allowed here", nearest_function(name), at)
        raise UnknownName(problem.detail, hint=problem.hint, **problem.fields)


def _table_function(sql: str, call: dict[str, Any], at: int | None) -> None:
    name = str(call.get("function_name", ""))
    if name.lower() not in TABLE_FUNCTIONS or call.get("schema") or call.get("catalog"):
        raise refused(
            sql, f"{name or 'that'!r} cannot stand in FROM", "Only the tables of this call, range, generate_series and unnest can; name files in 'files'.", at
        )


def nearest_function(name: str) -> str:
    """A hint: the nearest allowed function, without listing them all."""
    from difflib import get_close_matches

    close = get_close_matches(name.lower(), FUNCTIONS, n=1, cutoff=0.75)
    return (
        f"Did you mean {close[0]!r}?" if close else "Ordinary functions of numbers, text, dates and lists are; files, settings and the system are out of reach."
    )


def _sqlglot_agrees(sql: str, tables: list[str]) -> None:
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        statements = sqlglot.parse(sql, dialect="duckdb")
    except SqlglotError as error:
        first = (getattr(error, "errors", None) or [{}])[0]
        where = {"pointer": "/sql", "detail": str(first.get("description", error)), "line": first.get("line"), "column": first.get("col")}
        raise BadInput(f"Line {where['line']}, column {where['column']}: {where['detail']}", hint="Check the SQL near there.", errors=[where]) from error
    except RecursionError as error:
        raise refused(sql, "it is nested too deep") from error
    kept: list[Expression] = [statement for statement in statements if isinstance(statement, exp.Expression) and not isinstance(statement, exp.Semicolon)]
    if len(kept) != 1:
        raise refused(sql, f"{len(kept)} statements were given; only one is run", "Submit them one by one.")
    if not isinstance(kept[0], (exp.Query, exp.Values)):
        raise refused(sql, f"{kept[0].key.upper()} is not a SELECT", "Begin with SELECT, WITH or FROM.")
    known = {table.lower() for table in tables} | {cte.alias.lower() for cte in kept[0].find_all(exp.CTE)}
    for node in kept[0].walk():
        _sqlglot_node(sql, node, known, tables)


def _sqlglot_node(sql: str, node: Any, known: set[str], tables: list[str]) -> None:
    from sqlglot import exp

    if isinstance(node, (exp.DML, exp.DDL)) and not isinstance(node, exp.Query):
        raise refused(sql, f"{node.key.upper()} is not allowed inside a SELECT")
    if isinstance(node, (exp.Command, exp.Into, exp.Lock, exp.Attach, exp.Detach, exp.Copy, exp.Pragma, exp.Set, exp.Use, exp.Placeholder, exp.Parameter)):
        raise refused(sql, f"{node.key} is not allowed inside a SELECT")
    if isinstance(node, (exp.ReadCSV, exp.ReadParquet)):
        raise refused(sql, f"the function {node.key!r} is not allowed here", "Name files in 'files'.")
    if isinstance(node, exp.Anonymous) and node.name.lower() not in FUNCTIONS:
        raise refused(sql, f"the function {node.name!r} is not allowed here", nearest_function(node.name))
    if isinstance(node, exp.Table) and isinstance(node.this, exp.Identifier) and (node.db or node.catalog or node.name.lower() not in known):
        raise UnknownName(
            f"there is no table {node.sql(dialect='duckdb')!r}", hint=nearest(node.name, tables), errors=[{"pointer": "/sql", "detail": "no such table"}]
        )
