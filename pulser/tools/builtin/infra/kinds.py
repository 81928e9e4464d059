"""What kind of configuration a document is, from its shape first and its name second."""

from __future__ import annotations

import re
from typing import Any, Literal

Kind = Literal["compose", "kubernetes", "github_workflow", "app_platform"]
KINDS: tuple[Kind, ...] = ("compose", "kubernetes", "github_workflow", "app_platform")

_COMPOSE_FILE = re.compile(r"(^|/)(docker-)?compose([.-][\w.-]+)?\.ya?ml$")
_COMPONENTS = ("services", "workers", "jobs", "static_sites", "functions", "databases")


def kind_of(file: str, value: Any) -> Kind | None:
    """The kind of the document ``value`` in ``file`` (a path with forward slashes), or None if it is none of ours."""
    if not isinstance(value, dict):
        return None
    if "apiVersion" in value and "kind" in value:
        return "kubernetes"
    if ".github/workflows/" in "/" + file or (isinstance(value.get("jobs"), dict) and "on" in value):
        return "github_workflow"
    spec = app_spec(value)
    if any(isinstance(spec.get(name), list) for name in _COMPONENTS) or "/.do/" in "/" + file:
        return "app_platform"
    if isinstance(value.get("services"), dict) or (_COMPOSE_FILE.search(file) and ("include" in value or "services" in value)):
        return "compose"
    return None


def app_spec(value: dict[str, Any]) -> dict[str, Any]:
    """The app spec itself: a deploy button's file (``.do/deploy.template.yaml``) has it under ``spec``."""
    inner = value.get("spec")
    return inner if isinstance(inner, dict) and "services" not in value else value


def app_prefix(value: dict[str, Any]) -> str:
    """The JSON pointer of :func:`app_spec`."""
    return "/spec" if app_spec(value) is not value else ""
