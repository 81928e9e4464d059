"""Submitting over HTTP from 50 connections, workers paused, and beside it a bare FastAPI route: CPU of the server, requests per second, p95."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.bench import cpu
from tests.bench.figures import percentile
from tests.bench.servers import free_port

CONNECTIONS = 50
BODY = json.dumps({"task_type": "orchestration", "priority": "medium", "payload": {"action": "noop", "seq": 7, "data": "x" * 980}})
LUA = """
wrk.method = "POST"
wrk.body = os.getenv("BENCH_BODY")
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer " .. os.getenv("BENCH_TOKEN")
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format('{"requests": %d, "seconds": %f, "p95_ms": %f, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(95) / 1000, e.connect + e.read + e.write + e.status + e.timeout))
end
"""


def measure(folder: Path, seconds: int) -> dict[str, float]:
    """One round of both."""
    found: dict[str, float] = {}
    for mode, prefix in (("pulser", "http_submit"), ("bare", "bare_fastapi")):
        home = folder / mode
        home.mkdir(parents=True)
        for name, value in _under_load(mode, home, seconds).items():
            found[f"{prefix}.{name}"] = value
    return found


def _under_load(mode: str, home: Path, seconds: int) -> dict[str, float]:
    port = free_port()
    with (home / "server.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.http_server", mode, str(port), str(home / "data")], stdout=log, stderr=log)
    try:
        wait_ready(f"http://127.0.0.1:{port}/readyz", process)
        token = (home / "data" / "token").read_text().strip() if mode == "pulser" else "none"
        warmed = _load(port, token, 1, home)
        cpu_s = cpu.of_tree(process.pid)
        told = _load(port, token, seconds, home)
        used_s = cpu.of_tree(process.pid) - cpu_s
    finally:
        process.terminate()
        process.wait(30)
    if told["errors"] or not told["requests"]:
        raise RuntimeError(f"{told['errors']:.0f} of {told['requests']:.0f} requests failed")
    if mode == "pulser":
        _check(home / "data" / "pulser.db", int(warmed["requests"] + told["requests"]))
    return {"cpu_us": used_s / told["requests"] * 1e6, "per_s": told["requests"] / told["seconds"], "p95_ms": told["p95_ms"]}


def _check(database: Path, answered: int) -> None:
    """Every request that was answered is a task on disk."""
    connection = sqlite3.connect(database)
    [[rows]] = connection.execute("SELECT count(*) FROM task_queue")
    connection.close()
    if rows < answered:
        raise RuntimeError(f"{answered} submits were answered, {rows} tasks are there")


def wait_ready(url: str, process: subprocess.Popen[bytes], within_s: float = 30) -> float:
    """Seconds until ``url`` answered 200."""
    began = time.monotonic()
    while time.monotonic() - began < within_s:
        with suppress(urllib.error.URLError, ConnectionError), urllib.request.urlopen(url, timeout=5) as answer:
            if answer.status == 200:
                return time.monotonic() - began
        if process.poll() is not None:
            break
        time.sleep(0.005)
    raise RuntimeError(f"the server is not ready (exit code {process.poll()})")


def generator() -> str:
    """What makes the load here."""
    return "wrk" if shutil.which("wrk") else "asyncio"


def _load(port: int, token: str, seconds: int, home: Path) -> dict[str, float]:
    first = str(min(os.sched_getaffinity(0)))
    if generator() == "wrk":
        script = home / "load.lua"
        script.write_text(LUA)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script), f"http://127.0.0.1:{port}/api/v1/tasks"]
    else:
        command = [sys.executable, "-m", "tests.bench.http_submit", str(port), str(seconds)]
    if shutil.which("taskset"):
        command = ["taskset", "-c", first, *command]
    told = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "BENCH_BODY": BODY, "BENCH_TOKEN": token}, timeout=seconds + 30)
    lines = [line for line in told.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"no load: {(told.stderr or told.stdout)[-300:]}")
    found: dict[str, float] = json.loads(lines[-1])
    return found


async def _client(port: int, token: str, seconds: float) -> dict[str, float]:
    """The load where there is no wrk: keep-alive connections, one request at a time on each."""
    head = (
        "POST /api/v1/tasks HTTP/1.1",
        "Host: 127.0.0.1",
        "Content-Type: application/json",
        f"Authorization: Bearer {token}",
        f"Content-Length: {len(BODY)}",
    )
    request = ("\r\n".join(head) + "\r\n\r\n" + BODY).encode()
    ends_at = time.perf_counter() + seconds
    took: list[float] = []
    failed = 0

    async def connection() -> None:
        nonlocal failed
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (at := time.perf_counter()) < ends_at:
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            length = next(int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length"))
            await reader.readexactly(length)
            took.append(time.perf_counter() - at)
            failed += b" 202 " not in answer.split(b"\r\n", 1)[0]
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*[connection() for _ in range(CONNECTIONS)])
    return {"requests": len(took), "seconds": time.perf_counter() - began, "p95_ms": percentile(took, 0.95) * 1e3, "errors": failed}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_client(int(sys.argv[1]), os.environ["BENCH_TOKEN"], float(sys.argv[2])))))
