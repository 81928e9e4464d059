"""docs.changelog tells a history to its readers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from pulser.core.errors import BadInput, Permanent
from pulser.tools.builtin.docs.changelog import TOOL
from pulser.tools.builtin.docs.entries import entry_of
from pulser.tools.builtin.docs.history import Commit
from tests.unit.tools.fake_call import run

Git = Callable[..., str]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repo"
    folder.mkdir()
    subprocess.run(["git", "init", "-q", "-b", "main"], cwd=folder, check=True)
    return folder


@pytest.fixture
def git(repository: Path) -> Git:
    days = iter(range(1, 29))

    def call(*args: str) -> str:
        when = f"2024-03-{next(days):02d}T12:00:00Z" if args[0] in ("commit", "tag", "merge") else "2024-03-28T12:00:00Z"
        who = {"GIT_AUTHOR_NAME": "Ada", "GIT_AUTHOR_EMAIL": "a@example.org", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@example.org"}
        env = {"PATH": os.defpath, "HOME": str(repository), "GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when} | who
        return subprocess.run(["git", *args], cwd=repository, env=env, check=True, capture_output=True, text=True).stdout.strip()

    return call


def commit(git: Git, *messages: str) -> None:
    for message in messages:
        git("commit", "-q", "--allow-empty", "-m", message)


def test_tags_become_versions_with_dates_and_links(repository, git, tmp_path):
    commit(git, "Add the shelf")
    git("tag", "v1.0.0")
    commit(git, "Fix a crash on an empty shelf")
    git("tag", "-a", "v1.1.0", "-m", "1.1")
    commit(git, "Remove the old shelf")
    git("remote", "add", "origin", "https://ada:hushhush@github.com/ada/shelf.git")  # pragma: allowlist secret
    made = run(TOOL, tmp_path, path=str(repository))
    text = made.text("CHANGELOG.md")
    assert text.split("## ", 1)[1] == (
        "[Unreleased]\n\n### Removed\n\n- Remove the old shelf\n\n"
        "## [1.1.0] - 2024-03-04\n\n### Fixed\n\n- Fix a crash on an empty shelf\n\n"
        "## [1.0.0] - 2024-03-01\n\n### Added\n\n- Add the shelf\n\n"
        "[Unreleased]: https://github.com/ada/shelf/compare/v1.1.0...HEAD\n"
        "[1.1.0]: https://github.com/ada/shelf/compare/v1.0.0...v1.1.0\n"
        "[1.0.0]: https://github.com/ada/shelf/releases/tag/v1.0.0\n"
    )
    assert "hushhush" not in text and made.result["summary"] == "3 entries from 3 commits in 2 versions, 1 of them unreleased."


def test_work_merged_later_belongs_to_the_version_that_has_it(repository, git, tmp_path):
    commit(git, "Add one")
    git("checkout", "-q", "-b", "side")
    commit(git, "Add two")
    git("checkout", "-q", "main")
    commit(git, "Add three")
    git("tag", "1.0")
    git("merge", "-q", "--no-ff", "-m", "Merge branch 'side'", "side")
    git("tag", "2.0")
    text = run(TOOL, tmp_path, path=str(repository)).text("CHANGELOG.md")
    assert text.index("## [2.0]") < text.index("Add two") < text.index("## [1.0]") < text.index("Add three") and "Merge branch" not in text


def test_since_and_version_make_the_next_release(repository, git, tmp_path):
    commit(git, "Add one")
    git("tag", "v1.0.0")
    commit(git, "feat(api)!: two at once", "chore: tidy")
    made = run(TOOL, tmp_path, path=str(repository), since="v1.0.0", version="v1.1.0")
    assert "## [1.1.0] - 2024-03-0" in made.text("CHANGELOG.md") and "- **Breaking:** **api:** Two at once" in made.text("CHANGELOG.md")
    assert "Add one" not in made.text("CHANGELOG.md") and made.result["left_out"] == 1


def test_a_commit_and_its_revert_cancel_out(repository, git, tmp_path):
    commit(git, "Add a mistake")
    commit(git, f'Revert "Add a mistake"\n\nThis reverts commit {git("rev-parse", "HEAD")}.', "Add the right thing")
    text = run(TOOL, tmp_path, path=str(repository)).text("CHANGELOG.md")
    assert "mistake" not in text and "Add the right thing" in text


def test_an_existing_changelog_keeps_its_words(repository, git, tmp_path):
    commit(git, "Add one")
    git("tag", "v1.0.0")
    commit(git, "Add two")
    git("tag", "v1.1.0")
    commit(git, "Add three", "Fix four")
    old = tmp_path / "CHANGELOG.md"
    old.write_text(
        "# What is new\n\n## [Unreleased]\n\n### Added\n\n- By hand\n\n## [1.0.0] - 2024-03-01\n\nThe first one, in our words.\n\n[1.0.0]: https://old\n"
    )
    text = run(TOOL, tmp_path, path=str(repository), existing=str(old)).text("CHANGELOG.md")
    assert text.startswith("# What is new\n") and "The first one, in our words." in text and "Add one" not in text
    assert "### Added\n\n- Add three\n- By hand\n" in text and "### Fixed\n\n- Fix four\n" in text
    assert text.index("[Unreleased]") < text.index("[1.1.0]") < text.index("[1.0.0]")
    (tmp_path / "again.md").write_text(text)
    assert run(TOOL, tmp_path, path=str(repository), existing=str(tmp_path / "again.md")).text("CHANGELOG.md") == text


def test_grouping_by_author_or_scope(repository, git, tmp_path):
    commit(git, "feat(shelf): wider", "Add two")
    assert "### Ada" in run(TOOL, tmp_path, path=str(repository), group_by="author").text("CHANGELOG.md")
    text = run(TOOL, tmp_path, path=str(repository), group_by="scope").text("CHANGELOG.md")
    assert text.index("### shelf") < text.index("### General")


@pytest.mark.parametrize(
    ("subject", "kind", "told"),
    [
        ("feat: a shelf", "Added", "A shelf"),
        ("fix(core): it", "Fixed", "It"),
        ("Introduces shelves.", "Added", "Introduces shelves"),
        ("Fixes #12", "Fixed", "Fixes #12"),
        ("Deprecate x", "Deprecated", "Deprecate x"),
        ("Fix CVE-2024-1234 in parser", "Security", "Fix CVE-2024-1234 in parser"),
        ("Make it faster", "Changed", "Make it faster"),
        ("Read __init__ and <b>", "Changed", "Read \\_\\_init\\_\\_ and \\<b>"),
        ("Keep `a_b*` and snake_case", "Changed", "Keep `a_b*` and snake_case"),
    ],
)
def test_the_verb_decides_unless_the_commit_is_conventional(subject, kind, told):
    entry = entry_of(Commit("0" * 40, (), "2024-01-01", "Ada", subject, ""))
    assert entry and (entry.kind, entry.told) == (kind, told)


@pytest.mark.parametrize("subject", ["docs: typo", "Release v1.2.3", "Bump version to 2.0.0", "fixup! x", "v1.0", "WIP"])
def test_what_is_not_for_readers_is_left_out(subject):
    assert entry_of(Commit("0" * 40, (), "2024-01-01", "Ada", subject, "")) is None


def test_a_shallow_clone_is_mentioned(repository, git, tmp_path):
    commit(git, "Add one", "Add two")
    subprocess.run(["git", "clone", "-q", "--depth=1", repository.as_uri(), str(tmp_path / "clone")], check=True)
    result = run(TOOL, tmp_path, path=str(tmp_path / "clone")).result
    assert result["shallow"] and "shallow" in result["summary"] and result["remote"] is None


def test_programs_named_by_the_repository_do_not_run(repository, git, tmp_path):
    commit(git, "Add one")
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\necho ran >> {tmp_path}/ran\n")
    trap.chmod(0o755)
    git("config", "gpg.program", str(trap))
    git("config", "log.showSignature", "true")
    signature = "gpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----"
    signed = git("cat-file", "commit", "HEAD").replace("\n\n", f"\n{signature}\n\n", 1) + "\n"
    sha = subprocess.run(["git", "hash-object", "-t", "commit", "-w", "--stdin"], cwd=repository, input=signed, check=True, capture_output=True, text=True)
    git("update-ref", "refs/heads/main", sha.stdout.strip())
    git("log")
    assert (tmp_path / "ran").exists(), "the trap must work, or this shows nothing"
    (tmp_path / "ran").unlink()
    assert run(TOOL, tmp_path, path=str(repository)).result["commits"] == 1
    assert not (tmp_path / "ran").exists()


def test_a_message_of_control_characters_or_other_bytes_is_read(repository, git, tmp_path):
    commit(git, "Add \x1f one\n\nbody \x1e x", "Add two")
    who = {"GIT_AUTHOR_NAME": "A", "GIT_AUTHOR_EMAIL": "a", "GIT_COMMITTER_NAME": "A", "GIT_COMMITTER_EMAIL": "a"}
    subprocess.run(["git", "commit", "-q", "--allow-empty", "-F", "-"], input=b"Add caf\xe9\n", cwd=repository, check=True, env={"PATH": os.defpath} | who)
    assert run(TOOL, tmp_path, path=str(repository)).result["commits"] == 3


def test_a_repository_without_commits_is_refused(repository, tmp_path):
    with pytest.raises(Permanent, match="no commits"):
        run(TOOL, tmp_path, path=str(repository))


def test_a_folder_that_is_no_repository_is_refused_even_inside_one(repository, git, tmp_path):
    commit(git, "Add one")
    (repository / "sub").mkdir()
    for folder in (repository / "sub", tmp_path):
        with pytest.raises(Permanent, match="not a git repository"):
            run(TOOL, tmp_path, path=str(folder))


@pytest.mark.parametrize(
    "bad", [{"since": "--output=x"}, {"since": "nowhere"}, {"until": "a..b"}, {"version": "next"}, {"version": "1.0.0"}, {"existing": "/nowhere.md"}]
)
def test_bad_arguments_are_refused(bad, repository, git, tmp_path):
    commit(git, "Add one")
    git("tag", "v1.0.0")
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, path=str(repository), **bad)


def test_no_word_of_a_commit_becomes_markup():
    entry = entry_of(Commit("a" * 40, (), "2024-01-01", "<img src=x>", "Add <b>bold</b> [link](x)", ""))
    assert entry is not None and (entry.author, entry.told) == (r"\<img src=x>", r"Add \<b>bold\</b> \[link\](x)")
