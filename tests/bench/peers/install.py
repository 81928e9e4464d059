"""The environment the peers live in: made when first needed, kept in the user's cache, never part of Pulser's lock."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kind:
    """A peer: the figures' prefix, its module, what it needs, the server it uses, how many tasks, and how durable a submit is."""

    name: str
    module: str
    variant: str
    packages: tuple[str, ...]
    server: str
    tasks: int
    durable: str


KINDS = (
    Kind("celery", "celery_redis", "late", ("celery==5.7.0", "redis==8.1.0", "hiredis", "packaging"), "redis", 4000, "no: Redis snapshots"),
    Kind("huey", "huey_queue", "redis", ("huey==3.5.4", "redis==8.1.0"), "redis", 4000, "no: Redis snapshots"),
    Kind("huey_sqlite", "huey_queue", "sqlite", ("huey==3.5.4",), "", 4000, "yes: fsync"),
    Kind("dbos", "dbos_queue", "sqlite", ("dbos==3.4.0",), "", 300, "as it comes, SQLite"),
    Kind("procrastinate", "procrastinate_queue", "", ("procrastinate==3.10.0", "psycopg[binary,pool]==3.3.9"), "postgres", 2000, "yes: Postgres"),
    Kind("rawsqlite", "raw_sqlite", "full_batch", (), "", 20000, "yes: fsync; no leases' fencing, no events"),
)


def environment() -> Path:
    """Folder of the peers' environment; made if it is not there."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "pulser" / f"bench-peers-{sys.version_info.major}.{sys.version_info.minor}"
    if not (folder / "bin" / "python").exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        venv.create(folder, with_pip=_uv() is None, symlinks=True)
    return folder


def install(kind: Kind, folder: Path) -> str:
    """Put a peer's packages in; returns what went wrong, or nothing. What is there already is not asked for again."""
    noted = folder / f"installed-{kind.name}"
    wanted = "\n".join(kind.packages)
    if noted.exists() and noted.read_text() == wanted:
        return ""
    python = str(folder / "bin" / "python")
    uv = _uv()
    command = [uv, "pip", "install", "-q", "--python", python] if uv else [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    if kind.packages:
        try:
            done = subprocess.run([*command, *kind.packages], capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            return "its packages took more than 180 s to install"
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no reason given"]
            return f"its packages cannot be installed: {lines[-1][:200]}"
    noted.write_text(wanted)
    return ""


def _uv() -> str | None:
    ours = Path(__file__).resolve().parents[3] / ".tools" / "bin" / "uv"
    return shutil.which("uv") or (str(ours) if ours.exists() else None)
