"""Landlock (https://docs.kernel.org/userspace-api/landlock.html): this process and its children may only touch the named places."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Sequence

ABI_NEEDED = 3  # before it, a file that may be read can be emptied

_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same numbers on every architecture
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
READ = _EXECUTE | _READ_FILE | _READ_DIR
LIST = _READ_DIR
DEVICE = _READ_FILE | _WRITE_FILE
WRITE = ((1 << 15) - 1) & ~(_MAKE_CHAR | _MAKE_BLOCK)


class _Attributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def abi() -> int:
    """The version this kernel offers; 0: none."""
    version = int(ctypes.CDLL(None, use_errno=True).syscall(_CREATE, None, 0, 1))
    return max(version, 0)


def restrict(rules: Sequence[tuple[str, int, tuple[int, int] | None]]) -> None:
    """From now on allow only ``rules``: a path, what may be done beneath it, and (device, inode) it must be; needs no_new_privs.

    Paths that do not exist are left out; one that is not the inode it should be raises :class:`OSError`, as does a refusing kernel.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    version = abi()
    if version < ABI_NEEDED:
        raise OSError(0, f"Landlock {version} is too old")
    handled = (1 << (16 if version >= 5 else 15)) - 1
    attributes = _Attributes(handled, 0b11 if version >= 4 else 0, 0b11 if version >= 6 else 0)  # no TCP; no signals or abstract sockets out
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(_CREATE, ctypes.byref(attributes), ctypes.c_size_t(size), 0)
    if ruleset < 0:
        raise OSError(ctypes.get_errno(), "landlock_create_ruleset")
    try:
        for path, allowed, identity in rules:
            _allow(libc, ruleset, path, allowed & handled, identity)
        if libc.syscall(_RESTRICT, ruleset, 0) != 0:
            raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    finally:
        os.close(ruleset)


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, allowed: int, identity: tuple[int, int] | None) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        if identity is None:
            return
        raise
    try:
        status = os.fstat(descriptor)
        if identity is not None and (status.st_dev, status.st_ino) != identity:
            raise OSError(0, f"{path} is not what it was")
        if not stat.S_ISDIR(status.st_mode):
            allowed &= _OF_FILES
        rule = _Beneath(allowed, descriptor)
        if libc.syscall(_ADD, ruleset, 1, ctypes.byref(rule), 0) != 0:
            raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
    finally:
        os.close(descriptor)
