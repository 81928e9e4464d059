"""What arkie says about files that are about to be deployed."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.infra import finding as findings_module
from pulser.tools.builtin.infra import schemas
from pulser.tools.builtin.infra.finding import RULES, is_floating, is_plain_secret
from pulser.tools.builtin.infra.validate import TOOL, check_text
from tests.unit.tools.fake_call import Made, run

GOOD_COMPOSE = """\
services:
  web:
    image: nginx:1.29.1
    restart: unless-stopped
    mem_limit: 256m
    ports: ["127.0.0.1:8080:80"]
    depends_on:
      db: {condition: service_healthy}
    healthcheck: {test: ["CMD", "true"]}
  db:
    image: postgres:17.2
    restart: unless-stopped
    mem_limit: 1g
    environment:
      POSTGRES_PASSWORD: ${DB_PASSWORD}
      POSTGRES_PASSWORD_FILE: /run/secrets/db
    volumes: ["data:/var/lib/postgresql/data"]
    healthcheck: {test: ["CMD", "pg_isready"]}
volumes:
  data: {}
"""
GOOD_DEPLOYMENT = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}, annotations: }
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      securityContext: {runAsNonRoot: true}
      containers:
        - name: web
          image: nginx:1.29.1
          ports: [{containerPort: 8080}]
          env: [{name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: t}}}]
          securityContext: {allowPrivilegeEscalation: false}
          resources: {requests: {cpu: 100m, memory: 64Mi}, limits: {memory: 128Mi}}
          readinessProbe: {httpGet: {path: /, port: 8080}}
          livenessProbe: {httpGet: {path: /, port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
"""
GOOD_WORKFLOW = """\
name: ci
on: [push, pull_request]
permissions: {contents: read}
jobs:
  test:
    runs-on: ubuntu-24.04
    timeout-minutes: 10
    env: {API_TOKEN: "${{ secrets.API_TOKEN }}"}
    steps:
      - uses: actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8 # v5
      - run: make test
"""
GOOD_APP = """\
name: shop
region: fra
services:
  - name: api
    github: {repo: acme/shop, branch: main}
    instance_count: 2
    instance_size_slug: apps-s-1vcpu-1gb
    http_port: 8080
    health_check: {http_path: /healthz}
    envs:
      - {key: DATABASE_URL, value: "${db.DATABASE_URL}", scope: RUN_TIME}
      - {key: SECRET_KEY, type: SECRET, value: "EV[1:abc:def]"}
databases:
  - {name: db, engine: PG, production: true, cluster_name: shop-db}
"""
GOOD = {"compose.yaml": GOOD_COMPOSE, "web.yaml": GOOD_DEPLOYMENT, ".github/workflows/ci.yml": GOOD_WORKFLOW, ".do/app.yaml": GOOD_APP}
KIND = {"compose.yaml": "compose", "web.yaml": "kubernetes", ".github/workflows/ci.yml": "github_workflow", ".do/app.yaml": "app_platform"}


def rules_of(text: str, file: str = "x.yaml") -> dict[str, int]:
    """Rule -> line, of what is said about ``text``."""
    return {found.rule: found.line for found in check_text(text, file)[1]}


@pytest.mark.parametrize("file", GOOD)
def test_a_sound_file_of_each_kind_is_told_by_its_shape_and_passes_without_a_word(file: str) -> None:
    kind, found = check_text(GOOD[file], file)
    assert kind == KIND[file]
    assert found == []


# Each case: the good file, what is changed in it, the rule that must fire, and a word of the line it must point at.
CASES = [
    ("compose.yaml", "nginx:1.29.1", "nginx", "compose.image-latest", "image: nginx"),
    ("compose.yaml", "nginx:1.29.1", "localhost:5000/nginx:latest", "compose.image-latest", "localhost"),
    ("compose.yaml", "mem_limit: 256m", "memlimit: 256m", "compose.schema", "memlimit"),
    ("compose.yaml", "mem_limit: 256m", "mem_limit: 256m\n    privileged: true", "compose.privileged", "privileged"),
    ("compose.yaml", "mem_limit: 256m", "mem_limit: 256m\n    cap_add: [SYS_ADMIN]", "compose.capability", "cap_add"),
    ("compose.yaml", "mem_limit: 256m", "mem_limit: 256m\n    network_mode: host", "compose.host-namespace", "network_mode"),
    ("compose.yaml", "mem_limit: 1g", 'mem_limit: 1g\n    ports: ["127.0.0.1:8080:5432"]', "compose.host-port-clash", "8080:5432"),
    ("compose.yaml", "mem_limit: 1g", 'mem_limit: 1g\n    ports: ["8000-8100:9000-9100"]', "compose.host-port-clash", "8000-8100"),
    ("compose.yaml", "mem_limit: 1g", 'mem_limit: 1g\n    ports: ["5432:5432"]', "compose.datastore-published", "5432:5432"),
    ("compose.yaml", "mem_limit: 1g", "mem_limit: 1g\n    ports: [{target: 5432, published: 6000}]", "compose.datastore-published", "published"),
    ("compose.yaml", "${DB_PASSWORD}", "hunter2", "compose.plain-secret", "hunter2"),
    ("compose.yaml", "POSTGRES_PASSWORD: ${DB_PASSWORD}", "URL: postgresql://bob:hunter2@db/x", "compose.plain-secret", "hunter2"),
    ("compose.yaml", '    healthcheck: {test: ["CMD", "pg_isready"]}\n', "", "compose.dependency-without-healthcheck", "db: {condition"),
    ("compose.yaml", "      db: {condition", "      dbb: {condition", "compose.unknown-dependency", "dbb"),
    ("compose.yaml", "volumes:\n  data: {}", "", "compose.undeclared", "data:/var"),
    ("compose.yaml", "data:/var/lib", "/var/run/docker.sock:/var/lib", "compose.docker-socket", "docker.sock"),
    ("compose.yaml", "services:\n", "version: '3'\nservices:\n", "compose.version-obsolete", "version"),
    ("compose.yaml", "    image: nginx:1.29.1\n", "", "compose.no-image", "web:"),
    ("compose.yaml", "mem_limit: 256m", "networks: [inner]", "compose.undeclared", "inner"),
    ("web.yaml", "containerPort: 8080", "containerPort: 99999", "k8s.schema", "99999"),
    ("web.yaml", "replicas: 2", "replica: 2", "k8s.schema", "replica"),
    ("web.yaml", "replicas: 2", "replicas: 1", "k8s.single-replica", "replicas"),
    ("web.yaml", "memory: 64Mi", "memory: 64 MB", "k8s.schema", "64 MB"),
    ("web.yaml", "nginx:1.29.1", "nginx:latest", "k8s.image-latest", "nginx:latest"),
    ("web.yaml", ", limits: {memory: 128Mi}", "", "k8s.no-limits", "name: web\n"),
    ("web.yaml", "requests: {cpu: 100m, memory: 64Mi}, ", "", "k8s.no-requests", "- name: web"),
    ("web.yaml", "          readinessProbe: {httpGet: {path: /, port: 8080}}\n", "", "k8s.no-readiness-probe", "- name: web"),
    ("web.yaml", "          livenessProbe: {httpGet: {path: /, port: 8080}}\n", "", "k8s.no-liveness-probe", "- name: web"),
    ("web.yaml", "allowPrivilegeEscalation: false", "privileged: true", "k8s.privileged", "privileged"),
    ("web.yaml", "securityContext: {runAsNonRoot: true}", "hostNetwork: true", "k8s.host-namespace", "hostNetwork"),
    ("web.yaml", "securityContext: {runAsNonRoot: true}", "terminationGracePeriodSeconds: 5", "k8s.may-run-as-root", "- name: web"),
    ("web.yaml", "securityContext: {runAsNonRoot: true}", "volumes: [{name: v, hostPath: {path: /etc}}]", "k8s.host-path", "hostPath"),
    ("web.yaml", "valueFrom: {secretKeyRef: {name: s, key: t}}", "value: abc", "k8s.plain-secret", "TOKEN"),
    ("web.yaml", "{matchLabels: {app: web}}", "{matchLabels: {app: wob}}", "k8s.selector-mismatch", "wob"),
    ("web.yaml", "spec: {selector: {app: web}", "spec: {selector: {app: shop}", "k8s.service-selects-nothing", "app: shop"),
    ("web.yaml", "apiVersion: v1\nkind: Service", "apiVersion: extensions/v1beta1\nkind: Ingress", "k8s.removed-api", "extensions"),
    ("web.yaml", "kind: Service", "kind: Gadget", "k8s.unknown-kind", "Gadget"),
    (".github/workflows/ci.yml", "timeout-minutes", "timeout", "gha.schema", "timeout: 10"),
    (".github/workflows/ci.yml", "    timeout-minutes: 10\n", "", "gha.no-timeout", "test:"),
    (".github/workflows/ci.yml", "actions/checkout@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "acme/thing@v1", "gha.unpinned-action", "acme"),
    (".github/workflows/ci.yml", "@08c6903cd8c0fde910a37f88322edcfb5dd907a8", "@v5", "gha.unpinned-official-action", "checkout"),
    (".github/workflows/ci.yml", "permissions: {contents: read}\n", "", "gha.no-permissions", "name: ci"),
    (".github/workflows/ci.yml", "{contents: read}", "write-all", "gha.write-all", "write-all"),
    (".github/workflows/ci.yml", "make test", 'echo "${{ github.event.issue.title }}"', "gha.script-injection", "issue.title"),
    (".github/workflows/ci.yml", "make test", 'git checkout "${{ github.head_ref }}"', "gha.script-injection", "head_ref"),
    (".github/workflows/ci.yml", "make test", "echo '::set-output name=a::b'", "gha.removed-command", "set-output"),
    (".github/workflows/ci.yml", "${{ secrets.API_TOKEN }}", "abc123", "gha.plain-secret", "abc123"),
    (".github/workflows/ci.yml", "runs-on: ubuntu-24.04", "runs-on: [self-hosted, linux]", "gha.self-hosted-pull-request", "self-hosted"),
    (".github/workflows/ci.yml", "    runs-on", "    needs: built\n    runs-on", "gha.unknown-needs", "needs"),
    (".github/workflows/ci.yml", "    runs-on", "    needs: test\n    runs-on", "gha.needs-cycle", "needs"),
    (".github/workflows/ci.yml", "    runs-on", "    container: node\n    runs-on", "gha.unpinned-image", "container"),
    (".do/app.yaml", "instance_count: 2", "instance_count: two", "app.schema", "two"),
    (".do/app.yaml", "http_port", "htp_port", "app.unknown-field", "htp_port"),
    (".do/app.yaml", "region: fra", "region: mars", "app.unknown-region", "mars"),
    (".do/app.yaml", "apps-s-1vcpu-1gb", "apps-s-1vcpu-1bg", "app.unknown-instance-size", "1bg"),
    (".do/app.yaml", "apps-s-1vcpu-1gb", "basic-xs", "app.legacy-instance-size", "basic-xs"),
    (".do/app.yaml", "apps-s-1vcpu-1gb", "apps-s-1vcpu-0.5gb", "app.fixed-size-scaled", "instance_count"),
    (".do/app.yaml", "instance_count: 2", "autoscaling: {min_instance_count: 3, max_instance_count: 2}", "app.autoscaling-bounds", "autoscaling"),
    (".do/app.yaml", "    health_check: {http_path: /healthz}\n", "", "app.no-health-check", "- name: api"),
    (".do/app.yaml", "EV[1:abc:def]", "abcdef", "app.plain-secret", "SECRET_KEY"),
    (".do/app.yaml", "${db.", "${bd.", "app.unknown-reference", "bd."),
    (".do/app.yaml", "name: db,", "name: api,", "app.duplicate-component", "engine"),
    (".do/app.yaml", "production: true", "production: false", "app.dev-database", "engine"),
    (".do/app.yaml", "    github: {repo: acme/shop, branch: main}\n", "", "app.no-source", "- name: api"),
    (".do/app.yaml", "    http_port", "    git: {repo_clone_url: x}\n    http_port", "app.two-sources", "git:"),
    (".do/app.yaml", "name: shop\n", "name: Shop!\n", "app.bad-name", "Shop!"),
]


@pytest.mark.parametrize(("file", "old", "new", "rule", "mark"), CASES, ids=[f"{case[3]}-{i}" for i, case in enumerate(CASES)])
def test_each_flaw_is_found_at_its_line(file: str, old: str, new: str, rule: str, mark: str) -> None:
    assert old in GOOD[file]
    text = GOOD[file].replace(old, new, 1)
    found = rules_of(text, file)
    assert rule in found
    assert mark.strip() in text.splitlines()[found[rule] - 1]


def test_a_pull_requests_code_next_to_the_secrets_is_an_error() -> None:
    text = GOOD_WORKFLOW.replace("[push, pull_request]", "pull_request_target").replace(
        " # v5\n", "\n        with: {ref: '${{ github.event.pull_request.head.sha }}'}\n"
    )
    assert "gha.target-checkout" in rules_of(text, ".github/workflows/ci.yml")


def test_a_secret_is_named_and_never_repeated() -> None:
    for file, (old, new) in {"compose.yaml": ("${DB_PASSWORD}", "hunter2"), ".do/app.yaml": ("EV[1:abc:def]", "hunter2")}.items():
        found = check_text(GOOD[file].replace(old, new), file)[1]
        assert any("plain-secret" in one.rule for one in found)
        assert not any("hunter2" in one.message for one in found)


def test_every_rule_has_a_severity_and_says_what_to_do() -> None:
    for rule, (severity, hint) in RULES.items():
        assert severity in findings_module.SEVERITIES and hint.endswith((".", "…")) and "." in rule


def test_schema_errors_name_the_field_that_was_meant_and_not_its_sound_neighbours() -> None:
    found = check_text(GOOD_COMPOSE.replace("mem_limit: 256m", "cpu_count: [1]\n    memlimit: 3"), "compose.yaml")[1]
    said = {one.pointer: one.message for one in found if one.rule == "compose.schema"}
    assert set(said) == {"/services/web/cpu_count", "/services/web/memlimit"}
    assert "did you mean 'mem_limit'?" in said["/services/web/memlimit"]


def test_objects_of_a_kubernetes_list_are_checked_one_by_one() -> None:
    text = "apiVersion: v1\nkind: List\nitems:\n  - apiVersion: v1\n    kind: Service\n    metadata: {name: a}\n    spec: {ports: [{port: 0}]}\n"
    assert rules_of(text) == {"k8s.schema": 7}


def test_the_same_object_twice_is_told() -> None:
    text = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {}\n"
    assert "k8s.duplicate" in rules_of(text + "---\n" + text)


def test_a_folder_is_looked_through_and_what_is_not_ours_is_left_out(tmp_path: Path) -> None:
    for name, text in {**GOOD, "values.yaml": "a: 1\n", "chart.yaml": "kind: {{ .Values.kind }}\n", "node_modules/compose.yml": "services: 3\n"}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    made = run(TOOL, tmp_path, path=str(tmp_path / "in"))
    assert made.result["verdict"] == "pass"
    assert {entry["file"]: entry["kind"] for entry in made.result["files"]} == KIND
    assert {entry["file"] for entry in made.result["skipped"]} == {"values.yaml", "chart.yaml"}
    assert set(made.result["schemas"]) == set(KIND.values())
    assert "not one published by Kubernetes" in made.result["schemas"]["kubernetes"]


def checked(tmp_path: Path, text: str, **args: object) -> Made:
    (tmp_path / "compose.yaml").write_text(text)
    return run(TOOL, tmp_path, path=str(tmp_path / "compose.yaml"), **args)


def test_verdicts_follow_the_worst_finding_and_strict_counts_warnings(tmp_path: Path) -> None:
    warned = GOOD_COMPOSE.replace("nginx:1.29.1", "nginx")
    assert checked(tmp_path, warned).result["verdict"] == "warn"
    assert checked(tmp_path, warned, strict=True).result["verdict"] == "fail"
    assert checked(tmp_path, GOOD_COMPOSE.replace("nginx:1.29.1", "[]")).result["verdict"] == "fail"
    assert checked(tmp_path, GOOD_COMPOSE, strict=True).result["verdict"] == "pass"


def test_report_and_findings_are_artifacts_and_agree(tmp_path: Path) -> None:
    made = checked(tmp_path, GOOD_COMPOSE.replace("nginx:1.29.1", "nginx|<b>"))
    assert made.json("findings.json")["findings"] == made.result["findings"]
    report = made.text("report.md")
    assert "compose.image-latest" in report and "<b>" not in report and re.search(r"nginx\\\|&lt;b>", report)


def test_a_file_that_is_no_yaml_is_a_finding_with_its_line(tmp_path: Path) -> None:
    made = checked(tmp_path, "services:\n  a: [\n  b: }\n")
    (found,) = made.result["findings"]
    assert (found["rule"], found["line"], made.result["verdict"]) == ("yaml.unreadable", 3, "fail")


@pytest.mark.parametrize("text", ["a: 1\n", "- 1\n", "", "just words\n"])
def test_a_file_of_no_known_kind_is_refused_with_the_kinds(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.yaml").write_text(text)
    with pytest.raises(BadInput) as caught:
        run(TOOL, tmp_path, path=str(tmp_path / "x.yaml"))
    assert "kubernetes" in caught.value.hint


def test_a_kind_that_is_given_is_believed(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("volumes: {}\n")
    assert run(TOOL, tmp_path, path=str(tmp_path / "x.yaml"), kind="compose").result["files"][0]["kind"] == "compose"
    (tmp_path / "x.yaml").write_text("- 1\n")
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, path=str(tmp_path / "x.yaml"), kind="compose")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00a", b"a: \x00\n", b"x" * (2 * 1024 * 1024 + 1)])
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, path=str(tmp_path / "x.yaml"))


def test_a_path_that_is_not_there_or_holds_nothing_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, path=str(tmp_path / "nowhere"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no Compose"):
        run(TOOL, tmp_path, path=str(tmp_path / "empty"))


@pytest.mark.parametrize("value", ["3", "[]", "[1, {a: 2}]", "{}", "null", "text", "{a: [1], b: {c: null}}"])
@pytest.mark.parametrize("file", GOOD)
def test_a_part_of_another_shape_than_expected_is_told_and_never_crashes(file: str, value: str) -> None:
    lines = GOOD[file].splitlines()
    for i, line in enumerate(lines):
        head, colon, rest = line.partition(": ")
        if colon and rest:
            check_text("\n".join([*lines[:i], f"{head}: {value}", *lines[i + 1 :]]), file)
        elif line.endswith(":") and i + 1 < len(lines):
            inner = len(line) - len(line.lstrip())
            rest_of = [k for k in range(i + 1, len(lines)) if lines[k].strip() and len(lines[k]) - len(lines[k].lstrip()) <= inner]
            check_text("\n".join([*lines[:i], f"{line} {value}", *lines[(rest_of[0] if rest_of else len(lines)) :]]), file)


def test_images_float_without_a_version() -> None:
    digest = "@sha256:" + "a" * 64
    assert [is_floating(i) for i in ("nginx", "nginx:latest", "host:5000/nginx")] == [True, True, True]
    assert [is_floating(i) for i in ("nginx:1", "host:5000/nginx:1", "nginx" + digest, "nginx:${TAG}", "${IMAGE}")] == [False] * 5


def test_names_that_only_sound_secret_are_left_alone() -> None:
    assert is_plain_secret("DB_PASSWORD", "x") and is_plain_secret("apiKey", "x") and is_plain_secret("GITHUB_TOKEN", "x")
    assert not any(is_plain_secret(name, "x") for name in ("PASSWORD_FILE", "TOKEN_TTL", "SECRET_NAME", "USER", "PWDX_HOST"[4:]))
    assert not any(is_plain_secret("TOKEN", value) for value in ("", None, True, "${T}", "$T", "${{ secrets.T }}", "<fill in>", "/run/secrets/t"))


def test_the_vendored_schema_is_the_one_its_note_names() -> None:
    folder = Path(schemas.__file__).parent / "schemas"
    note = (folder / "app-platform.SOURCE.md").read_text("utf-8")
    assert hashlib.sha256((folder / "app-platform.json").read_bytes()).hexdigest() in note
    assert "1.0.70" in note and "MIT License" in note
