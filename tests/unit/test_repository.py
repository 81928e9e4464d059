"""The repository itself: what a fresh clone promises, before any code of ours runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from email.message import Message
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z][a-z-]*):", MAKEFILE, re.MULTILINE))


def tracked() -> list[Path]:
    """Files of the repository: what git tracks, or everything outside hidden folders where there is no git."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode == 0:
        paths = [ROOT / name for name in listed.stdout.split("\0") if name]
    else:
        paths = [Path(folder) / name for folder, folders, names in os.walk(ROOT) for name in names if "/." not in folder]
    return [path for path in paths if path.is_file()]


def made_known_by(text: str) -> dict[str, str]:
    """Name to version of every pin in a lock."""
    return {canonicalize_name(name): version for name, version in re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", text, re.MULTILINE)}


def test_the_lock_names_no_host_and_carries_a_hash_for_every_pin():
    assert "://" not in LOCK
    entries = re.split(r"^(?=\S)", LOCK, flags=re.MULTILINE)[1:]
    assert len(entries) > 50
    assert not [entry.splitlines()[0] for entry in entries if not re.match(r"[A-Za-z0-9_.-]+==", entry) or "--hash=sha256:" not in entry]


def test_the_lock_satisfies_every_dependency_that_the_project_names():
    project = PROJECT["project"]
    named = [*project["dependencies"], *PROJECT["dependency-groups"]["dev"], *(item for extra in project["optional-dependencies"].values() for item in extra)]
    pins = made_known_by(LOCK)
    requirements = [each for each in map(Requirement, named) if each.name != project["name"]]
    unmet = [
        str(each)
        for each in requirements
        if pins.get(canonicalize_name(each.name)) is None or not each.specifier.contains(pins[canonicalize_name(each.name)], prereleases=True)
    ]
    assert not unmet, f"run `make lock`: {unmet}"


def test_the_lock_of_the_resolver_is_not_committed_because_it_names_hosts():
    assert "uv.lock" in (ROOT / ".gitignore").read_text("utf-8").split()
    assert ROOT / "uv.lock" not in [path for path in tracked() if (ROOT / ".git").exists()]


def test_make_alone_prints_every_target_with_a_sentence():
    printed = subprocess.run(["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    told = dict(re.findall(r"^  make ([a-z-]+) +(\S.*\.)$", printed, re.MULTILINE))
    assert set(told) == TARGETS


def test_every_job_that_a_pull_request_must_pass_is_there_and_calls_make():
    jobs = yaml.safe_load((ROOT / ".github/workflows/checks.yml").read_text("utf-8"))["jobs"]
    assert set(jobs) == {"build-verification", "backend-tests", "frontend-tests", "e2e-tests", "security-scan", "pr-checks-summary"}
    assert set(jobs["pr-checks-summary"]["needs"]) == set(jobs) - {"pr-checks-summary"}
    for name, job in jobs.items():
        called = {target for step in job["steps"] for target in re.findall(r"\bmake ([a-z-]+)", step.get("run", ""))}
        assert called <= TARGETS
        assert called or name == "pr-checks-summary"


def test_ci_calls_targets_that_exist_and_the_check_comes_first():
    script = (ROOT / ".ci/run").read_text("utf-8")
    called = re.findall(r"^step .* make ([a-z-]+)", script, re.MULTILINE)
    assert called[:3] == ["setup", "check", "test"]
    assert set(called) <= TARGETS
    assert os.access(ROOT / ".ci/run", os.X_OK)


@pytest.mark.parametrize("script", [".ci/run", "scripts/set_up.sh", "scripts/lock.sh"])
def test_scripts_are_well_formed(script: str):
    first = (ROOT / script).read_text("utf-8").splitlines()[0]
    assert subprocess.run(["bash" if "bash" in first else "sh", "-n", script], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_hooks_before_a_commit_format_lint_check_types_and_look_for_secrets():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]
    assert repo["repo"] == "local"
    assert {hook["id"] for hook in repo["hooks"]} >= {"format", "lint", "types", "secrets"}


def test_a_planted_key_is_found_by_the_secret_scan(tmp_path: Path):
    planted = tmp_path / "settings.py"
    planted.write_text("KEY = 'AKIA" + "Q3EGRT5XM2PLW7VB'\n")
    found = subprocess.run(
        [str(Path(sys.executable).with_name("detect-secrets-hook")), "--baseline", ".secrets.baseline", str(planted)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 1 and "AWS Access Key" in found.stdout


def test_the_licence_is_the_one_the_package_names():
    assert PROJECT["project"]["license"] == "AGPL-3.0-or-later"
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert text.split("\n", 2)[:2] == ["                    GNU AFFERO GENERAL PUBLIC LICENSE", "                       Version 3, 19 November 2007"]
    assert "13. Remote Network Interaction" in text and len(text) > 34_000


def test_the_changelog_tells_of_the_version_that_is_built_or_what_is_unreleased():
    version = PROJECT["project"]["version"]
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert headings[0] == "Unreleased" or headings[0] == version
    installed: Message = metadata("pulser")  # type: ignore[assignment]
    assert installed["Version"] == version


@pytest.mark.skipif(len(ROOT.parts) < 3, reason="a clone at the root has a path that any file may name")
def test_no_file_names_the_folder_it_was_written_in():
    here = os.fsencode(str(ROOT) + "/")
    small = [path for path in tracked() if path.stat().st_size < 2_000_000]
    assert not [str(path.relative_to(ROOT)) for path in small if here in path.read_bytes()]
