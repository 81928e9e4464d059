"""``code.lint``: what ruff finds in a folder, file or git repository, and its fixes as a patch that a person can look at first."""

from __future__ import annotations

import json
import re
import shutil
import sys
import tomllib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput, Permanent
from pulser.core.tool import Call, Installation, Json, Tool
from pulser.tools.builtin.child import Finished, run_child
from pulser.tools.builtin.folder import check_exists, read_text
from pulser.tools.builtin.git import export, is_bare
from pulser.tools.builtin.patch import Change, apply_to, check_patchable, make_patch

# Not I (import order): without the project's own settings, its answers depend on a line length that is only guessed.
DEFAULT_RULES = ("E4", "E7", "E9", "F", "W6", "B", "SIM", "UP")
MAX_FILES = 15_000
MAX_REPORT_BYTES = 256 * 1024 * 1024
MAX_SOURCE_BYTES = 4 * 1024 * 1024
_CONFIGS = ("pyproject.toml", "ruff.toml", ".ruff.toml")


def run(call: Call) -> Json:
    """Lint ``path``; with ``fix`` also make ``fix.patch``, from fixing a copy. The input is never changed."""
    path = Path(call.args["path"])
    check_exists(path)
    scratch = call.out / ".scratch"
    scratch.mkdir()
    bare = path.is_dir() and is_bare(path)
    if bare:
        path = export(path, scratch, scratch / "head")
    root = path if path.is_dir() else path.parent
    target = "." if path.is_dir() else "./" + path.name
    files = _python_files(call, root, target, scratch)
    if not files:
        return _nothing_to_lint(call, path)
    call.progress(f"Linting {len(files)} files", 0.1)
    findings, unreadable = _findings(call, root, target, scratch)
    result = _summed_up(findings, len(files), call.args.get("max_findings", 200)) | {"unreadable": unreadable}
    if bare:
        result["note"] = "The repository is bare: the files of HEAD were linted."
    if call.args.get("sarif"):
        _ruff(call, root, target, scratch, "--output-format=sarif", f"--output-file={call.artifact('findings.sarif', 'application/sarif+json')}")
    if call.args.get("fix"):
        call.progress("Making the patch", 0.6)
        result["fix"] = _fix(call, root, target, files, scratch)
    result["summary"] = _told(result)
    call.artifact("findings.json", "application/json").write_text(json.dumps(findings, indent=1), encoding="utf-8")
    call.artifact("report.md", "text/markdown").write_text(_report(result), encoding="utf-8")
    shutil.rmtree(scratch)
    return result


def apply(args: Json, result: Json, files: Mapping[str, Path], installation: Installation) -> Json:
    """Apply ``fix.patch`` to the folder it was made from, when ``apply`` was asked for; may be repeated."""
    if not (args.get("fix") and args.get("apply")):
        return {}
    return {"applied": apply_to(files, "fix.patch", installation.writable(args["path"]))}


def _ruff(call: Call, root: Path, target: str, scratch: Path, *options: str) -> Finished:
    args = call.args
    config: list[str] = []
    if not args.get("use_project_config"):
        config = ["--isolated", "--select", ",".join(_codes(args.get("select"), "select") or DEFAULT_RULES)]
        config += _plain_settings(root)
    elif args.get("select"):
        config = ["--select", ",".join(_codes(args["select"], "select"))]
    if args.get("ignore"):
        config += ["--ignore", ",".join(_codes(args["ignore"], "ignore"))]
    fixes = () if "--fix" in options else ("--no-fix",)
    command = [sys.executable, "-I", "-m", "ruff", "check", "--no-cache", "--quiet", "--exit-zero", "--force-exclude", *fixes, *config, *options, "--", target]
    done = run_child(command, cwd=root, home=scratch, time_limit_s=300)
    if done.timed_out:
        raise Permanent("ruff took longer than 300 s", hint="Name a folder further down.")
    if done.code:
        told = re.sub(r"\x1b\[[0-9;]*m", "", done.told)[:600]
        raise BadInput(f"ruff refused: {told}", hint="Check select and ignore, or the project's own ruff settings.")
    return done


def _codes(codes: list[str] | None, what: str) -> list[str]:
    for code in codes or []:
        if not re.fullmatch(r"ALL|[A-Z]{1,6}[0-9]{0,4}", code):
            raise BadInput(f"{what}: {code[:40]!r} is not a rule or a prefix of rules", hint="Rules look like F401, prefixes like F or E5.")
    return list(codes or [])


def _plain_settings(root: Path) -> list[str]:
    """The oldest Python the project supports and its line length, in ruff's words; reading them runs nothing."""
    project = _toml(root / "pyproject.toml")
    options = []
    requires = project.get("project", {})
    found = re.search(r">=\s*3\.(\d{1,2})", str(requires.get("requires-python", ""))) if isinstance(requires, dict) else None
    if found:
        options += ["--target-version", f"py3{min(max(int(found[1]), 7), 14)}"]
    tools = project.get("tool", {})
    places = [_toml(root / "ruff.toml"), _toml(root / ".ruff.toml"), *(tools.get(name) for name in ("ruff", "black") if isinstance(tools, dict))]
    lengths = [place["line-length"] for place in places if isinstance(place, dict) and isinstance(place.get("line-length"), int)]
    return options + ([f"--config=line-length={lengths[0]}"] if lengths and 1 <= lengths[0] <= 320 else [])


def _toml(path: Path) -> Json:
    text, _ = read_text(path, 1024 * 1024) if path.is_file() else ("", "")
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        return {}


def _python_files(call: Call, root: Path, target: str, scratch: Path) -> list[str]:
    shown = _ruff(call, root, target, scratch, "--show-files").out.decode("utf-8", "replace").splitlines()
    files = sorted(_relative(line, root) for line in shown if line.endswith((".py", ".pyi", ".ipynb", ".pyw")) or target != ".")
    if len(files) > MAX_FILES:
        raise BadInput(f"there are more than {MAX_FILES:,} Python files", hint="Name a folder further down.")
    return [file for file in files if not (root / file).is_symlink()]


def _relative(name: str, root: Path) -> str:
    path = Path(name)
    for base in (root, root.resolve()):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return path.as_posix().removeprefix("./")


def _findings(call: Call, root: Path, target: str, scratch: Path) -> tuple[list[Json], list[Json]]:
    report = scratch / "ruff.json"
    done = _ruff(call, root, target, scratch, "--output-format=json", f"--output-file={report}")
    if report.stat().st_size > MAX_REPORT_BYTES:
        raise Permanent("there are too many findings to read", hint="Narrow them with select, or name a folder further down.")
    found = [_finding(raw, root) for raw in json.loads(report.read_bytes())]
    unreadable = [{"file": f["file"], "reason": f["message"]} for f in found if f["rule"] in ("E902", "io-error")]
    for line in done.err.decode("utf-8", "replace").splitlines():
        if failed := re.search(r"Failed to (?:lint|read|parse) (.+?): (.+)", re.sub(r"\x1b\[[0-9;]*m", "", line)):
            unreadable.append({"file": _relative(failed[1], root), "reason": failed[2]})
    return sorted((f for f in found if f["rule"] not in ("E902", "io-error")), key=lambda f: (f["file"], f["line"], f["column"], f["rule"])), unreadable


def _finding(raw: dict[str, Any], root: Path) -> Json:
    return {
        "file": _relative(raw["filename"], root),
        "line": (raw.get("location") or {}).get("row", 1),
        "column": (raw.get("location") or {}).get("column", 1),
        "rule": raw.get("code") or "syntax-error",
        "message": raw["message"],
        "fixable": (raw.get("fix") or {}).get("applicability") == "safe",
        "url": raw.get("url") or "",
    }


def _summed_up(findings: list[Json], files: int, limit: int) -> Json:
    by_rule = Counter(f["rule"] for f in findings)
    by_file = Counter(f["file"] for f in findings)
    fixable = Counter(f["rule"] for f in findings if f["fixable"])
    first = {f["rule"]: f for f in reversed(findings)}
    return {
        "files_checked": files,
        "files_with_findings": len(by_file),
        "total": len(findings),
        "fixable": sum(fixable.values()),
        "by_rule": [{"rule": r, "count": n, "fixable": fixable[r], "example": first[r]["message"], "url": first[r]["url"]} for r, n in by_rule.most_common()],
        "worst_files": [{"file": f, "count": n} for f, n in by_file.most_common(20)],
        "findings": findings[:limit],
        "truncated": len(findings) > limit,
    }


def _fix(call: Call, root: Path, target: str, files: list[str], scratch: Path) -> Json:
    copy = _place_of_copy(root, scratch / "copy")
    for file in [*files, *_CONFIGS]:
        if (root / file).is_file():
            (copy / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, copy / file, follow_symlinks=False)
    _ruff(call, copy, target, scratch, "--fix")
    changes, skipped = [], []
    for file in files:
        before, why_not = read_text(root / file, MAX_SOURCE_BYTES)
        after, _ = read_text(copy / file, 2 * MAX_SOURCE_BYTES)
        if why_not or not check_patchable(file):
            skipped.append({"file": file, "reason": why_not or "its name cannot stand in a patch"})
        elif before != after:
            changes.append(Change(file, before, after))
    if changes:
        with call.artifact("fix.patch", "text/x-diff").open("w", encoding="utf-8", newline="") as out:
            out.write(make_patch(changes))
    left = _findings(call, copy, target, scratch)[0]
    return {"files": [change.name for change in changes], "findings_left": len(left), "skipped": skipped}


def _place_of_copy(root: Path, top: Path) -> Path:
    """A folder named as ``root`` is, inside packages named as its own are: ruff tells a project's own modules by these names."""
    names, here = [root.name or "root"], root
    while (here / "__init__.py").is_file() and (here.parent / "__init__.py").is_file() and here.parent.name:
        here = here.parent
        names.insert(0, here.name)
    copy = top.joinpath(*names)
    copy.mkdir(parents=True)
    for package in list(copy.parents)[: len(names) - 1]:
        (package / "__init__.py").touch()
    return copy


def _nothing_to_lint(call: Call, path: Path) -> Json:
    summary = f"There is no Python in {path.name}: nothing to lint."
    call.artifact("findings.json", "application/json").write_text("[]", encoding="utf-8")
    call.artifact("report.md", "text/markdown").write_text(f"# Lint\n\n{summary}\n", encoding="utf-8")
    shutil.rmtree(call.out / ".scratch")
    return _summed_up([], 0, 0) | {"summary": summary, "unreadable": []}


def _told(result: Json) -> str:
    files, total = result["files_checked"], result["total"]
    told = f"{files} Python file{'s' * (files != 1)} checked: " + (
        f"{total} finding{'s' * (total != 1)} in {result['files_with_findings']}" if total else "no findings"
    )
    if total:
        worst = ", ".join(f"{r['rule']} x {r['count']}" for r in result["by_rule"][:3])
        told += f" ({worst}); {result['fixable']} can be fixed safely"
    if "fix" in result:
        fixed = len(result["fix"]["files"])
        told += (
            f". fix.patch changes {fixed} file{'s' * (fixed != 1)}, {result['fix']['findings_left']} findings stay"
            if fixed
            else ". There is nothing to fix safely"
        )
    if result["unreadable"]:
        told += f". {len(result['unreadable'])} could not be read"
    return told + "."


def _report(result: Json) -> str:
    lines = ["# Lint", "", result["summary"], ""]
    if result["by_rule"]:
        lines += ["## By rule", "", "| rule | count | fixable | example |", "|---|---:|---:|---|"]
        lines += [f"| [{r['rule']}]({r['url']}) | {r['count']} | {r['fixable']} | {_cell(r['example'])} |" for r in result["by_rule"]]
        lines += ["", "## Worst files", "", "| file | findings |", "|---|---:|"]
        lines += [f"| `{_cell(f['file'])}` | {f['count']} |" for f in result["worst_files"]]
        lines += ["", "## Findings", ""]
        lines += [f"- `{f['file']}:{f['line']}:{f['column']}` **{f['rule']}** {_cell(f['message'])}" for f in result["findings"]]
        if result["truncated"]:
            lines += ["", f"The first {len(result['findings'])} of {result['total']}; all are in findings.json."]
    lines += [""] + [f"- `{u['file']}` could not be read: {u['reason']}" for u in result["unreadable"]]
    return "\n".join(lines).rstrip() + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")


_CODES: Json = {"type": "array", "items": {"type": "string", "pattern": "^(ALL|[A-Z]{1,6}[0-9]{0,4})$"}, "maxItems": 200}

TOOL = Tool(
    name="code.lint",
    summary="Lint Python with ruff: findings by file and rule, and safe fixes as a patch.",
    run=run,
    apply=apply,
    effect="idempotent",
    inputs=("path",),
    needs=("ruff",),
    extra="code",
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "Folder, file or git repository to lint; it is not changed."},
            "select": _CODES | {"description": f"Rules or prefixes to look for; {', '.join(DEFAULT_RULES)} if not given."},
            "ignore": _CODES | {"description": "Rules or prefixes to leave out."},
            "fix": {"type": "boolean", "default": False, "description": "Also make fix.patch with ruff's safe fixes."},
            "apply": {"type": "boolean", "default": False, "description": "Apply fix.patch to path: after approval if the task is reviewed, else at its end."},
            "use_project_config": {"type": "boolean", "default": False, "description": "Use the project's own ruff settings instead of none."},
            "sarif": {"type": "boolean", "default": False, "description": "Also write findings.sarif."},
            "max_findings": {
                "type": "integer",
                "minimum": 0,
                "maximum": 2000,
                "default": 200,
                "description": "Findings in the result; all are in findings.json.",
            },
        },
    },
    examples=({"path": "src"}, {"path": ".", "select": ["F", "I"], "fix": True}),
)
