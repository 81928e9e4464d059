"""Lists of tasks, newest first, that cost the same however many tasks there are.

Each list is put together from *arms*, parts of the table that one index holds: the tasks of a stage, those that may be claimed, those under a
lease, the children of a task. What no index answers (priority, requester, type, text) is looked at row by row, but never more than ``SCAN``
of the newest rows of an arm at once: :func:`look` then says where to go on.

No index of the hot path is there for lists alone. Queued tasks are found in the index that claims use, which is not in the order of ids; only the
end of a task is noted once more, in ``task_queue_stage``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, String, cast, literal_column, or_, select

from pulser.core.clock import to_us
from pulser.core.ids import encode
from pulser.core.task import RUNNING, STAGES
from pulser.store.tables import COMPANY, FLOWING, task_queue
from pulser.store.tx import Tx

SCAN = 20_000  # rows looked at one by one, at most, for one answer
PROBE = 2_000  # queued tasks are mostly among the newest: looked for there first

t = task_queue.c
HEAVY = ("payload", "result", "attempts", "routing", "checklist", "description")
_LIST = [column for column in task_queue.c if column.name not in HEAVY]
_APART = t.task_id.concat("")  # the id as no index has it: or the primary key would be walked from end to end to spare a small sort
NEWEST = "tsk_" + "Z" * 27  # above every id. With a bound on it SQLite prefers the index of stages to the primary key


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tasks to list; empty fields do not filter."""

    stages: tuple[str, ...] = ()
    task_type: str = ""
    agent: str = ""
    priority: str = ""
    requester: str = ""
    text: str = ""
    parent_id: str = ""
    since: datetime | None = None
    until: datetime | None = None
    discarded: bool | None = None


Condition = ColumnElement[bool]


def _words(stages: Sequence[str]) -> list[Any]:
    return [literal_column(repr(stage)) for stage in stages]


# The conditions of the partial indexes, word for word: neither database believes a parameter to fit one.
SETTLED = tuple(stage for stage in STAGES if stage not in FLOWING)
SETTLED_ROWS = t.stage.not_in(_words(FLOWING))
DELAYED_ROWS = (t.stage.in_(_words(("queued", "approved"))), ~t.ready, t.available_at.is_not(None))
LEASED_ROWS = t.lease_expires_at.is_not(None)
CHILD_ROWS = t.parent_id.is_not(None)
QUEUED_ROWS = t.task_id.not_in(select(t.task_id).where(t.company_id == COMPANY, SETTLED_ROWS, t.stage == "approved"))  # of those ready or delayed


@dataclass(frozen=True, slots=True)
class Arm:
    """Part of a list: what an index finds, and what is looked at row by row. ``ordered``: the index is in the order of ids."""

    found: tuple[Condition, ...]
    looked_at: tuple[Condition, ...] = ()
    ordered: bool = True


@dataclass(frozen=True, slots=True)
class Span:
    """Ids below ``before``, from ``floor`` on."""

    before: str
    floor: str = ""

    def of(self, ordered: bool) -> list[Condition]:
        """As conditions."""
        key = t.task_id if ordered else _APART
        return [t.company_id == COMPANY, key < self.before, *([key >= self.floor] if self.floor else [])]


def look(tx: Tx, wanted: Filter, limit: int, before: str | None) -> tuple[list[dict[str, Any]], str | None]:
    """Up to ``limit`` tasks older than the id ``before``, newest first, without their heavy columns; and the id to go on before, None at the end.

    There may be fewer than ``limit`` although there are more: then ``SCAN`` rows have been looked at.
    """
    arms = list(_arms(wanted))
    span = Span(before or NEWEST)
    floors = [found for arm in arms if arm.looked_at and (found := _nth(tx, arm, span, SCAN)) is not None]
    span = Span(span.before, max(floors, default=""))
    rows = _probe(tx, wanted, span, limit + 1)
    if rows is None:
        rows = [row for arm in arms for row in _rows(tx, arm, span, limit + 1)]
    rows.sort(key=lambda row: str(row["task_id"]), reverse=True)
    if len(rows) > limit:
        return rows[:limit], rows[limit - 1]["task_id"]
    return rows, span.floor or None


def _arms(wanted: Filter) -> Iterator[Arm]:
    of = (t.assigned_agent == wanted.agent,) if wanted.agent else ()
    rest = tuple(_rest(wanted))
    span: tuple[Condition, ...] = (t.task_id < _id_at(wanted.until, 1),) if wanted.until else ()
    stages = set(wanted.stages) if set(wanted.stages) != set(STAGES) else set()
    if wanted.since is not None:  # a planned sub-task has an id of its parent's time: it may be younger than its id says
        late = (CHILD_ROWS, *Span(_id_at(wanted.since)).of(ordered=False))
        if not wanted.parent_id:
            yield Arm(late, (*of, *rest, *([t.stage.in_(sorted(stages))] if stages else [])), ordered=False)
            span = (*span, t.task_id >= _id_at(wanted.since))
    if wanted.parent_id:
        yield Arm((t.parent_id == wanted.parent_id, *span), (*of, *rest, *([t.stage.in_(sorted(stages))] if stages else [])))
        return
    if not stages:
        yield Arm(span, (*of, *rest))
        return
    for stage in SETTLED:
        if stage in stages:
            yield Arm((SETTLED_ROWS, t.stage == stage, *of, *span), rest)
    if running := sorted(stages & {*RUNNING} - {*SETTLED}):
        yield Arm((LEASED_ROWS, *span), (*of, *rest, t.stage.in_(running)), ordered=False)
    if "queued" in stages:
        yield Arm((t.ready, QUEUED_ROWS, *of, *span), rest, ordered=False)
        yield Arm((*DELAYED_ROWS, QUEUED_ROWS, *of, *span), rest, ordered=False)


def _rest(wanted: Filter) -> Iterator[Condition]:
    for column, value in ((t.task_type, wanted.task_type), (t.priority, wanted.priority), (t.requester, wanted.requester)):
        if value:
            yield column == value
    if wanted.since:
        yield t.created_at >= wanted.since
    if wanted.until:
        yield t.created_at < wanted.until
    if wanted.discarded is not None:
        yield t.discarded == wanted.discarded
    if wanted.text:
        like = "%" + wanted.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
        yield or_(*[cast(column, String).ilike(like, escape="\\") for column in (t.title, t.description, t.task_id, t.action)])


def _id_at(at: datetime, more_ms: int = 0) -> str:
    """The lowest id of a task submitted then."""
    return "tsk_" + encode((to_us(at) // 1000 + more_ms) << 80)


def _nth(tx: Tx, arm: Arm, span: Span, n: int) -> str | None:
    """The id of the ``n``-th newest, None if there are fewer."""
    found: str | None = tx.execute(_newest(select(t.task_id), arm, span).offset(n - 1).limit(1)).scalar()
    return found


def _newest(statement: Select[Any], arm: Arm, span: Span) -> Select[Any]:
    return statement.where(*span.of(arm.ordered), *arm.found).order_by((t.task_id if arm.ordered else _APART).desc())


def _probe(tx: Tx, wanted: Filter, span: Span, limit: int) -> list[Any] | None:
    """All that is wanted, if it is queued and among the newest."""
    if set(wanted.stages) != {"queued"} or wanted.parent_id or wanted.since is not None:
        return None
    every = Arm(())
    bound = _nth(tx, every, span, PROBE)
    of = (t.assigned_agent == wanted.agent,) if wanted.agent else ()
    near = Span(span.before, max(bound or "", span.floor))
    rows = _fetch(tx, _newest(select(*_LIST).where(t.stage == "queued", *of, *_rest(wanted)), every, near).limit(limit))
    return rows if bound is None or len(rows) == limit else None


def _rows(tx: Tx, arm: Arm, span: Span, limit: int) -> list[Any]:
    if arm.ordered:
        return _fetch(tx, _newest(select(*_LIST).where(*arm.looked_at), arm, span).limit(limit))
    ids = _newest(select(t.task_id), arm, span)  # from the index alone
    if not arm.looked_at:
        ids = ids.limit(limit)
    return _fetch(tx, select(*_LIST).where(t.company_id == COMPANY, t.task_id.in_(ids), *arm.looked_at).order_by(_APART.desc()).limit(limit))


def _fetch(tx: Tx, statement: Select[Any]) -> list[Any]:
    return [dict(row) for row in tx.execute(statement).mappings()]
