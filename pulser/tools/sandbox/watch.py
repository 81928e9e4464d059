"""What limits of the kernel do not cover: the memory of the whole tree of processes, and how much lies in its folders."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from pulser.core.errors import Permanent, PulserError
from pulser.tools.sandbox.launch import Level
from pulser.tools.sandbox.request import ChildRequest

FIRST_LOOK_S = 0.05
LOOK_EVERY_S = 0.25
DEPTH_LIMIT = 100  # of folders in folders

_looking = ThreadPoolExecutor(1, "sandbox-watch")


class Watched(Protocol):
    """A running child."""

    level: Level
    request: ChildRequest
    process_id: int

    def stop(self, why: PulserError) -> None:
        """Kill it for this reason."""


async def watch(child: Watched) -> None:
    """Look now and then until cancelled; stop the child when it takes more than it may."""
    pause = FIRST_LOOK_S
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(pause)
        pause = LOOK_EVERY_S
        if not child.process_id:
            continue
        look = loop.run_in_executor(_looking, excess, child)
        try:
            over = await asyncio.shield(look)
        except asyncio.CancelledError:
            await asyncio.wait({look})  # it looks into a folder that is about to go
            raise
        except OSError:  # too many open files, say: the next look may see
            continue
        if over is not None:
            child.stop(over)
            return


def excess(child: Watched) -> Permanent | None:
    """Why the child must stop, if it must."""
    limits = child.request.limits
    members = list(tree(child.process_id, by_group=child.level != "bwrap"))
    if sum(map(_resident, members)) > limits.memory_bytes and sum(map(_proportional, members)) > limits.memory_bytes:
        return Permanent(f"the tool ran out of memory: its limit is {limits.memory_bytes >> 20:,} MiB", hint="Give it less at a time.")
    folder = child.request.folder
    places = [folder / "out"] if child.level == "bwrap" else [folder / "out", folder / "tmp"]
    for place in places:
        try:
            used, files = disk_used(place, limits.files)
        except PermissionError as error:
            return Permanent(f"the tool made folders that cannot be looked into (too deep, or closed): {error}", hint="Keep them shallow and readable.")
        if used > limits.disk_bytes:
            return Permanent(f"the tool wrote more than {limits.disk_bytes >> 20:,} MiB", hint="Write less.")
        if files > limits.files:
            return Permanent(f"the tool made more than {limits.files:,} files", hint="Put them into one archive.")
    if child.level == "bwrap" and tmpfs_files(child.process_id, folder / "tmp") > limits.files:
        return Permanent(f"the tool made more than {limits.files:,} temporary files", hint="Make fewer.")
    return None


def tree(process_id: int, *, by_group: bool) -> Iterator[int]:
    """The process, its descendants and, where no namespace keeps them together, the members of its group."""
    seen = set()
    waiting = [process_id]
    if by_group:
        waiting += _group(process_id)
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        yield current
        try:
            for thread in os.listdir(f"/proc/{current}/task"):
                with open(f"/proc/{current}/task/{thread}/children", encoding="ascii") as file:
                    waiting.extend(map(int, file.read().split()))
        except OSError:
            continue


def disk_used(folder: Path, files_limit: int) -> tuple[int, int]:
    """Bytes and entries beneath ``folder``, following no link; stops counting beyond ``files_limit``.

    :class:`PermissionError` where a tool made folders so deep or so closed that nobody can look.
    """
    try:
        top = os.open(folder, _FOLDER)
    except FileNotFoundError:
        return 0, 0
    return _counted(top, files_limit, 0)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _counted(descriptor: int, files_limit: int, depth: int) -> tuple[int, int]:
    """The same for an open folder, which is closed. What changes meanwhile is left out: the next look will see it."""
    if depth > DEPTH_LIMIT:
        os.close(descriptor)
        raise PermissionError(f"deeper than {DEPTH_LIMIT}")
    used = files = 0
    try:
        with os.scandir(descriptor) as entries:
            for entry in entries:
                files += 1
                if files > files_limit:
                    break
                try:
                    if entry.is_dir(follow_symlinks=False):
                        inner = os.open(entry.name, _FOLDER, dir_fd=descriptor)
                        more_used, more_files = _counted(inner, files_limit - files, depth + 1)
                        used, files = used + more_used, files + more_files
                    else:
                        used += entry.stat(follow_symlinks=False).st_blocks * 512
                except PermissionError:
                    raise
                except OSError:
                    continue
    finally:
        os.close(descriptor)
    return used, files


def tmpfs_files(process_id: int, folder: Path) -> int:
    """Entries in the namespace's own ``tmp``, where Pulser may look; its bytes are bounded by its size."""
    try:
        status = os.statvfs(f"/proc/{process_id}/root{folder}")
    except OSError:
        return 0
    return status.f_files - status.f_ffree


def _resident(process_id: int) -> int:
    """Bytes in use; pages shared with a parent count for both."""
    return _kilobytes(f"/proc/{process_id}/status", ("RssAnon:", "RssShmem:")) or 0


def _proportional(process_id: int) -> int:
    """The same with shared pages divided by those who share them; costs more, and needs the right to look."""
    told = _kilobytes(f"/proc/{process_id}/smaps_rollup", ("Pss_Anon:", "Pss_Shmem:"))
    return _resident(process_id) if told is None else told


def _kilobytes(file_name: str, names: tuple[str, ...]) -> int | None:
    try:
        with open(file_name, encoding="ascii", errors="replace") as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(names))
    except (OSError, ValueError, IndexError):
        return None


def _group(leader: int) -> Iterator[int]:
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", encoding="ascii", errors="replace") as file:
                    if int(file.read().rpartition(")")[2].split()[2]) == leader:
                        yield int(name)
            except (OSError, ValueError, IndexError):
                continue
