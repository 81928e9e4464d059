"""The first tables: companies, keys, the task queue and its dependencies, events, leases, files, memory and telemetry."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from pulser.store.migrations.rights import make_roles, secure, share
from pulser.store.tables import Document, Instant, Note, Serial

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make them; on Postgres with their rights."""
    op.create_table(
        "agent_memory",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("memory_id", sa.Text(), nullable=False),
        sa.Column("agent_name", sa.Text(), nullable=False),
        sa.Column("memory_type", sa.Text(), nullable=True),
        sa.Column("content", sa.Text(), nullable=True),
        sa.Column("embedding", sa.LargeBinary(), nullable=True),
        sa.Column("embedding_model", sa.Text(), nullable=True),
        sa.Column("metadata", Document, nullable=True),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "memory_id", name=op.f("agent_memory_pkey")),
    )
    op.create_index("agent_memory_agent_name", "agent_memory", ["company_id", "agent_name"], unique=False)
    op.create_table(
        "agent_pauses",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("paused_at", Instant(), nullable=False),
        sa.Column("paused_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "agent", name=op.f("agent_pauses_pkey")),
    )
    op.create_table(
        "agent_telemetry",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("telemetry_id", sa.Text(), nullable=False),
        sa.Column("agent_name", sa.Text(), nullable=False),
        sa.Column("metric_name", sa.Text(), nullable=False),
        sa.Column("metric_value", sa.Float(), nullable=True),
        sa.Column("unit", sa.Text(), nullable=True),
        sa.Column("timestamp", Instant(), nullable=False),
        sa.Column("metadata", Document, nullable=True),
        sa.PrimaryKeyConstraint("company_id", "telemetry_id", name=op.f("agent_telemetry_pkey")),
    )
    op.create_index("agent_telemetry_agent_name", "agent_telemetry", ["company_id", "agent_name", "timestamp"], unique=False)
    op.create_table(
        "clock",
        sa.Column("boot_id", sa.Text(), nullable=False),
        sa.Column("boot_us", sa.BigInteger(), nullable=False),
        sa.Column("wall_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("boot_id", name=op.f("clock_pkey")),
    )
    op.create_table(
        "companies",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", name=op.f("companies_pkey")),
    )
    op.create_table(
        "events",
        sa.Column("seq", Serial, nullable=False),
        sa.Column("xid", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("ts", Instant(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("origin", sa.Text(), nullable=True),
        sa.Column("before", Note, nullable=True),
        sa.Column("after", Note, nullable=True),
        sa.Column("details", Note, nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("events_pkey")),
        sqlite_autoincrement=True,
    )
    op.create_index("events_target", "events", ["company_id", "target", "seq"], unique=False)
    op.create_table(
        "files",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "sha256", name=op.f("files_pkey")),
    )
    op.create_index("files_created_at", "files", ["created_at"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("route", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request_hash", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("headers", Document, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("company_id", "principal", "route", "key", name=op.f("idempotency_keys_pkey")),
    )
    op.create_index("idempotency_keys_created_at", "idempotency_keys", ["created_at"], unique=False)
    op.create_table(
        "instances",
        sa.Column("instance_id", sa.Text(), nullable=False),
        sa.Column("worker_id", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("pid", sa.Integer(), nullable=False),
        sa.Column("capacity", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("available", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("started_at", Instant(), nullable=False),
        sa.Column("last_seen_at", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("instance_id", name=op.f("instances_pkey")),
        sa.UniqueConstraint("worker_id", "agent", name=op.f("instances_worker_id_key")),
    )
    op.create_table(
        "leases",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("lock_id", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("acquired_at", Instant(), nullable=True),
        sa.Column("heartbeat_at", Instant(), nullable=True),
        sa.Column("ttl_seconds", sa.Float(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("company_id", "resource", name=op.f("leases_pkey")),
        sa.UniqueConstraint("company_id", "lock_id", name=op.f("leases_company_id_key")),
    )
    op.create_index(
        "leases_expires_at", "leases", ["expires_at"], unique=False, sqlite_where=sa.text("holder IS NOT NULL"), postgresql_where=sa.text("holder IS NOT NULL")
    )
    op.create_table(
        "task_queue",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("task_type", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("priority", sa.Text(), server_default=sa.text("'medium'"), nullable=False),
        sa.Column("assigned_agent", sa.Text(), nullable=False),
        sa.Column("stage", sa.Text(), server_default=sa.text("'queued'"), nullable=False),
        sa.Column("ready", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("rank_at", Instant(), nullable=False),
        sa.Column("available_at", Instant(), nullable=True),
        sa.Column("worker_id", sa.Text(), nullable=True),
        sa.Column("token", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("lease_expires_at", Instant(), nullable=True),
        sa.Column("generation", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_count", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("max_retries", sa.Integer(), server_default=sa.text("3"), nullable=False),
        sa.Column("reclaims", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("time_limit_s", sa.Float(), nullable=False),
        sa.Column("review", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("discarded", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("waiting_for", sa.Text(), nullable=True),
        sa.Column("blockers", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("dependents", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("parent_id", sa.Text(), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("updated_at", Instant(), nullable=False),
        sa.Column("claimed_at", Instant(), nullable=True),
        sa.Column("completed_at", Instant(), nullable=True),
        sa.Column("title", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True),
        sa.Column("requester", sa.Text(), nullable=True),
        sa.Column("routing", Note, nullable=False),
        sa.Column("checklist", Note, nullable=True),
        sa.Column("progress", Note, nullable=True),
        sa.Column("attempts", Note, nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("error", Note, nullable=True),
        sa.Column("payload", Document, nullable=False),
        sa.Column("result", Note, nullable=True),
        sa.CheckConstraint("priority IN ('critical', 'high', 'medium', 'low')", name="task_queue_priority_check"),
        sa.CheckConstraint(
            "stage IN ('queued', 'claimed', 'in_progress', 'waiting', 'review', 'approved', 'merging', 'done', 'failed', 'cancelled')",
            name="task_queue_stage_check",
        ),
        sa.PrimaryKeyConstraint("company_id", "task_id", name=op.f("task_queue_pkey")),
    )
    op.create_index(
        "task_queue_claim",
        "task_queue",
        ["company_id", "assigned_agent", "rank_at", "task_id", "ready"],
        unique=False,
        sqlite_where=sa.text("ready = 1"),
        postgresql_where=sa.text("ready"),
    )
    op.create_index(
        "task_queue_claim_critical",
        "task_queue",
        ["company_id", "assigned_agent", "rank_at", "task_id", "ready"],
        unique=False,
        sqlite_where=sa.text("ready = 1 AND priority = 'critical'"),
        postgresql_where=sa.text("ready AND priority = 'critical'"),
    )
    op.create_index(
        "task_queue_delayed",
        "task_queue",
        ["available_at"],
        unique=False,
        sqlite_where=sa.text("stage IN ('queued', 'approved') AND ready = 0 AND available_at IS NOT NULL"),
        postgresql_where=sa.text("stage IN ('queued', 'approved') AND NOT ready AND available_at IS NOT NULL"),
    )
    op.create_index(
        "task_queue_later",
        "task_queue",
        ["company_id", "assigned_agent", "task_id", "stage", "ready", "available_at"],
        unique=False,
        sqlite_where=sa.text("stage IN ('queued', 'approved') AND ready = 0 AND available_at IS NOT NULL"),
        postgresql_where=sa.text("stage IN ('queued', 'approved') AND NOT ready AND available_at IS NOT NULL"),
    )
    op.create_index(
        "task_queue_leased",
        "task_queue",
        ["company_id", "lease_expires_at"],
        unique=False,
        sqlite_where=sa.text("lease_expires_at IS NOT NULL"),
        postgresql_where=sa.text("lease_expires_at IS NOT NULL"),
    )
    op.create_index(
        "task_queue_parent",
        "task_queue",
        ["company_id", "parent_id", "task_id"],
        unique=False,
        sqlite_where=sa.text("parent_id IS NOT NULL"),
        postgresql_where=sa.text("parent_id IS NOT NULL"),
    )
    op.create_index(
        "task_queue_stage",
        "task_queue",
        ["company_id", "stage", "task_id", "assigned_agent"],
        unique=False,
        sqlite_where=sa.text("stage NOT IN ('queued', 'claimed', 'in_progress')"),
        postgresql_where=sa.text("stage NOT IN ('queued', 'claimed', 'in_progress')"),
    )
    op.create_table(
        "api_keys",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.Column("expires_at", Instant(), nullable=True),
        sa.Column("last_used_at", Instant(), nullable=True),
        sa.Column("revoked_at", Instant(), nullable=True),
        sa.ForeignKeyConstraint(["company_id"], ["companies.company_id"], name=op.f("api_keys_company_id_fkey")),
        sa.PrimaryKeyConstraint("company_id", "key_id", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("secret_hash", name=op.f("api_keys_secret_hash_key")),
    )
    op.create_table(
        "artifacts",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), server_default=sa.text("'file'"), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("created_at", Instant(), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "task_id"], ["task_queue.company_id", "task_queue.task_id"], name=op.f("artifacts_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "task_id", "name", name=op.f("artifacts_pkey")),
    )
    op.create_index("artifacts_sha256", "artifacts", ["company_id", "sha256"], unique=False)
    op.create_table(
        "file_chunks",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(["company_id", "sha256"], ["files.company_id", "files.sha256"], name=op.f("file_chunks_company_id_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("company_id", "sha256", "n", name=op.f("file_chunks_pkey")),
    )
    op.create_table(
        "task_dependencies",
        sa.Column("company_id", sa.Text(), nullable=False),
        sa.Column("task_id", sa.Text(), nullable=False),
        sa.Column("depends_on", sa.Text(), nullable=False),
        sa.Column("needs", sa.Text(), server_default=sa.text("'done'"), nullable=False),
        sa.ForeignKeyConstraint(
            ["company_id", "depends_on"], ["task_queue.company_id", "task_queue.task_id"], name="task_dependencies_depends_on_fkey", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["company_id", "task_id"], ["task_queue.company_id", "task_queue.task_id"], name=op.f("task_dependencies_company_id_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("company_id", "task_id", "depends_on", name=op.f("task_dependencies_pkey")),
    )
    op.create_index("task_dependencies_of", "task_dependencies", ["company_id", "depends_on"], unique=False)
    if op.get_bind().dialect.name == "postgresql":
        _secure()


def _secure() -> None:
    op.execute("ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (xid, seq)")
    # Its place in the log: not below its own transaction, nor below any that had ended when it was written. See pulser/events/feed.py.
    ended = "pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1"
    op.execute(f"ALTER TABLE events ALTER COLUMN xid SET DEFAULT greatest(pg_current_xact_id()::text::bigint, {ended})")
    op.execute("ALTER TABLE task_queue SET (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02)")
    make_roles()
    for table in ("task_queue", "task_dependencies", "leases", "agent_pauses"):
        secure(table, engine=True)
    secure("events", engine=True, verbs="SELECT, INSERT")
    op.execute("REVOKE UPDATE, DELETE ON events FROM pulser_engine")
    op.execute("ALTER SEQUENCE events_seq_seq OWNER TO pulser_owner")
    op.execute("GRANT USAGE ON SEQUENCE events_seq_seq TO pulser_app, pulser_engine")
    for table in ("idempotency_keys", "artifacts", "files", "file_chunks", "agent_memory", "agent_telemetry"):
        secure(table)
    secure("api_keys", auth=True, verbs="SELECT")
    share("companies", [("SELECT", "pulser_app, pulser_engine"), ("SELECT, INSERT, UPDATE", "pulser_auth")])
    share("instances", [("SELECT, UPDATE", "pulser_app"), ("SELECT, INSERT, UPDATE, DELETE", "pulser_engine")])
    share("clock", [("SELECT", "pulser_engine")])
    op.execute("GRANT SELECT ON alembic_version TO pulser_app, pulser_engine, pulser_auth, pulser_owner")


def downgrade() -> None:
    """Drop them all. Roles stay: other databases of the server may use them."""
    op.drop_table("task_dependencies")
    op.drop_table("file_chunks")
    op.drop_table("artifacts")
    op.drop_table("api_keys")
    op.drop_table("task_queue")
    op.drop_table("leases")
    op.drop_table("instances")
    op.drop_table("idempotency_keys")
    op.drop_table("files")
    op.drop_table("events")
    op.drop_table("companies")
    op.drop_table("clock")
    op.drop_table("agent_telemetry")
    op.drop_table("agent_pauses")
    op.drop_table("agent_memory")
