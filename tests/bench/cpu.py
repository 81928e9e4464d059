"""CPU seconds of process trees and of the machine, from /proc. Standard library only: the peers' environment uses it too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _fields(pid: int) -> list[str]:
    """/proc/<pid>/stat after the name: state, ppid, …; empty if the process is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return []


def children(pid: int) -> list[int]:
    """All living descendants."""
    parents = {int(p.name): int(f[1]) for p in Path("/proc").iterdir() if p.name.isdigit() and (f := _fields(int(p.name)))}
    found: list[int] = []
    level = {pid}
    while level := {child for child, parent in parents.items() if parent in level}:
        found += level
    return found


def of_tree(pid: int) -> float:
    """User and system seconds of a process and its descendants, those that have ended included."""
    ticks = 0
    for each in (pid, *children(pid)):
        if fields := _fields(each):
            ticks += sum(int(f) for f in fields[11:15])  # utime, stime, cutime, cstime
    return ticks * TICK_S


def of_trees(pids: Iterable[int]) -> float:
    """The same for several."""
    return sum(of_tree(pid) for pid in pids)


def of_machine() -> float:
    """Busy seconds of all cores since the start of the machine, idle and waiting for the disk left out."""
    values = [int(v) for v in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(values) - values[3] - values[4]) * TICK_S


def resident_mb(pid: int) -> float:
    """Resident memory of one process, MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Foreign:
    """How busy others kept the machine while we measured: ``share()`` is their CPU seconds per second, in percent of one core."""

    def __init__(self, ours: Iterable[int] = ()) -> None:
        self._ours = tuple(ours)
        self._at, self._busy, self._mine = time.monotonic(), of_machine(), self._own()

    def _own(self) -> float:
        times = os.times()
        return times.user + times.system + times.children_user + times.children_system + of_trees(self._ours)

    def share(self) -> float:
        """Since it was made."""
        passed_s = max(time.monotonic() - self._at, 0.05)
        return max(0.0, (of_machine() - self._busy) - (self._own() - self._mine)) / passed_s * 100


def await_calm(ours: Iterable[int], below_pct: float, within_s: float) -> None:
    """Wait until others use less than that of a core for half a second, but not longer than ``within_s``."""
    ends_at = time.monotonic() + within_s
    while time.monotonic() < ends_at:
        load = Foreign(ours)
        time.sleep(0.5)
        if load.share() < below_pct:
            return
