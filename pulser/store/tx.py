"""One transaction, as domain functions see it: its company, its clock, its statements, its events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import msgspec
from sqlalchemy import Connection, CursorResult, Delete, Insert, Update
from sqlalchemy.sql import Executable

from pulser.core.actor import SYSTEM, Actor
from pulser.core.clock import from_us, to_us
from pulser.core.ids import Random, random_bytes, ulid
from pulser.store.guard import ScopeError, check, check_tables, check_values
from pulser.store.tables import COMPANY, INSTALLATION

Scope = Literal["app", "engine", "auth", "owner"]
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Hints:
    """What a commit changes for those who wait, told after it; losing one costs a poll, never a task."""

    agents: set[str] = field(default_factory=set)  # have new work
    cancelled: list[tuple[str, int]] = field(default_factory=list)  # tasks, and their tokens, whose lease was ended from outside
    due: datetime | None = None  # something becomes claimable then
    events: bool = False  # the log grew

    def due_at(self, at: datetime) -> None:
        """Something becomes claimable at ``at``."""
        self.due = at if self.due is None else min(self.due, at)

    def __bool__(self) -> bool:
        return bool(self.agents or self.cancelled or self.due or self.events)


class Tx:
    """A transaction of one scope. ``now`` is the database's clock, read when it began.

    ``app`` sees one company; ``engine`` the queue, leases and events of all; ``auth`` companies and keys; ``owner`` everything.
    """

    __slots__ = ("actor", "after", "company", "connection", "cursor", "events", "hints", "now", "now_value", "random", "scope", "sqlite")

    def __init__(self, connection: Connection, cursor: Any, *, sqlite: bool, now_us: int, random: Random = random_bytes) -> None:
        self.connection = connection
        self.cursor = cursor  # the driver's own, for batch.py and the two dialect files
        self.sqlite = sqlite
        self.random = random
        self.now = from_us(now_us)
        self.now_value: Any = now_us if sqlite else self.now
        self.scope: Scope = "owner"
        self.company: str | None = None
        self.actor: Actor = SYSTEM
        self.events: list[tuple[Any, ...]] = []  # written in one statement before the commit
        self.hints = Hints()
        self.after: list[Callable[[bool], None]] = []  # told whether the commit held

    def enter(self, scope: Scope, company: str | None, actor: Actor) -> None:
        """From here on the transaction works for ``company``; only the store calls this."""
        self.scope, self.company, self.actor = scope, company, actor

    def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | list[Mapping[str, Any]] | None = None, *, company: str | None = None
    ) -> CursorResult[Any]:
        """Run a SQLAlchemy Core statement; the guard refuses one that leaves its company.

        ``company`` is for functions that also run in the engine's scope: there it is what COMPANY stands for.
        """
        check(statement, self.scope)  # type: ignore[arg-type]
        if self.scope != "app":
            if company is not None and not isinstance(parameters, list):
                parameters = {**(parameters or {}), COMPANY.key: company}
            return self.connection.execute(statement, parameters)
        if company is not None and company != self.company:
            raise ScopeError("a transaction of one company was asked about another's")
        if isinstance(statement, Insert):
            rows = parameters if isinstance(parameters, list) else [parameters or {}]
            ours = {"company_id": self.company} if "company_id" in statement.table.c else {}
            return self.connection.execute(statement, [{**row, **ours} for row in rows] if isinstance(parameters, list) else {**rows[0], **ours})
        if isinstance(statement, Update):
            for row in parameters if isinstance(parameters, list) else [parameters or {}]:
                check_values(row)
        if isinstance(statement, Update | Delete) and getattr(statement.table, "name", "") in INSTALLATION:
            return self.connection.execute(statement, parameters)
        if isinstance(parameters, list):
            return self.connection.execute(statement, [{**row, COMPANY.key: self.company} for row in parameters])
        return self.connection.execute(statement, {**(parameters or {}), COMPANY.key: self.company})

    def raw(self, sql: str, parameters: Any, *tables: str) -> list[Any]:
        """Run hand-written SQL of the engine or the owner (the two dialect files); ``tables`` are those it touches."""
        if self.scope == "app":
            raise AssertionError("hand-written SQL is for the engine's and the owner's scope")
        check_tables(set(tables), self.scope)
        return list(self.cursor.execute(sql, parameters).fetchall())

    def new_id(self, prefix: str) -> str:
        """A fresh id, sorted by the database's clock."""
        return prefix + "_" + ulid(to_us(self.now) // 1000, self.random)

    def flag(self, value: bool) -> Any:
        """``value`` as the driver takes it fastest."""
        return int(value) if self.sqlite else value

    def time(self, at: datetime | None) -> Any:
        """``at`` as the driver takes it."""
        return to_us(at) if self.sqlite and at is not None else at

    def instant(self, value: Any) -> datetime | None:
        """The reverse of :meth:`time`."""
        return from_us(value) if self.sqlite and value is not None else value

    def json(self, value: Any) -> str | None:
        """``value`` as JSON text, None as NULL."""
        return None if value is None else _encode(value).decode()

    def document(self, value: Any) -> Any:
        """The reverse of :meth:`json`: what a JSON column gave the driver."""
        return msgspec.json.decode(value) if isinstance(value, str) else value
