"""Files by content: in the data folder when embedded, in chunks of the database on Postgres (and cached in the data folder).

A file is written and synced before the commit that names it; what no row names is collected later.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, exists, func, insert, select, update

from pulser.core.clock import monotonic
from pulser.core.errors import BadInput, NotFound, TooLarge
from pulser.store.store import Store
from pulser.store.tables import COMPANY, artifacts, companies, file_chunks, files
from pulser.store.tx import Tx

CHUNK = 262_144
ORPHANS, ROUNDS = 500, 40  # dropped in one transaction, and how many of these there are at once
SUM_S = 60.0  # how long a sum of files is believed
NEAR = 0.9  # of the quota: from there on it is not
f, a, c = files.c, artifacts.c, file_chunks.c


class Blobs:
    """The files of all companies. Its methods block: call them from a thread."""

    def __init__(self, store: Store, data_dir: Path, quota_bytes: int) -> None:
        self._store = store
        self._folder = data_dir / "files"
        self._quota_bytes = quota_bytes
        self._kept: dict[str, tuple[int, float]] = {}  # bytes of a company as this process knows, and when it looked
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def of(self, company: str) -> CompanyFiles:
        """The files of one company, as tools see them."""
        return CompanyFiles(self, company)

    def put(self, company: str, path: Path, *, name: str = "", media_type: str = "application/octet-stream") -> tuple[str, int]:
        """Keep a copy of ``path``; returns its SHA-256 and size in bytes. ``name`` marks an upload, which stays until it is deleted."""
        digest, size = self._copy(path)
        known = self._register(company, digest, size, name, media_type)
        if not self._place(digest).exists():  # collected between the copy and the row, which keeps it from now on
            self._copy(path)
        if not known and not self._store.sqlite:
            with self._place(digest).open("rb") as source:
                for n, chunk in enumerate(iter(lambda: source.read(CHUNK), b"")):
                    self._store.write_blocking(_put_chunk, digest, n, chunk, company=company)
        return digest, size

    def path(self, company: str, digest: str) -> Path:
        """A file of the company to read; :class:`NotFound` if it has none of that content."""
        if len(digest) != 64 or not all(char in "0123456789abcdef" for char in digest):
            raise BadInput(f"{digest[:80]!r} is not a SHA-256", hint="64 characters of 0-9 and a-f.")
        if self._store.read_blocking(info, digest, company=company) is None:
            raise NotFound(f"there is no file {digest}", hint="Upload it with POST /api/v1/files.")
        place = self._place(digest)
        if not place.exists() and not self._store.sqlite:
            self._fetch(company, digest, place)
        return place

    def digest(self, company: str, task_id: str, name: str) -> str | None:
        """The content of a task's artifact; None if it has none of that name."""
        found: str | None = self._store.read_blocking(artifact_digest, task_id, name, company=company)
        return found

    def collect(self, companies: list[str]) -> int:
        """Drop what no row names and is older than a day; returns how many. Looked for on a reader: there may be very many files."""
        dropped = 0
        for company in companies:
            for _ in range(ROUNDS):
                orphans = self._store.read_blocking(_orphans, company=company)
                dropped += self._store.write_blocking(_drop_orphans, company, orphans, self._place, scope="owner") if orphans else 0
                if len(orphans) < ORPHANS:
                    break
            self._kept.pop(company, None)
        return dropped

    def _register(self, company: str, digest: str, size: int, name: str, media_type: str) -> bool:
        """Write the row unless the quota is used up; the sum over all files is made once a minute, and each time when little is left."""
        kept, looked_at = self._kept.get(company, (0, 0.0))
        if not looked_at or monotonic() - looked_at > SUM_S:
            kept, looked_at = self._store.read_blocking(_sum, company=company), monotonic()
        near = kept + size > self._quota_bytes * NEAR
        known, kept = self._store.write_blocking(_register, digest, size, name, media_type, self._quota_bytes, None if near else kept, company=company)
        self._kept[company] = (kept, looked_at)
        return bool(known)

    def _place(self, digest: str) -> Path:
        return self._folder / digest[:2] / digest

    def _copy(self, path: Path) -> tuple[str, int]:
        hasher, size = hashlib.sha256(), 0
        with path.open("rb") as source, tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as partial:
            try:
                for chunk in iter(lambda: source.read(CHUNK), b""):
                    hasher.update(chunk)
                    size += len(chunk)
                    partial.write(chunk)
                partial.flush()
                os.fsync(partial.fileno())
                place = self._place(hasher.hexdigest())
                place.parent.mkdir(mode=0o700, exist_ok=True)
                os.replace(partial.name, place)
            except BaseException:
                Path(partial.name).unlink(missing_ok=True)
                raise
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return hasher.hexdigest(), size

    def _fetch(self, company: str, digest: str, place: Path) -> None:
        hasher = hashlib.sha256()
        place.parent.mkdir(mode=0o700, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as partial:
            for chunk in self._chunks(company, digest):
                hasher.update(chunk)
                partial.write(chunk)
        if hasher.hexdigest() != digest:
            Path(partial.name).unlink()
            raise NotFound(f"the file {digest} is damaged or not all there", hint="Upload it again.")
        os.replace(partial.name, place)

    def _chunks(self, company: str, digest: str) -> Iterator[bytes]:
        n = 0
        while (chunk := self._store.read_blocking(_chunk, digest, n, company=company)) is not None:
            yield bytes(chunk)
            n += 1


class CompanyFiles:
    """The files of one company: what ``file:…`` and ``artifact:…`` mean."""

    def __init__(self, blobs: Blobs, company: str) -> None:
        self._blobs, self._company = blobs, company

    def path_of(self, reference: str) -> Path:
        """``file:<sha256>`` or ``artifact:<task_id>/<name>`` as a path to read."""
        kind, _, rest = reference.partition(":")
        if kind == "artifact":
            task_id, _, name = rest.partition("/")
            digest = self._blobs.digest(self._company, task_id, name)
            if digest is None:
                raise NotFound(f"there is no artifact {name!r} of {task_id}", hint="GET /api/v1/tasks/{id} lists a task's artifacts.")
            return self._blobs.path(self._company, digest)
        return self._blobs.path(self._company, rest)

    def put(self, path: Path) -> tuple[str, int]:
        """Keep a copy; returns SHA-256 and size in bytes."""
        return self._blobs.put(self._company, path)


def info(tx: Tx, digest: str) -> dict[str, Any] | None:
    """What is known of a file."""
    row = tx.execute(select(files).where(f.company_id == COMPANY, f.sha256 == digest)).mappings().first()
    return dict(row) if row is not None else None


def artifact_digest(tx: Tx, task_id: str, name: str) -> str | None:
    """The content of a task's artifact."""
    return tx.execute(select(a.sha256).where(a.company_id == COMPANY, a.task_id == task_id, a.name == name)).scalar_one_or_none()


def _sum(tx: Tx) -> int:
    return int(tx.execute(select(func.coalesce(func.sum(f.size_bytes), 0)).where(f.company_id == COMPANY)).scalar_one())


def _register(tx: Tx, digest: str, size: int, name: str, media_type: str, quota_bytes: int, kept: int | None) -> tuple[bool, int]:
    """Whether all of it is there already, and how many bytes the company keeps now; ``kept`` is how many it kept, None to look."""
    known = info(tx, digest)
    if known is not None:
        changed = {"name": name, "media_type": media_type} if name and not known["name"] else {}
        if not known["name"]:  # put again it is as young as a new one: what will name it has not been written yet
            tx.execute(update(files).where(f.company_id == COMPANY, f.sha256 == digest).values(created_at=tx.now, **changed))
        chunks = select(func.count()).select_from(file_chunks).where(c.company_id == COMPANY, c.sha256 == digest)
        return tx.sqlite or tx.execute(chunks).scalar_one() * CHUNK >= size, _sum(tx) if kept is None else kept
    if kept is None:
        kept = _sum(tx)
        if kept + size > quota_bytes:
            raise TooLarge(
                f"the company keeps {kept} bytes of files; {size} more would pass its quota of {quota_bytes}",
                hint="Delete files, or raise PULSER_STORE_FILES_QUOTA_BYTES.",
            )
    tx.execute(insert(files), {"sha256": digest, "size_bytes": size, "media_type": media_type, "name": name, "created_at": tx.now})
    return False, kept + size


def _put_chunk(tx: Tx, digest: str, n: int, chunk: bytes) -> None:
    if tx.execute(select(c.n).where(c.company_id == COMPANY, c.sha256 == digest, c.n == n)).first() is None:
        tx.execute(insert(file_chunks), {"sha256": digest, "n": n, "bytes": chunk})


def _chunk(tx: Tx, digest: str, n: int) -> bytes | None:
    return tx.execute(select(c.bytes).where(c.company_id == COMPANY, c.sha256 == digest, c.n == n)).scalar_one_or_none()


def _orphan(tx: Tx) -> tuple[ColumnElement[bool], ...]:
    named = exists(select(a.sha256).where(a.company_id == f.company_id, a.sha256 == f.sha256))
    return f.name == "", f.created_at < tx.now - timedelta(days=1), ~named


def _orphans(tx: Tx) -> list[str]:
    return list(tx.execute(select(f.sha256).where(f.company_id == COMPANY, *_orphan(tx)).limit(ORPHANS)).scalars())


def _drop_orphans(tx: Tx, company: str, found: list[str], place: Callable[[str], Path]) -> int:
    """Drop those of ``found`` that still are; their bytes too, unless another company has the same. In one transaction: who puts the same file at
    that moment writes its row before, and the file stays, or after, and sees that it is gone."""
    dropped = tx.execute(delete(files).where(f.company_id == company, f.sha256.in_(found), *_orphan(tx)).returning(f.sha256)).scalars().all()
    for digest in dropped:
        others = select(f.sha256).where(f.company_id.in_(select(companies.c.company_id)), f.sha256 == digest).limit(1)
        if tx.execute(others).first() is None:
            place(digest).unlink(missing_ok=True)
    return len(dropped)
