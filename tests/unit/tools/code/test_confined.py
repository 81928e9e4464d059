"""The tools of echo and maya do their work through the door, in a confined child."""

from __future__ import annotations

import asyncio
import subprocess
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from pulser.tools.call import Context, apply
from tests.unit.tools.confined import door_to, made


@pytest.fixture
def door(tmp_path: Path) -> Context:
    return door_to(tmp_path)


def test_the_sample_project_is_tested(door, tmp_path):
    with as_file(files("pulser") / "app" / "samples" / "project") as sample:
        subprocess.run(["cp", "-r", str(sample), str(tmp_path / "root" / "project")], check=True)
    result = made(door, "code.test", path="project", min_coverage=85)
    assert result.result["verdict"] == "pass" and result.result["coverage"]["percent"] > 85
    assert {a.name for a in result.artifacts} == {"junit.xml", "coverage.json", "report.md", "report.html"}


def test_hostile_tests_see_neither_network_nor_data(door, tmp_path):
    project = tmp_path / "root" / "project"
    project.mkdir()
    (tmp_path / "root" / ".data" / "secret").write_text("x")
    (project / "test_it.py").write_text(
        "import socket, pathlib, pytest\n\n"
        "def test_network():\n    with pytest.raises(OSError):\n        socket.create_connection(('127.0.0.1', 80), 1)\n\n"
        f"def test_data():\n    with pytest.raises(OSError):\n        pathlib.Path({str(tmp_path / 'root' / '.data' / 'secret')!r}).read_text()\n\n"
        f"def test_source():\n    with pytest.raises(OSError):\n        pathlib.Path({str(project / 'new')!r}).write_text('x')\n"
    )
    result = made(door, "code.test", path="project").result
    assert result["verdict"] == "pass" and result["tests"]["passed"] == 3


def test_a_folder_that_holds_pulsers_data_is_linted_around_it_and_its_fix_applied_once(door, tmp_path):
    (tmp_path / "root" / "a.py").write_text("import os\n")
    (tmp_path / "root" / ".data" / "b.py").write_text("import os\n")
    args = {"path": str(tmp_path / "root"), "fix": True, "apply": True}
    result = made(door, "code.lint", **args)
    assert result.result["total"] == 1 and result.result["applied"]["applied"] == ["a.py"]
    assert (tmp_path / "root" / "a.py").read_text() == ""
    again = asyncio.run(apply("code.lint", args, result.result, result.artifacts, door))
    assert again["applied"]["already"] == ["a.py"]


def test_a_changelog_is_written(door, tmp_path):
    for args in (["init", "-q"], ["-c", "user.name=A", "-c", "user.email=a@example.org", "commit", "-q", "--allow-empty", "-m", "Add a page"]):
        subprocess.run(["git", *args], cwd=tmp_path / "root", check=True)
    assert made(door, "docs.changelog", path=str(tmp_path / "root")).result["commits"] == 1


def test_markdown_is_formatted_links_are_checked_and_an_api_is_described(door, tmp_path):
    root = tmp_path / "root"
    (root / "a.md").write_text("* x\n\n[gone](b.md)\n")
    (root / "api.yaml").write_text("openapi: 3.1.0\ninfo: {title: A, version: '1'}\npaths: {/x: {get: {summary: X}}}\n")
    assert made(door, "docs.check_links", path=str(root)).result["broken_count"] == 1
    assert made(door, "docs.api_docs", path="api.yaml").result["operations"] == 1
    made(door, "docs.format", path="a.md", mode="in_place")
    assert (root / "a.md").read_text() == "- x\n\n[gone](b.md)\n"
