"""The tables, once, for both databases. Alembic's metadata; names follow the documents where they give them.

Times are ``Instant``: TIMESTAMPTZ on Postgres, integer microseconds since 1970 on SQLite. A company's table has ``company_id``
first in its key; installation-wide tables are listed in ``INSTALLATION``, those the engine may read across companies in ``ENGINE``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    TIMESTAMP,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    Float,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    bindparam,
    text,
)

from pulser.core.clock import from_us, to_us
from pulser.core.task import PRIORITIES, STAGES, Stage

metadata = MetaData(
    naming_convention={
        "ix": "%(table_name)s_%(column_0_name)s",
        "uq": "%(table_name)s_%(column_0_name)s_key",
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
    }
)

COMPANY = bindparam("_company", type_=Text)  # always the company of the transaction; see guard.py


class Instant(TypeDecorator[datetime]):
    """A moment. Aware UTC datetimes in Python."""

    impl = TIMESTAMP(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        return dialect.type_descriptor(BigInteger() if dialect.name == "sqlite" else TIMESTAMP(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return to_us(value) if value is not None and dialect.name == "sqlite" else value

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return from_us(value) if value is not None and dialect.name == "sqlite" else value


class _Document(TypeDecorator[Any]):
    """JSON, on Postgres JSONB. The dialect is loaded only where it is used: it takes 40 ms."""

    impl = JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


Document = _Document()  # to be looked into
Note = JSON(none_as_null=True)  # to be kept and shown: on Postgres JSON, a third of JSONB's cost to write
Serial = BigInteger().with_variant(Integer, "sqlite")  # only INTEGER PRIMARY KEY counts by itself on SQLite


def _one_of(column: str, words: tuple[str, ...]) -> str:
    return f"{column} IN ({', '.join(repr(word) for word in words)})"


def _required(name: str, kind: Any = Text, default: str | None = None) -> Column[Any]:
    return Column(name, kind, nullable=False, server_default=None if default is None else text(default))


companies = Table("companies", metadata, Column("company_id", Text, primary_key=True), _required("name"), _required("created_at", Instant))

api_keys = Table(
    "api_keys",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("key_id", Text, primary_key=True),
    _required("name"),
    _required("role"),
    _required("secret_hash", LargeBinary),
    _required("created_at", Instant),
    Column("expires_at", Instant),
    Column("last_used_at", Instant),
    Column("revoked_at", Instant),
    UniqueConstraint("secret_hash"),
    ForeignKeyConstraint(["company_id"], ["companies.company_id"]),
)

task_queue = Table(
    "task_queue",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    _required("task_type"),
    _required("action"),
    _required("priority", Text, "'medium'"),
    _required("assigned_agent"),
    _required("stage", Text, "'queued'"),
    _required("ready", Boolean, "false"),  # may be claimed now
    _required("rank_at", Instant),  # submitted + ageing[priority]: the order, fixed at submit
    Column("available_at", Instant),  # queued, but not before then (run_at, or the wait before a retry)
    # who works on it: the lease
    Column("worker_id", Text),
    _required("token", BigInteger, "0"),  # the fencing token: only grows
    Column("lease_expires_at", Instant),
    # how often
    _required("generation", Integer, "1"),
    _required("attempt", Integer, "0"),
    _required("retry_count", Integer, "0"),
    _required("max_retries", Integer, "3"),
    _required("reclaims", Integer, "0"),
    _required("time_limit_s", Float),
    _required("review", Boolean, "false"),
    _required("discarded", Boolean, "false"),
    # what it waits for
    Column("waiting_for", Text),
    _required("blockers", Integer, "0"),  # tasks it still waits for
    _required("dependents", Integer, "0"),  # tasks that wait, or waited, for it
    Column("parent_id", Text),
    # when
    _required("version", Integer, "0"),  # number of its last event
    _required("created_at", Instant),
    _required("updated_at", Instant),
    Column("claimed_at", Instant),
    Column("completed_at", Instant),
    # what
    Column("title", Text),
    Column("description", Text),
    Column("requester", Text),
    _required("routing", Note),
    Column("checklist", Note),
    Column("progress", Note),
    Column("attempts", Note),  # ended attempts, oldest first
    Column("error_message", Text),
    Column("error", Note),
    _required("payload", Document),
    Column("result", Note),
    CheckConstraint(_one_of("stage", STAGES), name="task_queue_stage_check"),
    CheckConstraint(_one_of("priority", PRIORITIES), name="task_queue_priority_check"),
    # no foreign key to companies: it would lock one row of it for every task; sign-in and row-level security name the company
)
_claim = ("company_id", "assigned_agent", "rank_at", "task_id", "ready")  # the last two so that queued tasks are listed and counted from the index alone
Index("task_queue_claim", *[task_queue.c[c] for c in _claim], sqlite_where=text("ready = 1"), postgresql_where=text("ready"))
Index(
    "task_queue_claim_critical",
    *[task_queue.c[c] for c in _claim],
    sqlite_where=text("ready = 1 AND priority = 'critical'"),
    postgresql_where=text("ready AND priority = 'critical'"),
)
_delayed = "stage IN ('queued', 'approved') AND ready = 0 AND available_at IS NOT NULL"
_later = ("company_id", "assigned_agent", "task_id", "stage", "ready", "available_at")  # the sweep goes by time over all companies, lists by company
for _name, _columns in (("delayed", ("available_at",)), ("later", _later)):
    Index(
        f"task_queue_{_name}",
        *[task_queue.c[c] for c in _columns],
        sqlite_where=text(_delayed),
        postgresql_where=text(_delayed.replace("ready = 0", "NOT ready")),
    )
Index(
    "task_queue_leased",
    task_queue.c.company_id,
    task_queue.c.lease_expires_at,
    sqlite_where=text("lease_expires_at IS NOT NULL"),
    postgresql_where=text("lease_expires_at IS NOT NULL"),
)
FLOWING: tuple[Stage, ...] = ("queued", "claimed", "in_progress")  # the others a task enters seldom, or once: done
_settled = _one_of("stage", FLOWING).replace(" IN ", " NOT IN ")  # not IN the others: SQLite would walk those one by one
Index(
    "task_queue_stage",
    *[task_queue.c[c] for c in ("company_id", "stage", "task_id", "assigned_agent")],
    sqlite_where=text(_settled),
    postgresql_where=text(_settled),
)
Index(
    "task_queue_parent",
    task_queue.c.company_id,
    task_queue.c.parent_id,
    task_queue.c.task_id,
    sqlite_where=text("parent_id IS NOT NULL"),
    postgresql_where=text("parent_id IS NOT NULL"),
)

task_dependencies = Table(
    "task_dependencies",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),  # this one waits
    Column("depends_on", Text, primary_key=True),  # for that one
    _required("needs", Text, "'done'"),  # done: to succeed; ended: to end, however
    ForeignKeyConstraint(["company_id", "task_id"], ["task_queue.company_id", "task_queue.task_id"], ondelete="CASCADE"),
    ForeignKeyConstraint(
        ["company_id", "depends_on"], ["task_queue.company_id", "task_queue.task_id"], name="task_dependencies_depends_on_fkey", ondelete="CASCADE"
    ),
)
Index("task_dependencies_of", task_dependencies.c.company_id, task_dependencies.c.depends_on)

events = Table(  # on Postgres the key is (xid, seq), the order of the feed
    "events",
    metadata,
    Column("seq", Serial, primary_key=True),
    _required("xid", BigInteger, "0"),  # Postgres: its place, so that the feed can wait for late ones; see events/feed.py
    _required("company_id"),
    _required("ts", Instant),
    _required("event"),
    _required("actor"),
    _required("target"),
    Column("version", Integer),  # consecutive per target: a gap would show
    Column("request_id", Text),
    Column("origin", Text),
    Column("before", Note),
    Column("after", Note),
    Column("details", Note),
    sqlite_autoincrement=True,  # a pruned number is never given again
)
Index("events_target", events.c.company_id, events.c.target, events.c.seq)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("principal", Text, primary_key=True),
    Column("route", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    _required("request_hash", LargeBinary),
    _required("status", Integer),
    _required("headers", Document),
    _required("body", LargeBinary),
    _required("created_at", Instant),
)
Index("idempotency_keys_created_at", idempotency_keys.c.created_at)

artifacts = Table(
    "artifacts",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("task_id", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    _required("attempt", Integer),
    _required("generation", Integer),
    _required("kind", Text, "'file'"),  # file, or log: the attempt's own
    _required("sha256"),
    _required("size_bytes", BigInteger),
    _required("media_type"),
    _required("created_at", Instant),
    ForeignKeyConstraint(["company_id", "task_id"], ["task_queue.company_id", "task_queue.task_id"], ondelete="CASCADE"),
)
Index("artifacts_sha256", artifacts.c.company_id, artifacts.c.sha256)

files = Table(
    "files",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    _required("size_bytes", BigInteger),
    _required("media_type"),
    _required("name"),
    _required("created_at", Instant),
)
Index("files_created_at", files.c.created_at)

file_chunks = Table(  # the bytes, on Postgres; embedded they lie in the data folder
    "file_chunks",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("sha256", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    _required("bytes", LargeBinary),
    ForeignKeyConstraint(["company_id", "sha256"], ["files.company_id", "files.sha256"], ondelete="CASCADE"),
)

leases = Table(  # of anything but tasks, whose lease is in their row
    "leases",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("resource", Text, primary_key=True),
    _required("lock_id"),
    Column("holder", Text),  # NULL: free; the row stays, so that the token only grows
    _required("token", BigInteger, "0"),
    Column("acquired_at", Instant),
    Column("heartbeat_at", Instant),
    _required("ttl_seconds", Float),
    Column("expires_at", Instant),
    UniqueConstraint("company_id", "lock_id"),
)
Index("leases_expires_at", leases.c.expires_at, sqlite_where=text("holder IS NOT NULL"), postgresql_where=text("holder IS NOT NULL"))

agent_pauses = Table(
    "agent_pauses",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("agent", Text, primary_key=True),
    _required("paused_at", Instant),
    _required("paused_by"),
)

agent_memory = Table(
    "agent_memory",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("memory_id", Text, primary_key=True),
    _required("agent_name"),
    Column("memory_type", Text),
    Column("content", Text),
    Column("embedding", LargeBinary),
    Column("embedding_model", Text),
    Column("metadata", Document),
    _required("created_at", Instant),
)
Index("agent_memory_agent_name", agent_memory.c.company_id, agent_memory.c.agent_name)

agent_telemetry = Table(
    "agent_telemetry",
    metadata,
    Column("company_id", Text, primary_key=True),
    Column("telemetry_id", Text, primary_key=True),
    _required("agent_name"),
    _required("metric_name"),
    Column("metric_value", Float),
    Column("unit", Text),
    _required("timestamp", Instant),
    Column("metadata", Document),
)
Index("agent_telemetry_agent_name", agent_telemetry.c.company_id, agent_telemetry.c.agent_name, agent_telemetry.c.timestamp)

instances = Table(  # a live process that serves an agent
    "instances",
    metadata,
    Column("instance_id", Text, primary_key=True),
    _required("worker_id"),
    _required("agent"),
    _required("host"),
    _required("pid", Integer),
    _required("capacity", Integer),
    _required("running", Integer, "0"),
    _required("available", Boolean, "true"),
    _required("started_at", Instant),
    _required("last_seen_at", Instant),
    UniqueConstraint("worker_id", "agent"),
)

clock = Table(  # SQLite only has rows here: wall time as of one moment of this boot
    "clock",
    metadata,
    Column("boot_id", Text, primary_key=True),
    _required("boot_us", BigInteger),
    _required("wall_us", BigInteger),
)

INSTALLATION = frozenset({"companies", "instances", "clock", "alembic_version"})
AUTH = frozenset({"companies", "api_keys"})
ENGINE = frozenset({"task_queue", "task_dependencies", "leases", "events", "agent_pauses", "instances", "clock", "companies"})
