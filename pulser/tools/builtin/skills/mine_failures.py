"""``skills.mine_failures``: cluster what went wrong into templates, and write a skill for each."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

from pulser.core.errors import BadInput
from pulser.core.tool import Call, Installation, Json, Tool
from pulser.tools.builtin.skills.clusters import Cluster, clusters
from pulser.tools.builtin.skills.failure import Failure, moment, of_dead_letter, of_event
from pulser.tools.builtin.skills.log_lines import failures_in, files_of
from pulser.tools.builtin.skills.skill_page import skill_page

KINDS = ["executor_failed", "task_failed", "lease_reclaimed"]
GATHERED = "failures.json"
PAGES_LIMIT = 90  # artifacts of one call are limited; skills.zip has all
SHOWN = 20
LOG_FAILURES_LIMIT = 200_000


def gather(args: Json, installation: Installation, folder: Path) -> Json:
    """In the worker: what Pulser itself knows of failures, written for the child to read."""
    limit = int(args.get("limit", 1000))
    known = {"failures": installation.failures(limit), "events": installation.events(KINDS, limit)}
    place = folder / GATHERED
    place.write_text(json.dumps(known, default=str), "utf-8")
    place.chmod(0o644)  # whatever the umask: the child is another user
    return {"gathered": str(place)}


def run(call: Call) -> Json:
    """Read, cluster, write a page each."""
    args = call.args
    since = _since(args.get("since"))
    failures = _gathered(args.get("gathered"))
    own = len(failures)
    files = files_of(args.get("logs", []))
    for i, path in enumerate(files):
        call.progress(f"reading {path.name}", i / len(files))
        failures.extend(failures_in(path))
        if len(failures) > LOG_FAILURES_LIMIT:
            raise BadInput(f"more than {LOG_FAILURES_LIMIT:,} failures", hint="Name fewer logs.")
    undated = 0
    if since:
        undated = sum(failure.at is None for failure in failures)
        failures = [failure for failure in failures if failure.at and failure.at >= since]
    found = clusters(failures)
    worth = [cluster for cluster in found if cluster.count >= args["min_count"]]
    pages = {cluster.slug: skill_page(cluster) for cluster in worth}
    names = _write(call, pages)
    result: Json = {
        "summary": _summary(failures, found, pages, files),
        "failures": len(failures),
        "looked_at": {"pulser": own, "log_files": len(files), "left_out_without_time": undated},
        "clusters_total": len(found),
        "skills": len(pages),
        "clusters": [_brief(cluster, names.get(cluster.slug)) for cluster in found[:SHOWN]],
    }
    everything = {**result, "clusters": [{**cluster.as_json(), "skill": names.get(cluster.slug)} for cluster in found]}
    call.artifact("clusters.json", "application/json").write_text(json.dumps(everything, indent=1, ensure_ascii=False) + "\n", "utf-8")
    call.artifact("report.md", "text/markdown").write_text(_report(result, found, names, args), "utf-8")
    return result


def _since(text: str | None) -> str | None:
    if text is None:
        return None
    found = moment(text)
    if found is None:
        raise BadInput(
            f"since is not a time: {text[:40]!r}",
            hint="Write it as 2026-01-31 or 2026-01-31T08:00:00Z.",
            errors=[{"pointer": "/payload/since", "detail": "not an ISO time"}],
        )
    return found


def _gathered(path: str | None) -> list[Failure]:
    """Dead letters and attempts, and events that tell of something else than those."""
    if path is None:
        return []
    known = json.loads(Path(path).read_text("utf-8"))
    failures = [of_dead_letter(entry) for entry in known["failures"]]
    told = {(failure.task_id, failure.message) for failure in failures}
    for event in known["events"]:
        failure = of_event(event)
        if (failure.task_id, failure.message) not in told:
            told.add((failure.task_id, failure.message) if failure.code != "worker_lost" else (failure.task_id, f"{failure.message} {failure.at}"))
            failures.append(failure)
    return failures


def _write(call: Call, pages: dict[str, str]) -> dict[str, str]:
    """A page per artifact, and all in one archive laid out as ``skills/<name>/SKILL.md``; the artifact's name by slug."""
    names = {slug: f"{slug}.SKILL.md" for slug in list(pages)[:PAGES_LIMIT]}
    for slug, name in names.items():
        call.artifact(name, "text/markdown").write_text(pages[slug], "utf-8")
    if pages:
        with zipfile.ZipFile(call.artifact("skills.zip", "application/zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for slug, page in pages.items():
                archive.writestr(zipfile.ZipInfo(f"skills/{slug}/SKILL.md"), page)  # with no date: the same pages give the same bytes
    return names


def _brief(cluster: Cluster, page: str | None) -> Json:
    return {
        "template": cluster.template,
        "title": cluster.cause.title,
        "count": cluster.count,
        "first_seen": cluster.first_seen,
        "last_seen": cluster.last_seen,
        "agents": list(cluster.counted("agent"))[:7],
        "skill": page,
    }


def _summary(failures: list[Failure], found: list[Cluster], pages: dict[str, str], files: list[Path]) -> str:
    looked = f"Pulser's own record and {len(files)} log file{'s' * (len(files) != 1)}" if files else "Pulser's own record"
    if not failures:
        return f"No failures found in {looked}: nothing to learn from."
    counts = [f"{count} {what}{'s' * (count != 1)}" for count, what in ((len(failures), "failure"), (len(found), "cluster"), (len(pages), "skill"))]
    return f"{counts[0]} in {counts[1]}, {counts[2]} written; looked at {looked}"


def _report(result: Json, found: list[Cluster], names: dict[str, str], args: Json) -> str:
    lines = ["# Failures, by kind", "", f"{result['summary']}.".replace("..", "."), ""]
    if args.get("since"):
        lines += [f"Since {args['since']}; {result['looked_at']['left_out_without_time']} without a time were left out.", ""]
    if found:
        lines += ["| count | what | form of the message | first seen | last seen | agents | skill |", "|--:|---|---|---|---|---|---|"]
    for cluster in found:
        cells = [
            cluster.count,
            cluster.cause.title,
            f"`{cluster.template[:120].replace('`', '').replace('|', '/')}`",
            cluster.first_seen or "",
            cluster.last_seen or "",
        ]
        lines.append("| " + " | ".join(map(str, [*cells, ", ".join(cluster.counted("agent")), names.get(cluster.slug, "")])) + " |")
    return "\n".join([*lines, ""])


TOOL = Tool(
    name="skills.mine_failures",
    summary="Cluster failures from dead letters, events and logs into templates and write a SKILL.md per cluster",
    run=run,
    gather=gather,
    arguments={
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "logs": {
                "type": "array",
                "maxItems": 50,
                "items": {"type": "string", "minLength": 1},
                "description": "Log files, or folders of them, to read besides Pulser's own record.",
            },
            "since": {"type": "string", "maxLength": 40, "description": "Leave out what is older than this ISO time."},
            "limit": {
                "type": "integer",
                "minimum": 1,
                "maximum": 100_000,
                "default": 1000,
                "description": "At most this many of Pulser's own failures, and as many events.",
            },
            "min_count": {
                "type": "integer",
                "minimum": 1,
                "maximum": 1_000_000,
                "default": 1,
                "description": "Write a skill only for what happened this often.",
            },
        },
    },
    inputs=("logs",),
    time_limit_s=300,
    examples=({}, {"logs": ["/var/log/app"], "since": "2026-01-01", "min_count": 3}),
)
