"""One child: started, watched, and killed as a whole. Descriptors and processes are gone when :func:`run_in` returns, however it does."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
from contextlib import suppress

from pulser.core.errors import Permanent, PulserError, TimedOut, Transient
from pulser.tools.sandbox import folder as folders
from pulser.tools.sandbox import privileges
from pulser.tools.sandbox.conversation import Conversation
from pulser.tools.sandbox.launch import Level, prepare
from pulser.tools.sandbox.request import ChildRequest, ChildResult
from pulser.tools.sandbox.watch import watch

_PROGRESS_EVERY_S = 0.1
_OUTPUT_AT_ONCE = 4 << 20  # beyond this much output, reading pauses now and then: a flood must not take the loop
_OUTPUT_PAUSE_S = 0.003


async def run_in(level: Level, request: ChildRequest) -> ChildResult:
    """Run ``request`` at ``level`` and return what the tool did; its error is raised as the class it was.

    :class:`TimedOut` when the time is up, :class:`Permanent` beyond a limit of memory, disk or output, :class:`Transient` if the child died.
    """
    child = Child(level, request)
    try:
        return await child.followed()
    finally:
        await asyncio.shield(asyncio.ensure_future(child.end()))


class Child:
    """A started child and the three descriptors that lead to it."""

    def __init__(self, level: Level, request: ChildRequest) -> None:
        self.level = level
        self.request = request
        self.talk = Conversation(request.log, request.limits.result_bytes)
        self.verdict: PulserError | None = None
        self.process_id = 0  # of the namespace's first process; without a namespace, of the runner
        self._loop = asyncio.get_running_loop()
        self._first: int | None = None  # pidfd of the namespace's first process
        self._output_seen = 0
        self._progress_timer: asyncio.TimerHandle | None = None
        self._watching: asyncio.Task[None] | None = None
        self._gone = self._loop.create_future()
        uid = privileges.uid_for_child() if level != "off" else None
        if uid is not None:
            folders.hand_to(request.folder, uid)
        self._start(uid)

    def _start(self, uid: int | None) -> None:
        self._messages, theirs = socket.socketpair()
        self._output, output = os.pipe2(os.O_CLOEXEC)
        self._info, info = os.pipe2(os.O_CLOEXEC)
        asked = os.memfd_create("request", os.MFD_CLOEXEC)
        try:
            launch = prepare(self.level, self.request, uid, theirs.fileno(), info)
            with open(asked, "wb", closefd=False) as file:
                file.write(json.dumps(launch.request).encode())
            os.lseek(asked, 0, os.SEEK_SET)
            inherited = (theirs.fileno(), info) if self.level == "bwrap" else (theirs.fileno(),)
            self._process = subprocess.Popen(
                launch.command, stdin=asked, stdout=output, stderr=output, env=launch.environment, cwd="/", pass_fds=inherited, start_new_session=True
            )
        except BaseException:
            for descriptor in (self._output, self._info):
                os.close(descriptor)
            self._messages.close()
            raise
        finally:
            theirs.close()
            for descriptor in (output, info, asked):
                os.close(descriptor)
        self._outer = os.pidfd_open(self._process.pid)
        if self.level != "bwrap":
            self.process_id = self._process.pid

    async def followed(self) -> ChildResult:
        """Read all it says until it is gone, then judge."""
        for descriptor in (self._messages.fileno(), self._output, self._info):
            os.set_blocking(descriptor, False)
        self._loop.add_reader(self._messages.fileno(), self._on_messages)
        self._loop.add_reader(self._output, self._on_output)
        self._loop.add_reader(self._outer, self._on_exit)
        limits = self.request.limits
        timer = self._loop.call_later(
            limits.time_s, self.stop, TimedOut(f"the tool did not finish within {limits.time_s:g} s", hint="Raise time_limit_s, or give it less to do.")
        )
        self._watching = self._loop.create_task(watch(self))
        try:
            await self._gone
        finally:
            timer.cancel()
            self._watching.cancel()
            self._kill()
            self._deaf()
        await self._dead()
        self._drain()
        self.talk.pass_on(self.request.on_progress)
        return self._judged()

    def stop(self, why: PulserError) -> None:
        """Kill it, and remember why; the first reason counts."""
        if self.verdict is None and not self._gone.done():
            self.verdict = why
            self._kill()

    async def end(self) -> None:
        """Kill what is left, wait until it is dead, close everything."""
        self._kill()
        self._deaf()
        await self._dead()
        if self._watching is not None:
            await asyncio.wait({self._watching})
        self._messages.close()
        for descriptor in (self._output, self._info, self._outer, self._first):
            if descriptor is not None:
                os.close(descriptor)

    def _on_messages(self) -> None:
        try:
            data = self._messages.recv(262_144)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._loop.remove_reader(self._messages.fileno())
            return
        was_ready = self.talk.ready
        try:
            self.talk.take(data)
        except PulserError as error:
            self._loop.remove_reader(self._messages.fileno())
            self.stop(error)
        if self.talk.ready and not was_ready:
            self._know_first()
        if self.talk.progress is not None and self._progress_timer is None:
            self._progress_timer = self._loop.call_later(_PROGRESS_EVERY_S, self._progress)
            self.talk.pass_on(self.request.on_progress)

    def _progress(self) -> None:
        self._progress_timer = None
        self.talk.pass_on(self.request.on_progress)

    def _on_output(self) -> None:
        try:
            data = os.read(self._output, 65_536)
        except BlockingIOError:
            return
        if not data:
            self._loop.remove_reader(self._output)
            return
        self.request.log.write(data)
        before, self._output_seen = self._output_seen, self._output_seen + len(data)
        if before // _OUTPUT_AT_ONCE != self._output_seen // _OUTPUT_AT_ONCE:
            self._loop.remove_reader(self._output)
            self._loop.call_later(_OUTPUT_PAUSE_S, self._listen_again)

    def _listen_again(self) -> None:
        if not self._gone.done():
            self._loop.add_reader(self._output, self._on_output)

    def _on_exit(self) -> None:
        self._loop.remove_reader(self._outer)
        if not self._gone.done():
            self._gone.set_result(None)

    def _deaf(self) -> None:
        if not self._gone.done():
            self._gone.cancel()
        if self._progress_timer is not None:
            self._progress_timer.cancel()
        for descriptor in (self._messages.fileno(), self._output, self._outer):
            if descriptor >= 0:
                self._loop.remove_reader(descriptor)

    def _know_first(self) -> None:
        """Hold on to the first process of bubblewrap's namespace: when it is dead, everything in there is."""
        if self.level != "bwrap" or self._first is not None:
            return
        with suppress(OSError):
            told = re.search(rb'"child-pid":\s*(\d+)', os.read(self._info, 4096))
            if told:
                self._first = os.pidfd_open(int(told[1]))
                self.process_id = int(told[1])

    def _kill(self) -> None:
        if self._process.returncode is not None:
            return
        self._know_first()
        with suppress(ProcessLookupError):
            if self._first is not None:
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # its leader is not reaped yet, so the number is still its own

    async def _dead(self) -> None:
        """Wait for the child, and for the first process of its namespace, which dies last."""
        for descriptor in (self._outer, self._first):
            if descriptor is not None:
                over = asyncio.Event()
                self._loop.add_reader(descriptor, over.set)
                try:
                    await over.wait()
                finally:
                    self._loop.remove_reader(descriptor)
        self._process.wait()

    def _drain(self) -> None:
        """What was said before the end and not yet read; bounded, should somebody hold the other end."""
        with suppress(BlockingIOError, OSError):
            while data := self._messages.recv(262_144):
                self.talk.take(data)
        with suppress(BlockingIOError, OSError):
            for _ in range(64):
                data = os.read(self._output, 65_536)
                if not data:
                    break
                self.request.log.write(data)

    def _judged(self) -> ChildResult:
        if self.verdict is not None:
            raise self.verdict
        if self.talk.out_of_memory:
            raise Permanent(f"the tool ran out of memory: its limit is {self.request.limits.memory_bytes >> 20:,} MiB", hint="Give it less at a time.")
        if self.talk.error is not None:
            raise self.talk.error
        if self.talk.value is not None:
            return ChildResult(self.talk.value, tuple(self.talk.artifacts.items()))
        code = self._process.returncode
        number = -code if code < 0 else code - 128 if self.level == "bwrap" and code > 128 else 0
        if number == signal.SIGXCPU:
            raise TimedOut("the tool used up its CPU time", hint="Raise time_limit_s, or give it less to do.")
        if number:
            name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
            raise Transient(f"the child died ({name})", hint="Its log may tell more.")
        if not self.talk.ready:
            raise Transient(f"the child did not start: {self.request.log.last_text()}", hint="`pulser doctor` tells what the sandbox needs.")
        raise Permanent(f"the tool's process ended without a result (exit code {code})", hint="Its log may tell more.")
