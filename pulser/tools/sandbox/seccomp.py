"""A filter of system calls (https://docs.kernel.org/userspace-api/seccomp_filter.html), put together here because no library is at hand.

It denies what a tool has no use for and what has led out of sandboxes: other address families, tracing, mounting, keys, bpf,
new namespaces, handles of files, io_uring. A denied call fails with EPERM; it does not kill, so that programs can fall back.
"""

from __future__ import annotations

import ctypes
import errno
import platform
from dataclasses import dataclass

_SAME = {  # the same numbers everywhere
    "pidfd_send_signal": 424, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428, "move_mount": 429,
    "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435, "pidfd_getfd": 438, "mount_setattr": 442, "quotactl_fd": 443,
    "fchmodat2": 452, "setxattrat": 463, "removexattrat": 466, "open_tree_attr": 467,
}  # fmt: skip
NUMBERS: dict[str, dict[str, int]] = {
    "x86_64": _SAME | {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161,
        "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298, "unshare": 272, "setns": 308,
        "name_to_handle_at": 303, "open_by_handle_at": 304, "swapon": 167, "swapoff": 168, "reboot": 169, "syslog": 103, "acct": 163, "quotactl": 179,
        "sethostname": 170, "setdomainname": 171, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159, "clock_adjtime": 305, "iopl": 172,
        "ioperm": 173, "init_module": 175, "finit_module": 313, "delete_module": 176, "kexec_load": 246, "kexec_file_load": 320, "fanotify_init": 300,
        "lookup_dcookie": 212, "personality": 135, "modify_ldt": 154, "vhangup": 153, "migrate_pages": 256, "move_pages": 279,
        "socket": 41, "clone": 56, "ioctl": 16, "setsid": 112, "setpgid": 109, "kill": 62, "tkill": 200, "tgkill": 234, "rt_sigqueueinfo": 129,
        "rt_tgsigqueueinfo": 297, "shmget": 29, "shmat": 30, "shmctl": 31, "semget": 64, "semop": 65, "semctl": 66, "semtimedop": 220, "msgget": 68,
        "msgsnd": 69, "msgrcv": 70, "msgctl": 71, "mq_open": 240, "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94,
        "fchownat": 260, "utime": 132, "utimes": 235, "futimesat": 261, "utimensat": 280, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190,
        "removexattr": 197, "lremovexattr": 198, "fremovexattr": 199,
    },
    "aarch64": _SAME | {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51,
        "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241, "unshare": 97, "setns": 268,
        "name_to_handle_at": 264, "open_by_handle_at": 265, "swapon": 224, "swapoff": 225, "reboot": 142, "syslog": 116, "acct": 89, "quotactl": 60,
        "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171, "clock_adjtime": 266, "init_module": 105,
        "finit_module": 273, "delete_module": 106, "kexec_load": 104, "kexec_file_load": 294, "fanotify_init": 262, "lookup_dcookie": 18,
        "personality": 92, "vhangup": 58, "migrate_pages": 238, "move_pages": 239,
        "socket": 198, "clone": 220, "ioctl": 29, "setsid": 157, "setpgid": 154, "kill": 129, "tkill": 130, "tgkill": 131, "rt_sigqueueinfo": 138,
        "rt_tgsigqueueinfo": 240, "shmget": 194, "shmctl": 195, "shmat": 196, "semget": 190, "semctl": 191, "semtimedop": 192, "semop": 193,
        "msgget": 186, "msgctl": 187, "msgrcv": 188, "msgsnd": 189, "mq_open": 180, "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55,
        "utimensat": 88, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7, "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

ALWAYS = (
    "ptrace", "process_vm_readv", "process_vm_writev", "kcmp", "mount", "umount2", "pivot_root", "chroot", "open_tree", "open_tree_attr", "move_mount",
    "fsopen", "fsconfig", "fsmount", "fspick", "mount_setattr", "keyctl", "add_key", "request_key", "bpf", "userfaultfd", "perf_event_open", "unshare",
    "setns", "name_to_handle_at", "open_by_handle_at", "swapon", "swapoff", "reboot", "syslog", "acct", "quotactl", "quotactl_fd", "sethostname",
    "setdomainname", "settimeofday", "clock_settime", "adjtimex", "clock_adjtime", "iopl", "ioperm", "init_module", "finit_module", "delete_module",
    "kexec_load", "kexec_file_load", "fanotify_init", "lookup_dcookie", "personality", "modify_ldt", "vhangup", "migrate_pages", "move_pages",
    "pidfd_getfd",
)  # fmt: skip
ABSENT = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")  # ENOSYS: libraries then use what can be looked into
LEAVE_GROUP = ("setsid", "setpgid")  # so that killing the group kills all; they too answer "done", since starting a program in a new session is common
SIGNALS = ("kill", "tkill", "tgkill", "pidfd_send_signal", "rt_sigqueueinfo", "rt_tgsigqueueinfo")
IPC = ("shmget", "shmat", "shmctl", "semget", "semop", "semctl", "semtimedop", "msgget", "msgsnd", "msgrcv", "msgctl", "mq_open")
METADATA = (  # Landlock does not see these; they answer "done" and do nothing, since copying a file tree calls them
    "chmod", "fchmod", "fchmodat", "fchmodat2", "chown", "fchown", "lchown", "fchownat", "utime", "utimes", "futimesat", "utimensat", "setxattr",
    "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "setxattrat", "removexattrat",
)  # fmt: skip

_LD, _JEQ, _JGE, _JSET, _RET = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NEW_NAMESPACES = 0x7E020000
_TYPE_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX
_FAMILIES = (1, 2, 10)  # UNIX, INET, INET6


@dataclass(frozen=True, slots=True)
class Rules:
    """What is denied beyond ``ALWAYS``; all of it where no namespace stands around the child."""

    sockets: bool = True  # every socket(); else only families other than UNIX and IP, which then sees an empty network of its own
    leave_group: bool = True
    ipc: bool = True
    signals: bool = False
    metadata: bool = False


def known_here() -> bool:
    """True if the numbers of this machine's system calls are known."""
    return platform.machine() in NUMBERS


def program(rules: Rules, machine: str) -> list[tuple[int, int, int, int]]:
    """The filter, as ``(code, jump if true, jump if false, k)``."""
    number = NUMBERS[machine]
    code = [(_LD, 0, 0, 4), (_JEQ, 1, 0, _AUDIT_ARCH[machine]), (_RET, 0, 0, _KILL), (_LD, 0, 0, 0)]
    if machine == "x86_64":
        code += [(_JGE, 0, 1, 0x40000000), _fail(errno.ENOSYS)]  # the x32 numbers
    denied = list(ALWAYS)
    denied += IPC if rules.ipc else ()
    denied += SIGNALS if rules.signals else ()
    denied += ("socket",) if rules.sockets else ()
    for names, answer in (
        (denied, errno.EPERM),
        (ABSENT, errno.ENOSYS),
        (METADATA if rules.metadata else (), 0),
        (LEAVE_GROUP if rules.leave_group else (), 0),
    ):
        for name in names:
            if name in number:
                code += [(_JEQ, 0, 1, number[name]), _fail(answer)]
    code += _argument(number["clone"], 0, [(_JSET, 0, 1, _NEW_NAMESPACES), _fail(errno.EPERM)])
    code += _argument(number["ioctl"], 1, [step for request in _TYPE_INTO_TERMINAL for step in ((_JEQ, 0, 1, request), _fail(errno.EPERM))])
    if not rules.sockets:
        last = len(_FAMILIES) - 1
        code += _argument(number["socket"], 0, [(_JEQ, last - n + 1, 0, family) for n, family in enumerate(_FAMILIES)] + [_fail(errno.EAFNOSUPPORT)])
    return [*code, (_RET, 0, 0, _ALLOW)]


def install(rules: Rules) -> None:
    """Put the filter on this thread and all it starts; needs no_new_privs. :class:`OSError` if the kernel refuses."""
    steps = program(rules, platform.machine())
    filters = (_Filter * len(steps))(*[_Filter(*step) for step in steps])
    loaded = _Program(len(steps), ctypes.cast(filters, ctypes.POINTER(_Filter)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(22, 2, ctypes.byref(loaded), 0, 0) != 0:  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        raise OSError(ctypes.get_errno(), "seccomp")


class _Filter(ctypes.Structure):
    _fields_ = (("code", ctypes.c_ushort), ("jt", ctypes.c_ubyte), ("jf", ctypes.c_ubyte), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Filter)))


def _fail(number: int) -> tuple[int, int, int, int]:
    return (_RET, 0, 0, _ERRNO | number)


def _argument(call: int, index: int, steps: list[tuple[int, int, int, int]]) -> list[tuple[int, int, int, int]]:
    """If ``call``: look at the low half of its argument ``index``; every way through ``steps`` ends in a return."""
    body = [(_LD, 0, 0, 16 + 8 * index), *steps, (_RET, 0, 0, _ALLOW)]
    return [(_JEQ, 0, len(body), call), *body]
