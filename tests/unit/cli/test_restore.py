"""What a restore refuses: archives from anywhere must not write where they like."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from pulser.app.backup import back_up
from pulser.app.restore import restore
from pulser.core.errors import BadInput, Conflict, NotFound, OperatorError, PulserError
from pulser.core.settings import Store
from pulser.store import migrate

TEXT = b"kept by Pulser"
SHA = hashlib.sha256(TEXT).hexdigest()


@pytest.fixture
def old(tmp_path: Path) -> Store:
    """An installation with a database and one file."""
    place = Store(data_dir=tmp_path / "old")
    (place.data_dir / "files" / SHA[:2]).mkdir(parents=True)
    (place.data_dir / "files" / SHA[:2] / SHA).write_bytes(TEXT)
    migrate.ready("", "", place.data_dir)
    return place


@pytest.fixture
def new(tmp_path: Path) -> Store:
    return Store(data_dir=tmp_path / "new")


@pytest.fixture
def archive(old: Store, tmp_path: Path) -> Path:
    file = tmp_path / "backup.tar.gz"
    back_up(old, file)
    return file


def members(file: Path) -> dict[str, bytes]:
    with tarfile.open(file) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive}  # type: ignore[union-attr]


def packed(file: Path, content: dict[str, bytes], *further: tarfile.TarInfo) -> Path:
    with tarfile.open(file, "w:gz") as archive:
        for name, data in content.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in further:
            archive.addfile(info)
    return file


def changed(content: dict[str, bytes], **values: Any) -> dict[str, bytes]:
    return {**content, "manifest.json": json.dumps({**json.loads(content["manifest.json"]), **values}).encode()}


def test_a_backup_holds_the_database_the_files_and_their_checksums_for_its_owner_only(archive: Path):
    content = members(archive)
    manifest = json.loads(content["manifest.json"])
    assert set(content) == {"pulser.db", f"files/{SHA[:2]}/{SHA}", "manifest.json"}
    assert {name: told["sha256"] for name, told in manifest["files"].items()} == {
        name: hashlib.sha256(data).hexdigest() for name, data in content.items() if name != "manifest.json"
    }
    assert archive.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in archive.parent.iterdir() if path.name.startswith(".")] == []


def test_a_backup_never_replaces_a_file(old: Store, archive: Path):
    before = archive.read_bytes()
    with pytest.raises(Conflict):
        back_up(old, archive)
    assert archive.read_bytes() == before


def test_a_damaged_file_is_told_and_leaves_no_archive(old: Store, tmp_path: Path):
    (old.data_dir / "files" / SHA[:2] / SHA).write_bytes(b"something else")
    with pytest.raises(OperatorError, match="damaged"):
        back_up(old, tmp_path / "other.tar.gz")
    assert not (tmp_path / "other.tar.gz").exists()


def test_there_must_be_something_to_back_up(new: Store, tmp_path: Path):
    with pytest.raises(NotFound):
        back_up(new, tmp_path / "other.tar.gz")
    assert not new.data_dir.exists()


def test_a_restore_brings_everything_back(archive: Path, new: Store):
    told = restore(new, archive)
    assert told["files"] == 1 and told["kept"] is None
    assert (new.data_dir / "files" / SHA[:2] / SHA).read_bytes() == TEXT
    engine = migrate.open_engine("", new.data_dir)
    assert migrate.current(engine) == migrate.HEAD
    engine.dispose()


def test_where_there_is_data_it_needs_force_and_keeps_the_old(archive: Path, old: Store):
    (old.data_dir / "files" / SHA[:2] / SHA).write_bytes(b"newer")
    with pytest.raises(Conflict, match="data"):
        restore(old, archive)
    kept = Path(restore(old, archive, force=True)["kept"])
    assert (kept / "files" / SHA[:2] / SHA).read_bytes() == b"newer"
    assert (kept / "pulser.db").is_file()
    assert (old.data_dir / "files" / SHA[:2] / SHA).read_bytes() == TEXT


def test_it_refuses_while_a_pulser_runs(archive: Path, old: Store):
    with (old.data_dir / "checkpoint.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(Conflict, match="running"):
            restore(old, archive, force=True)


def link(name: str, kind: bytes, target: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize(
    "extra",
    [
        link(f"files/{SHA[:2]}/{SHA}", tarfile.SYMTYPE, "/etc/passwd"), link("files/00/" + "0" * 64, tarfile.LNKTYPE, "pulser.db"),
        link("files", tarfile.SYMTYPE, "/tmp"), link("files/00", tarfile.DIRTYPE, ""), link("device", tarfile.CHRTYPE, ""),
        link("pulser.db", tarfile.FIFOTYPE, ""),
    ],
    ids=["symlink", "hardlink", "linked folder", "folder", "device", "pipe"],
)  # fmt: skip
def test_only_plain_files_are_taken(extra: tarfile.TarInfo, archive: Path, new: Store, tmp_path: Path):
    content = members(archive)
    content.pop(extra.name, None)
    with pytest.raises(BadInput, match="no plain file"):
        restore(new, packed(tmp_path / "evil.tar.gz", content, extra))
    assert left(new) == []


@pytest.mark.parametrize(
    "name", ["../outside", "/tmp/outside", "files/../../outside", "files/00/short", f"files/ff/{'0' * 64}", "token", "pulser.db-wal", "./pulser.db"]
)
def test_only_the_names_of_a_backup_are_taken(name: str, archive: Path, new: Store, tmp_path: Path):
    with pytest.raises(BadInput, match="does not belong"):
        restore(new, packed(tmp_path / "evil.tar.gz", {**members(archive), name: b"x"}))
    assert left(new) == [] and not (tmp_path / "outside").exists()


def test_content_that_is_not_what_the_manifest_says_is_refused(archive: Path, new: Store, tmp_path: Path):
    content = members(archive)
    name = f"files/{SHA[:2]}/{SHA}"
    for number, wrong in enumerate(({**content, name: b"other"}, {key: data for key, data in content.items() if key != name})):
        with pytest.raises(BadInput, match="manifest"):
            restore(new, packed(tmp_path / f"{number}.tar.gz", wrong))
    assert left(new) == []


@pytest.mark.parametrize(
    ("values", "error"), [({"format": 99}, BadInput), ({"version": "9999"}, OperatorError), ({"database": "postgres"}, Conflict), ({"files": []}, BadInput)]
)
def test_an_archive_of_another_kind_is_refused(values: dict[str, Any], error: type[PulserError], archive: Path, new: Store, tmp_path: Path):
    with pytest.raises(error):
        restore(new, packed(tmp_path / "other.tar.gz", changed(members(archive), **values)))
    assert left(new) == []


def test_a_database_that_is_none_is_refused(archive: Path, new: Store, tmp_path: Path):
    content = {**members(archive), "pulser.db": b"SQLite format 3\0" + b"junk" * 1000}
    files = json.loads(content["manifest.json"])["files"]
    files["pulser.db"] = {"size_bytes": len(content["pulser.db"]), "sha256": hashlib.sha256(content["pulser.db"]).hexdigest()}
    with pytest.raises(PulserError):
        restore(new, packed(tmp_path / "other.tar.gz", changed(content, files=files)))
    assert left(new) == []


@pytest.mark.parametrize("cut", [10, 1000, -400])
def test_an_archive_that_was_cut_off_is_refused(cut: int, archive: Path, new: Store, tmp_path: Path):
    (tmp_path / "cut.tar.gz").write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(BadInput):
        restore(new, tmp_path / "cut.tar.gz")
    assert left(new) == []


def left(place: Store) -> list[str]:
    """What a refused restore has left in the data folder."""
    return [path.name for path in place.data_dir.iterdir()] if place.data_dir.exists() else []
