"""Alembic's entry: one connection, handed in by ``pulser.store.migrate``; on Postgres each migration in a transaction, on SQLite all in one.

One process at a time, on both: whoever comes second waits, reads the version again and finds nothing to do. A process that is killed leaves
the database as it was.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from alembic import context
from sqlalchemy import Connection

from pulser.store.migrations.compare import options
from pulser.store.sqlite import WriteLock
from pulser.store.tables import metadata


@contextlib.contextmanager
def alone(connection: Connection) -> Iterator[None]:
    if connection.dialect.name == "sqlite":
        path = Path(connection.exec_driver_sql("PRAGMA database_list").one()[2])
        with contextlib.closing(WriteLock(path.parent)) as lock, lock:
            connection.exec_driver_sql("PRAGMA foreign_keys = OFF")  # has no effect within a transaction
            connection.exec_driver_sql("BEGIN EXCLUSIVE")
            yield
            connection.commit()
        return
    connection.exec_driver_sql("SELECT pg_advisory_lock(7816354)")
    connection.commit()
    yield
    connection.commit()
    connection.exec_driver_sql("SELECT pg_advisory_unlock(7816354)")
    connection.commit()


engine = context.config.attributes["engine"]
with engine.connect() as connection, alone(connection):
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True, **options(engine.dialect.name))
    with context.begin_transaction():
        context.run_migrations()
