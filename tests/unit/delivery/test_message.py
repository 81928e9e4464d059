from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pulser.delivery.message import MOST_BYTES, Outbox, decode, encode
from pulser.store.tx import Hints

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_what_one_process_says_another_hears():
    hints = Hints({"echo", "maya"}, [("tsk_1", 3)], NOON, True)
    assert decode(encode("one", hints), "two") == hints


def test_a_process_does_not_hear_itself():
    assert decode(encode("one", Hints({"echo"})), "one") is None


def test_what_is_no_message_is_not_heard():
    for body in (b"", b"hello", b"{}", b'{"sender": 3}', b'{"sender": "x", "agents": "echo"}'):
        assert decode(body, "two") is None


def test_a_message_fits_however_much_there_is_to_say():
    body = encode("one", Hints({f"agent_{n}" for n in range(2000)}, [(f"tsk_{n:026}", n) for n in range(500)]))
    heard = decode(body, "two")
    assert len(body) <= MOST_BYTES and heard is not None and heard.agents == {"*"}


def test_many_commits_are_one_message_and_the_nearest_time_counts():
    box = Outbox()
    assert box.add(Hints({"echo"}, due=NOON)) is True
    assert box.add(Hints({"maya"}, [("tsk_1", 1)], NOON - timedelta(hours=1), True)) is False
    assert box.take() == Hints({"echo", "maya"}, [("tsk_1", 1)], NOON - timedelta(hours=1), True)
    assert box.take() is None
