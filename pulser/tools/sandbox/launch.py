"""How a child is started at each level of confinement: its command, its environment, and what the runner is told to give up."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pulser.core.tool import Json
from pulser.tools.sandbox import bubblewrap, landlock, seccomp
from pulser.tools.sandbox.git import ENVIRONMENT as GIT
from pulser.tools.sandbox.request import ChildRequest

Level = Literal["bwrap", "landlock", "off"]
Rule = tuple[str, int, tuple[int, int] | None]

_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_TOLD = (  # of the machine, for libraries that size themselves by it; of /proc only the runner's own folder
    "/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems", "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """A command, the child's whole environment, and the request as the runner reads it."""

    command: list[str]
    environment: dict[str, str]
    request: Json


def prepare(level: Level, request: ChildRequest, uid: int | None, channel: int, info: int) -> Launch:
    """All that is needed to start ``request`` at ``level``; ``channel`` and ``info`` are descriptors the child inherits."""
    python = [sys.executable, "-I", "-B", "-c", _START, str(Path(_package()).parent), str(channel)]
    reads = [readable.path for readable in request.reads] + [copy.repository for copy in request.git]
    if request.import_from is not None:
        reads.append(request.import_from)
    command = python
    if level == "bwrap":
        root, filtered = os.geteuid() == 0, seccomp.known_here()
        around = bubblewrap.command(request.folder, reads, request.hidden, info, tmp_bytes=request.limits.disk_bytes, root=root, filtered=filtered)
        command = around + python
    return Launch(command, _environment(request.folder), _told(level, request, uid, reads))


_START = "import sys; sys.path.append(sys.argv[1]); from pulser.tools.sandbox.runner import main; main(int(sys.argv[2]))"


def _package() -> str:
    import pulser

    return str(Path(pulser.__file__).parent)


def _environment(folder: Path) -> dict[str, str]:
    """Everything the child finds in its environment."""
    tmp = str(folder / "tmp")
    programs = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return {"PATH": programs, "LANG": "C.UTF-8", "HOME": tmp, "TMPDIR": tmp, "PYTHONDONTWRITEBYTECODE": "1", **GIT}


def _told(level: Level, request: ChildRequest, uid: int | None, reads: Sequence[Path]) -> Json:
    confine: dict[str, Any] = {"level": level, "uid": uid, "landlock": None, "seccomp": None}
    if level == "landlock":
        confine["landlock"] = list(_landlock_rules(request, reads))
    if level != "off" and seccomp.known_here():
        own_namespace = level == "bwrap"
        confine["seccomp"] = {
            "sockets": not own_namespace,
            "leave_group": not own_namespace,
            "ipc": not own_namespace,
            "signals": not own_namespace and uid is None and landlock.abi() < 6,
            "metadata": not own_namespace and uid is None,
        }
    limits = request.limits
    return {
        "target": request.target,
        "args": request.args,
        "folder": str(request.folder),
        "reads": [[str(readable.path), readable.device, readable.inode] for readable in request.reads],
        "git": [{"repository": str(c.repository), "revision": c.revision, "to": str(c.to), "pointer": c.pointer} for c in request.git],
        "import_from": str(request.import_from) if request.import_from else None,
        "limits": {"time_s": limits.time_s, "memory_bytes": limits.memory_bytes, "disk_bytes": limits.disk_bytes, "processes": limits.processes},
        "confine": confine,
    }


def _landlock_rules(request: ChildRequest, reads: Sequence[Path]) -> Iterator[Rule]:
    places = [*bubblewrap.system_places(), *bubblewrap.etc_places(), *bubblewrap.interpreter_places(), *reads]
    pinned = {readable.path: (readable.device, readable.inode) for readable in request.reads}
    for path in dict.fromkeys(places):
        yield from _shown(path, request.hidden, pinned.get(path))
    for name in ("in", "gathered"):
        yield str(request.folder / name), landlock.READ, None
    for name in ("out", "tmp"):
        yield str(request.folder / name), landlock.WRITE, None
    for device in _DEVICES:
        yield device, landlock.DEVICE, None
    for file in _TOLD:
        yield file, landlock.READ, None


def _shown(path: Path, hidden: Sequence[Path], identity: tuple[int, int] | None) -> Iterator[Rule]:
    """Rules that show ``path`` without what is hidden in it. Landlock only allows, so what lies beside the hidden folder is allowed piece by piece."""
    if path in hidden:
        return
    if not any(other.is_relative_to(path) for other in hidden):
        yield str(path), landlock.READ, identity
        return
    yield str(path), landlock.LIST, identity
    for entry in os.scandir(path):
        status = entry.stat(follow_symlinks=False)
        if not stat.S_ISLNK(status.st_mode):  # a link needs no right; where it leads does
            yield from _shown(Path(entry.path), hidden, (status.st_dev, status.st_ino))
