"""Restoring a backup: every member is checked before anything is put in place, and what was there before is kept beside.

An archive may come from anywhere. Only plain files with the few names a backup has are taken, never a link or a path that leads
elsewhere, never more bytes than its manifest or the disk allows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from pulser.app.backup import BLOB, DATABASE, DUMP, FILES, FORMAT, MANIFEST, refuse_while_running, run_postgres
from pulser.core import clock
from pulser.core.errors import BadInput, Conflict, NotFound, OperatorError, TooLarge
from pulser.core.settings import Store

MANIFEST_LIMIT_BYTES = 256 << 20
MARGIN_BYTES = 64 << 20  # left free on the disk
CHUNK = 1 << 18


def restore(place: Store, file: Path, *, force: bool = False) -> dict[str, Any]:
    """Put the backup ``file`` in place: ``{files, version, made_at, kept}``; ``kept`` is where the old data went, if there was any."""
    if not file.is_file():
        raise NotFound(f"there is no file {file}", hint="Name an archive that pulser backup made.")
    refuse_while_running(place.data_dir)
    old = [name for name in (DATABASE, FILES) if _holds_something(place.data_dir / name)]
    if old and not force:
        raise Conflict(
            f"there is data in {place.data_dir} already", hint="Give --force: what is there is kept beside. Or name another folder with PULSER_DATA_DIR."
        )
    place.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=place.data_dir) as name:
        folder = Path(name)
        manifest = _unpack(file, folder)
        _check(manifest, folder, place)
        if manifest["database"] == "postgres":
            _into_postgres(place, folder / DUMP)
        kept = _keep(place.data_dir) if old else None
        for part in (FILES, DATABASE):  # the database last: without it nothing has been restored yet
            if (folder / part).exists():
                os.replace(folder / part, place.data_dir / part)
    return {"files": len(manifest["files"]) - 1, "version": manifest["version"], "made_at": manifest["made_at"], "kept": str(kept) if kept else None}


def _holds_something(path: Path) -> bool:
    return path.is_file() or (path.is_dir() and any(path.iterdir()))


def _keep(data_dir: Path) -> Path:
    """Move the database and the files of now aside."""
    aside = data_dir / "backups" / f"before-restore-{clock.now():%Y%m%d-%H%M%S-%f}"
    aside.mkdir(mode=0o700, parents=True)
    for name in (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", FILES):
        if (data_dir / name).exists():
            os.replace(data_dir / name, aside / name)
    return aside


# ---- unpacking


def _unpack(file: Path, folder: Path) -> dict[str, Any]:
    """Lay the members under ``folder``; the manifest, after every size and checksum has been compared with it."""
    seen: dict[str, dict[str, Any]] = {}
    manifest: Any = None
    try:
        with tarfile.open(file, "r:gz") as archive:
            for member in _members(archive):
                content = archive.extractfile(member)
                if content is None:
                    raise _refused(member.name, "is no plain file")
                if member.name == MANIFEST:
                    if member.size > MANIFEST_LIMIT_BYTES:
                        raise _refused(member.name, "is too large")
                    manifest = json.loads(content.read())
                else:
                    seen[member.name] = _lay(content, member, folder)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise BadInput(f"{file} cannot be read: {error}", hint="It is damaged, or not an archive that pulser backup made.") from None
    return _agreed(manifest, seen)


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    names: set[str] = set()
    for member in archive:
        if not member.isreg():
            raise _refused(member.name, "is no plain file")
        if member.name not in (DATABASE, DUMP, MANIFEST) and not BLOB.match(member.name):
            raise _refused(member.name, "does not belong into a backup")
        if member.name in names:
            raise _refused(member.name, "is there twice")
        names.add(member.name)
        yield member


def _lay(content: IO[bytes], member: tarfile.TarInfo, folder: Path) -> dict[str, Any]:
    if member.size > shutil.disk_usage(folder).free - MARGIN_BYTES:
        raise TooLarge(
            f"{member.name} has {member.size:,} bytes, and there is no room for it under {folder.parent}", hint="Make room, or name another data folder."
        )
    path = folder / member.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    hasher, size = hashlib.sha256(), 0
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        while piece := content.read(CHUNK):
            hasher.update(piece)
            size += len(piece)
            out.write(piece)
        out.flush()
        os.fsync(out.fileno())
    return {"size_bytes": size, "sha256": hasher.hexdigest()}


def _agreed(manifest: Any, seen: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise BadInput("the archive has no manifest", hint="It is incomplete, or not an archive that pulser backup made.")
    if manifest.get("format") != FORMAT:
        raise BadInput(f"the archive has the format {manifest.get('format')!r}; this Pulser reads {FORMAT}", hint="Restore it with the Pulser that made it.")
    wrong = sorted(name for name in {*manifest["files"], *seen} if manifest["files"].get(name) != seen.get(name))
    if wrong:
        raise BadInput(
            f"{len(wrong)} of {len(seen)} members are not what the manifest says, first {wrong[0]!r}", hint="The archive is damaged: use another one."
        )
    if not isinstance(manifest.get("version"), str) or not isinstance(manifest.get("made_at"), str) or manifest.get("database") not in ("sqlite", "postgres"):
        raise BadInput("the manifest does not say what the archive holds", hint="It is not an archive that pulser backup made.")
    return manifest


def _refused(name: str, why: str) -> BadInput:
    return BadInput(f"the archive is not accepted: {name[:120]!r} {why}", hint="It is not an archive that pulser backup made.")


# ---- the database


def _check(manifest: dict[str, Any], folder: Path, place: Store) -> None:
    """The archive fits this Pulser and these settings, and its database is whole."""
    from sqlalchemy import text

    from pulser.store import migrate

    kind, wanted = manifest["database"], "postgres" if place.database_url else "sqlite"
    if kind != wanted or not (folder / (DUMP if kind == "postgres" else DATABASE)).exists():
        raise Conflict(f"the archive holds a {kind} database, and these settings name a {wanted} one", hint="Set or unset PULSER_DATABASE_URL.")
    if manifest["version"] > migrate.HEAD:
        raise OperatorError(
            f"the archive's database is at version {manifest['version']}, newer than this Pulser knows ({migrate.HEAD})", hint="Upgrade Pulser."
        )
    if kind == "postgres":
        return
    engine = migrate.open_engine("", folder)
    try:
        with engine.connect() as connection:
            told = connection.execute(text("PRAGMA integrity_check")).scalar()
        if told != "ok" or migrate.current(engine) != manifest["version"]:
            raise BadInput(f"the archive's database is damaged: {told}", hint="Use another archive.")
    finally:
        engine.dispose()
    for leftover in (f"{DATABASE}-wal", f"{DATABASE}-shm"):
        (folder / leftover).unlink(missing_ok=True)


def _into_postgres(place: Store, dump: Path) -> None:
    """Into an empty database only: nothing that is there could be kept beside."""
    from pulser.store import migrate, postgres

    url = place.owner_url or place.database_url
    engine = migrate.open_engine(url, place.data_dir)
    try:
        at = migrate.current(engine)
    finally:
        engine.dispose()
    if at is not None:
        raise Conflict("the Postgres database is not empty", hint="Make an empty one and name it in PULSER_DATABASE_URL.")
    run_postgres("pg_restore", url, "--single-transaction", "--exit-on-error", str(dump))
    engine = migrate.open_engine(url, place.data_dir)
    try:
        postgres.renumber_events(engine)
    finally:
        engine.dispose()
