"""The worker of one process: takes as much as it has slots for, runs it, and settles and claims together in one commit.

It wakes by events (a commit that made work claimable, a task that ended), never by a short poll. When idle, new work is claimed inside the
very commit that submits it (``tail``). One slot is kept for critical tasks.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pulser.agents.perform import Perform
from pulser.core.actor import Actor
from pulser.core.clock import iso, monotonic
from pulser.core.errors import Unavailable
from pulser.core.settings import Worker as Settings
from pulser.core.task import Claimed, Outcome
from pulser.events.append import STAGE, emit
from pulser.observe import logs
from pulser.store import claims
from pulser.store.store import Store
from pulser.store.tx import Hints, Tx
from pulser.worker.run_one import run_one
from pulser.worker.settle import Settler

log = logs.get("worker")
Key = tuple[str, str, int]  # company, task, token: a task claimed again is another piece of work
TURNS = 2  # commits under way at once: one syncs while the other's work runs
PROGRESS_S = 1.0
GOING_S = 5.0  # what a stopping worker waits for its last commits
AGAIN_S = 0.2


@dataclass(slots=True)
class Running:
    """A claimed task and the coroutine that does it."""

    task: Claimed
    doing: asyncio.Task[None]
    told_at: float = -PROGRESS_S


class Pool:
    """Claims, runs and settles. All methods but ``tail`` run in the event loop it was started in."""

    def __init__(self, store: Store, settler: Settler, perform: Perform, settings: Settings, worker_id: str, agents: frozenset[str] | None) -> None:
        self.store, self.settler, self.perform, self.settings = store, settler, perform, settings
        self.worker_id, self.agents = worker_id, agents
        self.actor = Actor(f"worker:{worker_id}", company_id="", role="operator", origin="worker")
        self.running: dict[Key, Running] = {}
        self.paused = False  # takes nothing new
        self._free = settings.concurrency
        self._kept = 1 if settings.concurrency > 1 else 0  # slots for critical tasks alone
        self._lock = threading.Lock()  # _free is shared with the writer's thread
        self._ended: list[Outcome] = []
        self._hungry = True  # there may be claimable work
        self._turns = 0
        self._kicked = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """Begin to take work, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self.store.tail = self.tail
        self.store.on_commit(self._committed)
        self._kick()

    def held(self) -> list[Key]:
        """The leases of this worker."""
        return list(self.running)

    def wake(self) -> None:
        """There may be new work; callable from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._hungry_kick)

    def lose(self, keys: Sequence[Key]) -> None:
        """These leases are lost: stop the work; nothing of it is written."""
        for key in keys:
            if running := self.running.get(key):
                log.warning("lease lost", company_id=key[0], task_id=key[1], token=key[2])
                running.doing.cancel("lease lost")

    async def drain(self, within_s: float) -> None:
        """Take nothing new, let what runs finish for ``within_s``, and give back the rest."""
        self.paused = True
        self.store.tail = None
        self._idle.clear()
        self._look_idle()
        try:
            await asyncio.wait_for(self._idle.wait(), within_s)
        except TimeoutError:
            left = [running for running in self.running.values() if not running.doing.done()]
            for running in left:
                running.doing.cancel("drained")
            await self.store.write(self._settle, [Outcome(running.task, "give_back") for running in left], scope="engine", actor=self.actor)
            log.info("gave work back", tasks=len(left))
            with contextlib.suppress(TimeoutError):  # what had ended is being settled
                await asyncio.wait_for(self._idle.wait(), GOING_S)

    # claiming

    def _committed(self, hints: Hints) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        if hints.cancelled:
            gone = set(hints.cancelled)
            self._loop.call_soon_threadsafe(lambda: self.lose([key for key in self.running if key[1:] in gone]))
        if hints.agents and (self.agents is None or "*" in hints.agents or self.agents & hints.agents):
            self.wake()

    def _hungry_kick(self) -> None:
        self._hungry = True
        self._kick()

    def _reserve(self) -> int:
        if self.paused:
            return 0
        with self._lock:
            free, self._free = self._free, 0
        return free

    def _release(self, slots: int) -> None:
        if slots:
            with self._lock:
                self._free += slots
        if self.paused and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._look_idle)

    def _look_idle(self) -> None:
        """Idle is: nothing runs, and no claim is under way that could bring something."""
        if not self.running and self._free == self.settings.concurrency:
            self._idle.set()

    def _claim(self, tx: Tx, free: int) -> list[Claimed]:
        if free <= 0:
            return []
        lease_s = self.settings.lease_s
        plain = free - self._kept
        found = claims.claim(tx, self.worker_id, self.agents, plain, lease_s) if plain > 0 else []
        if len(found) == max(plain, 0) and self._kept:
            found += claims.claim(tx, self.worker_id, self.agents, free - len(found), lease_s, critical=True)
        name = self.actor.name
        queued, claimed, merging = STAGE["queued"], STAGE["claimed"], STAGE["merging"]
        for task in found:
            company, task_id, version = task.company_id, task.task_id, task.version
            who = f'"agent":"{task.agent}","attempt":{task.attempt}'
            details = f'{{"worker_id":"{self.worker_id}","token":{task.token},{who}}}'
            if task.stage == "merging":  # from approved straight there: merging is under a lease itself
                emit(tx, "task_claimed", company, task_id, version - 1, details, before=STAGE["approved"], after=merging, by=name)
                emit(tx, "executor_started", company, task_id, version, f"{{{who}}}", by=name)
                continue
            emit(tx, "task_claimed", company, task_id, version - 1, details, before=queued, after=claimed, by=name)
            emit(tx, "executor_started", company, task_id, version, f"{{{who}}}", before=claimed, after=STAGE[task.stage], by=name)
        return found

    def tail(self, tx: Tx) -> None:
        """In the writer's thread, before a commit that makes work claimable: claim it at once if there are free slots."""
        if not (free := self._reserve()):
            return
        found: list[Claimed] = []

        def after(held: bool) -> None:
            self._release(free - (len(found) if held else 0))
            if self._loop is None or self._loop.is_closed():
                return
            if held and found:
                self._loop.call_soon_threadsafe(self._start, found)
            if self._hungry:  # somebody wanted slots while they were reserved here
                self._loop.call_soon_threadsafe(self._kick)

        tx.after.append(after)
        found += self._claim(tx, free)

    # running

    def _start(self, found: list[Claimed]) -> None:
        loop = self._loop
        assert loop is not None  # noqa: S101 - started
        for task in found:
            doing = loop.create_task(self._run(task, loop))
            doing.add_done_callback(self._stopped)
            self.running[_key(task)] = Running(task, doing)

    async def _run(self, task: Claimed, loop: asyncio.AbstractEventLoop) -> None:
        key = _key(task)
        outcome = await run_one(task, self.perform, lambda message, fraction: self._progress(key, message, fraction), loop)
        self._ended.append(outcome)
        self._kick()

    def _stopped(self, doing: asyncio.Task[None]) -> None:
        """Free the slot of work that was cancelled, also of work that had not begun: its coroutine never saw the cancellation."""
        if not doing.cancelled():
            return
        for key, running in self.running.items():
            if running.doing is doing:
                del self.running[key]
                self._release(1)
                break
        self._hungry_kick()

    def _progress(self, key: Key, message: str, fraction: float | None) -> None:
        running = self.running.get(key)
        if running is None or monotonic() - running.told_at < PROGRESS_S:
            return
        running.told_at = monotonic()
        task = running.task
        writing = asyncio.ensure_future(self.store.write(_tell_progress, task, message[:500], fraction, company=task.company_id, actor=self.actor))
        writing.add_done_callback(lambda done: done.exception())  # progress may be lost; the work goes on

    # turns

    def _kick(self) -> None:
        if not self._kicked and self._loop is not None:
            self._kicked = True
            self._loop.call_soon(self._maybe_turn)

    def _maybe_turn(self) -> None:
        self._kicked = False
        if self._turns >= TURNS or (self._turns and len(self._ended) < 32):
            return
        wants = self._hungry and not self.paused
        if not self._ended and not (wants and self._free):
            return
        ended, self._ended = self._ended, []
        self._turns += 1
        self._hungry = False
        _hold(asyncio.create_task(self._turn(ended)))

    async def _turn(self, ended: list[Outcome]) -> None:
        """Settle what ended and claim for the free slots, in one commit; what writes into a company's own tables goes one by one before."""
        left: list[Outcome] = []  # not settled: the database is down; they keep their slots and are tried again
        for outcome in [each for each in ended if _is_rich(each)]:
            if not await self._settle_one(outcome):
                left.append(outcome)
        plain = [each for each in ended if not _is_rich(each)]
        reserved = self._reserve()
        wanted = 0 if self.paused else reserved + len(ended) - len(left)
        found: list[Claimed] = []
        try:
            found = await self.store.write(self._settle_and_claim, plain, wanted, scope="engine", actor=self.actor)
        except Unavailable as error:
            log.error("could not settle; trying again", error=error.detail, tasks=len(plain))
            left += plain
            await asyncio.sleep(AGAIN_S)
        except Exception as error:  # one of them cannot be written: apart, it fails alone and the others stand
            log.error("settling apart", error=str(error), tasks=len(plain))
            left += [each for each in plain if not await self._settle_one(each)]
            self._hungry = True  # it has not claimed
            await asyncio.sleep(AGAIN_S)
        self._turns -= 1
        kept = {id(outcome) for outcome in left}
        gone = [outcome for outcome in ended if id(outcome) not in kept]
        for outcome in gone:
            self.running.pop(_key(outcome.task), None)
        self._ended += left
        self._release(reserved + len(gone) - len(found))
        self._start(found)
        self._hungry = self._hungry or bool(left) or (len(found) >= wanted - self._kept > 0)
        if self.paused:
            self._look_idle()
        self._kick()

    def _settle_and_claim(self, tx: Tx, ended: list[Outcome], free: int) -> list[Claimed]:
        """Claim first: Postgres numbers a transaction at its first write, and the feed goes by that number. Were it taken by settling, a task
        submitted meanwhile would be told as claimed before it was told as submitted."""
        found = self._claim(tx, free)
        self._settle(tx, ended)
        return found

    def _settle(self, tx: Tx, ended: list[Outcome]) -> None:
        for task in self.settler.settle(tx, ended):
            log.warning("lease lost: nothing was written", company_id=task.company_id, task_id=task.task_id, token=task.token)

    async def _settle_one(self, outcome: Outcome) -> bool:
        """Settle in the company's own scope; what cannot be written fails the task, and where not even that can be written its lease runs out.
        False if the database is down."""
        task, company = outcome.task, outcome.task.company_id
        try:
            try:
                await self.store.write(self._settle, [outcome], company=company, actor=self.actor)
            except Unavailable:
                raise
            except Exception as error:
                log.exception("an outcome could not be written", task_id=task.task_id, company_id=company)
                code, hint = getattr(error, "code", "unwritable"), getattr(error, "hint", "")
                told = {"code": code, "detail": f"its outcome could not be written: {error}"[:2000], "hint": hint}
                await self.store.write(self._settle, [Outcome(task, "fail", error=told)], company=company, actor=self.actor)
        except Unavailable as error:
            log.error("could not settle; trying again", error=error.detail, task_id=task.task_id, company_id=company)
            await asyncio.sleep(AGAIN_S)
            return False
        except Exception:
            log.exception("not even a failure could be written", task_id=task.task_id, company_id=company)
        return True


def _key(task: Claimed) -> Key:
    return task.company_id, task.task_id, task.token


def _is_rich(outcome: Outcome) -> bool:
    return bool(outcome.artifacts or outcome.log or outcome.spawn)


def _tell_progress(tx: Tx, task: Claimed, message: str, fraction: float | None) -> None:
    version = claims.progress(tx, task.task_id, task.token, {"message": message, "fraction": fraction, "at": iso(tx.now)})
    if version is not None:
        emit(tx, "executor_progress", task.company_id, task.task_id, version, {"message": message, "fraction": fraction})


_pending: set[asyncio.Task[Any]] = set()


def _hold(task: asyncio.Task[Any]) -> None:
    _pending.add(task)
    task.add_done_callback(_pending.discard)
