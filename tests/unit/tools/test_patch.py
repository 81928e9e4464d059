"""Patches are git's, applied by us."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pulser.core.errors import BadInput, Permanent
from pulser.tools.builtin.patch import Change, apply_patch, blob_hash, make_patch, parse, patched

texts = st.lists(st.sampled_from(["a\n", "b\n", "b\r\n", "\n", "ü\n", "\\ x\n", "-- x\n", "\x0c\n", "last"]), max_size=30).map("".join)


@given(texts, texts)
@settings(max_examples=200, deadline=None)
def test_applying_a_patch_gives_the_text_after(before, after):
    patch = make_patch([Change("d/x y.py", before, after)])
    if before == after:
        assert patch == ""
    else:
        (file,) = parse(patch)
        assert patched(before.encode(), file) == after.encode()


def test_git_reads_the_same_patch(tmp_path):
    (tmp_path / "a b.md").write_text("one\ntwo\nthree")
    (tmp_path / "c.md").write_text("x\n")
    patch = make_patch([Change("a b.md", "one\ntwo\nthree", "one\n2\nthree\n"), Change("c.md", "x\n", "")])
    subprocess.run(["git", "apply", "-"], input=patch.encode(), cwd=tmp_path, check=True)
    assert (tmp_path / "a b.md").read_text() == "one\n2\nthree\n"
    hashed = subprocess.run(["git", "hash-object", "a b.md"], cwd=tmp_path, check=True, capture_output=True, text=True).stdout.strip()
    assert hashed == blob_hash(b"one\n2\nthree\n") == parse(patch)[0].after


def test_applying_twice_says_it_is_done_and_changes_nothing(tmp_path):
    (tmp_path / "x.py").write_text("import os\nimport os\n")  # applied by context alone, the line would go in twice
    patch = make_patch([Change("x.py", "import os\nimport os\n", "import os\nimport os\nimport os\n")])
    assert apply_patch(patch, tmp_path) == {"applied": ["x.py"], "already": []}
    assert apply_patch(patch, tmp_path) == {"applied": [], "already": ["x.py"]}
    assert (tmp_path / "x.py").read_text().count("import os") == 3


def test_the_mode_is_kept_and_no_temporary_file_stays(tmp_path):
    script = tmp_path / "run.py"
    script.write_text("a\n")
    script.chmod(0o750)
    apply_patch(make_patch([Change("run.py", "a\n", "b\n")]), tmp_path)
    assert script.stat().st_mode & 0o777 == 0o750
    assert [p.name for p in tmp_path.iterdir()] == ["run.py"]


def test_a_file_that_changed_since_stops_everything_before_anything_is_written(tmp_path):
    (tmp_path / "a.py").write_text("a\n")
    (tmp_path / "b.py").write_text("edited meanwhile\n")
    with pytest.raises(Permanent, match=r"b\.py has changed"):
        apply_patch(make_patch([Change("a.py", "a\n", "A\n"), Change("b.py", "b\n", "B\n")]), tmp_path)
    assert (tmp_path / "a.py").read_text() == "a\n"


@pytest.mark.parametrize("linked", ["folder", "file"])
def test_links_are_not_followed(tmp_path, linked):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "x.py").write_text("a\n")
    root = tmp_path / "root"
    root.mkdir()
    if linked == "folder":
        (root / "d").symlink_to(outside)
    else:
        (root / "d").mkdir()
        (root / "d" / "x.py").symlink_to(outside / "x.py")
    with pytest.raises(Permanent):
        apply_patch(make_patch([Change("d/x.py", "a\n", "b\n")]), root)
    assert (outside / "x.py").read_text() == "a\n"


@pytest.mark.parametrize("name", ["../x.py", "/etc/x.py", "a/../../x.py", ".git/config", "a//b", "./a"])
def test_a_patch_cannot_name_a_path_outside_the_folder(tmp_path, name):
    with pytest.raises(BadInput, match="not a plain path"):
        apply_patch(make_patch([Change(name, "a\n", "b\n")]), tmp_path)


def test_a_patch_for_one_file_cannot_touch_its_neighbour(tmp_path):
    (tmp_path / "b.py").write_text("b\n")
    with pytest.raises(BadInput, match="other files"):
        apply_patch(make_patch([Change("b.py", "b\n", "B\n")]), tmp_path, only="a.py")


@pytest.mark.parametrize("broken", ["nonsense\n", "diff --git a/x b/x\nrename from x\nrename to y\n--- \n", "cut"])
def test_another_form_of_patch_is_refused(tmp_path, broken):
    whole = make_patch([Change("x", "a\nb\nc\n", "a\nB\nc\n")])
    with pytest.raises(BadInput):
        apply_patch(whole[:-6] if broken == "cut" else broken, tmp_path)


def test_a_folder_reached_through_a_link_is_not_changed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a.md").write_text("x\n")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real" / "deep").mkdir()
    (tmp_path / "real" / "deep" / "a.md").write_text("x\n")
    patch = make_patch([Change("a.md", "x\n", "y\n")])
    for root in (tmp_path / "link", tmp_path / "link" / "deep"):
        with pytest.raises(Permanent):
            apply_patch(patch, root)
    assert (tmp_path / "real" / "a.md").read_text() == (tmp_path / "real" / "deep" / "a.md").read_text() == "x\n"
