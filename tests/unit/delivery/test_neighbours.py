from __future__ import annotations

import queue
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from pulser.delivery.neighbours import Neighbours
from pulser.delivery.notify import Notify
from pulser.store.tx import Hints

WAIT_S = 10.0


@pytest.fixture
def heard() -> tuple[queue.Queue[Hints], queue.Queue[Hints]]:
    return queue.Queue(), queue.Queue()


@pytest.fixture
def pair(tmp_path: Path, heard: tuple[queue.Queue[Hints], queue.Queue[Hints]]) -> Iterator[tuple[Neighbours, Neighbours]]:
    deep = tmp_path / ("a" * 90)  # longer than a socket's path may be
    deep.mkdir()
    one, two = Neighbours(deep, heard[0].put), Neighbours(deep, heard[1].put)
    one.start()
    two.start()
    yield one, two
    one.stop()
    two.stop()


def test_a_commit_of_one_process_wakes_the_other(pair: tuple[Neighbours, Neighbours], heard: tuple[queue.Queue[Hints], queue.Queue[Hints]]):
    pair[0].send(Hints({"echo"}))
    assert heard[1].get(timeout=WAIT_S) == Hints({"echo"})
    pair[1].send(Hints(events=True))
    assert heard[0].get(timeout=WAIT_S) == Hints(events=True)
    assert heard[1].empty(), "nobody hears itself"


def test_a_socket_whose_process_died_is_swept_and_harms_nobody(tmp_path: Path, heard: tuple[queue.Queue[Hints], queue.Queue[Hints]]):
    (tmp_path / "wake").mkdir()
    dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    dead.bind(str(tmp_path / "wake" / "1-dead.sock"))
    dead.close()
    one, two = Neighbours(tmp_path, heard[0].put), Neighbours(tmp_path, heard[1].put)
    one.start()
    two.start()
    one.send(Hints({"echo"}))
    assert heard[1].get(timeout=WAIT_S) == Hints({"echo"})
    one.stop()
    two.stop()
    assert list((tmp_path / "wake").iterdir()) == []


def test_on_postgres_the_others_hear_too_also_after_the_connection_was_cut(postgres_database: str, heard: tuple[queue.Queue[Hints], queue.Queue[Hints]]):
    import psycopg

    one, two = Notify(postgres_database, heard[0].put), Notify(postgres_database, heard[1].put)
    one.start()
    two.start()
    with psycopg.connect(postgres_database, autocommit=True) as admin:
        listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pulser-notify' AND query LIKE 'LISTEN%%'"
        while admin.execute(listening).fetchone() != (2,):
            pass
        one.send(Hints({"echo"}))
        assert heard[1].get(timeout=WAIT_S) == Hints({"echo"})
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'pulser-notify'")
    assert heard[1].get(timeout=WAIT_S) == Hints({"*"}, events=True), "something may have been missed"
    one.stop()
    two.stop()
