"""SQLite's clock: the boot clock, anchored once per boot; wall clocks may jump as they like."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from pulser.store import migrate, sqlite

HOUR = 3_600_000_000


class Machine:
    """A machine whose clocks the test turns: microseconds since boot, and the wall's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot, self.wall = 1_000_000, 1_700_000_000_000_000
        self.boot_id = folder / "boot_id"
        self.boot_id.write_text("first\n")
        monkeypatch.setattr(sqlite, "BOOT_ID", self.boot_id)
        monkeypatch.setattr(sqlite, "boot_us", lambda: self.boot)
        monkeypatch.setattr(sqlite, "time", SimpleNamespace(time_ns=lambda: self.wall * 1000))

    def pass_time(self, us: int) -> None:
        self.boot += us
        self.wall += us

    def restart(self, name: str, *, wall_moves_us: int = 0) -> None:
        self.boot_id.write_text(name)
        self.boot = 500_000
        self.wall += wall_moves_us


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    migrate.ready("", "", tmp_path)
    with closing(sqlite.connect(tmp_path / "pulser.db", read_only=False)) as connection:
        yield connection


def tell(database: sqlite3.Connection, at_us: int) -> None:
    database.execute("INSERT INTO events (xid, company_id, ts, event, actor, target) VALUES (0, 'default', ?, 'note', 'x', 'x')", (at_us,))


def test_it_begins_with_the_wall_and_moves_with_the_boot_clock(machine: Machine, database: sqlite3.Connection) -> None:
    clock = sqlite.Clock(database)
    began = machine.wall
    assert clock.now_us() == began
    machine.pass_time(90)
    assert clock.now_us() == began + 90


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 24 * 365 * HOUR, -30 * 24 * 365 * HOUR])
def test_a_wall_that_jumps_moves_nothing_for_who_runs_and_for_who_starts(machine: Machine, database: sqlite3.Connection, jump: int) -> None:
    running = sqlite.Clock(database)
    before = running.now_us()
    machine.wall += jump
    machine.pass_time(5)
    started = sqlite.Clock(database)
    assert running.now_us() == started.now_us() == before + 5
    assert started.drift_s == pytest.approx(jump / 1e6)
    assert running.drift_s == 0


def test_a_restart_takes_the_wall_anew(machine: Machine, database: sqlite3.Connection) -> None:
    sqlite.Clock(database)
    machine.restart("second", wall_moves_us=10 * HOUR)
    assert sqlite.Clock(database).now_us() == machine.wall
    assert database.execute("SELECT count(*) FROM clock").fetchone() == (1,), "the boot before is forgotten"


def test_time_never_runs_back_over_a_restart_even_if_the_wall_did(machine: Machine, database: sqlite3.Connection) -> None:
    clock = sqlite.Clock(database)
    machine.pass_time(HOUR)
    last = clock.now_us()
    tell(database, last)
    machine.restart("second", wall_moves_us=-5 * HOUR)
    again = sqlite.Clock(database)
    assert again.now_us() == last
    machine.pass_time(7)
    assert again.now_us() == last + 7


def test_where_boots_have_no_name_a_boot_clock_that_ran_back_is_a_restart(machine: Machine, database: sqlite3.Connection) -> None:
    machine.boot_id.unlink()
    clock = sqlite.Clock(database)
    machine.pass_time(HOUR)
    tell(database, clock.now_us())
    machine.boot = 10
    machine.wall += HOUR
    assert sqlite.Clock(database).now_us() == machine.wall
    machine.boot = 5
    machine.wall -= 3 * HOUR
    assert sqlite.Clock(database).now_us() >= machine.wall


def test_two_on_one_file_agree(machine: Machine, database: sqlite3.Connection, tmp_path: Path) -> None:
    first = sqlite.Clock(database)
    with closing(sqlite.connect(tmp_path / "pulser.db", read_only=False)) as other:
        machine.pass_time(3)
        machine.wall += HOUR
        assert sqlite.Clock(other).now_us() == first.now_us()


def test_the_real_boot_clock_runs_forward() -> None:
    first = sqlite.boot_us()
    assert first > 0
    assert sqlite.boot_us() >= first
