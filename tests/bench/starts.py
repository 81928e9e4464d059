"""How long ``pulser serve`` takes to be ready, what it holds in memory, and how long ``pulser --help`` takes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from tests.bench import cpu
from tests.bench.http_submit import wait_ready
from tests.bench.servers import free_port


def serve(folder: Path, times: int) -> dict[str, float]:
    """From the start of the process to 200 from /readyz: on a new folder, and the median of ``times`` on that folder afterwards."""
    folder.mkdir(parents=True)
    first_s, _, _ = _serve(folder)
    runs = [_serve(folder) for _ in range(times)]
    ready, resident, used = zip(*runs, strict=True)
    return {"serve.first_ready_s": first_s, "serve.ready_s": median(ready), "serve.ready_cpu_s": median(used), "serve.rss_mb": median(resident)}


def _serve(folder: Path) -> tuple[float, float, float]:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PULSER_")}
    command = [sys.executable, "-m", "pulser", "serve", "--port", str(port), "--data", str(folder)]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, cwd=folder)
    try:
        ready_s = wait_ready(f"http://127.0.0.1:{port}/readyz", process)
        return ready_s, cpu.resident_mb(process.pid), cpu.of_tree(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def command_line(times: int) -> dict[str, float]:
    """Wall and CPU milliseconds of ``pulser --help``, medians."""
    walls, used = [], []
    for _ in range(times):
        before, at = os.times(), time.perf_counter()
        subprocess.run([sys.executable, "-m", "pulser", "--help"], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        walls.append((time.perf_counter() - at) * 1e3)
        after = os.times()
        used.append((after.children_user + after.children_system - before.children_user - before.children_system) * 1e3)
    return {"cli.help_ms": median(walls), "cli.help_cpu_ms": median(used)}
