"""The command line of bubblewrap (https://github.com/containers/bubblewrap): namespaces of the child's own, with only the named places in them."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

SMALL_TMPFS = 64 << 20

# Of /etc only what the loader, TLS, clocks and fonts need; no passwords, no host names, no mounts, and of TLS no private keys:
# a child of root may read whatever it is shown.
_ETC = (
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "alternatives",
    "ssl/certs",
    "ssl/cert.pem",
    "ssl/openssl.cnf",
    "ca-certificates",
    "pki/ca-trust/extracted",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "pki/tls/openssl.cnf",
    "localtime",
    "timezone",
    "nsswitch.conf",
    "mime.types",
    "fonts",
    "os-release",
)
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")


def program() -> str | None:
    """Where bwrap is, if it is installed."""
    return shutil.which("bwrap", path="/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin")


def interpreter_places() -> list[Path]:
    """What Python itself needs to be read: its prefixes, the folders modules come from, and Pulser's own package."""
    import pulser

    package = Path(pulser.__file__).parent
    wanted = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.exec_prefix), Path(sys.base_exec_prefix), package]
    wanted += [Path(os.path.realpath(sys.executable)).parent.parent]
    wanted += [Path(entry) for entry in sys.path if entry.endswith(("site-packages", "dist-packages", "lib-dynload"))]
    both = {place for path in wanted for place in (path, Path(os.path.realpath(path)))}
    return sorted(place for place in both if not place.is_relative_to("/usr") and place != Path("/"))


def system_places() -> list[Path]:
    """What programs need of the system."""
    return [
        Path("/usr"),
        *(path for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32") if (path := Path("/" + name)).is_dir() and not path.is_symlink()),
    ]


def system_links() -> Iterator[tuple[str, str]]:
    """``/bin -> usr/bin`` and its like: (target, link)."""
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/" + name)
        if path.is_symlink():
            yield os.readlink(path), str(path)


def etc_places() -> list[Path]:
    """The files of /etc the child may read."""
    return [Path("/etc") / name for name in _ETC]


def command(folder: Path, reads: Sequence[Path], hidden: Sequence[Path], info: int, *, tmp_bytes: int, root: bool, filtered: bool) -> list[str]:
    """The words before the child's own command. ``info`` is where bwrap tells the process id of the namespace's first process;
    ``filtered``: a filter of system calls will stand."""
    found = program()
    if found is None:
        raise FileNotFoundError("bwrap")
    words = [found, *_NAMESPACES, "--die-with-parent", "--new-session", "--info-fd", str(info), "--hostname", "pulser"]
    if root:  # the runner turns into a user of its own and gives these up; one stays, to read what is shown here whoever owns it
        words += ["--cap-drop", "ALL", "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID", "--cap-add", "CAP_SETPCAP"]
        if filtered:  # without the filter, open_by_handle_at would turn this one into every file of the machine
            words += ["--cap-add", "CAP_DAC_READ_SEARCH"]
    else:
        words += ["--unshare-user"]
    words += ["--proc", "/proc", "--dev", "/dev", "--size", str(SMALL_TMPFS), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]  # noqa: S108 - a tmpfs of the child's own
    words += ["--perms", "1777", "--size", str(SMALL_TMPFS), "--tmpfs", "/tmp"]  # noqa: S108
    for target, link in system_links():
        words += ["--symlink", target, link]
    words += _mounts(folder, reads, hidden, tmp_bytes)
    return [*words, "--remount-ro", "/", "--chdir", str(folder / "tmp"), "--"]


def _mounts(folder: Path, reads: Sequence[Path], hidden: Sequence[Path], tmp_bytes: int) -> list[str]:
    """Outer places first, so that inner ones lie on top of them; what is hidden on top of what shows it."""
    plan: list[tuple[int, int, list[str]]] = []
    firm = [*system_places(), *interpreter_places(), *reads]
    for path in dict.fromkeys(firm):
        plan.append((len(path.parts), 0, ["--ro-bind", str(path), str(path)]))
    for path in etc_places():
        plan.append((len(path.parts), 0, ["--ro-bind-try", str(path), str(path)]))
    for path in hidden:
        if path not in firm and any(path.is_relative_to(shown) for shown in firm):
            plan.append((len(path.parts), 0, ["--perms", "0755", "--size", "4096", "--tmpfs", str(path)]))
    plan.append((len(folder.parts) + 1, 2, ["--bind", str(folder / "out"), str(folder / "out")]))
    plan.append((len(folder.parts) + 1, 2, ["--perms", "1777", "--size", str(tmp_bytes), "--tmpfs", str(folder / "tmp")]))
    for name in ("in", "gathered"):
        plan.append((len(folder.parts) + 1, 2, ["--ro-bind", str(folder / name), str(folder / name)]))
    ways = {way for path in (*firm, folder / "out") for way in path.parents if len(way.parts) > 1}
    plan += [(len(way.parts), 1, ["--perms", "0755", "--dir", str(way)]) for way in ways]  # else they would be as closed as they are outside
    return [word for _, _, words in sorted(plan, key=lambda step: step[:2]) for word in words]
