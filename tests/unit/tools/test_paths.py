"""Paths of payloads: beneath the roots, whatever is named, linked or renamed meanwhile."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import socket
import threading
from pathlib import Path

import pytest

from pulser.core.errors import BadInput, Permanent
from pulser.tools import paths
from pulser.tools.paths import Root, find, open_beneath, opened, parse_root, regular_file, step_beneath


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "a.csv").write_text("a\n1\n")
    (tmp_path / "outside.txt").write_text("secret")
    return root


def refused(text: str, *roots: Root, data_dir: Path | None = None, writable: bool = False) -> BadInput:
    with pytest.raises(BadInput) as caught:
        find(text, roots, data_dir, writable=writable)
    assert caught.value.fields["errors"][0]["pointer"] == "/payload/path"
    return caught.value


def test_a_path_beneath_a_root_is_found_by_its_absolute_and_its_relative_name(root: Path, tmp_path: Path):
    other = Root(tmp_path / "other")
    other.path.mkdir()
    for text in ("deep/a.csv", str(root / "deep" / "a.csv"), str(root / "deep" / ".." / "deep" / "a.csv"), "./deep//a.csv"):
        found = find(text, (other, Root(root)))
        assert (found.path, found.kind, found.root.path) == (root / "deep" / "a.csv", "file", root)
        assert (found.device, found.inode) == ((root / "deep/a.csv").stat().st_dev, (root / "deep/a.csv").stat().st_ino)
    assert find(".", (Root(root),)).kind == "folder"


@pytest.mark.parametrize("text", ["/etc/passwd", "../outside.txt", "deep/../../outside.txt", "/", "", "a\0b", "x" * 5000])
def test_what_lies_outside_is_refused_and_the_roots_are_listed(root: Path, text: str):
    error = refused(text, Root(root))
    assert str(root) in error.hint or "not a path" in error.detail


def test_a_root_whose_name_is_only_a_prefix_does_not_count(root: Path):
    sibling = root.with_name("root-of-others")
    sibling.mkdir()
    (sibling / "x").write_text("")
    assert "outside" in refused(str(sibling / "x"), Root(root)).detail


def test_what_is_not_there_is_said_to_be_missing(root: Path):
    assert "there is no" in refused("deep/b.csv", Root(root)).detail
    assert "there is no" in refused("deep/a.csv/x", Root(root)).detail


def test_links_are_not_followed_even_inside_the_root(root: Path, tmp_path: Path):
    (root / "out").symlink_to(tmp_path)
    (root / "inner").symlink_to(root / "deep")
    (root / "file").symlink_to(tmp_path / "outside.txt")
    for text in ("out/outside.txt", "inner/a.csv", "file", "inner"):
        assert "symbolic link" in refused(text, Root(root)).detail


def test_a_root_may_itself_be_reached_through_a_link(root: Path, tmp_path: Path):
    (tmp_path / "alias").symlink_to(root)
    alias = Root(tmp_path / "alias")
    assert find(str(tmp_path / "alias" / "deep" / "a.csv"), (alias,)).path == root / "deep" / "a.csv"
    assert find(str(root / "deep" / "a.csv"), (alias,)).path == root / "deep" / "a.csv"


def test_only_regular_files_and_folders_are_taken(root: Path):
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "s"))
        for text in ("pipe", "s"):
            assert "neither" in refused(text, Root(root)).detail


def test_the_data_folder_is_never_named_even_under_a_root(root: Path):
    data = root / "deep"
    for text in ("deep/a.csv", "deep"):
        assert "data folder" in refused(text, Root(root), data_dir=data).detail
    assert find(".", (Root(root),), data).kind == "folder"


def test_only_roots_marked_for_writing_may_be_written(root: Path, tmp_path: Path):
    assert "written" in refused("deep/a.csv", Root(root), writable=True).detail
    assert find("deep/a.csv", (parse_root(f"{root}:rw"),), writable=True).root.writable
    assert parse_root(str(root)) == Root(root)


def test_without_roots_the_hint_tells_what_to_set():
    assert "PULSER_TOOLS_ROOTS" in refused("a.csv").hint


@pytest.mark.parametrize("open_it", [open_beneath, step_beneath])
def test_both_ways_of_opening_refuse_links_and_ways_out(root: Path, tmp_path: Path, open_it):
    (root / "out").symlink_to(tmp_path)
    (root / "file").symlink_to(root / "deep" / "a.csv")
    base = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for below in ("out/outside.txt", "file", "../outside.txt", "deep/../../outside.txt", str(tmp_path / "outside.txt")):
            with pytest.raises(OSError) as caught:
                open_it(base, below)
            assert caught.value.errno in (errno.ELOOP, errno.EXDEV)
        with pytest.raises(FileNotFoundError):
            open_it(base, "deep/nothing")
        with open(open_it(base, "deep/a.csv"), encoding="ascii") as file:
            assert file.read() == "a\n1\n"
        folder = open_it(base, "")
        assert not os.get_inheritable(folder)
        os.close(folder)
    finally:
        os.close(base)


def test_where_the_kernel_has_no_openat2_the_steps_take_over(root: Path, monkeypatch: pytest.MonkeyPatch):
    class Old:
        def syscall(self, *_args: object) -> int:
            ctypes.set_errno(errno.ENOSYS)
            return -1

    monkeypatch.setattr(paths, "_LIBC", Old())
    assert find("deep/a.csv", (Root(root),)).kind == "file"
    (root / "link").symlink_to(root / "deep")
    assert "symbolic link" in refused("link/a.csv", Root(root)).detail


@pytest.mark.parametrize("open_it", [open_beneath, step_beneath])
def test_a_folder_swapped_for_a_link_in_mid_air_never_leads_out(root: Path, tmp_path: Path, open_it):
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "a.csv").write_text("secret")
    (root / "bait").symlink_to(tmp_path / "evil")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():  # deep and bait change places, again and again
            for one, two in (("deep", "t"), ("bait", "deep"), ("deep", "bait"), ("t", "deep")):
                os.rename(root / one, root / two)

    thread = threading.Thread(target=swap)
    thread.start()
    base = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        read = set()
        for n in range(300_000):
            if n >= 3000 and "a\n1\n" in read:
                break  # the folder itself was met, too; on a busy machine the swaps may win every early turn
            try:
                with open(open_it(base, "deep/a.csv"), encoding="ascii") as file:
                    read.add(file.read())
            except OSError:
                read.add("")
    finally:
        stop.set()
        thread.join()
        os.close(base)
    assert "secret" not in read
    assert "a\n1\n" in read


def test_an_artifact_must_be_a_regular_file_of_bounded_size(root: Path, tmp_path: Path):
    out = root / "deep"
    (out / "link").symlink_to(tmp_path / "outside.txt")
    os.mkfifo(out / "pipe")
    assert regular_file(out, "a.csv", 100) == out / "a.csv"
    for name, said in (("link", "symbolic link"), ("pipe", "regular"), ("none", "named"), ("../../outside.txt", "cannot be read"), (".", "regular")):
        with pytest.raises(Permanent, match=said):
            regular_file(out, name, 100)
    with pytest.raises(Permanent, match="limit is 3"):
        regular_file(out, "a.csv", 3)


def test_no_descriptor_stays_open(root: Path):
    before = len(os.listdir("/proc/self/fd"))
    for text in ("deep/a.csv", "nothing", "/etc/passwd"):
        with contextlib.suppress(BadInput):
            find(text, (Root(root),))
    with opened(root, "deep"):
        pass
    assert len(os.listdir("/proc/self/fd")) == before
