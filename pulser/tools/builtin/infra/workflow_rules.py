"""Sense in a GitHub workflow, beyond its schema (https://docs.github.com/actions/reference/security/secure-use)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pulser.tools.builtin.infra.finding import Finding, Text, is_floating, is_plain_secret, listed, mapped, mappings, step

_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_OFFICIAL = ("actions/", "github/")
# Fields that whoever opens an issue or a pull request writes.
_ATTACKER = re.compile(
    r"\$\{\{[^}]*?(github\.head_ref|github\.event\.(issue|pull_request|discussion)\.(title|body)|github\.event\.(comment|review|review_comment)\.body"
    r"|github\.event\.pull_request\.head\.(ref|label|repo\.default_branch)|github\.event\.(head_commit|commits\[?[^\]}]*\]?)\.?(message|author\.(name|email))"
    r"|github\.event\.pages\S*\.page_name|github\.event\.workflow_run\.(head_branch|head_commit\.message))[^}]*\}\}"
)
_HEAD = re.compile(r"github\.head_ref|github\.event\.pull_request\.head\.(sha|ref)|refs/pull/")
_REMOVED = re.compile(r"::(set-output|save-state|set-env|add-path)\b")


def check(text: Text) -> Iterator[Finding]:
    """Findings of one workflow."""
    workflow = text.value
    jobs = dict(mappings(workflow.get("jobs")))
    triggers = _triggers(workflow.get("on"))
    yield from _permissions(text, workflow, jobs)
    yield from _secrets(text, workflow.get("env"), "/env", "the workflow")
    yield from _needs(text, jobs)
    for name, job in jobs.items():
        at = "/jobs" + step(name)
        yield from _secrets(text, job.get("env"), at + "/env", name)
        if isinstance(job.get("uses"), str):
            yield from _uses(text, job["uses"], at + "/uses")
        elif "timeout-minutes" not in job:
            yield text.find("gha.no-timeout", at, f"the job {name!r} has no timeout")
        runner = job.get("runs-on")
        if "self-hosted" in (listed(runner) or [runner]) and triggers & {"pull_request", "pull_request_target"}:
            yield text.find("gha.self-hosted-pull-request", at + "/runs-on", f"the job {name!r} runs pull requests on a self-hosted runner")
        for where, image in _images(job, at):
            if is_floating(image):
                yield text.find("gha.unpinned-image", where, f"the image {image[:120]!r} has no fixed version")
        for i, action in enumerate(listed(job.get("steps"))):
            if isinstance(action, dict):
                yield from _step(text, action, f"{at}/steps/{i}", triggers)


def _triggers(on: Any) -> set[str]:
    return {on} if isinstance(on, str) else {str(name) for name in on} if isinstance(on, dict | list) else set()


def _permissions(text: Text, workflow: dict[str, Any], jobs: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    if "permissions" not in workflow and not (jobs and all("permissions" in job for job in jobs.values())):
        yield text.find("gha.no-permissions", "", "the workflow does not say which permissions its token has")
    for at, holder in [("", workflow), *(("/jobs" + step(name), job) for name, job in jobs.items())]:
        if holder.get("permissions") == "write-all":
            yield text.find("gha.write-all", at + "/permissions", "the token may write everything")


def _secrets(text: Text, env: Any, at: str, whose: str) -> Iterator[Finding]:
    for key, value in mapped(env).items():
        if is_plain_secret(str(key), value):
            yield text.find("gha.plain-secret", at + step(key), f"{whose}: the value of {key} stands in the file")


def _needs(text: Text, jobs: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    waits: dict[str, list[str]] = {}
    for name, job in jobs.items():
        raw = job.get("needs")
        waits[name] = [str(other) for other in (raw if isinstance(raw, list) else [raw] if raw else [])]
        for other in waits[name]:
            if other not in jobs:
                yield text.find("gha.unknown-needs", f"/jobs{step(name)}/needs", f"the job {name!r} needs {other[:80]!r}, which is not a job here")
    done: set[str] = set()
    left = dict(waits)
    while ready := [name for name, others in left.items() if all(other in done or other not in jobs for other in others)]:
        done.update(ready)
        left = {name: others for name, others in left.items() if name not in done}
    if left:
        first = next(iter(left))
        yield text.find("gha.needs-cycle", f"/jobs{step(first)}/needs", f"these jobs wait for each other: {', '.join(left)}")


def _images(job: dict[str, Any], at: str) -> Iterator[tuple[str, str]]:
    container = job.get("container")
    if isinstance(container, str):
        yield at + "/container", container
    elif isinstance(mapped(container).get("image"), str):
        yield at + "/container/image", mapped(container)["image"]
    for name, service in mappings(job.get("services")):
        if isinstance(service.get("image"), str):
            yield f"{at}/services{step(name)}/image", service["image"]


def _step(text: Text, action: dict[str, Any], at: str, triggers: set[str]) -> Iterator[Finding]:
    yield from _secrets(text, action.get("env"), at + "/env", str(action.get("name", "a step"))[:80])
    if isinstance(uses := action.get("uses"), str):
        yield from _uses(text, uses, at + "/uses")
        given = mapped(action.get("with"))
        if uses.startswith("actions/checkout") and triggers & {"pull_request_target", "workflow_run"} and _HEAD.search(str(given.get("ref", ""))):
            yield text.find("gha.target-checkout", at + "/with/ref", "code of the pull request is checked out where the secrets are")
        if uses.startswith("actions/github-script") and (match := _ATTACKER.search(str(given.get("script", "")))):
            yield text.find("gha.script-injection", at + "/with/script", f"{match[1]} is written by strangers and becomes part of the script")
    if isinstance(run := action.get("run"), str):
        if match := _ATTACKER.search(run):
            yield text.find("gha.script-injection", at + "/run", f"{match[1]} is written by strangers and becomes part of the script")
        if match := _REMOVED.search(run):
            yield text.find("gha.removed-command", at + "/run", f"the command {match[1]} is no longer taken")


def _uses(text: Text, uses: str, where: str) -> Iterator[Finding]:
    if uses.startswith("./") or "${{" in uses:
        return
    if uses.startswith("docker://"):
        if is_floating(uses.removeprefix("docker://")):
            yield text.find("gha.unpinned-image", where, f"{uses[:120]!r} has no fixed version")
        return
    if not _COMMIT.search(uses.partition("@")[2]):
        rule = "gha.unpinned-official-action" if uses.startswith(_OFFICIAL) else "gha.unpinned-action"
        yield text.find(rule, where, f"{uses[:120]!r} is not pinned to a commit")
