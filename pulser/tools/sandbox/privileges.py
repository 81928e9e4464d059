"""What the child gives up before it runs anything of a tool: root, new privileges, and more than its share."""

from __future__ import annotations

import ctypes
import os
import resource
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

FIRST_UID, UIDS = 61_184, 4_336  # the range systemd gives to short-lived users: nobody's files belong to them
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2
_counter = 0


def uid_for_child() -> int | None:
    """A user id of the child's own, so that its share of processes is counted apart; None if Pulser is not root or has but one id."""
    if os.geteuid() != 0:
        return None
    with open("/proc/self/uid_map", encoding="ascii") as file:
        if not any(int(first) <= FIRST_UID and int(first) + int(count) >= FIRST_UID + UIDS for first, _, count in map(str.split, file)):
            return None
    global _counter
    _counter += 1
    return FIRST_UID + (os.getpid() * 16 + _counter) % UIDS


def no_new_privileges() -> None:
    """No program this process starts can gain anything; nor may others of the same user look into it."""
    _prctl(38, 1)  # PR_SET_NO_NEW_PRIVS


def not_looked_into() -> None:
    """What the tool starts cannot open this process's descriptors or memory (and so cannot speak in its name)."""
    _prctl(4, 0)  # PR_SET_DUMPABLE


def become(uid: int) -> None:
    """Turn from root into ``uid``, keeping one capability at most: to read what the sandbox shows, whoever owns it."""
    kept = _available() & (1 << _DAC_READ_SEARCH) or _available() & (1 << _DAC_OVERRIDE)
    _prctl(8, 1)  # PR_SET_KEEPCAPS
    with suppress(OSError):
        _prctl(28, 1 << 2)  # PR_SET_SECUREBITS, NO_SETUID_FIXUP: else access(2), which git asks, ignores the capability
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    _set_capabilities(kept)
    if kept:
        _prctl(47, 2, kept.bit_length() - 1)  # PR_CAP_AMBIENT, RAISE: programs it starts read the same


def limit(limits: Mapping[str, Any], *, alone: bool) -> None:
    """Bound this process and each one it starts. ``memory_bytes`` counts what it writes to; shared and reserved addresses get four times that.

    ``alone``: no other process counts towards this user's share of processes.
    """
    memory = int(limits["memory_bytes"])
    seconds = int(limits["time_s"]) * (os.cpu_count() or 1) + 5
    wanted = {
        resource.RLIMIT_DATA: memory,
        resource.RLIMIT_AS: 4 * memory + (4 << 30),
        resource.RLIMIT_FSIZE: int(limits["disk_bytes"]),
        resource.RLIMIT_NOFILE: 1024,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_CPU: seconds,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
    }
    processes = int(limits["processes"])
    wanted[resource.RLIMIT_NPROC] = processes if alone else processes + _threads_of_user()
    for what, value in wanted.items():
        _, hard = resource.getrlimit(what)
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))
    os.nice(5)  # leases are renewed by the process next door


def _threads_of_user() -> int:
    """How many threads the user runs already; they count towards the same limit where no namespace keeps them apart."""
    mine, count = os.getuid(), 0
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == mine:
                    count += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return count


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _available() -> int:
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    if ctypes.CDLL(None, use_errno=True).capget(ctypes.byref(header), data) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    return int(data[0].permitted)


def _set_capabilities(kept: int) -> None:
    header, data = _Header(0x20080522, 0), (_Data * 2)()
    data[0] = _Data(kept, kept, kept)
    if ctypes.CDLL(None, use_errno=True).capset(ctypes.byref(header), data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(option: int, value: int, extra: int = 0) -> None:
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(extra), 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
