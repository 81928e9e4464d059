"""Real processes on a real database, and a look at what they leave behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from tests.conformance.world import World

ROOT = Path(__file__).resolve().parents[2]
LEASE_S = 2.0
SHORT = bool(os.environ.get("PULSER_TEST_SHORT"))
ROUNDS = 2 if SHORT else 10
START_S = 4.0  # what a new process may take to start on a busy machine before its work counts
PROMPT_S = 60.0
WORK = "import tests.faults.recorder; from pulser.app.work import work; from pulser.app.settings import load; raise SystemExit(work(load().settings))"
SERVE = "import tests.faults.recorder; from pulser.app.serve import serve; from pulser.app.settings import load; raise SystemExit(serve(load().settings))"


@dataclass
class Ground:
    """One database, and the processes that a test lets loose on it."""

    url: str
    data_dir: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def record(self) -> Path:
        return self.data_dir.parent / "record"

    def env(self, **settings: str) -> dict[str, str]:
        """The environment of a process under test."""
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.data_dir.parent), "PULSER_DATA_DIR": str(self.data_dir), "PULSER_DATABASE_URL": self.url,
            "PULSER_WORKER_LEASE_S": str(LEASE_S), "PULSER_WORKER_RENEW_S": "0.4", "PULSER_WORKER_SWEEP_S": "0.2", "PULSER_WORKER_DRAIN_S": "5",
            "PULSER_QUEUE_RETRY_DELAYS_S": "0.3", "PULSER_LOG_LEVEL": "warning", "PULSER_LOG_FORMAT": "json", "PULSER_PORT": "0",
            "PULSER_TEST_RECORD": str(self.record), "PULSER_TOOLS_SANDBOX": "off",
        }  # fmt: skip
        return {name: value for name, value in {**env, **settings}.items() if value}

    def start(self, script: str = WORK, *, before: tuple[str, ...] = (), extra: Mapping[str, str] | None = None, **settings: str) -> subprocess.Popen[bytes]:
        """A process, not yet ready."""
        log = (self.data_dir.parent / f"process-{len(self.processes)}.log").open("wb")
        env = self.env(**settings) | dict(extra or {})
        with log:
            process = subprocess.Popen([*before, sys.executable, "-c", script], cwd=ROOT, env=env, stdout=log, stderr=log, start_new_session=True)
        self.processes.append(process)
        return process

    def worker(self, **more: Any) -> subprocess.Popen[bytes]:
        """A worker that has begun."""
        process = self.start(**more)

        def begun() -> bool:
            assert process.poll() is None, self.logs()
            return bool(self.query("SELECT 1 FROM instances WHERE pid = :pid LIMIT 1", pid=process.pid))

        self.wait(begun)
        return process

    def ask_where(self) -> None:
        """Let every process write into its log where its threads are."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGUSR1)
        threading.Event().wait(0.5)

    def logs(self) -> str:
        """What the processes said, the end of it."""
        return "\n".join(f"{path.name}:\n{path.read_text()[-3000:]}" for path in sorted(self.data_dir.parent.glob("process-*.log")))

    def query(self, sql: str, **parameters: Any) -> list[Any]:
        """Rows, read beside the processes."""
        if self.url:
            with psycopg.connect(self.url) as connection:
                for name in parameters:
                    sql = sql.replace(f":{name}", f"%({name})s")
                return list(connection.execute(sql.encode(), parameters).fetchall())
        with contextlib.closing(sqlite3.connect(self.data_dir / "pulser.db", timeout=30)) as connection:
            return list(connection.execute(sql, parameters).fetchall())

    def stages(self) -> Counter[str]:
        """How many tasks there are by stage."""
        return Counter(dict(self.query("SELECT stage, count(*) FROM task_queue GROUP BY stage")))

    def done(self) -> int:
        """How many tasks are done."""
        return self.stages()["done"]

    def wait(self, fn: Callable[[], Any], within_s: float = PROMPT_S) -> float:
        """Wait until ``fn()`` is true; returns how many seconds that took."""
        began, pause = time.monotonic(), threading.Event()
        while not fn():
            took = time.monotonic() - began
            if took >= within_s:
                self.ask_where()
                raise AssertionError(f"in vain for {took:.1f} s; stages: {self.stages()}\n{self.logs()}")
            pause.wait(0.02)
        return time.monotonic() - began

    def submit(self, count: int, **payload: Any) -> list[str]:
        """Submit noops with ``seq`` from this process; their ids."""

        async def send(world: World) -> list[str]:
            return (await world.send([world.draft(payload={"seq": seq, **payload}) for seq in range(count)])).task_ids

        world = World(self.url, self.data_dir)
        try:
            return asyncio.run(send(world))
        finally:
            world.close()

    def lines(self) -> list[tuple[str, int, int]]:
        """What was recorded: ``(start or end, seq, pid)``."""
        if not self.record.exists():
            return []
        return [(word, int(seq), int(pid)) for word, seq, pid in (line.split() for line in self.record.read_text().splitlines())]

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """Without any warning, with all it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)

    def stop(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.terminate()
        for process in self.processes:
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                self.kill(process)

    def check(self, count: int) -> Counter[str]:
        """What must hold in the end, whatever happened: nothing lost, nothing settled twice, nothing run again once settled. Returns counts."""
        assert self.stages() == {"done": count}
        events = self.query("SELECT target, event, version FROM events WHERE version IS NOT NULL ORDER BY target, version")
        by_task: dict[str, list[str]] = {}
        for target, event, version in events:
            told = by_task.setdefault(target, [])
            told.append(event)
            assert version == len(told), f"the log of {target} has a gap"
        counts: Counter[str] = Counter(tasks=count)
        for target, told in by_task.items():
            assert told.count("executor_succeeded") == 1, f"{target} was settled {told.count('executor_succeeded')} times"
            assert "executor_started" not in told[told.index("executor_succeeded") :], f"{target} was run again after it was settled"
            counts["reclaimed"] += told.count("lease_reclaimed")
        return counts


@contextlib.contextmanager
def ground(url: str, folder: Path) -> Iterator[Ground]:
    """A ground on that database, whose processes are ended."""
    data_dir = folder / "data"
    data_dir.mkdir(exist_ok=True)
    made = Ground(url, data_dir)
    try:
        yield made
    finally:
        made.stop()


def say(what: str, **counts: Any) -> None:
    """One line of counts."""
    print(f"\n{what}: " + ", ".join(f"{name} {value}" for name, value in counts.items()), flush=True)
