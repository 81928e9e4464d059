"""Which tables a statement touches, and whether it keeps to its company.

Postgres has row-level security. SQLite has this guard, and it runs on Postgres too, so that a forgotten predicate is found on a
laptop: a statement of a company's scope must compare ``company_id`` of each company's table with :data:`~pulser.store.tables.COMPANY`,
whose value is always the company of the transaction, or with that of a table that is compared so. What the guard cannot judge it refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sqlalchemy import BindParameter, BooleanClauseList, Column, Delete, Insert, Join, Select, Table, TextClause, Update
from sqlalchemy.sql import operators, visitors
from sqlalchemy.sql.elements import BinaryExpression, ClauseElement, Grouping
from sqlalchemy.sql.expression import CTE, CompoundSelect, FromClause, SelectBase, Subquery
from sqlalchemy.sql.selectable import FromGrouping, SelectStatementGrouping

from pulser.store.tables import AUTH, COMPANY, ENGINE, INSTALLATION

REMEMBERED = 2_000
_passed: set[tuple[str, Any]] = set()  # judging takes a tenth of a millisecond to three


class ScopeError(RuntimeError):
    """A statement reaches for rows that its transaction may not see: a mistake in our code, never a caller's."""


def check(statement: ClauseElement, scope: str) -> None:
    """Raise :class:`ScopeError` unless ``statement`` keeps to ``scope`` (``app``, ``engine``, ``auth`` or ``owner``)."""
    if scope == "owner":
        return
    made = statement._generate_cache_key()  # of its shape, without values: what SQLAlchemy caches compiled statements by
    known = (scope, made.key) if made is not None else None
    if known is not None and known in _passed:
        return
    _judge(statement, scope)
    if known is not None:
        if len(_passed) >= REMEMBERED:
            _passed.clear()
        _passed.add(known)


def _judge(statement: ClauseElement, scope: str) -> None:
    if scope == "app":
        _check(statement, frozenset())
        return
    tables = {element.name for element in visitors.iterate(statement) if isinstance(element, Table)}
    if isinstance(statement, Insert | Update | Delete):
        tables.add(str(getattr(statement.table, "name", "")))
    if isinstance(statement, TextClause):
        raise ScopeError("hand-written SQL goes through tx.raw, which is told its tables")
    check_tables(tables, scope)


def check_tables(tables: set[str] | frozenset[str], scope: str) -> None:
    """Raise :class:`ScopeError` if ``scope`` has no business with one of ``tables``."""
    allowed = {"engine": ENGINE, "auth": AUTH}.get(scope)
    if allowed is not None and (outside := tables - allowed):
        raise ScopeError(f"the {scope} scope has no business with {', '.join(sorted(outside))}")


def check_values(names: Iterable[Any]) -> None:
    """Raise :class:`ScopeError` if a change would give a row to a company: only the transaction says whose it is."""
    if any((name.name if isinstance(name, Column) else name) == "company_id" for name in names):
        raise ScopeError("company_id is the transaction's; a statement does not set it")


Tables = frozenset[Table]


def _check(statement: Any, outer: Tables) -> None:
    """``outer``: tables of the enclosing statement, which a subquery may refer to and which are checked there."""
    if isinstance(statement, Select):
        _check_select(statement, outer)
    elif isinstance(statement, CompoundSelect):
        for part in statement.selects:
            _check(part, outer)
    elif isinstance(statement, SelectStatementGrouping):
        _check(statement.element, outer)
    elif isinstance(statement, Update | Delete):
        _check_change(statement)
    elif isinstance(statement, Insert):
        if statement.select is not None or statement._multi_values:
            raise ScopeError("rows are inserted as parameters, so that each gets its transaction's company")
        check_values(statement._values or ())
        _check_nested(statement, frozenset())
    else:
        raise ScopeError(f"the guard cannot judge {type(statement).__name__}; say it with tables and columns")


def _check_select(select: Select[Any], outer: Tables) -> None:
    outer = outer if select._auto_correlate else frozenset()
    if any(isinstance(column, TextClause) for column in select._raw_columns):
        raise ScopeError("a select of hand-written SQL cannot be judged")
    where = _conjuncts(select.whereclause)
    filters: dict[Table, list[ClauseElement]] = {}
    for source in select.get_final_froms():
        for table, on in _sources(source, [], outer):
            if table not in outer:
                filters.setdefault(table, list(where)).extend(on)
    _require(filters, outer)
    _check_nested(select, outer | frozenset(filters))


def _check_change(statement: Update | Delete) -> None:
    if not isinstance(statement.table, Table):
        raise ScopeError("a change is of one table")
    if isinstance(statement, Update):
        check_values(statement._values or ())
    where = _conjuncts(statement.whereclause)
    tables = {statement.table} | {element.table for element in _walk(statement) if isinstance(element, Column) and isinstance(element.table, Table)}
    _require({table: list(where) for table in tables}, frozenset())
    _check_nested(statement, frozenset(tables))


def _sources(source: Any, on: list[ClauseElement], outer: Tables) -> Iterator[tuple[Table, list[ClauseElement]]]:
    """The tables that a FROM reads, each with the conditions of joins that leave out its rows."""
    if isinstance(source, Table):
        yield source, on
    elif isinstance(source, Join):
        here = _conjuncts(source.onclause)
        yield from _sources(source.left, on if source.isouter or source.full else on + here, outer)
        yield from _sources(source.right, on if source.full else on + here, outer)
        for nested in _nested(source.onclause):
            tables = frozenset(element for element in visitors.iterate(source) if isinstance(element, Table))
            _check(nested, outer | tables)
    elif isinstance(source, FromGrouping):
        yield from _sources(source.element, on, outer)
    elif isinstance(source, Subquery | CTE):
        _check(source.element, frozenset())
    else:
        raise ScopeError(f"the guard cannot judge a FROM of {type(source).__name__}; name the table itself")


def _require(filters: dict[Table, list[ClauseElement]], outer: Tables) -> None:
    """Every company's table must be compared with COMPANY, or with one that is."""
    open_ = {table for table in filters if table.name not in INSTALLATION}
    sure: set[Table] = {table for table in outer if table.name not in INSTALLATION}
    while found := {table for table in open_ if any(_anchors(each, table, sure) for each in filters[table])}:
        open_ -= found
        sure |= found
    if open_:
        name = sorted(table.name for table in open_)[0]
        raise ScopeError(f"a statement on {name} does not say {name}.company_id = COMPANY")


def _anchors(condition: ClauseElement, table: Table, sure: set[Table]) -> bool:
    if not (isinstance(condition, BinaryExpression) and condition.operator is operators.eq):
        return False
    sides = (condition.left, condition.right)
    return any(_is_company_of(ours, {table}) and (_is_bound(theirs) or _is_company_of(theirs, sure)) for ours, theirs in (sides, sides[::-1]))


def _is_company_of(side: Any, tables: set[Table]) -> bool:
    return isinstance(side, Column) and side.name == "company_id" and side.table in tables


def _is_bound(side: Any) -> bool:
    return isinstance(side, BindParameter) and side.key == COMPANY.key


def _conjuncts(clause: Any) -> list[ClauseElement]:
    if clause is None:
        return []
    if isinstance(clause, BooleanClauseList) and clause.operator is operators.and_:
        return [each for part in clause.clauses for each in _conjuncts(part)]
    if isinstance(clause, Grouping):
        return _conjuncts(clause.element)
    if isinstance(clause, TextClause):
        raise ScopeError("a condition of hand-written SQL cannot be judged")
    return [clause]


def _check_nested(statement: Any, outer: Tables) -> None:
    for nested in _nested(statement):
        _check(nested, outer)


def _nested(statement: Any) -> list[SelectBase]:
    """The selects that stand in columns and conditions, not those in FROM."""
    return [element for element in _walk(statement) if isinstance(element, SelectBase)]


def _walk(element: Any) -> Iterator[Any]:
    """What a statement is made of, down to but not into selects and sources of rows."""
    for child in element.get_children():
        if isinstance(child, SelectBase):
            yield child
        elif not isinstance(child, FromClause):
            yield child
            yield from _walk(child)
