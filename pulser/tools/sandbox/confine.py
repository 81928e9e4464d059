"""Which confinement holds here. Each is tried once per process: it must withstand :mod:`~pulser.tools.sandbox.selftest` to be offered."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from pulser.core.errors import OperatorError, PulserError
from pulser.tools.sandbox import bubblewrap, landlock, seccomp
from pulser.tools.sandbox import folder as folders
from pulser.tools.sandbox.launch import Level
from pulser.tools.sandbox.process import run_in
from pulser.tools.sandbox.request import ChildRequest, Limits, Readable

SETTINGS = ("auto", "bwrap", "landlock", "off")
_MEANING: dict[Level, str] = {
    "bwrap": "bubblewrap: namespaces of its own without network, only named places in sight, a seccomp filter, limits",
    "landlock": "Landlock and seccomp: only named places may be opened, no sockets, limits; names and sizes of other files can still be asked for",
    "off": "none: tools run with Pulser's own rights, bounded only by limits of time and size",
}

_found: dict[str, Confinement] = {}
_turn = threading.Lock()
_logger = logging.getLogger("pulser.tools.sandbox")


@dataclass(frozen=True, slots=True)
class Confinement:
    """How children are confined, in a word and in a sentence."""

    name: Level
    detail: str


def confinement(setting: str = "auto") -> Confinement:
    """What ``setting`` comes to on this machine; :class:`OperatorError` if nothing holds. Takes a moment the first time, and must not wait in a loop."""
    found = _found.get(setting)
    if found is not None:
        return found
    with ThreadPoolExecutor(1) as aside:  # a loop may be running in this thread
        return aside.submit(_decide, setting).result()


async def confinement_of(setting: str) -> Confinement:
    """As :func:`confinement`, without holding up the loop."""
    found = _found.get(setting)
    return found if found is not None else await asyncio.to_thread(_decide, setting)


def _decide(setting: str) -> Confinement:
    if setting not in SETTINGS:
        raise OperatorError(f"there is no sandbox {setting!r}", hint=f"Set one of {', '.join(SETTINGS)}.")
    with _turn:
        if setting in _found:
            return _found[setting]
        if setting == "off":
            _logger.warning("tools run unconfined, because the setting sandbox is off")
            _found[setting] = Confinement("off", _MEANING["off"])
            return _found[setting]
        levels: tuple[Level, ...] = ("bwrap", "landlock") if setting == "auto" else ("bwrap",) if setting == "bwrap" else ("landlock",)
        reasons = []
        for level in levels:
            why_not = _missing(level) or asyncio.run(_tried(level))
            if not why_not:
                _found[setting] = Confinement(level, _MEANING[level] + _notes(level))
                return _found[setting]
            reasons.append(f"{level}: {why_not}")
    raise OperatorError(
        "tools cannot be confined here: " + "; ".join(reasons),
        hint="Install bubblewrap and allow user namespaces, or use Linux 6.2 or newer with Landlock. PULSER_TOOLS_SANDBOX=off runs tools unconfined.",
    )


def _missing(level: Level) -> str:
    if level == "bwrap":
        return "" if bubblewrap.program() else "bwrap is not installed"
    if landlock.abi() < landlock.ABI_NEEDED:
        return f"the kernel offers Landlock {landlock.abi()}, and {landlock.ABI_NEEDED} is needed"
    return "" if seccomp.known_here() else "no seccomp filter is known for this kind of machine"


def _notes(level: Level) -> str:
    return "" if level != "bwrap" or seccomp.known_here() else " (no seccomp filter is known for this kind of machine)"


async def _tried(level: Level) -> str:
    """Empty if ``level`` holds, else why not."""
    with tempfile.TemporaryDirectory(prefix="pulser-selftest-") as name, socket.socket() as listener:
        place = Path(os.path.realpath(name))
        place.chmod(0o755)
        shown = place / "shown"
        (shown / "hidden").mkdir(parents=True)
        (shown / "file").write_text("shown")
        (shown / "hidden" / "canary").write_text("hidden")
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        folder = folders.make(place)
        status = shown.stat()
        request = ChildRequest(
            target="pulser.tools.sandbox.selftest:TOOL",
            args={
                "hidden": str(shown / "hidden" / "canary"),
                "shown": str(shown / "file"),
                "outside": str(place / "escaped"),
                "port": listener.getsockname()[1],
                "parent": os.getpid(),
            },
            folder=folder,
            reads=(Readable(shown, status.st_dev, status.st_ino),),
            hidden=(shown / "hidden",),
            limits=Limits(time_s=20, memory_bytes=256 << 20, disk_bytes=16 << 20),
        )
        try:
            escaped = (await run_in(level, request)).value.get("escaped")
            if (place / "escaped").exists() or (shown / "file").read_text() != "shown":
                return "it lets a tool write outside its folder"
            written = (folder / "out" / "mark").is_file()
        except (PulserError, OSError) as error:
            return f"{error} {request.log.last_text(200)}".strip()
        finally:
            folders.remove(folder)
        if escaped or escaped is None:
            return "it lets a tool " + " and ".join(map(str, escaped or ["say what it likes"]))
        return "" if written else "what a tool writes does not arrive"
