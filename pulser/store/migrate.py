"""Migrations: up, down, and whether the database is where the code expects it. Alembic is imported only when there is something to do."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError

from pulser.core.errors import NotFound, OperatorError
from pulser.store import postgres, sqlite
from pulser.store.tables import metadata

HEAD = "0001"  # the newest file in migrations/versions; a test compares
SCRIPTS = Path(__file__).parent / "migrations"


def open_engine(database_url: str, data_dir: Path) -> Engine:
    """An engine of the role that migrates."""
    return postgres.engine(database_url, 1) if database_url else sqlite.engine(data_dir / "pulser.db")


def current(engine: Engine) -> str | None:
    """The version the database is at; None before the first migration."""
    try:
        with engine.connect() as connection:
            table = (
                "SELECT to_regclass('alembic_version')"
                if engine.dialect.name == "postgresql"
                else "SELECT name FROM sqlite_master WHERE name = 'alembic_version'"
            )
            if connection.execute(text(table)).scalar() is None:
                return None
            return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    except DBAPIError as error:
        raise OperatorError(
            f"cannot reach the database: {str(error.orig).splitlines()[0]}", hint="Check PULSER_DATABASE_URL and that the server runs."
        ) from error


def ready(database_url: str, owner_url: str, data_dir: Path) -> bool:
    """Make the database current, or say how. Embedded migrates itself after a backup; Postgres is only looked at. True if something was done."""
    engine = open_engine(database_url, data_dir)
    try:
        with contextlib.nullcontext() if database_url else _alone(data_dir):
            return _ready(engine, database_url, data_dir)
    finally:
        engine.dispose()


@contextlib.contextmanager
def _alone(data_dir: Path) -> Iterator[None]:
    """One process at a time: several that start on an empty folder would all migrate it."""
    lock = os.open(data_dir / "migrate.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _ready(engine: Engine, database_url: str, data_dir: Path) -> bool:
    at = current(engine)
    if at == HEAD:
        return False
    if at is not None and at > HEAD:
        raise OperatorError(
            f"the database is at version {at}, newer than this Pulser knows ({HEAD})", hint="Upgrade Pulser, or restore the backup of the older version."
        )
    if database_url:
        raise OperatorError(f"the database is at version {at or 'none'}, this Pulser needs {HEAD}", hint="Run: pulser db upgrade")
    if at is not None:
        back_up(data_dir / "pulser.db", data_dir / "backups" / f"before-{HEAD}.db")
    upgrade(engine)
    return True


def back_up(source: Path, target: Path) -> None:
    """A consistent copy of an embedded database, also of a live one; only its owner may read it."""
    if not source.is_file():
        raise NotFound(f"there is no database {source}", hint="Another folder: PULSER_DATA_DIR.")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = target.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    with contextlib.closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True)) as live, contextlib.closing(sqlite3.connect(partial)) as copy:
        live.backup(copy)
    shutil.move(partial, target)


def _config(engine: Engine) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    config.attributes["engine"] = engine
    return config


def upgrade(engine: Engine, to: str = "head") -> None:
    """Migrate up to ``to``."""
    from alembic import command

    command.upgrade(_config(engine), to)


def downgrade(engine: Engine, to: str) -> None:
    """Migrate down to ``to`` (``base`` for nothing at all)."""
    from alembic import command

    command.downgrade(_config(engine), to)


def differences(engine: Engine) -> list[Any]:
    """What the tables of the code and of the database differ in; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from pulser.store.migrations.compare import options

    with engine.connect() as connection:
        return list(compare_metadata(MigrationContext.configure(connection, opts=options(engine.dialect.name)), metadata))
