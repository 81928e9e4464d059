"""code.lint finds, and offers fixes as a patch."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.code.lint import TOOL, apply
from tests.unit.tools.fake_call import FakeInstallation, run

UNTIDY = "import sys\nimport os\n\n\ndef f(x):\n    unused = 1\n    if x == None:\n        return os.sep\n"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "pkg").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_text(UNTIDY)
    (folder / "pkg" / "b.py").write_text("x = 1\n")
    return folder


def test_findings_are_told_by_file_and_rule(project, tmp_path):
    made = run(TOOL, tmp_path, path=str(project))
    assert made.result["files_checked"] == 2 and made.result["files_with_findings"] == 1
    assert {r["rule"] for r in made.result["by_rule"]} == {"F401", "F841", "E711"}
    first = made.result["findings"][0]
    assert first["file"] == "pkg/a.py" and first["line"] == 1
    assert made.json("findings.json") == made.result["findings"]
    assert "F401" in made.text("report.md") and "2 Python files checked" in made.result["summary"]


def test_a_fix_is_offered_as_a_patch_and_changes_nothing(project, tmp_path):
    made = run(TOOL, tmp_path, path=str(project), fix=True)
    assert (project / "pkg" / "a.py").read_text() == UNTIDY
    assert "-import sys" in made.text("fix.patch")
    assert made.result["fix"]["files"] == ["pkg/a.py"] and made.result["fix"]["findings_left"] == 2
    assert apply({"path": str(project), "fix": True}, made.result, made.files, FakeInstallation((project,))) == {}
    assert (project / "pkg" / "a.py").read_text() == UNTIDY


def test_an_approved_fix_is_applied_once(project, tmp_path):
    args = {"path": str(project), "fix": True, "apply": True}
    made = run(TOOL, tmp_path, **args)
    assert apply(args, made.result, made.files, FakeInstallation((project,)))["applied"]["applied"] == ["pkg/a.py"]
    assert (project / "pkg" / "a.py").read_text().startswith("import os\n")
    assert "already" in apply(args, made.result, made.files, FakeInstallation((project,)))["applied"]["note"]


def test_a_fix_of_one_file_is_applied_to_that_file(project, tmp_path):
    args = {"path": str(project / "pkg" / "a.py"), "fix": True, "apply": True}
    made = run(TOOL, tmp_path, **args)
    assert apply(args, made.result, made.files, FakeInstallation((project,)))["applied"]["applied"] == ["a.py"]


def test_a_fix_is_refused_outside_the_writable_folders(project, tmp_path):
    args = {"path": str(project), "fix": True, "apply": True}
    made = run(TOOL, tmp_path, **args)
    with pytest.raises(BadInput):
        apply(args, made.result, made.files, FakeInstallation())


def test_rules_can_be_chosen_and_left_out(project, tmp_path):
    assert {r["rule"] for r in run(TOOL, tmp_path, path=str(project), select=["F", "E7"], ignore=["E711"]).result["by_rule"]} == {"F401", "F841"}


def test_the_projects_settings_count_only_when_asked_for(project, tmp_path):
    (project / "ruff.toml").write_text('lint.select = ["E711"]\n')
    assert run(TOOL, tmp_path, path=str(project)).result["total"] == 3
    assert run(TOOL, tmp_path, path=str(project), use_project_config=True).result["total"] == 1


def test_the_fix_of_a_package_knows_its_own_modules(project, tmp_path):
    (project / "pkg" / "__init__.py").write_text("")
    (project / "pkg" / "c.py").write_text("import os\n\nfrom pkg.b import x\n\nprint(os, x)\n")
    (project / "pyproject.toml").write_text("[tool.ruff]\nline-length = 160\n")
    made = run(TOOL, tmp_path, path=str(project / "pkg"), select=["I"], fix=True)
    assert {f["file"] for f in made.result["findings"]} == set(made.result["fix"]["files"]) == {"a.py"}


def test_the_line_length_of_the_project_counts(project, tmp_path):
    (project / "pkg" / "b.py").write_text("x = '" + "x" * 100 + "'\n")
    assert run(TOOL, tmp_path, path=str(project), select=["E501"]).result["total"] == 1
    (project / "pyproject.toml").write_text("[tool.ruff]\nline-length = 160\n")
    assert run(TOOL, tmp_path, path=str(project), select=["E501"]).result["total"] == 0


def test_settings_that_ruff_refuses_are_told(project, tmp_path):
    (project / "ruff.toml").write_text("lint.select = 7\n")
    with pytest.raises(BadInput, match="ruff refused"):
        run(TOOL, tmp_path, path=str(project), use_project_config=True)


def test_a_syntax_error_is_a_finding(project, tmp_path):
    (project / "broken.py").write_text("def f(:\n")
    found = run(TOOL, tmp_path, path=str(project)).result["findings"]
    assert any(f["file"] == "broken.py" and "syntax" in f["rule"] for f in found)


def test_a_file_that_is_not_utf8_is_told_and_the_rest_is_linted(project, tmp_path):
    (project / "latin.py").write_bytes(b"x = '\xe9'\n")
    made = run(TOOL, tmp_path, path=str(project), fix=True)
    assert [u["file"] for u in made.result["unreadable"]] == ["latin.py"]
    assert made.result["total"] == 3 and made.result["fix"]["files"] == ["pkg/a.py"]


def test_a_folder_without_python_has_a_clear_result(tmp_path):
    (tmp_path / "docs").mkdir()
    assert run(TOOL, tmp_path, path=str(tmp_path / "docs")).result["summary"] == "There is no Python in docs: nothing to lint."


def test_a_bare_repository_is_linted_at_its_head(project, tmp_path):
    def git(*args: str) -> None:
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *args], cwd=project, check=True, capture_output=True)

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    git("clone", "-q", "--bare", ".", str(tmp_path / "bare.git"))
    result = run(TOOL, tmp_path, path=str(tmp_path / "bare.git")).result
    assert result["total"] == 3 and "bare" in result["note"]


def test_sarif_is_written_when_asked_for(project, tmp_path):
    assert run(TOOL, tmp_path, path=str(project), sarif=True).json("findings.sarif")["version"] == "2.1.0"


@pytest.mark.parametrize(
    "bad", [{"path": "nowhere"}, {"path": ".", "select": ["--config=x"]}, {"path": ".", "select": ["ZZZ999"]}, {}, {"path": ".", "max_findings": -1}]
)
def test_bad_arguments_are_refused(bad, project, tmp_path):
    if "path" in bad:
        bad = bad | {"path": str(project / bad["path"])}
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, **bad)
