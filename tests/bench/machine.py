"""What the figures were measured on: facts without which they mean nothing."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from pathlib import Path

from pulser import __version__


def facts(folder: Path) -> dict[str, float | str]:
    """``machine.*``: no names, no paths."""
    memory_kb = next((int(line.split()[1]) for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal:")), 0)
    return {
        "machine.cpu": _cpu(),
        "machine.cores": len(os.sched_getaffinity(0)),
        "machine.memory_gb": round(memory_kb / 2**20, 1),
        "machine.kernel": platform.release(),
        "machine.filesystem": _filesystem(folder),
        "machine.python": platform.python_version(),
        "machine.sqlite": sqlite3.sqlite_version,
        "machine.pulser": f"{__version__} {_commit()}".strip(),
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _filesystem(folder: Path) -> str:
    """Of the longest mount point above ``folder``; on tmpfs a commit costs nothing and the figures are not of a disk."""
    best = ("", "unknown")
    for line in Path("/proc/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if folder.resolve().is_relative_to(point) and len(point) >= len(best[0]):
            best = (point, kind)
    return best[1]


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=Path(__file__).parent)
    return told.stdout.strip()
