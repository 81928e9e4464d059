"""``code.test``: run a project's tests with coverage, and say whether they pass the gate.

A project whose tests fail is work done well: the task succeeds and its verdict is ``fail``. Only a project whose tests cannot be
collected or started fails the task, with what pytest said.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import time
from pathlib import Path, PurePosixPath
from typing import Any

from pulser.core.errors import BadInput, Permanent
from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.child import Finished, run_child
from pulser.tools.builtin.code.covered import measured, write_settings
from pulser.tools.builtin.code.junit import Report, read_junit
from pulser.tools.builtin.code.verdict_page import as_html, as_markdown
from pulser.tools.builtin.folder import check_exists, list_folder
from pulser.tools.builtin.git import export, is_bare

_PYTEST_OK, _PYTEST_USAGE, _PYTEST_NO_TESTS = 0, 4, 5


def run(call: Call) -> Json:
    """Copy the project to scratch, run pytest there in its own child, read what it wrote, and judge."""
    path = Path(call.args["path"])
    check_exists(path)
    if path.is_file():
        raise BadInput(f"{path.name} is a file", hint="Name the project's folder; choose tests with args.")
    scratch = call.out / ".scratch"
    (scratch / "home").mkdir(parents=True)
    call.progress("Copying the project", 0.05)
    project = export(path, scratch / "home", scratch / "project") if is_bare(path) else _copy(path, scratch / "project")
    chosen = check_args(call.args.get("args", []), project)
    call.progress("Running the tests", 0.15)
    began = time.monotonic()
    done, ignored = _pytest(call, project, scratch, chosen)
    duration_s = round(time.monotonic() - began, 3)
    call.log(done.out.decode("utf-8", "replace")[-20_000:])
    junit = scratch / "home" / "junit.xml"
    report = read_junit(junit) if junit.is_file() else Report()
    _check_collected(done, report, junit.is_file())
    coverage = None if done.timed_out else measured(project, scratch / "home")
    result = _judged(call.args, done, report, coverage, duration_s)
    if ignored:
        result["note"] = f"pytest refused the project's own addopts, so they were left out: {ignored}"
    _write(call, result, junit, scratch / "home" / "coverage.json")
    shutil.rmtree(scratch, ignore_errors=True)
    return result


def check_args(args: list[str], project: Path) -> list[str]:
    """``-x``, ``-k EXPR``, ``-m EXPR`` and paths inside the project; :class:`BadInput` for anything else."""
    checked: list[str] = []
    left = list(args)
    while left:
        word = left.pop(0)
        if word == "-x":
            checked.append(word)
        elif word in ("-k", "-m"):
            if not left or not re.fullmatch(r"[\w\s()\[\].,:<>='\"/-]{1,500}", left[0]) or left[0].startswith("-"):
                raise BadInput(f"args: {word} needs an expression of names, and, or, not", hint="For example: ['-k', 'price and not slow'].")
            checked += [word, left.pop(0)]
        elif word.startswith("-"):
            raise BadInput(f"args: {word[:60]!r} is not allowed", hint="Allowed: -k EXPR, -m EXPR, -x and paths inside the project.")
        else:
            file, _, _ = word.partition("::")
            parts = PurePosixPath(file).parts
            if not parts or file.startswith(("/", "@")) or ".." in parts or not (project / file).exists():
                raise BadInput(f"args: {word[:200]!r} is not a path inside the project", hint="Paths are relative to the project's folder.")
            checked.append("./" + word)
    return checked


def _copy(path: Path, into: Path) -> Path:
    """The project without version control, caches and links, so that its tests can write beside themselves."""
    listing = list_folder(path, hidden=True)
    into.mkdir()
    for file in listing.files:
        (into / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / file, into / file, follow_symlinks=False)
        (into / file).chmod((path / file).stat().st_mode & 0o777 | 0o600)
    return into


def _pytest(call: Call, project: Path, scratch: Path, chosen: list[str]) -> tuple[Finished, str]:
    """Run it; once more without the project's ``addopts`` if pytest does not know them (they may name plugins that are not here)."""
    args, home = call.args, scratch / "home"
    write_settings(project, home, args.get("source"))
    command = [sys.executable, "-m", "coverage", "run", f"--rcfile={home / 'coveragerc'}", "-m", "pytest", "-p", "no:cacheprovider"]
    command += ["--rootdir=.", f"--junitxml={home / 'junit.xml'}", "-o", "junit_logging=no", "-o", "junit_family=xunit2", "--tb=short", "-q", "--color=no"]
    for plugin in args.get("plugins", []):
        command += ["-p", plugin]
    if args.get("max_failures"):
        command.append(f"--maxfail={args['max_failures']}")
    paths = [str(project / "src")] if (project / "src").is_dir() else []
    env = {
        "PYTHONPATH": os.pathsep.join([*paths, str(project)]),
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_DEBUG_TEMPROOT": str(home),
        "COLUMNS": "160",
    }
    limit_s = float(args.get("time_limit_s", 600))
    done = run_child([*command, *chosen], cwd=project, home=home, time_limit_s=limit_s, env=env, keep="end")
    if done.code != _PYTEST_USAGE or done.timed_out:
        return done, ""
    again = run_child([*command, "-o", "addopts=", *chosen], cwd=project, home=home, time_limit_s=limit_s, env=env, keep="end")
    said = re.search(r"unrecognized arguments: (.+)|error: (.+)", done.told)
    return again, (said[1] or said[2] if said else "they are not understood") if again.code != _PYTEST_USAGE else ""


def _check_collected(done: Finished, report: Report, has_report: bool) -> None:
    """Raise :class:`Permanent` with what pytest said if it never came to run the tests."""
    if report.not_collected:
        first = report.not_collected[0]
        because = next((line[2:].strip() for line in reversed(first.detail.splitlines()) if line.startswith("E ")), first.message)
        raise Permanent(
            f"{len(report.not_collected)} test file(s) cannot be collected: {first.name.strip(':')}: {because[:400]}",
            hint="Mend the import. The tests run with Pulser's own Python: what the project imports must be installed there.",
            not_collected=[{"file": case.name.strip(":"), "message": case.detail[-600:]} for case in report.not_collected[:20]],
        )
    if done.timed_out or (has_report and done.code in (0, 1, 2, _PYTEST_NO_TESTS)):
        return
    how = f"signal {-done.code}" if done.code < 0 else f"exit code {done.code}"
    raise Permanent(f"pytest ended with {how} before it could report: {_last_lines(done)}", hint="Run it by hand with: python -m pytest")


def _last_lines(done: Finished) -> str:
    lines = [line for line in (done.out + b"\n" + done.err).decode("utf-8", "replace").splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"E  |\w*Error|ERROR", line)]
    return " / ".join((errors or lines)[-3:])[:800] or "it said nothing"


def _judged(args: Json, done: Finished, report: Report, coverage: Json | None, duration_s: float) -> Json:
    bad = [case for case in report.cases if case.outcome in ("failed", "error")]
    tests: dict[str, Any] = {
        "total": len(report.cases),
        "passed": report.count("passed"),
        "failed": report.count("failed"),
        "errors": report.count("error"),
        "skipped": report.count("skipped"),
        "duration_s": duration_s,
    }
    reasons = []
    if done.timed_out:
        reasons.append(f"the tests ran longer than {args.get('time_limit_s', 600)} s and were stopped")
    if bad:
        reasons.append(f"{len(bad)} of {len(report.cases)} tests failed")
    elif not done.timed_out and done.code not in (_PYTEST_OK, _PYTEST_NO_TESTS):
        reasons.append(f"pytest stopped early: {_last_lines(done)[:200]}")
    least = args.get("min_coverage")
    if least is not None and report.cases:
        if coverage is None:
            reasons.append(f"coverage could not be measured, and {least:g} % is asked for")
        elif coverage["percent"] < least:
            reasons.append(f"coverage is {coverage['percent']:.1f} %, less than {least:g} %")
    verdict = "fail" if reasons else "pass" if report.cases else "no_tests"
    result = {
        "verdict": verdict,
        "reasons": reasons,
        "tests": tests,
        "coverage": coverage,
        "failures": [{"test": c.name, "outcome": c.outcome, "message": c.message, "detail": c.detail} for c in bad[:100]],
        "slowest": [{"test": c.name, "duration_s": c.duration_s} for c in sorted(report.cases, key=lambda c: -c.duration_s)[:5]],
    }
    result["summary"] = _told(result)
    return result


def _told(result: Json) -> str:
    tests, coverage = result["tests"], result["coverage"]
    if result["verdict"] == "no_tests":
        return "There are no tests: pytest collected none."
    covered = f", {coverage['percent']:.1f} % covered" if coverage else ""
    skipped = f", {tests['skipped']} skipped" if tests["skipped"] else ""
    told = f"{result['verdict'].upper()}: {tests['passed']} of {tests['total']} tests passed{skipped}{covered}, in {tests['duration_s']:.1f} s."
    return told + (f" {'; '.join(result['reasons'])}." if result["reasons"] else "")


def _write(call: Call, result: Json, junit: Path, coverage: Path) -> None:
    call.artifact("report.md", "text/markdown").write_text(as_markdown(result), encoding="utf-8")
    call.artifact("report.html", "text/html").write_text(as_html(result), encoding="utf-8")
    if junit.is_file():
        shutil.copyfile(junit, call.artifact("junit.xml", "application/xml"), follow_symlinks=False)
    if result["coverage"]:
        shutil.copyfile(coverage, call.artifact("coverage.json", "application/json"), follow_symlinks=False)


TOOL = Tool(
    name="code.test",
    summary="Run a project's tests with coverage in a copy of it, and judge them by a quality gate.",
    run=run,
    effect="read",
    time_limit_s=1800,
    inputs=("path",),
    needs=("pytest", "coverage"),
    extra="code",
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "The project's folder or repository; it is copied and not changed."},
            "args": {
                "type": "array",
                "items": {"type": "string", "minLength": 1, "maxLength": 500},
                "maxItems": 100,
                "default": [],
                "description": "Which tests: -k EXPR, -m EXPR, -x, and paths inside the project.",
            },
            "min_coverage": {"type": "number", "minimum": 0, "maximum": 100, "description": "Percent of lines that must be covered for the verdict pass."},
            "source": {
                "type": "array",
                "items": {"type": "string", "pattern": "^[A-Za-z0-9_][A-Za-z0-9_./-]*$", "maxLength": 200},
                "maxItems": 50,
                "description": "Folders inside the project whose coverage counts; all but the tests if not given.",
            },
            "max_failures": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "Stop after so many failures."},
            "plugins": {
                "type": "array",
                "items": {"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_.]*$", "maxLength": 100},
                "maxItems": 20,
                "default": [],
                "description": "pytest plugins to load by name, such as anyio; none are loaded by themselves.",
            },
            "time_limit_s": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1700,
                "default": 600,
                "description": "Seconds the tests may run before they are stopped.",
            },
        },
    },
    examples=({"path": "."}, {"path": "project", "min_coverage": 85, "args": ["-k", "not slow"]}),
)
