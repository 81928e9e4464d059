"""A backup: one archive with a consistent copy of the database, the files, and a manifest of checksums.

It can be made while Pulser runs: the database is copied first, then the files, which are written before any row names them and never
change. Embedded the copy is SQLite's own; on Postgres it is ``pg_dump``'s, in its custom format. The archive holds what opens the
installation's data (hashes of keys, every payload), so only its owner may read it.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import quote, unquote, urlsplit

from pulser import __version__
from pulser.core import clock
from pulser.core.errors import BadInput, Conflict, NotFound, OperatorError
from pulser.core.settings import Store

FORMAT = 1
DATABASE, DUMP, MANIFEST, FILES = "pulser.db", "pulser.dump", "manifest.json", "files"
BLOB = re.compile(r"files/([0-9a-f]{2})/(\1[0-9a-f]{62})\Z")  # named by its SHA-256


def back_up(place: Store, file: Path) -> dict[str, Any]:
    """Write the archive ``file``, whole or not at all: ``{file, size_bytes, files, version, made_at}``."""
    if file.exists():
        raise Conflict(f"there is a file {file} already", hint="Name another one: a backup never replaces one.")
    if not file.parent.is_dir():
        raise BadInput(f"there is no folder {file.parent}", hint="Make it first, or name another.")
    at = _version(place)
    try:
        with tempfile.TemporaryDirectory(prefix=".pulser-backup-", dir=file.parent) as name:
            folder = Path(name)
            manifest = _write(place, folder, at)
            size = (folder / "archive").stat().st_size
            _name(folder / "archive", file)
            _sync(file.parent)
    except FileExistsError:
        raise Conflict(f"there is a file {file} already", hint="Name another one: a backup never replaces one.") from None
    except OSError as error:
        raise OperatorError(f"the backup cannot be written to {file.parent}: {error.strerror or error}", hint="Look for room and rights there.") from error
    return {"file": str(file), "size_bytes": size, "files": len(manifest["files"]) - 1, "version": at, "made_at": manifest["made_at"]}


def _name(made: Path, file: Path) -> None:
    try:
        os.link(made, file)  # unlike a rename it replaces nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        os.rename(made, file)


def _version(place: Store) -> str:
    """The database's version; there must be one."""
    from pulser.store import migrate

    if not place.database_url and not (place.data_dir / DATABASE).exists():
        raise NotFound(f"there is no database in {place.data_dir}", hint="Another folder: PULSER_DATA_DIR.")
    engine = migrate.open_engine(place.owner_url or place.database_url, place.data_dir)
    try:
        at = migrate.current(engine)
    finally:
        engine.dispose()
    if at is None:
        raise NotFound("the database is empty", hint="There is nothing to back up yet.")
    return at


def _write(place: Store, folder: Path, at: str) -> dict[str, Any]:
    """``folder/archive``; the manifest is its last member."""
    copy = _dump(place, folder / DUMP) if place.database_url else _copy(place, folder / DATABASE)
    manifest: dict[str, Any] = {
        "format": FORMAT, "pulser": __version__, "made_at": clock.iso(clock.now()), "database": "postgres" if place.database_url else "sqlite",
        "version": at, "files": {},
    }  # fmt: skip
    descriptor = os.open(folder / "archive", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as out:
        with tarfile.open(fileobj=out, mode="w:gz", compresslevel=6) as archive:
            manifest["files"][copy.name] = _add(archive, copy, copy.name)
            for name, path in _blobs(place.data_dir):
                try:
                    told = _add(archive, path, name)
                except FileNotFoundError:  # collected meanwhile: no row of the copy's future names it
                    continue
                if told["sha256"] != path.name:
                    raise OperatorError(
                        f"the file {path} is damaged: its content is not what its name says", hint="Restore it from an older backup, or delete it."
                    )
                manifest["files"][name] = told
            text = json.dumps(manifest, indent=1).encode()
            archive.addfile(_member(MANIFEST, len(text)), io.BytesIO(text))
        out.flush()
        os.fsync(out.fileno())
    return manifest


def _copy(place: Store, to: Path) -> Path:
    from pulser.store import migrate

    migrate.back_up(place.data_dir / DATABASE, to)
    return to


def _blobs(data_dir: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted((data_dir / FILES).glob("??/*")):
        name = f"{FILES}/{path.parent.name}/{path.name}"
        if BLOB.match(name) and path.is_file() and not path.is_symlink():
            yield name, path


class _Hashing:
    """A file that is hashed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self._file.read(size)
        self.sha256.update(piece)
        return piece


def _add(archive: tarfile.TarFile, path: Path, name: str) -> dict[str, Any]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        hashing = _Hashing(file)
        archive.addfile(_member(name, size), hashing)
    return {"size_bytes": size, "sha256": hashing.sha256.hexdigest()}


def _member(name: str, size: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, int(clock.now().timestamp())
    return member


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# ---- Postgres


def _dump(place: Store, to: Path) -> Path:
    # the owner's policies show it every row; without this pg_dump refuses tables that have any
    run_postgres("pg_dump", place.owner_url or place.database_url, "--format=custom", "--role=pulser_owner", "--enable-row-security", f"--file={to}")
    to.chmod(0o600)
    return to


def run_postgres(name: str, url: str, *arguments: str) -> None:
    """Run ``pg_dump`` or ``pg_restore`` against ``url``; its password goes by the environment, which other users cannot see."""
    program = shutil.which(name)
    if program is None:
        raise OperatorError(f"{name} is not installed here", hint="Install Postgres' client programs, of the server's version or newer, and try again.")
    parts = urlsplit(url)
    user = f"{quote(unquote(parts.username), safe='')}@" if parts.username else ""
    where = f":{parts.port}" if parts.port else ""
    bare = f"postgresql://{user}{parts.hostname or ''}{where}{parts.path}" + (f"?{parts.query}" if parts.query else "")
    environment = {"PGPASSWORD": unquote(parts.password), "LC_ALL": "C"} if parts.password else {"LC_ALL": "C"}
    done = subprocess.run(
        [program, "--no-password", f"--dbname={bare}", *arguments], env={**environment, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OperatorError(
            f"{name} failed: {done.stderr.strip()[-800:]}", hint="Is it of the server's version or newer, and does PULSER_DATABASE_OWNER_URL name the owner?"
        )


# ---- who runs


def refuse_while_running(data_dir: Path) -> None:
    """Raise :class:`Conflict` if a process works on the embedded database of ``data_dir``: whoever does holds its lock."""
    try:
        descriptor = os.open(data_dir / "checkpoint.lock", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Conflict(f"a Pulser is running on {data_dir}", hint="Stop it first.") from None
    finally:
        os.close(descriptor)
