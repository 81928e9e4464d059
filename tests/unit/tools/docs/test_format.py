"""docs.format brings Markdown into one form and loses nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.docs.format import TOOL, apply, formatted
from pulser.tools.builtin.docs.markdown_files import front_matter
from tests.unit.tools.fake_call import FakeInstallation, run

UNTIDY = "Title\n=====\n\n* one\n* two\n\n|a|b|\n|-|-|\n|1|2|\n"
TIDY = "# Title\n\n- one\n- two\n\n| a   | b   |\n| --- | --- |\n| 1   | 2   |\n"


@pytest.fixture
def docs(tmp_path: Path) -> Path:
    folder = tmp_path / "docs"
    (folder / "sub").mkdir(parents=True)
    (folder / "sub" / "a.md").write_text(UNTIDY)
    (folder / "b.md").write_text("# Fine\n")
    (folder / "c.txt").write_text("* not ours\n")
    return folder


def test_a_patch_is_made_and_nothing_is_changed(docs, tmp_path):
    made = run(TOOL, tmp_path, path=str(docs))
    assert made.result["changed"] == [{"file": "sub/a.md", "added": 6, "removed": 7}]
    assert made.result["files"] == 2 and made.result["unchanged"] == 1
    assert "+# Title" in made.text("format.patch")
    assert apply({"path": str(docs), "mode": "patch"}, made.result, made.files, FakeInstallation((docs,))) == {}
    assert (docs / "sub" / "a.md").read_text() == UNTIDY


def test_in_place_changes_the_files_once(docs, tmp_path):
    args = {"path": str(docs), "mode": "in_place"}
    made = run(TOOL, tmp_path, **args)
    assert apply(args, made.result, made.files, FakeInstallation((docs,)))["applied"]["applied"] == ["sub/a.md"]
    assert (docs / "sub" / "a.md").read_text() == TIDY
    assert apply(args, made.result, made.files, FakeInstallation((docs,)))["applied"]["already"] == ["sub/a.md"]
    again = run(TOOL, tmp_path, **args)
    assert again.result["changed"] == [] and "all in form" in again.result["summary"]
    assert apply(args, again.result, again.files, FakeInstallation((docs,)))["applied"]["applied"] == []


def test_in_place_needs_a_folder_that_may_be_written(docs, tmp_path):
    args = {"path": str(docs), "mode": "in_place"}
    made = run(TOOL, tmp_path, **args)
    with pytest.raises(BadInput):
        apply(args, made.result, made.files, FakeInstallation())


def test_one_file_gives_its_formatted_text_too(docs, tmp_path):
    assert run(TOOL, tmp_path, path=str(docs / "sub" / "a.md")).text("formatted.md") == TIDY


def test_front_matter_and_line_ends_stay(docs, tmp_path):
    (docs / "d.md").write_bytes(b"---\ntitle:   x\ntags: [a,b]\n---\n\n* one\r\n* two\r\n")
    made = run(TOOL, tmp_path, path=str(docs / "d.md"))
    assert made.text("formatted.md") == "---\ntitle:   x\ntags: [a,b]\n---\n\n- one\r\n- two\r\n"


def test_paragraphs_are_wrapped_only_when_asked_for(docs, tmp_path):
    (docs / "b.md").write_text("some words " * 20 + "\n")
    assert max(map(len, run(TOOL, tmp_path, path=str(docs / "b.md"), wrap=40).text("formatted.md").splitlines())) <= 40


def test_a_file_that_is_not_utf8_is_told_and_the_rest_is_formatted(docs, tmp_path):
    (docs / "latin.md").write_bytes(b"* caf\xe9\n")
    result = run(TOOL, tmp_path, path=str(docs)).result
    assert result["skipped"] == [{"file": "latin.md", "reason": "not UTF-8: byte 5 is 0xe9"}]
    assert [c["file"] for c in result["changed"]] == ["sub/a.md"] and result["unchanged"] == 1


def test_a_link_is_not_followed(docs, tmp_path):
    (tmp_path / "secret.md").write_text("* x\n")
    (docs / "link.md").symlink_to(tmp_path / "secret.md")
    result = run(TOOL, tmp_path, path=str(docs)).result
    assert [s["file"] for s in result["skipped"]] == ["link.md"] and result["files"] == 2


def test_a_folder_without_markdown_has_a_clear_result(tmp_path):
    (tmp_path / "code").mkdir()
    assert run(TOOL, tmp_path, path=str(tmp_path / "code")).result["summary"] == "There is no Markdown in code: nothing to format."


@pytest.mark.parametrize("bad", [{"path": "nowhere.md"}, {"path": "c.txt"}, {"wrap": 3}, {"extensions": ["os"]}, {"mode": "print"}])
def test_bad_arguments_are_refused(bad, docs, tmp_path):
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, **bad | {"path": str(docs / bad.get("path", "."))})


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("---\ntitle: x\n---\n\n# A\n", "---\ntitle: x\n---\n\n"),
        ("---\r\ntitle: x\r\n...\r\nA", "---\r\ntitle: x\r\n...\r\n"),
        ("+++\ntitle = 'x'\n+++\nA\n", "+++\ntitle = 'x'\n+++\n"),
        ("---\nonly a rule\n---\n", ""),
        ("---\r\n" + "title: x\r\n" * 20_000, ""),  # it never ends; a pattern would try two ways per line
    ],
)
def test_front_matter_is_told_from_what_only_begins_like_it(text, head):
    assert front_matter(text) == (head, text[len(head) :])


def test_a_long_run_of_spaces_or_of_open_tags_is_formatted_in_reasonable_time():
    assert formatted("```\n" + " " * 300_000 + "x\n```\n", {})[1] == ""
    assert formatted("<p " * 100_000 + "\n", {})[1] == ""
