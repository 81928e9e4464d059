"""One fixture, two back ends: whatever is promised holds on SQLite and on Postgres."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
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
        yield url


def empty(url: str) -> None:
    """Make a prepared database as good as new."""
    kept = ("alembic_version", *(INSTALLATION - {"instances"}))
    wanted = ", ".join(table.name for table in metadata.sorted_tables if table.name not in kept)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("TRUNCATE " + wanted)
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
    made = World(*backend)
    try:
        yield made
        made.check_log()
    finally:
        made.close()
