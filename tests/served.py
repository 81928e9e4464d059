"""A Pulser in a process of its own, as a person would start it: on a free port, with a data folder that is thrown away."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx2

ROOT = Path(__file__).resolve().parents[1]
SERVE = "from pulser.app.serve import serve; from pulser.app.settings import load; raise SystemExit(serve(load().settings))"
_READY = re.compile(r" at (http://\S+:(\d+))\s.*?(?:#start=(\S+))?\s*$")
PROMPT_S = 60.0  # longer than anything here should take, so that a hang is a failure and not a stuck run
FAST = {
    "PULSER_LOG_LEVEL": "warning",
    "PULSER_LOG_FORMAT": "json",
    "PULSER_QUEUE_RETRY_DELAYS_S": "0.02,0.02,0.02",
    "PULSER_WORKER_SWEEP_S": "0.2",
    "PULSER_WORKER_DRAIN_S": "1",
}


@dataclass
class Served:
    """A running server. ``start`` is the secret of the link that it printed."""

    url: str
    port: int
    start: str
    data_dir: Path
    process: subprocess.Popen[str]
    log: Path
    clients: list[httpx2.Client] = field(default_factory=list)

    @property
    def token(self) -> str:
        return (self.data_dir / "token").read_text().strip()

    def client(self, secret: str | None = "", **more: Any) -> httpx2.Client:
        """A connection: with ``secret``, with the local token if it is empty, with nothing if it is None."""
        headers = {} if secret is None else {"Authorization": f"Bearer {secret or self.token}"}
        made = httpx2.Client(base_url=self.url, headers={**headers, **more.pop("headers", {})}, timeout=PROMPT_S, **more)
        self.clients.append(made)
        return made

    def memory_mb(self) -> float:
        """Resident, of the process itself."""
        import psutil

        return float(psutil.Process(self.process.pid).memory_info().rss) / 1e6


@contextmanager
def pulser(folder: Path, roots: Sequence[Path | str] = (), settings: Mapping[str, str] | None = None, *, start: str = SERVE) -> Iterator[Served]:
    """Start one below ``folder``; ended at the end, and with it everything it started."""
    data_dir = folder / "data"
    env = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "PULSER_DATA_DIR": str(data_dir), "PULSER_PORT": "0",
        "PULSER_TOOLS_ROOTS": ",".join(str(root) for root in roots), **FAST, **(settings or {}),
    }  # fmt: skip
    env |= {name: value for name, value in os.environ.items() if name.startswith("COVERAGE_") or name == "PYTHONPATH"}
    log = folder / "server.log"
    with log.open("ab") as errors:
        command = [sys.executable, "-c", start]
        process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True)
    served: Served | None = None
    try:
        served = _ready(process, data_dir, log)
        yield served
    finally:
        for client in served.clients if served else ():
            client.close()
        _stop(process)


def _ready(process: subprocess.Popen[str], data_dir: Path, log: Path) -> Served:
    assert process.stdout is not None
    watchdog = threading.Timer(PROMPT_S, process.kill)
    watchdog.start()
    try:
        for line in process.stdout:
            if found := _READY.search(line):
                threading.Thread(target=process.stdout.read, daemon=True).start()
                return Served(found[1], int(found[2]), found[3] or "", data_dir, process, log)
    finally:
        watchdog.cancel()
    process.wait(PROMPT_S)
    raise AssertionError(f"the server ended with {process.returncode} before it was ready:\n{log.read_text()[-4000:]}")


def _stop(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(5)
    if process.stdout is not None:
        process.stdout.close()
