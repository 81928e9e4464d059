"""One fixture, two back ends: whatever is promised holds on SQLite and on Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import insert

from pulser.store import migrate
from pulser.store.tables import INSTALLATION, companies, metadata
from tests import postgres
from tests.conformance.world import COMPANY, OTHER, World

_LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)


def prepare(database_url: str, data_dir: Path) -> None:
    """Migrate an empty database, and make the two companies that tests speak of."""
    engine = migrate.open_engine(database_url, data_dir)
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(insert(companies), [{"company_id": each, "name": each.title(), "created_at": _LONG_AGO} for each in (COMPANY, OTHER)])
    engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated database file, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    prepare("", folder)
    return folder / "pulser.db"


@pytest.fixture(scope="session")
def postgres_prepared(postgres_server: str) -> Iterator[str]:
    """A migrated database of this process's own, emptied before each test."""
    with postgres.database(postgres_server) as url:
        prepare(url, Path("unused"))
        with psycopg.connect(url, autocommit=True) as connection:  # what survives a crash of the server is not asked here
            connection.execute("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$")
        yield url


def empty(url: str) -> None:
    """Make a prepared database as good as new."""
    kept = INSTALLATION - {"instances"}
    with psycopg.connect(url) as connection:  # deleting a few rows takes a tenth of truncating fifteen tables
        for table in reversed(metadata.sorted_tables):
            if table.name not in kept:
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table.name)))
        connection.execute("DELETE FROM companies WHERE company_id NOT IN (%s, %s)", (COMPANY, OTHER))


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    """``(database_url, data_dir)`` of a migrated, empty database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / "pulser.db")
        return "", tmp_path
    url: str = request.getfixturevalue("postgres_prepared")
    empty(url)
    return url, tmp_path


@pytest.fixture
def world(backend: tuple[str, Path]) -> Iterator[World]:
    """A Pulser on each back end."""
    yield from _opened(*backend)


@pytest.fixture
def postgres_world(postgres_prepared: str, tmp_path: Path) -> Iterator[World]:
    """A Pulser on Postgres, for what only Postgres has."""
    empty(postgres_prepared)
    yield from _opened(postgres_prepared, tmp_path)


def _opened(database_url: str, data_dir: Path) -> Iterator[World]:
    made = World(database_url, data_dir)
    try:
        yield made
        made.check_log()
    finally:
        made.close()
