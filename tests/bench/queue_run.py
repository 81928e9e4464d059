"""One measurement of Pulser's own queue, in a process of its own: ``python -m tests.bench.queue_run '{…}'`` prints one line of JSON.

The code is what ``pulser serve`` runs: ``build``, ``draft``, ``submit_many``, ``start_crew`` with its heartbeat and sweeps. The only thing added
is a note of the time at the first line of the no-op's handler.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sqlite3
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import text

from pulser.agents import noop
from pulser.app import settings
from pulser.app.build import Crew, Parts, build, start_crew
from pulser.core.actor import Actor
from pulser.events.follow import Follower
from pulser.intake.request import TaskRequest, draft
from pulser.intake.submit import Submission
from pulser.store import migrate
from pulser.store.tx import Tx
from pulser.web import metrics
from tests.bench import cpu
from tests.bench.figures import percentile

OPERATOR = Actor("operator", role="admin")
DATA = "x" * 980  # with the rest about 1 KB of payload
BATCH = 500
IN_FLIGHT = 50
WARM = 500
DRAIN_AT = 0.05  # of the tasks have run when the drain's clock starts: the peers' worker starts are left out the same way


@dataclass(slots=True)
class Probe:
    """When handlers began, and who waits for that."""

    started: dict[int, float] = field(default_factory=dict)
    marks: dict[int, asyncio.Event] = field(default_factory=dict)  # set when that many have started

    def install(self) -> None:
        """Note the time, then do what noop does."""
        real = noop.run

        async def noted(args: dict[str, Any], attempt: int, *, probes: bool) -> dict[str, Any]:
            self.started[args["seq"]] = time.perf_counter()
            if (mark := self.marks.get(len(self.started))) is not None:
                mark.set()
            return await real(args, attempt, probes=probes)

        noop.run = noted

    def after(self, count: int) -> asyncio.Event:
        """An event for the moment ``count`` tasks have started since :meth:`clear`."""
        return self.marks.setdefault(count, asyncio.Event())

    def clear(self) -> None:
        self.started.clear()
        self.marks.clear()


@dataclass(frozen=True, slots=True)
class Spent:
    """Clock and CPU at a moment, s."""

    at: float
    own_s: float
    server_s: float


@dataclass(slots=True)
class Run:
    """An open Pulser and the server it uses."""

    parts: Parts
    server_pid: int
    probe: Probe
    next_seq: int = 0

    def now(self) -> Spent:
        """Clock and CPU as they stand."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return Spent(time.perf_counter(), used.ru_utime + used.ru_stime, cpu.of_tree(self.server_pid) if self.server_pid else 0.0)

    def told(self, name: str, since: Spent, tasks: int) -> dict[str, float]:
        """Per task since then: CPU of all, of the server within that, and tasks per second."""
        now = self.now()
        server_us = (now.server_s - since.server_s) / tasks * 1e6
        found = {f"{name}_cpu_us": (now.own_s - since.own_s) / tasks * 1e6 + server_us, f"{name}_per_s": tasks / (now.at - since.at)}
        return {**found, f"{name}_server_cpu_us": server_us} if self.server_pid else found

    async def submit(self, count: int, *, batch: bool) -> None:
        drafts = []
        for seq in range(self.next_seq, self.next_seq + count):
            request = TaskRequest(task_type="orchestration", payload={"action": "noop", "seq": seq, "data": DATA})
            drafts.append(draft(request, self.parts.registry, self.parts.settings.queue))
        self.next_seq += count
        await self.parts.store.write_each(self.parts.submitter.submit_many, Submission(drafts, batch=batch), company="default", actor=OPERATOR)

    async def submit_batches(self, count: int) -> None:
        for done in range(0, count, BATCH):
            await self.submit(min(BATCH, count - done), batch=True)

    async def submit_ones(self, count: int) -> None:
        left = iter(range(count))

        async def client() -> None:
            for _ in left:
                await self.submit(1, batch=False)

        await asyncio.gather(*[client() for _ in range(IN_FLIGHT)])


async def measure(run: Run, tasks: int, samples: int, *, follow: bool = False) -> dict[str, float]:
    """Submit in batches, one by one, drain it all, submit one by one while working, and the way from submit to start when idle.

    ``follow``: beside the log's reader, which in ``pulser serve`` feeds streams and metrics.
    """
    found: dict[str, float] = {}
    follower = Follower(run.parts.store)
    follower.watch(metrics.count, metrics.COUNTED)
    if follow:
        await follower.start()
    ones = tasks // 2
    await run.submit_batches(WARM)
    await run.submit_ones(WARM)

    since = run.now()
    await run.submit_batches(tasks)
    found |= run.told("submit", since, tasks)

    since = run.now()
    await run.submit_ones(ones)
    found |= run.told("submit_one", since, ones)

    queued = tasks + ones + 2 * WARM
    begun, ended = run.probe.after(int(queued * DRAIN_AT)), run.probe.after(queued)
    crew = await start_crew(run.parts, worker_id="bench")
    await begun.wait()
    seen, since = len(run.probe.started), run.now()
    await ended.wait()
    found["drain_per_s"] = (queued - seen) / (time.perf_counter() - since.at)
    await _settled(crew)
    found |= run.told("run", since, queued - seen)

    run.probe.clear()
    ended = run.probe.after(ones)
    since = run.now()
    await run.submit_ones(ones)
    await ended.wait()
    await _settled(crew)
    found |= run.told("total_one", since, ones)
    found["total_cpu_us"] = found["submit_cpu_us"] + found["run_cpu_us"]

    found |= await _idle(run, samples)
    await crew.stop()
    await follower.stop()
    await _check(run, queued + ones + samples)
    return found


async def _settled(crew: Crew) -> None:
    """The last ones started are not yet settled."""
    while crew.pool.running:
        await asyncio.sleep(0.001)


async def _idle(run: Run, samples: int) -> dict[str, float]:
    """Submit to the handler's first line, one at a time; before each a bare commit of the same payload on the same disk."""
    commit = _bare_commit(run.parts)
    starts, answers, commits = [], [], []
    for _ in range(samples):
        await asyncio.sleep(0.005)
        at = time.perf_counter()
        commit()
        commits.append(time.perf_counter() - at)
        await asyncio.sleep(0.005)
        run.probe.clear()
        started, seq = run.probe.after(1), run.next_seq
        at = time.perf_counter()
        await run.submit(1, batch=False)
        answers.append(time.perf_counter() - at)
        await started.wait()
        starts.append(run.probe.started[seq] - at)
    ms = {name: [v * 1e3 for v in values] for name, values in (("start", starts), ("answer", answers), ("commit", commits))}
    found = {f"{name}_p{share}_ms": percentile(values, share / 100) for name, values in ms.items() for share in (50, 95)}
    return {**found, "start_minus_commit_ms": found["start_p50_ms"] - found["commit_p50_ms"]}


def _bare_commit(parts: Parts) -> Any:
    """One durable insert of 1 KB with nothing around it: what a commit costs here."""
    url = parts.settings.store.database_url
    if url:
        connection = psycopg.connect(url, autocommit=True)
        connection.execute("CREATE TABLE bench_bare (body text)")
        return lambda: connection.execute("INSERT INTO bench_bare VALUES (%s)", (DATA,), prepare=True)
    bare = sqlite3.connect(parts.settings.store.data_dir / "bare.db", isolation_level=None)
    bare.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE bare (body TEXT)")
    return lambda: bare.execute("INSERT INTO bare VALUES (?)", (DATA,))


async def _check(run: Run, expected: int) -> None:
    """The figures are of work that was done: every task done once, six events each."""

    def count(tx: Tx) -> tuple[int, int, int]:
        done = tx.execute(text("SELECT count(*) FROM task_queue WHERE stage = 'done' AND attempt = 1")).scalar()
        every = tx.execute(text("SELECT count(*) FROM task_queue")).scalar()
        told = tx.execute(text("SELECT count(*) FROM events")).scalar()
        return int(done or 0), int(every or 0), int(told or 0)

    done, every, told = await run.parts.store.read(count, scope="owner")
    if (done, every) != (expected, expected) or told < 5 * expected:
        raise RuntimeError(f"{done} of {every} tasks done in one attempt, {expected} expected, {told} events: these figures mean nothing")


def main(told: dict[str, Any]) -> dict[str, float]:
    """Set up, measure, take down."""
    import uvloop

    folder = Path(told["folder"])
    url: str = told.get("url", "")
    chosen = {"store.data_dir": folder, "store.database_url": url, "worker.concurrency": told["concurrency"]}
    loaded = settings.load({}, chosen).settings
    folder.mkdir(parents=True, exist_ok=True)
    if url:
        engine = migrate.open_engine(url, folder)
        migrate.upgrade(engine)
        engine.dispose()
    probe = Probe()
    probe.install()
    run = Run(build(loaded), told.get("server_pid", 0), probe)
    found: dict[str, float] = uvloop.run(measure(run, told["tasks"], told["samples"], follow=told.get("follow", False)))
    run.parts.store.close()
    return found


if __name__ == "__main__":
    print(json.dumps(main(json.loads(sys.argv[1]))))
