"""What can be wrong with a file, each with an id, a severity and what to do: the table, and one find of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

# id -> (severity, hint). The id's first part is the kind of file; `*.schema` is what a schema says.
RULES: dict[str, tuple[Severity, str]] = {
    "yaml.unreadable": ("error", "Mend the line; nothing else of this file was checked."),
    "compose.schema": ("error", "See https://compose-spec.io for what is allowed here."),
    "compose.image-latest": ("warning", "Pin a version or a digest: what runs tomorrow should be what was tested today."),
    "compose.privileged": ("error", "Drop privileged and add only the capabilities that are needed (cap_add)."),
    "compose.capability": ("warning", "Name the one capability that is needed; ALL and SYS_ADMIN are as good as root on the host."),
    "compose.docker-socket": ("error", "Who holds the Docker socket is root on the host; use a socket proxy with few rights."),
    "compose.host-namespace": ("warning", "Use the service's own network and publish single ports."),
    "compose.host-port-clash": ("error", "Only one service can listen on a host port; change one of them."),
    "compose.datastore-published": ("warning", "Bind it to 127.0.0.1, or leave ports away: other services reach it by its name."),
    "compose.plain-secret": ("error", "Use secrets: or ${VARIABLE} from an env file that is not committed."),
    "compose.no-healthcheck": ("info", "Add a healthcheck so that Docker and depends_on know when it is ready."),
    "compose.dependency-without-healthcheck": ("error", "service_healthy waits for a healthcheck; add one to that service."),
    "compose.unknown-dependency": ("error", "depends_on must name a service of this file."),
    "compose.undeclared": ("error", "Declare it at the top level of the file."),
    "compose.no-memory-limit": ("info", "Set deploy.resources.limits.memory: one service that leaks should not take the host with it."),
    "compose.no-restart": ("info", "Set restart: unless-stopped if it should come back after a crash."),
    "compose.version-obsolete": ("info", "Remove version:, Compose ignores it."),
    "compose.no-image": ("error", "Give the service image: or build:."),
    "k8s.schema": ("error", "See the Kubernetes API reference. The schema is Pulser's own, compact one."),
    "k8s.unknown-kind": ("info", "Only metadata was looked at; a custom resource is checked by its own definition in the cluster."),
    "k8s.removed-api": ("error", "Move to the API version named; the cluster refuses the old one."),
    "k8s.image-latest": ("warning", "Pin a version or a digest."),
    "k8s.no-limits": ("warning", "Set resources.limits.memory, or one container can starve its node."),
    "k8s.no-requests": ("warning", "Set resources.requests for cpu and memory: the scheduler places by them."),
    "k8s.no-readiness-probe": ("warning", "Add a readinessProbe, or traffic reaches the pod before it can answer."),
    "k8s.no-liveness-probe": ("info", "Add a livenessProbe if a hung process should be restarted."),
    "k8s.privileged": ("error", "Drop securityContext.privileged and add single capabilities."),
    "k8s.privilege-escalation": ("info", "Set securityContext.allowPrivilegeEscalation: false."),
    "k8s.may-run-as-root": ("warning", "Set securityContext.runAsNonRoot: true on the pod or the container."),
    "k8s.host-namespace": ("error", "hostNetwork, hostPID and hostIPC give the pod the node's view; leave them away."),
    "k8s.host-path": ("warning", "Use a volume claim; hostPath ties the pod to a node and opens its files."),
    "k8s.host-port-clash": ("error", "Two containers cannot take one host port on a node."),
    "k8s.plain-secret": ("error", "Use valueFrom.secretKeyRef."),
    "k8s.selector-mismatch": ("error", "The selector must match the labels of the pod template."),
    "k8s.service-selects-nothing": ("warning", "No pod template of this file has these labels; check for a typing error."),
    "k8s.single-replica": ("info", "With one replica every restart is an outage; use two or more."),
    "k8s.duplicate": ("error", "The later object overwrites the earlier; rename one."),
    "k8s.rbac-wildcard": ("warning", "Name the verbs and resources that are needed."),
    "gha.schema": ("error", "See https://docs.github.com/actions/reference/workflows-and-actions/workflow-syntax."),
    "gha.unpinned-action": ("warning", "Pin to the full commit (owner/repo@40 hex digits, the version as a comment): tags can be moved."),
    "gha.unpinned-official-action": ("info", "Pin to the full commit; a tag can be moved, also one of GitHub's own."),
    "gha.unpinned-image": ("warning", "Pin the image by version or digest."),
    "gha.no-permissions": ("warning", "Set permissions: contents: read at the top and widen per job: the default may be write."),
    "gha.write-all": ("error", "Name the single permissions that are needed."),
    "gha.target-checkout": ("error", "pull_request_target runs with secrets; never check out and run the pull request's own code there. Use pull_request."),
    "gha.script-injection": ("error", "Put the expression into env: and use the variable in the script, quoted."),
    "gha.no-timeout": ("info", "Set timeout-minutes: a hung job otherwise runs for six hours."),
    "gha.plain-secret": ("error", "Use ${{ secrets.NAME }}."),
    "gha.unknown-needs": ("error", "needs must name jobs of this workflow."),
    "gha.needs-cycle": ("error", "Jobs cannot wait for each other in a circle."),
    "gha.removed-command": ("warning", "Write to $GITHUB_OUTPUT, $GITHUB_ENV or $GITHUB_PATH instead."),
    "gha.self-hosted-pull-request": ("warning", "Pull requests from forks would run on your own machine; use a hosted runner for them."),
    "app.schema": ("error", "See https://docs.digitalocean.com/products/app-platform/reference/app-spec/."),
    "app.unknown-field": ("warning", "The published schema does not know it; App Platform may refuse it."),
    "app.no-component": ("error", "Add services, workers, jobs, static_sites or functions."),
    "app.duplicate-component": ("error", "Names of components are unique in an app; rename one."),
    "app.bad-name": ("error", "2 to 32 characters of a-z, 0-9 and -, starting with a letter, not ending with -."),
    "app.no-source": ("error", "Give it one of git, github, gitlab, bitbucket or image."),
    "app.two-sources": ("error", "Keep one source."),
    "app.unknown-region": ("warning", "See doctl apps list-regions."),
    "app.no-region": ("info", "Name the region, or App Platform picks one."),
    "app.unknown-instance-size": ("error", "See doctl apps tier instance-size list."),
    "app.legacy-instance-size": ("warning", "basic-… and professional-… are old names; use apps-s-… or apps-d-…."),
    "app.no-instance-size": ("info", "Set instance_size_slug, so that cost and capacity are known."),
    "app.fixed-size-scaled": ("error", "Sizes of 512 MB and those with -fixed run one instance; use apps-s-1vcpu-1gb or larger."),
    "app.autoscaling-bounds": ("error", "min_instance_count must be at least 1 and below max_instance_count."),
    "app.autoscaling-shared": ("error", "Autoscaling needs dedicated CPU: apps-d-…."),
    "app.no-health-check": ("warning", "Set health_check.http_path: a listening port is no proof that it works."),
    "app.single-instance": ("info", "With one instance every restart is an outage."),
    "app.plain-secret": ("error", "Add type: SECRET; App Platform encrypts it, and enter the value in the control panel or by doctl."),
    "app.image-latest": ("warning", "Pin a tag or digest."),
    "app.dev-database": ("info", "Without production: true it is a development database: no backups, one node."),
    "app.unknown-reference": ("error", "${name.VALUE} must name a component or database of this app."),
    "app.route-clash": ("error", "Two components claim one path."),
    "app.job-without-schedule": ("error", "A SCHEDULED job needs schedule.cron."),
}


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One find: where, what, how bad, and how to mend it. Lines count from 1."""

    file: str
    line: int
    rule: str
    message: str
    pointer: str
    severity: Severity
    hint: str

    def as_json(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("file", "line", "rule", "severity", "message", "hint", "pointer")}


@dataclass(frozen=True, slots=True)
class Text:
    """A document of a file: its value, and the line of each JSON pointer."""

    file: str
    value: Any
    lines: dict[str, int]

    def find(self, rule: str, pointer: str, message: str) -> Finding:
        """A finding at ``pointer``, or the nearest thing around it that has a line."""
        at = pointer
        while at and at not in self.lines:
            at = at.rpartition("/")[0]
        severity, hint = RULES[rule]
        return Finding(self.file, self.lines.get(at, 1), rule, message, pointer, severity, hint)


_SECRET_NAME = re.compile(
    r"(?i)(password|passwd|(?<![a-z])pwd|secret|token|api_?key|(access|private|encryption|signing)_?key|credential)(?!.*(_file|_path|_name|_url|_ttl|_length|_expiry|_id)$)"
)
_URL_LOGIN = re.compile(r"[a-z][a-z0-9+.-]{0,30}://[^/\s:@$]+:[^/\s:@$]+@")
_VERSIONED = re.compile(r"@sha256:[0-9a-f]{64}$")


def is_plain_secret(name: str, value: Any) -> bool:
    """True if a variable's name says secret, or its value is a URL with a password, and the value stands there in the clear."""
    if not isinstance(value, str | int) or isinstance(value, bool):
        return False
    text = str(value)
    if not text or text.startswith(("$", "{{", "<", "/")) or "${{" in text or re.search(r"\$\{\w", text):
        return False
    return bool(_SECRET_NAME.search(name[:200])) or bool(_URL_LOGIN.search(text[:10_000]))


def is_floating(image: str) -> bool:
    """True if an image is named without a version, or as ``latest``; False for digests and for ``${…}``, which cannot be known here."""
    if "$" in image or _VERSIONED.search(image):
        return False
    _, _, tag = image.rpartition("/")[2].partition(":")
    return tag in ("", "latest")


def step(part: Any) -> str:
    """One step of a JSON pointer (RFC 6901)."""
    return "/" + str(part).replace("~", "~0").replace("/", "~1")


def mappings(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """``(name, mapping)`` for the entries of a mapping that are mappings themselves; nothing for anything else."""
    if isinstance(value, dict):
        yield from ((str(name), inner) for name, inner in value.items() if isinstance(inner, dict))


def listed(value: Any) -> list[Any]:
    """The list, or an empty one for anything else."""
    return value if isinstance(value, list) else []


def mapped(value: Any) -> dict[str, Any]:
    """The mapping, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}
