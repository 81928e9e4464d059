"""The folder of one call: ``out`` and ``tmp`` for the child to write, ``in`` and ``gathered`` for it to read. Gone when the call is."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from pathlib import Path


def make(scratch: Path) -> Path:
    """A fresh folder under ``scratch``, for nobody but Pulser and the child."""
    scratch.mkdir(parents=True, exist_ok=True)
    folder = Path(os.path.realpath(tempfile.mkdtemp(prefix="call-", dir=scratch)))
    folder.chmod(0o711)  # the child's user passes through; it cannot list
    for name in ("out", "tmp", "in", "gathered"):
        (folder / name).mkdir(mode=0o700 if name in ("out", "tmp") else 0o755)
    return folder


def hand_to(folder: Path, uid: int) -> None:
    """Let the child's user own what it may write."""
    for name in ("out", "tmp"):
        os.chown(folder / name, uid, uid)


def remove(folder: Path) -> None:
    """Remove ``folder`` with all that is in it: however deep, and whatever its permissions. Only once its writers are dead."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        _remove_hostile(folder)


def _remove_hostile(folder: Path) -> None:
    """Flatten: each folder's folders are moved up to the top, so that no path grows long and nothing recurs."""
    top, count = str(folder), 0
    waiting = [top]
    while waiting:
        here = waiting.pop()
        os.chmod(here, 0o700)
        for entry in list(os.scandir(here)):
            if not stat.S_ISDIR(entry.stat(follow_symlinks=False).st_mode):
                os.unlink(entry.path)
            elif here == top:
                waiting.append(entry.path)
            else:
                count += 1
                os.chmod(entry.path, 0o700)
                moved = os.path.join(top, f".{os.getpid()}-{count}")
                os.rename(entry.path, moved)
                waiting.append(moved)
        if here != top:
            os.rmdir(here)
    os.rmdir(top)
