"""A process whose wall clock jumps by an hour: no lease is taken early, no task is stuck."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from tests.faults.ground import LEASE_S, START_S, Ground, say

LIBRARY = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))), None)
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="no libfaketime: apt-get install faketime")


def faked(rate: Path) -> dict[str, str]:
    """The environment of a process whose wall clock is what ``rate`` says, from moment to moment; its monotonic clock runs true."""
    return {
        "LD_PRELOAD": str(LIBRARY), "FAKETIME_TIMESTAMP_FILE": str(rate), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "FAKETIME_NO_CACHE": "1",
    }  # fmt: skip


@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_worker_whose_wall_clock_jumps_steals_nothing_and_strands_nothing(place: Ground, tmp_path: Path, jump: str) -> None:
    rate = tmp_path / "faketime"
    rate.write_text("+0\n")
    straight = place.worker()
    bent = place.worker(extra=faked(rate))
    place.submit(60, sleep_ms=1000 * LEASE_S * 1.5)  # each far longer than its lease: it lives by renewals
    place.wait(lambda: len({pid for word, _, pid in place.lines() if word == "start"}) == 2)
    rate.write_text(f"{jump}\n")
    place.submit(30, fail_times=1)  # retried after a delay, by whichever of them
    place.wait(lambda: place.done() == 90, 60)
    counts = place.check(90)
    assert counts["reclaimed"] == 0, "a lease was taken early"
    long = Counter(seq for word, seq, _ in place.lines() if word == "end")
    shares = Counter(pid for word, _, pid in place.lines() if word == "start")
    assert set(shares) == {straight.pid, bent.pid}
    assert max(long[seq] for seq in range(30, 60)) == 1, "something ran twice"
    assert place.query("SELECT count(*) FROM task_queue WHERE claimed_at < created_at AND retry_count = 0 AND attempt > 1") == [(0,)]
    say(f"wall clock {jump} ({'postgres' if place.url else 'sqlite'})", tasks=90, stolen=0, stuck=0, shares=sorted(shares.values()))


@pytest.mark.parametrize("jump", ["+1h", "-1h"])
def test_a_worker_that_started_an_hour_off_takes_over_from_a_killed_one_in_time(place: Ground, tmp_path: Path, jump: str) -> None:
    rate = tmp_path / "faketime"
    rate.write_text(f"{jump}\n")
    straight = place.worker()
    place.worker(extra=faked(rate))
    place.submit(30, sleep_ms=1000)
    place.wait(lambda: any(pid == straight.pid for _, _, pid in place.lines()))
    place.kill(straight)
    took = place.wait(lambda: place.done() == 30, 2 * LEASE_S + 3 + START_S)
    counts = place.check(30)
    assert counts["reclaimed"] >= 1
    say(f"takeover with wall clock {jump} ({'postgres' if place.url else 'sqlite'})", tasks=30, reclaimed=counts["reclaimed"], took_s=f"{took:.2f}")


def test_the_library_really_bends_the_wall_clock(tmp_path: Path) -> None:
    import subprocess
    import sys

    rate = tmp_path / "faketime"
    rate.write_text("+1h\n")
    ask = "import time; print(time.time(), time.clock_gettime(time.CLOCK_BOOTTIME), time.monotonic())"
    answers = []
    for env in ({}, faked(rate)):
        out = subprocess.run([sys.executable, "-c", ask], env=env, capture_output=True, text=True, check=True).stdout
        answers.append([float(each) for each in out.split()])
    (wall, boot, monotonic), (bent_wall, bent_boot, bent_monotonic) = answers
    assert 3590 < bent_wall - wall < 3620
    assert abs(bent_boot - boot) < 20 and abs(bent_monotonic - monotonic) < 20
    assert shutil.which("faketime") or LIBRARY
