"""Sense in a Compose file, beyond its schema (https://compose-spec.io)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from pulser.tools.builtin.infra.finding import Finding, Text, is_floating, is_plain_secret, listed, mapped, mappings, step

_DATASTORES = {5432: "Postgres", 3306: "MySQL", 6379: "Redis", 27017: "MongoDB", 9200: "Elasticsearch", 11211: "memcached", 5672: "RabbitMQ"}
_SHORT_PORT = re.compile(r"^(?:(?P<ip>\[[^]]+\]|\d+(?:\.\d+){3}):)?(?:(?P<host>\d+(?:-\d+)?)?:)?(?P<container>\d+(?:-\d+)?)(?:/(?P<protocol>\w+))?$")
_RANGE_LIMIT = 1_000
_EVERY = "0.0.0.0"  # noqa: S104 - read in a file, nothing listens here


def check(text: Text) -> Iterator[Finding]:
    """Findings of one Compose file."""
    services = dict(mappings(text.value.get("services")))
    if "version" in text.value:
        yield text.find("compose.version-obsolete", "/version", "version: is obsolete")
    for name, service in services.items():
        at = "/services" + step(name)
        yield from _image(text, name, service, at)
        yield from _rights(text, name, service, at)
        yield from _environment(text, name, service, at)
        yield from _readiness(text, name, service, at, services)
        yield from _volumes(text, name, service, at)
    yield from _ports(text, services)


def _image(text: Text, name: str, service: dict[str, Any], at: str) -> Iterator[Finding]:
    image = service.get("image")
    if image is None and "build" not in service and "extends" not in service and "provider" not in service:
        yield text.find("compose.no-image", at, f"the service {name!r} has neither image nor build")
    if isinstance(image, str) and "build" not in service and is_floating(image):
        yield text.find("compose.image-latest", at + "/image", f"{name}: the image {image!r} has no fixed version")


def _rights(text: Text, name: str, service: dict[str, Any], at: str) -> Iterator[Finding]:
    if service.get("privileged") is True:
        yield text.find("compose.privileged", at + "/privileged", f"{name} runs privileged: as root on the host")
    for i, capability in enumerate(listed(service.get("cap_add"))):
        if str(capability).upper().removeprefix("CAP_") in ("ALL", "SYS_ADMIN"):
            yield text.find("compose.capability", f"{at}/cap_add/{i}", f"{name} has the capability {capability}")
    for key in ("network_mode", "pid", "ipc"):
        if service.get(key) == "host":
            yield text.find("compose.host-namespace", f"{at}/{key}", f"{name} shares the host's {key.removesuffix('_mode')}")


def _environment(text: Text, name: str, service: dict[str, Any], at: str) -> Iterator[Finding]:
    environment = service.get("environment")
    pairs: list[tuple[str, str, Any]] = []
    if isinstance(environment, dict):
        pairs = [(step(key), str(key), value) for key, value in environment.items()]
    elif isinstance(environment, list):
        pairs = [(f"/{i}", *str(item).partition("=")[::2]) for i, item in enumerate(environment)]
    for where, key, value in pairs:
        if is_plain_secret(key, value):
            yield text.find("compose.plain-secret", f"{at}/environment{where}", f"{name}: the value of {key} stands in the file")


def _readiness(text: Text, name: str, service: dict[str, Any], at: str, services: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    if "healthcheck" not in service:
        yield text.find("compose.no-healthcheck", at, f"{name} has no healthcheck")
    if "restart" not in service and "restart_policy" not in mapped(service.get("deploy")):
        yield text.find("compose.no-restart", at, f"{name} stays down after a crash")
    limits = mapped(mapped(mapped(service.get("deploy")).get("resources")).get("limits"))
    if "memory" not in limits and "mem_limit" not in service:
        yield text.find("compose.no-memory-limit", at, f"{name} may take all memory of the host")
    depends = service.get("depends_on")
    names = list(depends) if isinstance(depends, dict) else [str(other) for other in listed(depends)]
    for i, other in enumerate(names):
        where = f"{at}/depends_on" + (step(other) if isinstance(depends, dict) else f"/{i}")
        if other not in services:
            required = not isinstance(depends, dict) or mapped(depends[other]).get("required", True)
            if required and "include" not in text.value:
                yield text.find("compose.unknown-dependency", where, f"{name} depends on {other[:80]!r}, which is no service here")
        elif isinstance(depends, dict) and mapped(depends[other]).get("condition") == "service_healthy" and "healthcheck" not in services[other]:
            yield text.find(
                "compose.dependency-without-healthcheck", where, f"{name} waits for {other} to be healthy, but {other} has no healthcheck in this file"
            )


def _volumes(text: Text, name: str, service: dict[str, Any], at: str) -> Iterator[Finding]:
    declared = mapped(text.value.get("volumes"))
    for i, volume in enumerate(listed(service.get("volumes"))):
        where = f"{at}/volumes/{i}"
        if isinstance(volume, str):
            source, colon, _ = volume.partition(":")
            named = bool(colon) and re.fullmatch(r"[A-Za-z0-9][\w.-]*", source) is not None
        else:
            source = str(mapped(volume).get("source", ""))
            named = mapped(volume).get("type") == "volume" and bool(source)
        if source.endswith("docker.sock"):
            yield text.find("compose.docker-socket", where, f"{name} is given the Docker socket")
        elif named and source not in declared and "$" not in source and "include" not in text.value:
            yield text.find("compose.undeclared", where, f"{name} uses the volume {source!r}, which is not declared")
    for key in ("networks", "secrets", "configs"):
        top = mapped(text.value.get(key))
        used = service.get(key)
        for entry in list(used) if isinstance(used, dict) else listed(used):
            source = str(entry.get("source", "") if isinstance(entry, dict) else entry)
            if source and source not in top and not (key == "networks" and source == "default") and "include" not in text.value:
                yield text.find("compose.undeclared", f"{at}/{key}", f"{name} uses {source!r} of {key}, which is not declared")


def _ports(text: Text, services: dict[str, dict[str, Any]]) -> Iterator[Finding]:
    taken: list[tuple[str, str, int, str]] = []  # ip, protocol, port, service
    for name, service in services.items():
        for i, entry in enumerate(listed(service.get("ports"))):
            where = f"/services{step(name)}/ports/{i}"
            ip, protocol, host, container = _published(entry)
            if not host:
                continue
            store = next((label for port, label in _DATASTORES.items() if port in container), None)
            if store and ip not in ("127.0.0.1", "[::1]"):
                yield text.find("compose.datastore-published", where, f"{name}: {store} is published on every address of the host")
            for port in host:
                other = next((t for t in taken if t[1:3] == (protocol, port) and (t[0] == ip or _EVERY in (t[0], ip))), None)
                if other and other[3] != name:
                    yield text.find("compose.host-port-clash", where, f"{name} and {other[3]} both publish host port {port}/{protocol}")
                taken.append((ip, protocol, port, name))


def _published(entry: Any) -> tuple[str, str, range, range]:
    """Address, protocol, host ports, container ports; no host ports if none is published or it cannot be known."""
    none = range(0)
    if isinstance(entry, dict):
        return (
            str(entry.get("host_ip", _EVERY)),
            str(entry.get("protocol", "tcp")),
            _range(str(entry.get("published", ""))),
            _range(str(entry.get("target", ""))),
        )
    match = _SHORT_PORT.match(str(entry))
    if match is None or not match["host"]:
        return "", "", none, none
    return match["ip"] or _EVERY, match["protocol"] or "tcp", _range(match["host"]), _range(match["container"])


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()):
        return range(0)
    start = int(first)
    return range(start, min(int(last or first), start + _RANGE_LIMIT, 65_535) + 1)
