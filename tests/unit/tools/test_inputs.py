"""What an argument that names an input leads to."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pulser.core.errors import BadInput, NotFound
from pulser.tools import inputs
from pulser.tools.inputs import check, resolve
from pulser.tools.paths import Root
from pulser.tools.sandbox import folder as folders
from tests.unit.tools.sample_tools import EXECUTE, INLINE

TASK = "tsk_" + "0" * 26


class KeptFiles:
    """Files by content, in a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.artifacts: dict[str, str] = {}
        place.mkdir(parents=True, exist_ok=True)

    def put(self, path: Path) -> tuple[str, int]:
        content = path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        (self.place / sha256).write_bytes(content)
        return sha256, len(content)

    def path_of(self, reference: str) -> Path:
        sha256 = self.artifacts.get(reference) or reference.removeprefix("file:")
        if not (self.place / sha256).exists():
            raise NotFound(f"there is no {reference}")
        return self.place / sha256


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "root" / "sub").mkdir(parents=True)
    (tmp_path / "root" / "sub" / "a.csv").write_text("a\n1\n")
    return tmp_path


def turned(place: Path, files: KeptFiles | None = None, **args: object) -> inputs.Resolved:
    return resolve(EXECUTE, args, (Root(place / "root"),), place / "data", files or KeptFiles(place / "data"), folders.make(place / "scratch"))


def test_a_path_becomes_absolute_and_is_pinned_to_what_it_was(place: Path):
    done = turned(place, path="sub/a.csv", paths=["sub", str(place / "root")], code="x")
    file = place / "root" / "sub" / "a.csv"
    assert done.args == {"path": str(file), "paths": [str(place / "root" / "sub"), str(place / "root")], "code": "x"}
    assert (done.reads[0].path, done.reads[0].inode) == (file, file.stat().st_ino)
    assert len(done.reads) == 3


def test_a_kept_file_is_laid_out_under_its_name_with_its_content(place: Path):
    files = KeptFiles(place / "data")
    sha256, _ = files.put(place / "root" / "sub" / "a.csv")
    files.artifacts[f"artifact:{TASK}/report.html"] = sha256
    done = turned(place, files, path=f"file:{sha256}/sales.csv", paths=[f"file:{sha256}", f"artifact:{TASK}/report.html"])
    laid = [Path(done.args["path"]), *map(Path, done.args["paths"])]
    assert [path.name for path in laid] == ["sales.csv", sha256, "report.html"]
    assert {path.read_text() for path in laid} == {"a\n1\n"}
    assert not any(path.is_relative_to(place / "data") for path in laid)
    assert done.reads == []


@pytest.mark.parametrize(("content", "suffix"), [(b"PAR1....", ".parquet"), (b"SQLite format 3\0", ".sqlite"), (b'  {"a": 1}', ".json"), (b"a,b\n", "")])
def test_a_nameless_file_gets_the_suffix_its_first_bytes_tell(place: Path, content: bytes, suffix: str):
    files = KeptFiles(place / "data")
    (place / "upload").write_bytes(content)
    sha256, _ = files.put(place / "upload")
    assert Path(turned(place, files, path=f"file:{sha256}").args["path"]).name == sha256 + suffix


def test_where_no_link_can_be_made_the_file_is_copied(place: Path, monkeypatch: pytest.MonkeyPatch):
    files = KeptFiles(place / "data")
    sha256, _ = files.put(place / "root" / "sub" / "a.csv")

    def refused(*_: object) -> None:
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", refused)
    path = Path(turned(place, files, path=f"file:{sha256}").args["path"])
    assert path.read_text() == "a\n1\n"
    assert path.stat().st_ino != files.path_of(f"file:{sha256}").stat().st_ino


def test_a_revision_is_laid_out_later_by_the_child(place: Path):
    done = turned(place, path="git:sub@v1.0")
    (copy,) = done.git
    assert (copy.repository, copy.revision, copy.pointer) == (place / "root" / "sub", "v1.0", "/payload/path")
    assert done.args["path"] == str(copy.to)
    assert copy.to.parent.name == "tmp" and not copy.to.exists()


@pytest.mark.parametrize(
    "text",
    [
        *("file:abc", "file:" + "0" * 63 + "G", "file:" + "0" * 64 + "/a/b", "file:" + "0" * 64 + "/..", "artifact:x", f"artifact:{TASK}/../x", "artifact:/x"),
        *("git:sub", "git:@main", "git:sub@--upload-pack=x", "git:sub@-x", "git:sub@a b", "git:sub@a:b", "git:sub@a..b", "git:sub@"),
        *("git:../x@main", "git:/etc@main", "git:none@main", "git:sub/a.csv@main"),
    ],
)
def test_what_is_no_reference_is_refused_with_its_pointer(place: Path, text: str):
    with pytest.raises(BadInput) as caught:
        turned(place, paths=[text])
    assert caught.value.fields["errors"][0]["pointer"] == "/payload/paths/0"


def test_a_tool_that_runs_inline_takes_no_revision(place: Path):
    from dataclasses import replace

    with pytest.raises(BadInput, match="cannot take"):
        resolve(
            replace(INLINE, inputs=("path",)), {"path": "git:sub@main"}, (Root(place / "root"),), None, KeptFiles(place / "data"), folders.make(place / "s")
        )


def test_a_file_that_is_not_kept_is_not_found(place: Path):
    with pytest.raises(NotFound):
        turned(place, path="file:" + "0" * 64)


def test_submission_refuses_what_could_not_be_resolved_later(place: Path):
    roots = (Root(place / "root"),)
    check(EXECUTE, {"path": "sub/a.csv", "paths": ["git:sub@main", "file:" + "0" * 64, 3], "code": "/etc/passwd"}, roots, place / "data")
    for text in ("/etc/passwd", "none.csv", "file:x", "git:sub", "git:none@main"):
        with pytest.raises(BadInput):
            check(EXECUTE, {"path": text}, roots, place / "data")
