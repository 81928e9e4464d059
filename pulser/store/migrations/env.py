"""Alembic's entry: one connection, handed in by ``pulser.store.migrate``; each migration in a transaction."""

from __future__ import annotations

from alembic import context

from pulser.store.migrations.compare import options
from pulser.store.tables import metadata

engine = context.config.attributes["engine"]
with engine.connect() as connection:
    if engine.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
    else:
        connection.exec_driver_sql("SELECT pg_advisory_lock(7816354)")  # two upgrades at once: the second waits and finds nothing to do
        connection.commit()
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True, **options(engine.dialect.name))
    with context.begin_transaction():
        context.run_migrations()
    connection.commit()
    if engine.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_unlock(7816354)")
        connection.commit()
