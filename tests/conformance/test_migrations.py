"""Migrations: up, down and up again with data, and a database of another version is refused with a word that helps."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, insert, inspect, select, text

from pulser.core.clock import from_us
from pulser.core.errors import OperatorError
from pulser.store import migrate
from pulser.store.tables import companies, metadata
from tests import postgres

NOW = from_us(1_700_000_000_000_000)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(params=["sqlite", "postgres"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Path, Engine]]:
    """``(database_url, data_dir, engine)`` of an empty database."""
    if request.param == "sqlite":
        engine = migrate.open_engine("", tmp_path)
        yield "", tmp_path, engine
        engine.dispose()
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as url:
        engine = migrate.open_engine(url, tmp_path)
        yield url, tmp_path, engine
        engine.dispose()


def versions() -> list[str]:
    return sorted(path.stem.split("_")[0] for path in (migrate.SCRIPTS / "versions").glob("[0-9]*.py"))


def test_the_code_knows_the_newest_script() -> None:
    assert versions()[-1] == migrate.HEAD


def test_up_makes_exactly_the_tables_of_the_code(fresh: tuple[str, Path, Engine]) -> None:
    _, _, engine = fresh
    assert migrate.current(engine) is None
    migrate.upgrade(engine)
    assert migrate.current(engine) == migrate.HEAD
    assert migrate.differences(engine) == []
    assert set(inspect(engine).get_table_names()) == {table.name for table in metadata.sorted_tables} | {"alembic_version"}


def test_conditions_of_partial_indexes_are_those_of_the_code(fresh: tuple[str, Path, Engine]) -> None:
    """Alembic does not compare these, and a claim without its index is slow in silence."""
    url, _, engine = fresh
    migrate.upgrade(engine)
    other = metadata
    with engine.begin() as connection:
        kind = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'" if url else "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
        migrated = {name: sql for name, sql in connection.execute(text(kind)) if sql}
        if url:
            connection.execute(text("CREATE SCHEMA made"))
            connection.execute(text("SET LOCAL search_path = made"))
            other.create_all(connection, checkfirst=False)
            made = {
                name: sql.replace(" made.", " public.")
                for name, sql in connection.execute(text("SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'made'"))
            }
            connection.rollback()
        else:
            memory = create_engine("sqlite://")
            with memory.connect() as bare:
                other.create_all(bare)
                made = {name: sql for name, sql in bare.execute(text(kind)) if sql}
            memory.dispose()

    def plain(sqls: dict[str, str]) -> dict[str, str]:
        apart = ("alembic_version_pkc", "events_pkey")  # Postgres keeps its log in the order of the feed, see 0001
        return {name: " ".join(sql.split()) for name, sql in sqls.items() if name not in apart}

    assert plain(migrated) == plain(made)


def test_down_and_up_again_with_data_leaves_nothing_and_works(fresh: tuple[str, Path, Engine]) -> None:
    _, _, engine = fresh
    row = {"company_id": "acme", "name": "Acme", "created_at": NOW}
    for _ in range(2):
        migrate.upgrade(engine)
        with engine.begin() as connection:
            connection.execute(insert(companies), row)
            assert connection.execute(select(companies)).mappings().one() == row
        migrate.downgrade(engine, "base")
        assert set(inspect(engine).get_table_names()) <= {"alembic_version"}
        assert migrate.current(engine) is None
    migrate.upgrade(engine)
    assert migrate.differences(engine) == []


def test_each_version_can_be_gone_down_from_and_up_to(fresh: tuple[str, Path, Engine]) -> None:
    _, _, engine = fresh
    known = versions()
    for version in known:
        migrate.upgrade(engine, version)
        assert migrate.current(engine) == version
    for below in ["base", *known[:-1]][::-1]:
        migrate.downgrade(engine, below)
        assert migrate.current(engine) == (None if below == "base" else below)


def test_two_upgrades_at_once_end_well(fresh: tuple[str, Path, Engine]) -> None:
    url, data_dir, engine = fresh
    if not url:
        pytest.skip("embedded, one process migrates before it serves; see the next test")
    wrong: list[BaseException] = []

    def upgrade() -> None:
        own = migrate.open_engine(url, data_dir)
        try:
            migrate.upgrade(own)
        except BaseException as error:
            wrong.append(error)
        own.dispose()

    import logging

    logging.getLogger("alembic").setLevel(logging.ERROR)
    threads = [
        threading.Thread(target=subprocess.run, args=([sys.executable, "-c", UPGRADE, url, str(data_dir)],), kwargs={"check": True, "cwd": ROOT})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    upgrade()
    assert wrong == []
    assert migrate.differences(engine) == []


UPGRADE = "import sys; from pathlib import Path; from pulser.store import migrate; migrate.upgrade(migrate.open_engine(sys.argv[1], Path(sys.argv[2])))"


def test_embedded_makes_itself_current_and_says_whether_it_did(tmp_path: Path) -> None:
    assert migrate.ready("", "", tmp_path) is True
    assert migrate.ready("", "", tmp_path) is False
    assert not (tmp_path / "backups").exists(), "there was nothing to back up"


def test_several_processes_that_start_on_an_empty_folder_at_once_all_come_up(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from pulser.store import migrate; migrate.ready('', '', Path(sys.argv[1]))"
    started = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [(process.communicate(timeout=60)[1], process.returncode) for process in started]
    assert [code for _, code in answers] == [0, 0, 0], "\n".join(said[-600:] for said, code in answers if code)


def test_embedded_backs_itself_up_before_it_migrates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.ready("", "", tmp_path)
    with closing(sqlite3.connect(tmp_path / "pulser.db")) as connection:
        connection.execute("INSERT INTO companies (company_id, name, created_at) VALUES ('acme', 'Acme', 0)")
        connection.execute("UPDATE alembic_version SET version_num = '0000'")
        connection.commit()
    monkeypatch.setattr(migrate, "upgrade", lambda engine: None)  # there is no older version to come from yet
    assert migrate.ready("", "", tmp_path) is True
    with closing(sqlite3.connect(tmp_path / "backups" / f"before-{migrate.HEAD}.db")) as backup:
        assert backup.execute("SELECT company_id FROM companies").fetchall() == [("acme",)]
        assert backup.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_newer_database_is_refused(fresh: tuple[str, Path, Engine]) -> None:
    url, data_dir, engine = fresh
    migrate.upgrade(engine)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(OperatorError, match="version 9999, newer than this Pulser knows") as refused:
        migrate.ready(url, "", data_dir)
    assert "Upgrade Pulser" in refused.value.hint


def test_postgres_is_never_migrated_unasked(fresh: tuple[str, Path, Engine]) -> None:
    url, data_dir, engine = fresh
    if not url:
        assert migrate.ready(url, "", data_dir) is True
        return
    with pytest.raises(OperatorError, match="at version none, this Pulser needs") as refused:
        migrate.ready(url, "", data_dir)
    assert refused.value.hint == "Run: pulser db upgrade"
    assert inspect(engine).get_table_names() == []


def test_a_database_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot reach the database") as refused:
        migrate.ready("postgresql://nobody@127.0.0.1:9/none", "", tmp_path)
    assert "PULSER_DATABASE_URL" in refused.value.hint


@pytest.mark.parametrize("content", [b"this is no database, whatever its name says" * 100, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_database_is_told_and_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "pulser.db").write_bytes(content)
    with pytest.raises(OperatorError):
        migrate.ready("", "", tmp_path)
    assert (tmp_path / "pulser.db").read_bytes() == content
