"""Paths beneath the configured roots, opened so that no rename and no symbolic link leads out of them.

The kernel does it where it can: ``openat2`` with RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS
(https://man7.org/linux/man-pages/man2/openat2.2.html). Elsewhere each component is opened from the one before, with O_NOFOLLOW.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal, NoReturn

from pulser.core.errors import BadInput, Permanent

Kind = Literal["file", "folder"]

_OPENAT2 = 437  # the same number on every architecture
_NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 0x02, 0x04, 0x08
_LENGTH_LIMIT = 4000


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@dataclass(frozen=True, slots=True)
class Root:
    """A folder that payloads may name paths under."""

    path: Path
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a path led to, as it was when it was opened."""

    path: Path  # absolute, without links
    root: Root
    kind: Kind
    device: int
    inode: int


def parse_root(text: str | Path) -> Root:
    """``/data`` for reading, ``/data:rw`` also for writing."""
    words = str(text)
    writable = words.endswith(":rw")
    return Root(Path(words.removesuffix(":rw")).expanduser(), writable)


def find(text: str, roots: Sequence[Root], data_dir: Path | None = None, *, pointer: str = "/payload/path", writable: bool = False) -> Found:
    """What the payload's path ``text`` means: beneath a root if absolute, under the first root that has it if relative.

    :class:`BadInput` (its ``errors`` carry ``pointer``) if it is outside the roots, not there, a link, neither a regular file nor a folder,
    or in Pulser's own data folder.
    """
    if not text or len(text) > _LENGTH_LIMIT or "\0" in text:
        _refuse(pointer, f"{text[:80]!r} is not a path", "Give a path under one of the roots.")
    usable = [root for root in roots if root.writable or not writable]
    candidates = list(_candidates(text, usable))
    if not candidates:
        _refuse(pointer, f"{text[:200]!r} is outside the folders that may be {'written' if writable else 'named'}", _listed(usable, writable))
    for root, below in candidates:
        try:
            with opened(root.path, below) as descriptor:
                return _found(descriptor, text, root, data_dir, pointer)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR):
                continue
            if error.errno in (errno.ELOOP, errno.EXDEV):
                _refuse(pointer, f"{text[:200]!r} goes through a symbolic link", "Name the place itself; links are not followed.")
            if error.errno in (errno.EACCES, errno.EPERM):
                _refuse(pointer, f"{text[:200]!r} may not be read by Pulser", "Change its permissions, or name another path.")
            _refuse(pointer, f"{text[:200]!r} cannot be opened: {os.strerror(error.errno or 0)}", "Name another path.")
    _refuse(pointer, f"there is no {text[:200]!r}", _listed(usable, writable))


@contextmanager
def opened(folder: Path, below: str, flags: int = os.O_PATH) -> Iterator[int]:
    """A descriptor of ``below``, a relative path that stays beneath ``folder`` and passes no link; :class:`OSError` otherwise."""
    base = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_beneath(base, below, flags)
    finally:
        os.close(base)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def open_beneath(base: int, below: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """A new descriptor of ``below`` (relative) beneath the folder ``base``; ELOOP at a link, EXDEV at a way out."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode if flags & os.O_CREAT else 0, _BENEATH | _NO_SYMLINKS | _NO_MAGICLINKS)
    while True:
        descriptor = int(_libc().syscall(_OPENAT2, base, os.fsencode(below or "."), ctypes.byref(how), ctypes.sizeof(how)))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number == errno.EAGAIN:  # something moved meanwhile; the kernel asks to try again
            continue
        if number in (errno.ENOSYS, errno.EPERM):  # an old kernel, or a container's filter
            return step_beneath(base, below, flags, mode)
        raise OSError(number, os.strerror(number), below)


def step_beneath(base: int, below: str, flags: int = os.O_RDONLY, mode: int = 0) -> int:
    """As :func:`open_beneath`, component by component, for kernels without openat2."""
    parts = [part for part in below.split("/") if part not in ("", ".")]
    if ".." in parts or below.startswith("/"):
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), below)
    here = os.dup(base)
    try:
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            step = (flags | os.O_NOFOLLOW) if last else (os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
            there = os.open(part, step | os.O_CLOEXEC, mode, dir_fd=here)
            os.close(here)
            here = there
            if stat.S_ISLNK(os.fstat(here).st_mode):  # O_PATH | O_NOFOLLOW opens the link itself
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), below)
        if not parts and flags != os.O_PATH:
            there = os.open(".", flags | os.O_CLOEXEC, mode, dir_fd=here)
            os.close(here)
            here = there
        os.set_inheritable(here, False)
        return here
    except OSError as error:
        os.close(here)
        if error.errno == errno.ENOTDIR and _is_link_on_the_way(base, parts):
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), below) from None
        raise


def regular_file(folder: Path, name: str, limit_bytes: int) -> Path:
    """``folder/name`` if that is a regular file of at most ``limit_bytes``, reached through no link; :class:`Permanent` otherwise."""
    try:
        with opened(folder, name, os.O_RDONLY | os.O_NONBLOCK) as descriptor:
            status = os.fstat(descriptor)
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise Permanent(f"the artifact {name!r} is a symbolic link", hint="Only regular files are kept.") from None
        raise Permanent(
            f"the artifact {name!r} was named but cannot be read: {os.strerror(error.errno or 0)}", hint="The tool must write what it names."
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise Permanent(f"the artifact {name!r} is not a regular file", hint="Only regular files are kept.")
    if status.st_size > limit_bytes:
        raise Permanent(f"the artifact {name!r} has {status.st_size:,} bytes; the limit is {limit_bytes:,}", hint="Write less, or raise the limit.")
    return folder / name


def inside(path: Path, folder: Path | None) -> bool:
    """True if ``path`` is ``folder`` or lies in it; both without links."""
    return folder is not None and path.is_relative_to(folder)


def _candidates(text: str, roots: Sequence[Root]) -> Iterator[tuple[Root, str]]:
    path = PurePosixPath(os.path.normpath(text))
    if not path.is_absolute():
        if ".." not in path.parts:
            yield from ((root, str(path)) for root in roots)
        return
    for root in roots:
        for base in dict.fromkeys((os.path.normpath(root.path), os.path.realpath(root.path))):
            if path.is_relative_to(base):
                yield root, str(path.relative_to(base))
                break


def _found(descriptor: int, text: str, root: Root, data_dir: Path | None, pointer: str) -> Found:
    status = os.fstat(descriptor)
    path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
    if data_dir is not None and inside(path, Path(os.path.realpath(data_dir))):
        _refuse(pointer, f"{text[:200]!r} is in Pulser's own data folder", "Name a file of yours; files that Pulser keeps are file:… and artifact:….")
    if stat.S_ISREG(status.st_mode):
        return Found(path, root, "file", status.st_dev, status.st_ino)
    if stat.S_ISDIR(status.st_mode):
        return Found(path, root, "folder", status.st_dev, status.st_ino)
    _refuse(pointer, f"{text[:200]!r} is neither a regular file nor a folder", "Devices, pipes and sockets are not read.")


def _is_link_on_the_way(base: int, parts: list[str]) -> bool:
    for number in range(len(parts)):
        try:
            if stat.S_ISLNK(os.stat("/".join(parts[: number + 1]), dir_fd=base, follow_symlinks=False).st_mode):
                return True
        except OSError:
            return False
    return False


def _listed(roots: Sequence[Root], writable: bool) -> str:
    if not roots:
        return f"No folder may be {'written' if writable else 'named'} here: set PULSER_TOOLS_ROOTS, or send the file to /api/v1/files first."
    return "Roots: " + ", ".join(str(root.path) for root in roots) + "."


def _refuse(pointer: str, detail: str, hint: str) -> NoReturn:
    raise BadInput(detail, hint=hint, errors=[{"pointer": pointer, "detail": detail}])


def _libc() -> ctypes.CDLL:
    global _LIBC
    if _LIBC is None:
        _LIBC = ctypes.CDLL(None, use_errno=True)
    return _LIBC


_LIBC: ctypes.CDLL | None = None
