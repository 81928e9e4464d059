"""What could keep Pulser from running well here, each with a way to mend it. Nothing is changed."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from pulser.app.settings import Loaded
from pulser.core import clock
from pulser.core.errors import PulserError
from pulser.core.settings import Settings

State = Literal["ok", "warn", "fail"]
LITTLE_BYTES, TOO_LITTLE_BYTES = 1 << 30, 100 << 20
DRIFT_S = 5.0
RESET_BUG_UNTIL = (3, 51, 3)  # https://sqlite.org/wal.html#walresetbug
ROLES = ("pulser_app", "pulser_engine", "pulser_auth", "pulser_owner")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at."""

    name: str
    state: State
    says: str
    hint: str = ""


def examine(loaded: Loaded, ask: Callable[[], tuple[str, Any]]) -> list[Check]:
    """Every check. ``ask`` gives the server's URL and its health, or the error that asking brought."""
    settings = loaded.settings
    looks: tuple[tuple[str, Callable[[], Iterator[Check]]], ...] = (
        ("python", _python),
        ("settings", lambda: _settings(loaded)),
        ("data folder", lambda: _folder(settings)),
        ("database", lambda: _postgres(settings) if settings.store.database_url else _sqlite(settings)),
        ("sandbox", lambda: _sandbox(settings)),
        ("agents", lambda: _agents(settings)),
        ("tools", lambda: _extras(settings)),
        ("git", _git),
        ("roots", lambda: _roots(settings)),
        ("server", lambda: _server(settings, ask)),
    )
    found: list[Check] = []
    for name, look in looks:
        try:
            found += look()
        except PulserError as error:
            found.append(Check(name, "fail", error.detail, error.hint))
        except Exception as error:  # one check that breaks must not hide the others
            found.append(Check(name, "fail", f"could not be looked at: {type(error).__name__}: {error}"))
    return found


def _python() -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    fits = sys.version_info >= (3, 11)
    yield Check("python", "ok" if fits else "fail", version, "" if fits else "Pulser needs Python 3.11 or newer.")


def _settings(loaded: Loaded) -> Iterator[Check]:
    changed = sum(source != "default" for source in loaded.sources.values())
    yield Check("settings", "ok", f"{changed} set, the rest at their defaults", "pulser config --changed shows them." if changed else "")
    if loaded.reserved:
        yield Check("settings", "warn", f"without effect yet: {', '.join(loaded.reserved)}")


# ---- where the data lies


def _folder(settings: Settings) -> Iterator[Check]:
    folder = settings.store.data_dir
    there = folder if folder.is_dir() else next((each for each in folder.absolute().parents if each.is_dir()), Path("/"))
    if folder.exists() and not folder.is_dir():
        yield Check("data folder", "fail", f"{folder} is not a folder", "Name another with PULSER_DATA_DIR.")
        return
    if not _writable(there):
        yield Check("data folder", "fail", f"{there} may not be written", "Change its owner, or name another with PULSER_DATA_DIR.")
        return
    yield from _rights(folder)
    free = shutil.disk_usage(there).free
    state: State = "fail" if free < TOO_LITTLE_BYTES else "warn" if free < LITTLE_BYTES else "ok"
    yield Check("disk", state, f"{free / (1 << 30):.1f} GiB free under {there}", "" if state == "ok" else "Make room: a full disk refuses new tasks.")


def _writable(folder: Path) -> bool:
    import os

    return os.access(folder, os.W_OK | os.X_OK)


def _rights(folder: Path) -> Iterator[Check]:
    if not folder.is_dir():
        yield Check("data folder", "ok", f"{folder} is not there yet", "It is made at the first start.")
        return
    mode = folder.stat().st_mode & 0o777
    if mode & 0o077:
        yield Check("data folder", "warn", f"others may look into {folder} (mode {mode:o})", f"chmod 700 {folder}")
    else:
        yield Check("data folder", "ok", str(folder.absolute()))
    token = folder / "token"
    if token.exists() and token.stat().st_mode & 0o077:
        yield Check("token", "fail", f"others may read {token}: they could act as you", f"chmod 600 {token}; delete it and restart if others have read it.")


def _sqlite(settings: Settings) -> Iterator[Check]:
    from sqlalchemy import text
    from sqlalchemy.dialects import sqlite as dialect

    from pulser.store import migrate, sqlite

    version = tuple(int(part) for part in dialect.pysqlite.SQLiteDialect_pysqlite.import_dbapi().sqlite_version.split("."))
    told = ".".join(map(str, version))
    note = f"{told} has a rare fault when two connections copy the log back; Pulser lets one only" if version < RESET_BUG_UNTIL else told
    yield Check("sqlite", "ok", note, "")
    if not (settings.store.data_dir / "pulser.db").exists():
        yield Check("database", "ok", "none yet", "It is made at the first start.")
        return
    engine = migrate.open_engine("", settings.store.data_dir)
    try:
        yield _version(migrate.current(engine))
        with engine.connect() as connection:
            boot_id = sqlite.BOOT_ID.read_text().strip() if sqlite.BOOT_ID.exists() else "unknown"
            row = connection.execute(text("SELECT boot_us, wall_us FROM clock WHERE boot_id = :boot_id"), {"boot_id": boot_id}).first()
        if row is not None:
            yield _drift((clock.to_us(clock.now()) - sqlite.boot_us() - (row.wall_us - row.boot_us)) / 1e6)
    finally:
        engine.dispose()


def _postgres(settings: Settings) -> Iterator[Check]:
    from sqlalchemy import text

    from pulser.store import migrate

    engine = migrate.open_engine(settings.store.database_url, settings.store.data_dir)
    try:
        at = migrate.current(engine)  # tells in words why it cannot be reached
        with engine.connect() as connection:
            version, now_s = connection.execute(text("SELECT current_setting('server_version'), extract(epoch FROM clock_timestamp())")).one()
            roles = set(connection.execute(text("SELECT rolname FROM pg_roles WHERE rolname = ANY (:roles)"), {"roles": list(ROLES)}).scalars())
            mine = {role for role in roles if connection.execute(text("SELECT pg_has_role(:role, 'MEMBER')"), {"role": role}).scalar()}
            vector = connection.execute(text("SELECT installed_version FROM pg_available_extensions WHERE name = 'vector'")).first()
    finally:
        engine.dispose()
    yield Check("postgres", "ok" if int(version.split(".")[0]) >= 14 else "warn", version)
    yield _version(at)
    missing, foreign = [role for role in ROLES if role not in roles], sorted(roles - mine - {"pulser_owner"})
    if missing:
        yield Check("roles", "fail", f"missing: {', '.join(missing)}", "pulser db upgrade makes them; its login needs CREATEROLE.")
    elif foreign:
        yield Check("roles", "fail", f"this login may not act as {', '.join(foreign)}", f"GRANT {', '.join(foreign)} TO the login of PULSER_DATABASE_URL.")
    else:
        yield Check("roles", "ok", ", ".join(ROLES))
    says = "not available here: vectors are searched exactly" if vector is None else f"installed, {vector[0]}" if vector[0] else "available, not installed"
    yield Check("pgvector", "ok", says)
    yield _drift(clock.now().timestamp() - float(now_s))


def _version(at: str | None) -> Check:
    from pulser.store import migrate

    if at == migrate.HEAD:
        return Check("database", "ok", f"at version {at}")
    return Check("database", "fail", f"at version {at or 'none'}, {migrate.HEAD} is needed", "Run: pulser db upgrade")


def _drift(seconds: float) -> Check:
    if abs(seconds) < DRIFT_S:
        return Check("clock", "ok", f"{abs(seconds):.1f} s from the database's")
    return Check(
        "clock",
        "warn",
        f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} the database's",
        "Leases follow the database's; log times follow this one. Check NTP.",
    )


# ---- what does the work


def _sandbox(settings: Settings) -> Iterator[Check]:
    from pulser.tools.sandbox.confine import confinement

    held = confinement(settings.tools.sandbox)
    hint = {"off": "Set PULSER_TOOLS_SANDBOX=auto.", "landlock": "bubblewrap confines more: install it and allow user namespaces."}.get(held.name, "")
    yield Check("sandbox", "ok" if held.name == "bwrap" else "warn", held.detail, hint)


def _agents(settings: Settings) -> Iterator[Check]:
    from pulser.agents.registry import Registry

    registry = Registry.load(settings.tools.agents_dir)
    unknown = [name for name in settings.worker.agents if name not in registry.specs]
    if unknown:
        yield Check(
            "agents", "fail", f"PULSER_WORKER_AGENTS names {', '.join(unknown)}, which there is not", f"There are: {', '.join(sorted(registry.specs))}."
        )
    else:
        yield Check("agents", "ok", f"{len(registry.specs)} specs, {len(registry.types)} task types")


def _extras(settings: Settings) -> Iterator[Check]:
    from pulser.agents.actions import OWN
    from pulser.agents.registry import Registry
    from pulser.tools import registry

    missing: dict[str, list[str]] = {}
    broken = []
    for name in sorted({name for spec in Registry.load(settings.tools.agents_dir).agents() for name in spec.tools} - set(OWN)):
        try:
            tool = registry.get(name)
        except PulserError as error:
            broken.append(error.detail)
            continue
        if not all(find_spec(module) for module in tool.needs):
            missing.setdefault(tool.extra, []).append(name)
    if broken:
        yield Check("tools", "fail", "; ".join(broken), "Check that this release of Pulser is complete.")
    for extra, names in missing.items():
        yield Check("extras", "warn", f"{', '.join(names)} cannot run without the extra {extra}", f"pip install 'pulser[{extra}]'")
    if not missing:
        yield Check("extras", "ok", "everything the tools need is installed")


def _git() -> Iterator[Check]:
    program = shutil.which("git")
    if program is None:
        yield Check("git", "warn", "not installed: changelogs and git references do not work", "Install git.")
        return
    done = subprocess.run([program, "--version"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=10, check=False)
    yield Check("git", "ok", done.stdout.removeprefix("git version ").strip() or program)


def _roots(settings: Settings) -> Iterator[Check]:
    from pulser.tools.paths import parse_root

    if not settings.tools.roots:
        yield Check("roots", "ok", "none: payloads can name uploaded files only", "PULSER_TOOLS_ROOTS=/folder lets them name paths.")
    for given in settings.tools.roots:
        root = parse_root(given)
        usable = root.path.is_dir() and (not root.writable or _writable(root.path))
        says = f"{root.path}{' (also for writing)' if root.writable else ''}"
        yield Check(
            "roots", "ok" if usable else "warn", says if usable else f"{says} is not there, or may not be used so", "" if usable else "Mend PULSER_TOOLS_ROOTS."
        )


# ---- the door


def _server(settings: Settings, ask: Callable[[], tuple[str, Any]]) -> Iterator[Check]:
    url, told = ask()
    if isinstance(told, dict) and "ok" in told:
        wrong = ", ".join(f"{name}: {value}" for name, value in (told.get("checks") or {}).items() if value != "ok")
        yield Check("server", "ok" if told["ok"] else "warn", f"{url} answers, version {told.get('version', '?')}" + (f"; {wrong}" if wrong else ""))
        return
    yield Check("server", "ok", f"none answers at {url}", "Start it with: pulser serve")
    with socket.socket(socket.AF_INET6 if ":" in settings.server.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.server.host.strip("[]"), settings.server.port))
        except OSError as error:
            yield Check(
                "port", "fail", f"{settings.server.host}:{settings.server.port} cannot be listened on: {error.strerror}", "Choose another with PULSER_PORT."
            )
        else:
            yield Check("port", "ok", f"{settings.server.host}:{settings.server.port} is free")
