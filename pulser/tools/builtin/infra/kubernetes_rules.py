"""Sense in Kubernetes objects, beyond their schema (https://kubernetes.io/docs/concepts/security/pod-security-standards/)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulser.tools.builtin.infra.finding import Finding, Text, is_floating, is_plain_secret, listed, mapped, step

_POD_AT = {
    "Pod": "/spec",
    "Deployment": "/spec/template/spec",
    "StatefulSet": "/spec/template/spec",
    "DaemonSet": "/spec/template/spec",
    "ReplicaSet": "/spec/template/spec",
    "Job": "/spec/template/spec",
    "CronJob": "/spec/jobTemplate/spec/template/spec",
}
_SERVING = ("Deployment", "StatefulSet", "DaemonSet")
# (apiVersion, kind or * ) -> (removed in, use instead); https://kubernetes.io/docs/reference/using-api/deprecation-guide/
_REMOVED = {
    ("extensions/v1beta1", "Ingress"): ("1.22", "networking.k8s.io/v1"),
    ("extensions/v1beta1", "*"): ("1.16", "apps/v1"),
    ("apps/v1beta1", "*"): ("1.16", "apps/v1"),
    ("apps/v1beta2", "*"): ("1.16", "apps/v1"),
    ("networking.k8s.io/v1beta1", "*"): ("1.22", "networking.k8s.io/v1"),
    ("rbac.authorization.k8s.io/v1beta1", "*"): ("1.22", "rbac.authorization.k8s.io/v1"),
    ("apiextensions.k8s.io/v1beta1", "*"): ("1.22", "apiextensions.k8s.io/v1"),
    ("admissionregistration.k8s.io/v1beta1", "*"): ("1.22", "admissionregistration.k8s.io/v1"),
    ("batch/v1beta1", "CronJob"): ("1.25", "batch/v1"),
    ("policy/v1beta1", "PodSecurityPolicy"): ("1.25", "Pod Security admission"),
    ("policy/v1beta1", "*"): ("1.25", "policy/v1"),
    ("autoscaling/v2beta1", "*"): ("1.25", "autoscaling/v2"),
    ("autoscaling/v2beta2", "*"): ("1.26", "autoscaling/v2"),
    ("flowcontrol.apiserver.k8s.io/v1beta2", "*"): ("1.29", "flowcontrol.apiserver.k8s.io/v1"),
    ("flowcontrol.apiserver.k8s.io/v1beta3", "*"): ("1.32", "flowcontrol.apiserver.k8s.io/v1"),
}


def removed_api(value: dict[str, Any]) -> tuple[str, str] | None:
    """``(removed in, use instead)`` if the cluster no longer takes this API version."""
    version, kind = str(value.get("apiVersion")), str(value.get("kind"))
    return _REMOVED.get((version, kind)) or _REMOVED.get((version, "*"))


def check(text: Text) -> Iterator[Finding]:
    """Findings of one object."""
    value = text.value
    kind = str(value.get("kind"))
    if gone := removed_api(value):
        yield text.find("k8s.removed-api", "/apiVersion", f"{value['apiVersion']} {kind} was removed in Kubernetes {gone[0]}; use {gone[1]}")
    spec = mapped(value.get("spec"))
    if kind in ("Deployment", "StatefulSet") and spec.get("replicas", 1) == 1:
        yield text.find("k8s.single-replica", "/spec/replicas", f"{_name(value)} has one replica")
    if kind in (*_SERVING, "ReplicaSet"):
        wanted = mapped(mapped(spec.get("selector")).get("matchLabels"))
        labels = pod_labels(value)
        for key, label in wanted.items():
            if labels.get(key) != label:
                yield text.find("k8s.selector-mismatch", f"/spec/selector/matchLabels{step(key)}", f"the pod template has no label {key}: {label}")
    if kind in ("Role", "ClusterRole"):
        for i, rule in enumerate(listed(value.get("rules"))):
            if any("*" in listed(mapped(rule).get(what)) for what in ("verbs", "resources")):
                yield text.find("k8s.rbac-wildcard", f"/rules/{i}", f"{_name(value)} may do everything to something")
    if at := _POD_AT.get(kind):
        pod = _at(value, at)
        yield from _pod(text, kind, mapped(pod), at)


def check_together(texts: list[Text]) -> Iterator[Finding]:
    """Findings that need all objects of a file."""
    seen: dict[tuple[str, ...], Text] = {}
    templates = [labels for text in texts if (labels := pod_labels(text.value))]
    ports: dict[tuple[int, str], str] = {}
    for text in texts:
        value = text.value
        meta = mapped(value.get("metadata"))
        key = (str(value.get("apiVersion")), str(value.get("kind")), str(meta.get("namespace", "")), str(meta.get("name", "")))
        if key[3] and key in seen:
            yield text.find("k8s.duplicate", "/metadata/name", f"{key[1]} {key[3]!r} is there twice, first on line {seen[key].lines.get('', 1)}")
        seen.setdefault(key, text)
        selector = mapped(mapped(value.get("spec")).get("selector"))
        if key[1] == "Service" and key[0] == "v1" and selector and templates and not any(selector.items() <= labels.items() for labels in templates):
            yield text.find("k8s.service-selects-nothing", "/spec/selector", f"the service {key[3]!r} selects no pod of this file")
        for port, where in _host_ports(value):
            if port in ports and ports[port] != key[3]:
                yield text.find("k8s.host-port-clash", where, f"{key[3]} and {ports[port]} both take host port {port[0]}/{port[1]}")
            ports.setdefault(port, key[3])


def pod_labels(value: dict[str, Any]) -> dict[str, Any]:
    """Labels of the pods an object makes."""
    at = _POD_AT.get(str(value.get("kind")))
    if at is None:
        return {}
    return mapped(mapped(mapped(_at(value, at.removesuffix("/spec"))).get("metadata")).get("labels"))


def _pod(text: Text, kind: str, pod: dict[str, Any], at: str) -> Iterator[Finding]:
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(key) is True:
            yield text.find("k8s.host-namespace", f"{at}/{key}", f"{_name(text.value)} sets {key}")
    for i, volume in enumerate(listed(pod.get("volumes"))):
        if "hostPath" in mapped(volume):
            path = mapped(mapped(volume).get("hostPath")).get("path")
            yield text.find("k8s.host-path", f"{at}/volumes/{i}", f"{_name(text.value)} mounts {path!r} of the node")
    outer = mapped(pod.get("securityContext"))
    for group in ("initContainers", "containers"):
        for i, container in enumerate(listed(pod.get(group))):
            if isinstance(container, dict):
                yield from _container(text, container, f"{at}/{group}/{i}", outer)
                if group == "containers" and kind in _SERVING:
                    yield from _probes(text, container, f"{at}/{group}/{i}")


def _container(text: Text, container: dict[str, Any], at: str, outer: dict[str, Any]) -> Iterator[Finding]:
    name = f"container {str(container.get('name', '?'))[:63]!r}"
    image = container.get("image")
    if isinstance(image, str) and is_floating(image):
        yield text.find("k8s.image-latest", at + "/image", f"{name}: the image {image[:200]!r} has no fixed version")
    resources = mapped(container.get("resources"))
    if "memory" not in mapped(resources.get("limits")):
        yield text.find("k8s.no-limits", at, f"{name} has no memory limit")
    if not {"cpu", "memory"} <= mapped(resources.get("requests")).keys() | mapped(resources.get("limits")).keys():
        yield text.find("k8s.no-requests", at, f"{name} does not say what it needs")
    context = mapped(container.get("securityContext"))
    if context.get("privileged") is True:
        yield text.find("k8s.privileged", at + "/securityContext/privileged", f"{name} is privileged: root on the node")
    elif context.get("allowPrivilegeEscalation") is not False:
        yield text.find("k8s.privilege-escalation", at, f"{name} may gain more rights than it starts with")
    user = context.get("runAsUser", outer.get("runAsUser"))
    if context.get("runAsNonRoot", outer.get("runAsNonRoot")) is not True and user in (None, 0):
        yield text.find("k8s.may-run-as-root", at, f"{name} may run as root")
    for i, variable in enumerate(listed(container.get("env"))):
        key = str(mapped(variable).get("name", ""))
        if is_plain_secret(key, mapped(variable).get("value")):
            yield text.find("k8s.plain-secret", f"{at}/env/{i}", f"{name}: the value of {key} stands in the file")


def _probes(text: Text, container: dict[str, Any], at: str) -> Iterator[Finding]:
    name = f"container {str(container.get('name', '?'))[:63]!r}"
    if container.get("ports") and "readinessProbe" not in container:
        yield text.find("k8s.no-readiness-probe", at, f"{name} takes traffic without a readiness probe")
    if "livenessProbe" not in container:
        yield text.find("k8s.no-liveness-probe", at, f"{name} has no liveness probe")


def _host_ports(value: dict[str, Any]) -> Iterator[tuple[tuple[int, str], str]]:
    at = _POD_AT.get(str(value.get("kind")))
    if at is None:
        return
    for i, container in enumerate(listed(mapped(_at(value, at)).get("containers"))):
        for j, port in enumerate(listed(mapped(container).get("ports"))):
            number = mapped(port).get("hostPort")
            if isinstance(number, int):
                yield (number, str(port.get("protocol", "TCP"))), f"{at}/containers/{i}/ports/{j}"


def _at(value: Any, pointer: str) -> Any:
    for part in pointer.split("/")[1:]:
        value = mapped(value).get(part)
    return value


def _name(value: dict[str, Any]) -> str:
    return f"{value.get('kind')} {str(mapped(value.get('metadata')).get('name', '?'))[:253]!r}"
