"""Sense in an App Platform spec, beyond its schema (https://docs.digitalocean.com/products/app-platform/reference/app-spec/)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pulser.tools.builtin.infra.finding import Finding, Text, is_plain_secret, listed, mapped, step
from pulser.tools.builtin.infra.kinds import app_prefix, app_spec

REGIONS = ("ams", "atl", "blr", "fra", "lon", "nyc", "ric", "sfo", "sgp", "syd", "tor")
SIZES = (
    *("apps-s-1vcpu-0.5gb", "apps-s-1vcpu-1gb-fixed", "apps-s-1vcpu-1gb", "apps-s-1vcpu-2gb", "apps-s-2vcpu-4gb", "apps-d-1vcpu-0.5gb", "apps-d-1vcpu-1gb"),
    *("apps-d-1vcpu-2gb", "apps-d-1vcpu-4gb", "apps-d-2vcpu-4gb", "apps-d-2vcpu-8gb", "apps-d-4vcpu-8gb", "apps-d-4vcpu-16gb", "apps-d-8vcpu-32gb"),
)
OLD_SIZES = (
    "basic-xxs",
    "basic-xs",
    "basic-s",
    "basic-m",
    "professional-xs",
    "professional-s",
    "professional-m",
    "professional-1l",
    "professional-l",
    "professional-xl",
)
_ONE_INSTANCE = ("apps-s-1vcpu-0.5gb", "apps-s-1vcpu-1gb-fixed")
_COMPONENTS = ("services", "workers", "jobs", "static_sites", "functions")
_SOURCES = ("git", "github", "gitlab", "bitbucket", "image")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}[a-z0-9]\Z")
_REFERENCE = re.compile(r"\$\{([a-zA-Z][\w-]*)\.[A-Z_]+\}")

Component = tuple[str, str, dict[str, Any]]  # group, pointer, value


def check(text: Text) -> Iterator[Finding]:
    """Findings of one app spec."""
    spec, prefix = app_spec(text.value), app_prefix(text.value)
    components: list[Component] = [
        (group, f"{prefix}/{group}/{i}", item) for group in _COMPONENTS for i, item in enumerate(listed(spec.get(group))) if isinstance(item, dict)
    ]
    databases = [(f"{prefix}/databases/{i}", item) for i, item in enumerate(listed(spec.get("databases"))) if isinstance(item, dict)]
    if not components:
        yield text.find("app.no-component", prefix, "the app has no component")
    if not _NAME.match(str(spec.get("name", ""))):
        yield text.find("app.bad-name", prefix + "/name", f"{str(spec.get('name', ''))[:80]!r} is no name of an app")
    yield from _region(text, spec, prefix)
    names = yield from _names(text, [(at, item) for _, at, item in components] + databases)
    yield from _envs(text, spec, prefix, names, "the app")
    for group, at, item in components:
        yield from _source(text, group, at, item)
        yield from _envs(text, item, at, names, str(item.get("name", "?")))
        if group in ("services", "workers", "jobs"):
            yield from _size(text, group, at, item)
        if group == "services" and not mapped(item.get("health_check")):
            yield text.find("app.no-health-check", at, f"the service {item.get('name')!r} has no health check")
        if group == "jobs" and item.get("kind") == "SCHEDULED" and not mapped(item.get("schedule")).get("cron"):
            yield text.find("app.job-without-schedule", at, f"the job {item.get('name')!r} has no schedule")
    for at, item in databases:
        if item.get("production") is not True:
            yield text.find("app.dev-database", at, f"the database {item.get('name')!r} is a development database")
    yield from _routes(text, components)


def _region(text: Text, spec: dict[str, Any], prefix: str) -> Iterator[Finding]:
    region = spec.get("region")
    if region is None:
        yield text.find("app.no-region", prefix, "no region is named")
    elif str(region).rstrip("0123456789") not in REGIONS:
        yield text.find("app.unknown-region", prefix + "/region", f"the region {str(region)[:40]!r} is not known; known: {', '.join(REGIONS)}")


def _names(text: Text, items: list[tuple[str, dict[str, Any]]]) -> Any:
    """Findings about names; returns the set of them."""
    names: set[str] = set()
    for at, item in items:
        name = str(item.get("name", ""))
        if not _NAME.match(name):
            yield text.find("app.bad-name", at + "/name", f"{name[:80]!r} is no name of a component")
        elif name in names:
            yield text.find("app.duplicate-component", at + "/name", f"{name!r} is there twice")
        names.add(name)
    return names


def _source(text: Text, group: str, at: str, item: dict[str, Any]) -> Iterator[Finding]:
    given = [source for source in item if source in _SOURCES]
    if not given:
        yield text.find("app.no-source", at, f"{item.get('name')!r} of {group} has no source")
    elif len(given) > 1:
        yield text.find("app.two-sources", f"{at}/{given[1]}", f"{item.get('name')!r} has several sources: {', '.join(given)}")
    image = mapped(item.get("image"))
    if image and not image.get("digest") and str(image.get("tag", "latest")) == "latest":
        yield text.find("app.image-latest", at + "/image", f"{item.get('name')!r} takes whatever image is the latest")


def _size(text: Text, group: str, at: str, item: dict[str, Any]) -> Iterator[Finding]:
    name, size, count = item.get("name"), item.get("instance_size_slug"), item.get("instance_count", 1)
    scaling = mapped(item.get("autoscaling"))
    if size is None:
        yield text.find("app.no-instance-size", at, f"{name!r} does not name its instance size")
    elif size in OLD_SIZES:
        yield text.find("app.legacy-instance-size", at + "/instance_size_slug", f"{name!r} uses the old size {size!r}")
    elif size not in SIZES:
        close = get_close_matches(str(size), SIZES, n=1, cutoff=0.5)
        yield text.find(
            "app.unknown-instance-size", at + "/instance_size_slug", f"there is no size {str(size)[:60]!r}" + (f"; did you mean {close[0]!r}?" if close else "")
        )
    elif size in _ONE_INSTANCE and isinstance(count, int) and count > 1:
        yield text.find("app.fixed-size-scaled", at + "/instance_count", f"{name!r}: {count} instances of {size}, which runs one")
    if scaling:
        low, high = scaling.get("min_instance_count"), scaling.get("max_instance_count")
        if not (isinstance(low, int) and isinstance(high, int) and 1 <= low < high):
            yield text.find("app.autoscaling-bounds", at + "/autoscaling", f"{name!r}: from {low} to {high} instances")
        if isinstance(size, str) and size.startswith("apps-s-"):
            yield text.find("app.autoscaling-shared", at + "/autoscaling", f"{name!r} scales on shared CPU ({size})")
    elif group == "services" and count == 1:
        yield text.find("app.single-instance", at, f"{name!r} runs one instance")


def _envs(text: Text, holder: dict[str, Any], at: str, names: set[str], whose: str) -> Iterator[Finding]:
    for i, env in enumerate(listed(holder.get("envs"))):
        key, value = str(mapped(env).get("key", "")), mapped(env).get("value")
        where = f"{at}/envs/{i}"
        if is_plain_secret(key, value) and not (mapped(env).get("type") == "SECRET" and str(value).startswith("EV[")):
            secret = mapped(env).get("type") == "SECRET"
            yield text.find("app.plain-secret", where, f"{whose}: the value of {key} stands in the file" + (", though its type is SECRET" if secret else ""))
        for name in _REFERENCE.findall(str(value)):
            if name not in names and name not in ("app", "_self"):
                yield text.find("app.unknown-reference", where, f"{whose}: {key} refers to {name!r}, which is not in this app")


def _routes(text: Text, components: list[Component]) -> Iterator[Finding]:
    taken: dict[str, str] = {}
    for _, at, item in components:
        for i, route in enumerate(listed(item.get("routes"))):
            path = str(mapped(route).get("path", ""))
            if path in taken:
                yield text.find("app.route-clash", f"{at}/routes/{i}{step('path')}", f"{item.get('name')!r} and {taken[path]!r} both claim {path!r}")
            taken.setdefault(path, str(item.get("name")))
