"""The queue before the writers: bounded, in order, and it does not mix what must stay apart."""

from __future__ import annotations

import threading

import pytest

from pulser.core.actor import SYSTEM
from pulser.core.errors import Unavailable
from pulser.store.job import Inbox, Job


def job(name: str, company: str | None = "a") -> Job:
    return Job(lambda tx: None, name, "app" if company else "engine", company, SYSTEM, each=False)


def test_jobs_come_out_in_order_as_many_as_asked_for() -> None:
    inbox = Inbox(10)
    for n in range(5):
        inbox.put(job(str(n)))
    assert [each.item for each in inbox.take(3)] == ["0", "1", "2"]
    assert [each.item for each in inbox.take(9)] == ["3", "4"]


def test_only_one_companys_jobs_are_taken_together_and_the_others_keep_their_order() -> None:
    inbox = Inbox(10)
    for name, company in (("1", "a"), ("2", "b"), ("3", "a"), ("4", None), ("5", "b"), ("6", "a")):
        inbox.put(job(name, company))
    taken = [[each.item for each in inbox.take(9, same=True)] for _ in range(3)]
    assert taken == [["1", "3", "6"], ["2", "5"], ["4"]]


def test_full_means_full_but_not_for_what_goes_first() -> None:
    inbox = Inbox(1)
    inbox.put(job("1"))
    with pytest.raises(Unavailable):
        inbox.put(job("2"))
    inbox.put(job("heartbeat"), first=True)
    assert [each.item for each in inbox.take(9)] == ["heartbeat", "1"]


def test_a_closed_queue_gives_out_what_it_has_and_then_ends() -> None:
    inbox = Inbox(10)
    inbox.put(job("1"))
    inbox.close()
    with pytest.raises(Unavailable):
        inbox.put(job("2"))
    assert len(inbox.take(9)) == 1
    assert inbox.take(9) == []


def test_who_waits_is_woken_by_the_first_job_and_by_the_end() -> None:
    inbox = Inbox(10)
    got: list[int] = []

    def take() -> None:
        while taken := inbox.take(9):
            got.append(len(taken))

    thread = threading.Thread(target=take)
    thread.start()
    inbox.put(job("1"))
    while not got:
        assert thread.is_alive()
    inbox.close()
    thread.join(20)
    assert got == [1] and not thread.is_alive()
