"""A Pulser over one database, as the conformance tests drive it: by hand, step by step, or with crews that really work."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from pulser.agents.registry import Registry
from pulser.app.build import Crew, Parts, start_crew
from pulser.app.desk import Workbench
from pulser.collab import views
from pulser.core.actor import Actor
from pulser.core.settings import Queue, Settings, Tools, Worker
from pulser.core.settings import Store as Place
from pulser.core.task import MOVES, TERMINAL, Claimed, Outcome
from pulser.events import feed
from pulser.intake.request import Draft, TaskRequest, draft
from pulser.intake.submit import Key, Submission, Submitted, Submitter
from pulser.store.blobs import Blobs
from pulser.store.store import Store
from pulser.store.tables import COMPANY as COMPANY_OF_TX
from pulser.store.tables import events as log
from pulser.store.tables import task_queue
from pulser.store.tx import Hints, Tx
from pulser.worker.pool import Pool
from pulser.worker.reaper import sweep
from pulser.worker.settle import Settler

COMPANY, OTHER = "default", "other"
QUICK = Worker(concurrency=8, lease_s=2.0, renew_s=0.2, sweep_s=0.1, drain_s=1.0)
SOON_S = 20.0  # how long a test waits for what must happen; the machine may be busy

Perform = Callable[[Claimed, Any], Awaitable[Outcome]]


class Hand:
    """A worker that does nothing by itself: it claims, renews and settles when told."""

    def __init__(self, world: World, name: str, agents: frozenset[str] | None = None, store: Store | None = None) -> None:
        self.store = store or world.store
        settler = Settler(world.settings.queue, world.desk.spawn)
        self.pool = Pool(self.store, settler, _nothing, dataclasses.replace(QUICK, concurrency=1), name, agents)

    async def turn(self, ended: Sequence[Outcome] = (), free: int = 1) -> list[Claimed]:
        """Settle and claim in one commit, as a pool's turn does."""
        found: list[Claimed] = await self.store.write(self.pool._settle_and_claim, list(ended), free, scope="engine", actor=self.pool.actor)
        return found

    async def claim(self, free: int = 1) -> list[Claimed]:
        """Lease up to ``free`` tasks."""
        return await self.turn((), free)

    async def settle(self, *ended: Outcome) -> list[Claimed]:
        """Write ends; returns those whose lease was lost."""
        lost: list[Claimed] = await self.store.write(self.pool.settler.settle, list(ended), scope="engine", actor=self.pool.actor)
        return lost

    async def finish(self, task: Claimed, **result: Any) -> list[Claimed]:
        """Finish one."""
        return await self.settle(Outcome(task, "finish", result=result or {"ok": True}))

    async def fail(self, task: Claimed, end: Any = "fail") -> list[Claimed]:
        """Fail one: for good, or with ``end="retry"``."""
        return await self.settle(Outcome(task, end, error={"code": "permanent", "detail": f"attempt {task.attempt} went wrong", "hint": ""}))


async def _nothing(task: Claimed, tell: Any) -> Outcome:
    raise AssertionError("this worker is driven by hand")


class World:
    """One database, and what is built on it."""

    def __init__(self, database_url: str, data_dir: Path, **queue: Any) -> None:
        self.settings = Settings(
            store=Place(data_dir=data_dir, database_url=database_url, writers=2, readers=2),
            queue=Queue(**queue),
            worker=QUICK,
            tools=Tools(sandbox="off"),
        )
        self.registry = Registry.load("")
        self.opened: list[Store] = []
        self._wake: Callable[[], object] = lambda: None
        self.store = self.open()
        self.submitter = Submitter(self.settings.queue)
        self.blobs = Blobs(self.store, data_dir, self.settings.store.files_quota_bytes)
        self.desk = Workbench(self.settings, self.store, self.registry, self.blobs, self.submitter)

    @property
    def sqlite(self) -> bool:
        return self.store.sqlite

    def open(self, **changes: Any) -> Store:
        """A further store on the same database, as another process would open it."""
        place = self.settings.store
        wanted = {"writers": place.writers, "readers": place.readers, "queue_limit": place.queue_limit} | changes
        store = Store(database_url=place.database_url, data_dir=place.data_dir, **wanted)
        self.opened.append(store)
        store.on_commit(self._told)
        return store

    def _told(self, hints: Hints) -> None:
        with contextlib.suppress(RuntimeError):  # the loop of an earlier wait
            self._wake()

    def close(self) -> None:
        for store in self.opened:
            store.close()

    def check_log(self) -> None:
        """What holds after every test: versions without gap per target, in the order of the feed, and no move that the table does not have."""
        everything = select(log.c.target, log.c.version, log.c.event, log.c.before, log.c.after).order_by(log.c.xid, log.c.seq)
        rows = self.store.read_blocking(lambda tx: tx.execute(everything).all(), scope="owner")
        versions: dict[str, list[int]] = {}
        for row in rows:
            if row.version is not None:
                versions.setdefault(row.target, []).append(row.version)
            if row.before and row.after and "stage" in row.before:
                old, new = row.before["stage"], row.after["stage"]
                assert new in MOVES[old], f"{row.event} tells of a move from {old} to {new}"
        for target, found in versions.items():
            assert found == list(range(1, len(found) + 1)), f"the log of {target} has a gap, or is out of order: {found}"

    # asking

    def draft(self, **fields: Any) -> Draft:
        """A checked task; a noop unless told otherwise."""
        fields.setdefault("task_type", "orchestration")
        if fields["task_type"] == "orchestration":
            fields["payload"] = {"action": "noop", **fields.get("payload", {})}
        return draft(TaskRequest(**fields), self.registry, self.settings.queue)

    async def send(
        self, drafts: Sequence[Draft], *, company: str = COMPANY, key: Key | None = None, batch: bool = True, store: Store | None = None
    ) -> Submitted:
        """Submit drafts as one request."""
        found: Submitted = await (store or self.store).write_each(
            self.submitter.submit_many, Submission(drafts, batch=batch, key=key), company=company, actor=Actor("operator", company)
        )
        return found

    async def submit(self, *, company: str = COMPANY, key: Key | None = None, **fields: Any) -> str:
        """Submit one task; returns its id."""
        return (await self.send([self.draft(**fields)], company=company, key=key, batch=False)).task_ids[0]

    async def submit_many(self, count: int, *, company: str = COMPANY, **fields: Any) -> list[str]:
        """Submit ``count`` of the same."""
        return (await self.send([self.draft(**fields) for _ in range(count)], company=company)).task_ids

    async def write(self, fn: Any, *args: Any, company: str = COMPANY) -> Any:
        """``fn(tx, …)`` as the company's operator."""
        return await self.store.write(fn, *args, company=company, actor=Actor("operator", company))

    async def task(self, task_id: str, company: str = COMPANY) -> dict[str, Any]:
        """The task as the API shows it."""
        shown: dict[str, Any] = await self.store.read(views.task, task_id, company=company)
        return shown

    async def stage(self, task_id: str, company: str = COMPANY) -> str:
        """Its stage."""
        return str((await self.task(task_id, company))["stage"])

    async def stages(self, company: str = COMPANY) -> dict[str, int]:
        """How many tasks there are by stage."""
        rows = await self.sql("SELECT stage, count(*) FROM task_queue WHERE company_id = :c GROUP BY stage", c=company)
        return {stage: count for stage, count in rows}

    async def events(self, target: str = "", company: str = COMPANY) -> list[dict[str, Any]]:
        """All events of the company, or of one target, oldest first."""
        await self.told()
        found: list[dict[str, Any]] = await self.store.read(feed.after, feed.START, 100_000, feed.Wanted(target=target), company=company)
        return found

    async def told(self) -> None:
        """Wait until the log shows all there is: on Postgres it waits for older transactions, also of the server's other databases."""
        if not self.sqlite:
            hidden = "SELECT count(*) FROM events WHERE xid >= pg_snapshot_xmin(pg_current_snapshot())::text::bigint"

            async def all_shown() -> bool:
                [[count]] = await self.store.read(lambda tx: tx.raw(hidden, (), "events"), scope="owner")
                return not count

            await self.until(all_shown)

    async def kinds(self, target: str, company: str = COMPANY) -> list[str]:
        """The kinds of its events, in order."""
        return [event["event"] for event in await self.events(target, company)]

    async def sql(self, statement: str, **parameters: Any) -> list[Any]:
        """Any statement, as the owner who sees everything."""

        def run(tx: Tx) -> list[Any]:
            found = tx.execute(text(statement), parameters)
            return list(found.all()) if found.returns_rows else []

        rows: list[Any] = await self.store.write(run, scope="owner")
        return rows

    # time

    def pass_time(self, seconds: float) -> None:
        """Move the database's clock on, for every store of this test."""
        for store in self.opened:
            store.offset_s += seconds

    async def sweep(self) -> int:
        """One sweep; returns how many leases were reclaimed."""
        count, _ = await self.store.write(sweep, self.settings.queue, scope="engine", actor=Actor("worker:sweeper", "", role="operator"))
        return int(count)

    async def until(self, fn: Callable[[], Awaitable[Any]], within_s: float = SOON_S) -> Any:
        """Wait until ``fn()`` is true, asking again after commits; fails with its last answer."""
        loop = asyncio.get_running_loop()
        happened = asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(happened.set)
        deadline = loop.time() + within_s
        while not (answer := await fn()):
            assert loop.time() < deadline, f"waited {within_s:g} s in vain; last answer: {answer!r}; stages: {await self.stages()}"
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(happened.wait(), 0.2)  # another process's commits are not told
            happened.clear()
        return answer

    async def ended(self, *task_ids: str, company: str = COMPANY) -> list[dict[str, Any]]:
        """Wait until all of them have ended; returns them."""
        t = task_queue.c
        open_ = select(func.count()).where(t.company_id == COMPANY_OF_TX, t.task_id.in_(task_ids), t.stage.not_in(TERMINAL))

        async def all_ended() -> bool:
            return bool(await self.store.read(lambda tx: tx.execute(open_).scalar() == 0, company=company))

        await self.until(all_ended)
        return [await self.task(each, company) for each in task_ids]

    async def reaches(self, task_id: str, stage: str) -> None:
        """Wait until the task is in ``stage``."""

        async def there() -> bool:
            return await self.stage(task_id) == stage

        await self.until(there)

    # working

    def hand(self, name: str = "hand", **more: Any) -> Hand:
        """A worker driven by hand."""
        return Hand(self, name, **more)

    @contextlib.asynccontextmanager
    async def crew(self, name: str = "crew", *, store: Store | None = None, **worker: Any) -> AsyncIterator[Crew]:
        """A real crew: pool, heartbeat, sweeps."""
        settings = dataclasses.replace(self.settings, worker=dataclasses.replace(self.settings.worker, **worker))
        crew = await start_crew(Parts(settings, store or self.store, self.registry, self.blobs, self.submitter), worker_id=name)
        try:
            yield crew
        finally:
            await crew.stop()

    @contextlib.asynccontextmanager
    async def pool(self, perform: Perform, name: str = "pool", *, store: Store | None = None, **worker: Any) -> AsyncIterator[Pool]:
        """A real pool whose work is ``perform``; without heartbeat and sweeps."""
        settings = dataclasses.replace(self.settings.worker, **worker)
        pool = Pool(store or self.store, Settler(self.settings.queue, self.desk.spawn), perform, settings, name, None)
        pool.start()
        try:
            yield pool
        finally:
            await pool.drain(1.0)
