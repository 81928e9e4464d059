"""``infra.validate``: Compose, Kubernetes, GitHub-workflow and App Platform files against schemas and sensible rules."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput
from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.folder import check_exists, list_folder, read_text
from pulser.tools.builtin.infra import app_platform_rules, compose_rules, kubernetes_rules, workflow_rules
from pulser.tools.builtin.infra.finding import SEVERITIES, Finding, Text
from pulser.tools.builtin.infra.kinds import KINDS, Kind, kind_of
from pulser.tools.builtin.infra.schemas import SOURCES, check_schema
from pulser.tools.builtin.yaml_limits import load_all_with_lines

FILE_LIMIT_BYTES = 2 * 1024 * 1024
FILES_LIMIT = 2_000
_LINE = re.compile(r"\bline (\d+)\b")
SHOWN = 100  # findings in the result itself; findings.json has all
_RULES: dict[Kind, Callable[[Text], Iterator[Finding]]] = {
    "compose": compose_rules.check,
    "kubernetes": kubernetes_rules.check,
    "github_workflow": workflow_rules.check,
    "app_platform": app_platform_rules.check,
}


@dataclass(slots=True)
class Checked:
    """What became of the files: kind by file, findings, and what was left out."""

    kinds: dict[str, Kind] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    skipped: list[dict[str, str]] = field(default_factory=list)

    def verdict(self, strict: bool) -> str:
        """``fail`` for errors (strict: for warnings too), ``warn`` for warnings, else ``pass``."""
        worst = {finding.severity for finding in self.findings}
        if "error" in worst or (strict and "warning" in worst):
            return "fail"
        return "warn" if "warning" in worst else "pass"


def check_text(content: str, file: str, kind: str = "auto") -> tuple[Kind | None, list[Finding]]:
    """The kind of a file's text and its findings; None where it is of no kind that is known here."""
    try:
        documents = load_all_with_lines(content, what=file)
    except BadInput as error:
        return None, [_unreadable(file, error)]
    found: list[Finding] = []
    kinds: list[Kind] = []
    objects: list[Text] = []
    for value, lines in documents:
        for text in _unpacked(Text(file, value, lines)):
            known = kind_of(file, text.value) if kind == "auto" else _forced(kind, text)
            if known is None:
                continue
            kinds.append(known)
            if known != "kubernetes" or kubernetes_rules.removed_api(text.value) is None:  # the schema knows present versions only
                found.extend(check_schema(text, known))
            found.extend(_RULES[known](text))
            objects.extend([text] if known == "kubernetes" else [])
    found.extend(kubernetes_rules.check_together(objects))
    return (kinds[0] if kinds else None), sorted(set(found))


def _forced(kind: str, text: Text) -> Kind | None:
    if not isinstance(text.value, dict):
        raise BadInput(f"{text.file} holds no mapping at line {text.lines.get('', 1)}, so it is no {kind} file")
    return next((known for known in KINDS if known == kind), None)


def _unpacked(text: Text) -> Iterator[Text]:
    """A Kubernetes List as its items."""
    if isinstance(text.value, dict) and text.value.get("kind") == "List" and isinstance(text.value.get("items"), list):
        for i, item in enumerate(text.value["items"]):
            at = f"/items/{i}"
            yield Text(text.file, item, {p[len(at) :]: line for p, line in text.lines.items() if p == at or p.startswith(at + "/")})
    elif text.value is not None:
        yield text


def _unreadable(file: str, error: BadInput) -> Finding:
    line = int(match[1]) if (match := _LINE.search(error.detail)) else 1
    return Text(file, None, {"": line}).find("yaml.unreadable", "", error.detail)


def run(call: Call) -> Json:
    """Check a file, or every YAML file of a folder that is of a known kind."""
    path, kind = Path(call.args["path"]), call.args["kind"]
    check_exists(path)
    checked = _check_folder(call, path, kind) if path.is_dir() else _check_file(path, kind)
    strict = call.args["strict"]
    counts = Counter(finding.severity for finding in checked.findings)
    result: Json = {
        "verdict": checked.verdict(strict),
        "summary": _summary(checked, counts),
        "counts": {severity: counts[severity] for severity in SEVERITIES},
        "files": [_file(name, found, checked) for name, found in sorted(checked.kinds.items())],
        "findings": [finding.as_json() for finding in _worst_first(checked.findings)[:SHOWN]],
        "findings_total": len(checked.findings),
        "skipped": checked.skipped[:SHOWN],
        "schemas": {name: SOURCES[name] for name in sorted(set(checked.kinds.values()))},
    }
    everything = {**result, "findings": [finding.as_json() for finding in checked.findings], "skipped": checked.skipped}
    call.artifact("findings.json", "application/json").write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", "utf-8")
    call.artifact("report.md", "text/markdown").write_text(_report(result, checked), "utf-8")
    return result


def _check_file(path: Path, kind: str) -> Checked:
    content, problem = read_text(path, FILE_LIMIT_BYTES)
    if problem:
        raise BadInput(f"{path.name} cannot be checked: {problem}", hint="Name a YAML or JSON text file.")
    # The folders above say what a workflow is; two are enough.
    known, findings = check_text(content, path.name if ".github" not in path.parts else "/".join(path.parts[-3:]), kind)
    if known is None and not findings:
        raise BadInput(
            f"{path.name} is none of the kinds that are known here", hint=f"Known: {', '.join(KINDS)}. Name kind if the file is one of them after all."
        )
    name = findings[0].file if findings else path.name
    return Checked({name: known} if known else {}, findings)


def _check_folder(call: Call, root: Path, kind: str) -> Checked:
    listing = list_folder(root, (".yaml", ".yml"), max_files=FILES_LIMIT, hidden=True)
    checked = Checked(skipped=listing.skipped)
    for i, name in enumerate(listing.files):
        if i % 50 == 0:
            call.progress(f"{i} of {len(listing.files)} files", i / len(listing.files))
        content, problem = read_text(root / name, FILE_LIMIT_BYTES)
        if not problem and "{{" in content and ("{{-" in content or "{{ ." in content or "{{ include" in content):
            problem = "a template (Helm or Go), which is no YAML yet"
        if problem:
            checked.skipped.append({"file": name, "reason": problem})
            continue
        known, findings = check_text(content, name, kind)
        if known is None and not findings:
            checked.skipped.append({"file": name, "reason": "of no kind that is known here"})
            continue
        if known:
            checked.kinds[name] = known
        checked.findings.extend(findings)
    if not checked.kinds and not checked.findings:
        raise BadInput(
            f"no Compose, Kubernetes, GitHub-workflow or App Platform file under {root.name}",
            hint=f"{len(listing.files)} YAML files were looked at. Name the file itself, or its folder.",
        )
    return checked


def _file(name: str, kind: Kind, checked: Checked) -> Json:
    counts = Counter(finding.severity for finding in checked.findings if finding.file == name)
    return {"file": name, "kind": kind, **{severity: counts[severity] for severity in SEVERITIES}}


def _worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda f: (SEVERITIES.index(f.severity), f.file, f.line, f.rule, f.pointer))


def _summary(checked: Checked, counts: Counter[Any]) -> str:
    files = len({*checked.kinds, *(finding.file for finding in checked.findings)})
    told = ", ".join(f"{counts[s]} {s}{'s' * (counts[s] != 1 and s != 'info')}" for s in SEVERITIES if counts[s]) or "nothing to object to"
    return f"{files} file{'s' * (files != 1)}: {told}"


def _report(result: Json, checked: Checked) -> str:
    lines = ["# Validation", "", f"**Verdict: {result['verdict']}** · {result['summary']}", ""]
    lines += ["| file | kind | errors | warnings | info |", "|---|---|--:|--:|--:|"]
    lines += [f"| {_cell(f['file'])} | {f['kind']} | {f['error']} | {f['warning']} | {f['info']} |" for f in result["files"]]
    by_file: dict[str, list[Finding]] = {}
    for finding in _worst_first(checked.findings):
        by_file.setdefault(finding.file, []).append(finding)
    for name, findings in sorted(by_file.items()):
        lines += ["", f"## {_cell(name)}", "", "| line | severity | rule | what | what to do |", "|--:|---|---|---|---|"]
        lines += [f"| {f.line} | {f.severity} | `{f.rule}` | {_cell(f.message)} | {_cell(f.hint)} |" for f in findings]
    if checked.skipped:
        lines += ["", "## Not checked", "", *(f"- {_cell(s['file'])}: {_cell(s['reason'])}" for s in checked.skipped[:SHOWN])]
        lines += [f"- and {len(checked.skipped) - SHOWN} more"] if len(checked.skipped) > SHOWN else []
    lines += ["", "## Schemas", "", *(f"- {kind}: {source}" for kind, source in result["schemas"].items()), ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    """Text that stays inside a table's cell, and stays text."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ").replace("\r", " ")


TOOL = Tool(
    name="infra.validate",
    summary="Validate Compose, Kubernetes, GitHub workflow and App Platform files against schemas and sensible rules",
    run=run,
    arguments={
        "type": "object",
        "required": ["path"],
        "additionalProperties": False,
        "properties": {
            "path": {"type": "string", "minLength": 1, "description": "A file, or a folder whose YAML files are looked through."},
            "kind": {"enum": ["auto", *KINDS], "default": "auto", "description": "What the file is; auto tells it by its shape and name."},
            "strict": {"type": "boolean", "default": False, "description": "Warnings fail too."},
        },
    },
    inputs=("path",),
    needs=("check_jsonschema",),
    extra="infra",
    time_limit_s=120,
    examples=({"path": "docker-compose.yml"}, {"path": ".github/workflows", "strict": True}),
)
