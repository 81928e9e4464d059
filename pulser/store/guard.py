"""Which tables a statement touches, and whether it keeps to its company.

Postgres has row-level security. SQLite has this guard, and it runs on Postgres too, so that a forgotten predicate is found on a
laptop: a statement of a company's scope must compare ``company_id`` of each company's table with :data:`~pulser.store.tables.COMPANY`,
whose value is always the company of the transaction.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, BooleanClauseList, Column, Delete, Insert, Join, Select, Table, Update
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, ClauseElement
from sqlalchemy.sql.expression import CompoundSelect

from pulser.store.tables import AUTH, COMPANY, ENGINE, INSTALLATION


class ScopeError(RuntimeError):
    """A statement reaches for rows that its transaction may not see: a mistake in our code, never a caller's."""


def check(statement: ClauseElement, scope: str) -> None:
    """Raise :class:`ScopeError` unless ``statement`` keeps to ``scope`` (``app``, ``engine``, ``auth`` or ``owner``)."""
    if scope == "owner":
        return
    tables = {element.name for element in visitors.iterate(statement) if isinstance(element, Table)}
    if isinstance(statement, Insert | Update | Delete):
        tables.add(str(getattr(statement.table, "name", "")))
    check_tables(tables, scope)
    if scope == "app":
        for part in visitors.iterate(statement):
            if isinstance(part, Select):
                _check_select(part)
            elif isinstance(part, Update | Delete):
                _require(part.table, _conjuncts(part.whereclause))
        if isinstance(statement, CompoundSelect):
            for select in statement.selects:
                check(select, scope)


def check_tables(tables: set[str] | frozenset[str], scope: str) -> None:
    """Raise :class:`ScopeError` if ``scope`` has no business with one of ``tables``."""
    allowed = {"engine": ENGINE, "auth": AUTH}.get(scope)
    if allowed is not None and (outside := tables - allowed):
        raise ScopeError(f"the {scope} scope has no business with {', '.join(sorted(outside))}")


def _check_select(select: Select[Any]) -> None:
    conjuncts = _conjuncts(select.whereclause)
    tables: list[Table] = []
    for source in select.get_final_froms():
        for element in visitors.iterate(source):
            if isinstance(element, Table):
                tables.append(element)
            elif isinstance(element, Join):
                conjuncts += _conjuncts(element.onclause)
    for table in tables:
        _require(table, conjuncts)


def _conjuncts(clause: ClauseElement | None) -> list[ClauseElement]:
    if clause is None:
        return []
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        return [each for part in clause.clauses for each in _conjuncts(part)]
    return [clause]


def _require(table: Any, conjuncts: list[ClauseElement]) -> None:
    if not isinstance(table, Table) or table.name in INSTALLATION:
        return
    for each in conjuncts:
        if isinstance(each, BinaryExpression) and each.operator is operators.eq:
            sides = [each.left, each.right]
            ours = any(isinstance(s, Column) and s.name == "company_id" and s.table is table for s in sides)
            theirs = any(
                (isinstance(s, BindParameter) and s.key == COMPANY.key) or (isinstance(s, Column) and s.name == "company_id" and s.table is not table)
                for s in sides
            )
            if ours and theirs:
                return
    raise ScopeError(f"a statement on {table.name} does not say {table.name}.company_id = COMPANY")
