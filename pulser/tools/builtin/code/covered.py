"""Coverage of a run: our own settings, so that the project's cannot run plugins, and the numbers read back with limits."""

from __future__ import annotations

import json
import math
import re
import sys
from pathlib import Path, PurePosixPath

from pulser.core.errors import BadInput
from pulser.core.tool import Json
from pulser.tools.builtin.child import run_child

LIMIT_BYTES = 128 * 1024 * 1024
_NOT_COUNTED = ("tests/*", "test/*", "*/tests/*", "*/test/*", "test_*.py", "*/test_*.py", "*_test.py", "conftest.py", "*/conftest.py", "setup.py", "docs/*")


def write_settings(project: Path, home: Path, source: list[str] | None) -> None:
    """The settings file for ``coverage run``; ``source`` are folders of the project, all but its tests by default."""
    for name in source or []:
        if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_./-]*", name) or ".." in PurePosixPath(name).parts or not (project / name).is_dir():
            raise BadInput(f"source: {name[:200]!r} is not a folder inside the project", hint="Name folders relative to the project, such as src.")
    counted = [str(project / name) for name in source or ["."]]
    omitted = [] if source else [str(project / pattern) if not pattern.startswith("*") else pattern for pattern in _NOT_COUNTED]
    lines = ["[run]", f"data_file = {home / 'coverage.data'}", "source =", *(f"    {name}" for name in counted), "relative_files = true"]
    lines += ["omit =", *(f"    {pattern}" for pattern in omitted)] if omitted else []
    lines += ["[report]", "ignore_errors = true", "exclude_also =", "    if TYPE_CHECKING:", "    if __name__ == .__main__.:"]
    (home / "coveragerc").write_text("\n".join(lines) + "\n", encoding="utf-8")


def measured(project: Path, home: Path) -> Json | None:
    """``{percent, lines, missing, files: [worst first]}``, or None if nothing was measured."""
    report = home / "coverage.json"
    command = [sys.executable, "-I", "-m", "coverage", "json", "--quiet", f"--rcfile={home / 'coveragerc'}", "-o", str(report)]
    done = run_child(command, cwd=project, home=home, time_limit_s=300)
    if done.code or done.timed_out or not report.is_file() or report.is_symlink() or report.stat().st_size > LIMIT_BYTES:
        return None
    try:
        read = json.loads(report.read_bytes())
        files = [_file(name, file["summary"], file["missing_lines"]) for name, file in read["files"].items()]
        percent = float(read["totals"]["percent_covered"])
        statements, missing = int(read["totals"]["num_statements"]), int(read["totals"]["missing_lines"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    if not math.isfinite(percent) or not statements:
        return None
    worst = sorted((file for file in files if file["lines"]), key=lambda file: (file["percent"], file["file"]))
    return {"percent": round(percent, 2), "lines": statements, "missing": missing, "files": worst[:50]}


def _file(name: str, summary: Json, missing: list[int]) -> Json:
    return {
        "file": name.replace("\\", "/"),
        "percent": round(float(summary["percent_covered"]), 2),
        "lines": int(summary["num_statements"]),
        "missing": _ranges(missing),
    }


def _ranges(numbers: list[int]) -> str:
    """``[3, 4, 5, 9]`` as ``3-5, 9``."""
    runs: list[list[int]] = []
    for number in sorted(map(int, numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs[:200])
