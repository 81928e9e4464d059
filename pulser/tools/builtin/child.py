"""Run one program to its end: an environment of three names, a time limit, bounded output, and nothing of it left behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pulser.core.errors import OperatorError, Permanent

PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Finished:
    """How it ended. ``code`` is negative for a signal; ``timed_out`` if the limit stopped it; ``cut`` if output was dropped."""

    code: int
    out: bytes
    err: bytes
    timed_out: bool = False
    cut: bool = False

    @property
    def told(self) -> str:
        """What it said, for a person: errors first."""
        return (self.err or self.out).decode("utf-8", "replace").strip()


def program(name: str) -> str:
    """Where a program of the system is; :class:`OperatorError` if it is not installed."""
    found = shutil.which(name, path=PATH)
    if not found:
        raise OperatorError(f"{name} is not installed", hint=f"Install {name} where Pulser's workers run.")
    return found


def run_child(
    command: Sequence[str],
    *,
    cwd: Path,
    home: Path,
    time_limit_s: float,
    env: Mapping[str, str] | None = None,
    out_limit_bytes: int = 4 * 1024 * 1024,
    keep: str = "start",
) -> Finished:
    """Run ``command`` in ``cwd`` with ``home`` as HOME and TMPDIR. Of each stream the ``start`` or the ``end`` is kept."""
    full = {"PATH": PATH, "HOME": str(home), "TMPDIR": str(home), "LC_ALL": "C.UTF-8"} | dict(env or {})
    try:
        process = subprocess.Popen(
            list(command), cwd=cwd, env=full, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise Permanent(f"{command[0]} cannot be started: {error.strerror}") from None
    streams = [_Drain(stream, out_limit_bytes, keep) for stream in (process.stdout, process.stderr) if stream is not None]
    timed_out = False
    try:
        process.wait(time_limit_s)
    except subprocess.TimeoutExpired:
        timed_out = True
    finally:
        _end_group(process)
    for stream in streams:
        stream.thread.join(5)
    out, err = streams
    return Finished(process.returncode, bytes(out.kept), bytes(err.kept), timed_out, out.cut or err.cut)


class _Drain:
    """Reads a stream to its end, so that the program never waits for us, and keeps a bounded part."""

    def __init__(self, stream: IO[bytes], limit_bytes: int, keep: str) -> None:
        self.kept = bytearray()
        self.cut = False
        self._stream, self._limit, self._keep = stream, limit_bytes, keep
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self) -> None:
        with self._stream as stream:
            while piece := stream.read1(65536):  # type: ignore[attr-defined]
                self.kept += piece
                if len(self.kept) > self._limit:
                    self.cut = True
                    if self._keep == "end":
                        del self.kept[: len(self.kept) - self._limit]
                    else:
                        del self.kept[self._limit :]


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """Stop the program and whatever it started and left; they share its session's process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()
