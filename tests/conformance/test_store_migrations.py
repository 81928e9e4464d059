"""A first start that is killed, or is not alone, leaves a folder that starts; what lies there is its owner's."""

from __future__ import annotations

import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from pulser.app.build import open_store
from pulser.core.errors import NotFound
from pulser.core.settings import Settings, Store
from pulser.store import migrate, sqlite

STARTS = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import Engine, event
from pulser.store import migrate

left = int(sys.argv[2])
def count(connection, cursor, statement, parameters, context, many):
    global left
    left -= statement.lstrip().startswith(("CREATE", "INSERT INTO alembic", "DROP"))
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
event.listen(Engine, "after_cursor_execute", count)
verb = sys.argv[3] if len(sys.argv) > 3 else ""
if verb:
    engine = migrate.open_engine("", Path(sys.argv[1]))
    print(migrate.downgrade(engine, "base") if verb == "down" else migrate.upgrade(engine))
else:
    print(migrate.ready("", "", Path(sys.argv[1])))
"""


def start(folder: Path, killed_after: int = -1, verb: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", STARTS, str(folder), str(killed_after), *([verb] if verb else [])], stdout=subprocess.PIPE, text=True)


def at(folder: Path) -> tuple[str | None, list[object]]:
    engine = migrate.open_engine("", folder)
    try:
        return migrate.current(engine), migrate.differences(engine)
    finally:
        engine.dispose()


@pytest.mark.parametrize("after", [1, 2, 9, 25])
def test_a_first_start_that_is_killed_leaves_a_folder_that_starts(tmp_path: Path, after: int) -> None:
    with start(tmp_path, after) as killed:
        assert killed.wait(60) == -signal.SIGKILL
    engine = migrate.open_engine("", tmp_path)
    assert migrate.current(engine) is None, "half of it had been written"
    engine.dispose()
    assert migrate.ready("", "", tmp_path) is True
    assert at(tmp_path) == (migrate.HEAD, [])


def test_going_down_that_is_killed_changes_nothing(tmp_path: Path) -> None:
    migrate.ready("", "", tmp_path)
    with start(tmp_path, 5, "down") as killed:
        assert killed.wait(60) == -signal.SIGKILL
    assert at(tmp_path) == (migrate.HEAD, [])


@pytest.mark.parametrize("verb", ["", "up"])
def test_processes_that_start_at_once_all_come_up(tmp_path: Path, verb: str) -> None:
    started = [start(tmp_path, verb=verb) for _ in range(3)]
    told = [process.communicate(timeout=60)[0].strip() for process in started]
    assert [process.returncode for process in started] == [0, 0, 0]
    if not verb:
        assert sorted(told) == ["False", "False", "True"], "more than one migrated"
    assert at(tmp_path) == (migrate.HEAD, [])


def test_a_backup_of_nothing_is_refused_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        migrate.back_up(tmp_path / "pulser.db", tmp_path / "copy.db")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def loose(tmp_path: Path) -> Iterator[Path]:
    """A data folder as another program, or an older umask, left it."""
    folder = tmp_path / "data"
    folder.mkdir(mode=0o755)
    migrate.ready("", "", folder)
    with closing(sqlite.connect(folder / "pulser.db", read_only=False)) as connection:
        connection.execute("INSERT INTO companies VALUES ('default', 'd', 0)")
        for name in ("pulser.db", "pulser.db-wal", "pulser.db-shm"):
            (folder / name).chmod(0o644)
        folder.chmod(0o755)
        yield folder


def test_the_data_folder_and_the_database_are_their_owners_alone(loose: Path) -> None:
    store = open_store(Settings(store=Store(data_dir=loose)))
    try:
        open_to_others = {path.name: stat.filemode(path.stat().st_mode) for path in [loose, *loose.iterdir()] if path.stat().st_mode & 0o077}
        assert open_to_others == {}
    finally:
        store.close()
