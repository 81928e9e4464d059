"""code.test runs a copy and judges it."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

import pytest

from pulser.core.errors import BadInput, Permanent
from pulser.tools.builtin.code.junit import read_junit
from pulser.tools.builtin.code.run_tests import TOOL
from tests.unit.tools.fake_call import run


def project(tmp_path: Path, **sources: str) -> str:
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
    return str(folder)


HALF = "def yes():\n    return 1\n\n\ndef no():\n    return 2\n"


def test_the_sample_project_passes_its_gate(tmp_path):
    with as_file(files("pulser") / "app" / "samples" / "project") as sample:
        before = sorted(sample.rglob("*"))
        made = run(TOOL, tmp_path, path=str(sample), min_coverage=85)
        assert sorted(sample.rglob("*")) == before, "the project itself must not be touched"
    assert made.result["verdict"] == "pass" and made.result["tests"]["passed"] == made.result["tests"]["total"] > 5
    assert 85 <= made.result["coverage"]["percent"] < 100
    assert all(file["file"].startswith("orders/") for file in made.result["coverage"]["files"])
    assert read_junit(made.files["junit.xml"]).count("passed") == made.result["tests"]["passed"]
    assert "orders/stock.py" in made.text("report.md") and "<h2>Coverage" in made.text("report.html")
    assert made.json("coverage.json")["totals"]["percent_covered"] > 85


def test_failing_tests_are_a_verdict_and_not_an_error(tmp_path):
    path = project(tmp_path, test_a="def test_one():\n    assert 1 == 2, '<b>no</b>'\n\ndef test_two():\n    pass\n")
    made = run(TOOL, tmp_path, path=path)
    assert made.result["verdict"] == "fail" and made.result["tests"]["failed"] == 1 and made.result["tests"]["passed"] == 1
    assert made.result["failures"][0]["test"] == "test_a::test_one" and "1 == 2" in made.result["failures"][0]["detail"]
    assert "&lt;b&gt;no" in made.text("report.html") and "<b>no" not in made.text("report.html")


def test_too_little_coverage_fails_the_gate_and_says_so(tmp_path):
    path = project(tmp_path, half=HALF, test_a="import half\n\ndef test_yes():\n    assert half.yes() == 1\n")
    result = run(TOOL, tmp_path, path=path, min_coverage=80).result
    assert result["verdict"] == "fail" and result["reasons"] == ["coverage is 75.0 %, less than 80 %"]
    assert result["coverage"]["files"] == [{"file": "half.py", "percent": 75.0, "lines": 4, "missing": "6"}]


def test_a_file_that_no_test_imports_counts_as_uncovered(tmp_path):
    path = project(tmp_path, half=HALF, test_a="def test_nothing():\n    pass\n")
    assert run(TOOL, tmp_path, path=path).result["coverage"]["percent"] == 0


def test_no_tests_is_a_verdict_of_its_own(tmp_path):
    result = run(TOOL, tmp_path, path=project(tmp_path, half=HALF), min_coverage=50).result
    assert result["verdict"] == "no_tests" and "no tests" in result["summary"]


def test_a_project_that_cannot_be_collected_is_an_error_with_its_cause(tmp_path):
    path = project(tmp_path, test_a="import a_module_that_is_not_there\n", test_b="def test_b():\n    pass\n")
    with pytest.raises(Permanent, match=r"test_a.*a_module_that_is_not_there"):
        run(TOOL, tmp_path, path=path)


def test_a_broken_conftest_is_an_error_with_its_cause(tmp_path):
    with pytest.raises(Permanent, match=r"before it could report.*kaput"):
        run(TOOL, tmp_path, path=project(tmp_path, conftest="raise RuntimeError('kaput')\n", test_a="def test_a():\n    pass\n"))


def test_tests_that_end_the_interpreter_are_an_error(tmp_path):
    with pytest.raises(Permanent, match="exit code 0 before it could report"):
        run(TOOL, tmp_path, path=project(tmp_path, test_a="import os\n\ndef test_a():\n    os._exit(0)\n"))


def test_tests_that_never_end_are_stopped_and_fail(tmp_path):
    path = project(tmp_path, test_a="import threading\n\ndef test_a():\n    threading.Event().wait()\n")
    result = run(TOOL, tmp_path, path=path, time_limit_s=1).result
    assert result["verdict"] == "fail" and "longer than 1 s" in result["summary"]


def test_the_projects_own_options_are_left_out_if_pytest_does_not_know_them(tmp_path):
    path = project(tmp_path, test_a="def test_a():\n    pass\n")
    (Path(path) / "pytest.ini").write_text("[pytest]\naddopts = --cov=x -n auto\n")
    result = run(TOOL, tmp_path, path=path).result
    assert result["verdict"] == "pass" and "--cov" in result["note"]


def test_a_src_layout_is_found_without_installing(tmp_path):
    path = project(tmp_path)
    (Path(path) / "src" / "pkg").mkdir(parents=True)
    (Path(path) / "src" / "pkg" / "__init__.py").write_text("x = 1\n")
    (Path(path) / "tests").mkdir()
    (Path(path) / "tests" / "test_x.py").write_text("from pkg import x\n\ndef test_x():\n    assert x == 1\n")
    result = run(TOOL, tmp_path, path=path).result
    assert result["verdict"] == "pass" and [f["file"] for f in result["coverage"]["files"]] == ["src/pkg/__init__.py"]


def test_tests_can_be_chosen(tmp_path):
    path = project(tmp_path, test_a="def test_one():\n    pass\n\ndef test_two():\n    assert 0\n", test_b="def test_three():\n    assert 0\n")
    assert run(TOOL, tmp_path, path=path, args=["test_a.py", "-k", "one and not two"]).result["tests"]["total"] == 1
    assert run(TOOL, tmp_path, path=path, max_failures=1).result["tests"]["failed"] == 1


@pytest.mark.parametrize(
    "args", [["-p", "os"], ["--rootdir=/"], ["@file"], ["../x"], ["/etc"], ["-k"], ["-k", "-x"], ["nowhere.py"], ["-k", "__import__('os');x"]]
)
def test_other_options_of_pytest_are_refused(args, tmp_path):
    with pytest.raises(BadInput, match="args"):
        run(TOOL, tmp_path, path=project(tmp_path), args=args)


@pytest.mark.parametrize("bad", [{"path": "nowhere"}, {"path": "file.py"}, {"min_coverage": 101}, {"source": ["../.."]}, {"source": ["nowhere"]}])
def test_bad_arguments_are_refused(bad, tmp_path):
    folder = Path(project(tmp_path, file="x = 1\n"))
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, **{"path": str(folder / bad.get("path", "."))} | {k: v for k, v in bad.items() if k != "path"})


@pytest.mark.parametrize(
    "text",
    ['<!DOCTYPE x [<!ENTITY a "b">]><testsuites>&a;</testsuites>', '<!DOCTYPE x SYSTEM "file:///etc/passwd"><x/>', "<testsuites>", "not xml"],
)
def test_a_report_with_entities_or_that_is_not_xml_is_refused(text, tmp_path):
    (tmp_path / "junit.xml").write_text(text)
    with pytest.raises(Permanent, match="test report"):
        read_junit(tmp_path / "junit.xml")
