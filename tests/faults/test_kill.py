"""kill -9 in the middle of the work: nothing lost, nothing settled is run again, and it goes on within two lease times."""

from __future__ import annotations

import functools
import random
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable

import httpx2

from tests.faults.ground import LEASE_S, ROUNDS, SERVE, START_S, Ground, say

TASKS = 500


def settled(place: Ground) -> set[int]:
    """``seq`` of tasks that are done."""
    sql = (
        "SELECT (payload ->> 'seq')::int FROM task_queue WHERE stage = 'done'" if place.url else "SELECT payload ->> 'seq' FROM task_queue WHERE stage = 'done'"
    )
    return {int(seq) for [seq] in place.query(sql)}


def has_done(place: Ground, count: int) -> bool:
    return place.done() >= count


def forget(place: Ground) -> None:
    """An empty queue for the next round."""
    import contextlib
    import sqlite3

    import psycopg

    tables = ("artifacts", "task_dependencies", "events", "task_queue")
    with contextlib.closing(psycopg.connect(place.url) if place.url else sqlite3.connect(place.data_dir / "pulser.db", timeout=30)) as connection:
        for table in tables:
            connection.execute(f"DELETE FROM {table}")  # type: ignore[arg-type,unused-ignore]
        connection.commit()
    place.record.unlink(missing_ok=True)


def recovered(place: Ground, done_before: set[int], starts_before: int, began: float) -> float:
    """Wait for the end; check that what was settled did not run again. Returns seconds from the restart."""
    place.wait(lambda: place.done() == TASKS, 2 * LEASE_S + START_S)
    took = time.monotonic() - began
    again = {seq for word, seq, _ in place.lines()[starts_before:] if word == "start"} & done_before
    assert again == set(), f"settled, and run again: {again}"
    return took


def test_killing_the_worker_loses_nothing_and_repeats_nothing_that_was_settled(place: Ground) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    total: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(ROUNDS):
        forget(place)
        first = place.worker()
        place.submit(TASKS, sleep_ms=50)
        middle = chance.randrange(50, 350)
        place.wait(functools.partial(has_done, place, middle))
        place.kill(first)
        done, written = settled(place), len(place.lines())
        assert 0 < len(done) < TASKS, "it was not killed in the middle"
        began = time.monotonic()
        second = place.worker()
        slowest = max(slowest, recovered(place, done, written, began))
        total += place.check(TASKS)
        total["killed"] += 1
        second.terminate()
        assert second.wait(15) == 0, "it does not end by itself"
    assert total["reclaimed"] > 0, "no work was under way at any kill"
    say(f"worker killed ({'postgres' if place.url else 'sqlite'}, seed {seed})", **total, lost=0, settled_twice=0, slowest_s=f"{slowest:.2f}")


def test_killing_the_whole_embedded_process_loses_nothing_that_was_answered(place: Ground) -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    total: Counter[str] = Counter()
    slowest = 0.0
    for _ in range(ROUNDS):
        forget(place)
        first = place.start(SERVE)
        url = address(place)
        headers = {"Authorization": f"Bearer {(place.data_dir / 'token').read_text().strip()}"}
        batch = {"tasks": [{"task_type": "orchestration", "payload": {"action": "noop", "sleep_ms": 50, "seq": seq}} for seq in range(TASKS)]}
        answer = httpx2.post(f"{url}/api/v1/tasks/batch", json=batch, headers=headers, timeout=30)
        assert answer.status_code == 202, answer.text
        middle = chance.randrange(50, 350)
        place.wait(functools.partial(has_done, place, middle))
        place.kill(first)
        done, written = settled(place), len(place.lines())
        assert 0 < len(done) < TASKS, "it was not killed in the middle"
        assert sum(place.stages().values()) == TASKS, "a task that was answered is not there"
        began = time.monotonic()
        second = place.start(SERVE)
        slowest = max(slowest, recovered(place, done, written, began))
        total += place.check(TASKS)
        total["killed"] += 1
        second.terminate()
        second.wait(15)
    say(f"embedded process killed ({'postgres' if place.url else 'sqlite'}, seed {seed})", **total, lost=0, settled_twice=0, slowest_s=f"{slowest:.2f}")


def address(place: Ground) -> str:
    """Where the newest server listens."""
    found: list[str] = []

    def told() -> bool:
        log = (place.data_dir.parent / f"process-{len(place.processes) - 1}.log").read_text()
        found.extend(re.findall(r" at (http://\S+:\d+)\s", log))
        return bool(found)

    place.wait(told)
    return found[0]


def test_two_workers_share_the_work_and_do_nothing_twice(place: Ground) -> None:
    workers = [place.worker() for _ in range(2)]
    place.submit(TASKS, sleep_ms=20)
    place.wait(lambda: place.done() == TASKS)
    counts = place.check(TASKS)
    lines = place.lines()
    starts = Counter(seq for word, seq, _ in lines if word == "start")
    ends = Counter(seq for word, seq, _ in lines if word == "end")
    assert set(starts.values()) == set(ends.values()) == {1}
    assert set(starts) == set(range(TASKS))
    shares = Counter(pid for word, _, pid in lines if word == "start")
    assert set(shares) == {worker.pid for worker in workers}, "one of them did nothing"
    assert counts["reclaimed"] == 0
    say(f"two workers ({'postgres' if place.url else 'sqlite'})", tasks=TASKS, twice=0, shares=sorted(shares.values()))


def test_a_poison_task_is_buried_while_others_complete(place: Ground) -> None:
    quick = {"PULSER_WORKER_LEASE_S": "0.6", "PULSER_WORKER_RENEW_S": "0.1", "PULSER_WORKER_PROBES": "true", "PULSER_QUEUE_RETRY_DELAYS_S": "1.0"}
    place.submit(1, crash="worker")
    place.submit(40, sleep_ms=20)
    crashes = 0

    def over() -> bool:
        stages = place.stages()
        return stages["done"] + stages["failed"] == 41

    deadline = time.monotonic() + 120
    while not over():
        process = place.start(extra=quick)
        place.wait(functools.partial(ended_or, process, over))
        crashes += process.poll() is not None
        assert crashes <= 12 and time.monotonic() < deadline, f"it kills one worker after the other: {place.stages()}\n{place.logs()}"
    failed = place.query("SELECT payload ->> 'crash', error_message, reclaims FROM task_queue WHERE stage = 'failed'")
    assert [(crash, "fell silent" in message) for crash, message, _ in failed] == [("worker", True)], f"others were buried with it: {failed}"
    assert failed[0][2] == 6, "five reclaims are allowed; the sixth loss buries it"
    say(f"poison ({'postgres' if place.url else 'sqlite'})", workers_killed=crashes, buried=1, others_done=40)


def ended_or(process: subprocess.Popen[bytes], over: Callable[[], bool]) -> bool:
    return process.poll() is not None or over()
