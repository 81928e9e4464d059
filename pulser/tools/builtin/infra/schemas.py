"""What the schemas say, in findings. Where each schema comes from is told with every result.

Compose and GitHub workflows: the published schemas that the package check-jsonschema carries. App Platform: the published schema of
the npm package @digitalocean/mcp (``schemas/app-platform.SOURCE.md``). Kubernetes: a compact schema of our own for the common kinds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pulser.core.errors import OperatorError
from pulser.tools.builtin.infra.finding import Finding, Text, mapped, step
from pulser.tools.builtin.infra.kinds import Kind, app_prefix, app_spec

SOURCES: dict[Kind, str] = {
    "compose": "compose-spec.json, published by compose-spec, as vendored in check-jsonschema",
    "github_workflow": "github-workflow.json, published by SchemaStore, as vendored in check-jsonschema",
    "app_platform": "app-create-schema.json, published in the npm package @digitalocean/mcp 1.0.70",
    "kubernetes": "Pulser's own compact schema of the common kinds, not one published by Kubernetes",
}
_RULE: dict[Kind, str] = {"compose": "compose.schema", "github_workflow": "gha.schema", "app_platform": "app.schema", "kubernetes": "k8s.schema"}
_HERE = Path(__file__).parent / "schemas"
_MESSAGE_LIMIT = 240
_PER_DOCUMENT = 200


def check_schema(text: Text, kind: Kind) -> list[Finding]:
    """What the schema of ``kind`` says about a document."""
    if kind == "kubernetes":
        return _kubernetes(text)
    if kind == "app_platform":
        prefix, spec = app_prefix(text.value), app_spec(text.value)
        return [*_findings(text, _app_platform(), spec, kind, prefix), *_unknown_fields(text, spec, _app_schema(), prefix)]
    return _findings(text, _vendored("compose-spec" if kind == "compose" else "github-workflows"), text.value, kind)


def known_kubernetes_kinds() -> list[str]:
    """Kinds our own schema knows."""
    return list(_kubernetes_schema()["kinds"])


def _kubernetes(text: Text) -> list[Finding]:
    kind = text.value.get("kind")
    if kind not in known_kubernetes_kinds():
        return [text.find("k8s.unknown-kind", "/kind", f"{kind!r} is not a kind that is known here")]
    return _findings(text, _kubernetes_kind(kind), _without_nulls(text.value), "kubernetes")


def _findings(text: Text, judge: tuple[Any, dict[str, Any]], value: Any, kind: Kind, prefix: str = "") -> list[Finding]:
    validator, schema = judge
    found: dict[Finding, None] = {}
    for error in validator.iter_errors(value):
        for pointer, message in _told(error, schema):
            found[text.find(_RULE[kind], prefix + pointer, message)] = None
        if len(found) >= _PER_DOCUMENT:
            break
    return list(found)


def _told(error: Any, schema: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Place and words of a schema error; of alternatives, the errors of the one that comes nearest."""
    path = list(error.instance_path)
    pointer, name, kind = "".join(step(part) for part in path), _named(path), error.kind.name
    context = [branch for branch in getattr(error.kind, "context", None) or [] if branch]
    if kind in ("additionalProperties", "unevaluatedProperties"):
        yield from _told_fields(error, schema, pointer)
    elif kind == "required":
        yield pointer, f"{name}{error.kind.property!r} is missing"
    elif not context:
        yield pointer, name + _short(error.message)
    elif all(inner.kind.name == "required" and list(inner.instance_path) == path for branch in context for inner in branch):
        yield pointer, f"{name}one of these is missing: {', '.join(dict.fromkeys(inner.kind.property for branch in context for inner in branch))}"
    else:
        branch = min(context, key=_distance)
        if _distance(branch)[0] < _FAR:
            for inner in branch:
                yield from _told(inner, schema)
        else:
            wanted = sorted({_wanted(inner) for branch in context for inner in branch} - {""})
            yield pointer, f"{name}fits none of what is allowed here" + (f": {' or '.join(wanted)}"[:_MESSAGE_LIMIT] if wanted else "")


def _named(path: list[str | int]) -> str:
    """The last names of a place: ``'steps/3': ``."""
    if not path:
        return ""
    return f"'{path[-2]}/{path[-1]}': " if isinstance(path[-1], int) and len(path) > 1 else f"{path[-1]!r}: "


def _told_fields(error: Any, schema: dict[str, Any], pointer: str) -> Iterator[tuple[str, str]]:
    """Fields nobody knows. One that is known but wrong inside counts as not evaluated too; that error is told by itself."""
    known = list(_known_fields(schema, list(error.schema_path)[:-1]))
    for field in error.kind.unexpected:
        if field not in known:
            close = get_close_matches(str(field), known, n=1, cutoff=0.6)
            yield pointer + step(field), f"{str(field)[:80]!r} is not a field that is known here" + (f"; did you mean {close[0]!r}?" if close else "")


def _known_fields(schema: dict[str, Any], path: list[str | int]) -> Iterator[str]:
    """Fields that the schema knows at ``path``, those of schemas it is put together from included."""
    node: Any = schema
    for part in path:
        node = node[part] if isinstance(node, list) and isinstance(part, int) and part < len(node) else mapped(_followed(schema, node)).get(str(part))
    waiting = [node]
    while waiting:
        node = mapped(_followed(schema, waiting.pop()))
        yield from mapped(node.get("properties"))
        for group in ("allOf", "anyOf", "oneOf"):
            waiting.extend(node.get(group, ()))


def _followed(schema: dict[str, Any], node: Any) -> Any:
    """What a ``$ref`` within the schema stands for."""
    for _ in range(10):
        target = str(mapped(node).get("$ref", ""))
        if not target.startswith("#/"):
            break
        node = schema
        for name in target[2:].split("/"):
            node = mapped(node).get(name.replace("~1", "/").replace("~0", "~"))
    return node


_FAR = 10


def _distance(branch: list[Any]) -> tuple[int, int]:
    """How far a branch is from fitting: one that has already the wrong type at its top is not what was meant."""
    top = min(len(error.instance_path) for error in branch)
    wrong_type = any(error.kind.name in ("type", "enum", "constant", "const") and len(error.instance_path) == top for error in branch)
    return (_FAR if wrong_type else 0) - min(top, 9), len(branch)


def _wanted(error: Any) -> str:
    kind = error.kind
    if kind.name == "type":
        types = getattr(kind, "types", None)
        return ", ".join(map(str, types)) if types else _short(error.message).rpartition("type ")[2].strip('"')
    return ""


def _short(message: str) -> str:
    return message if len(message) <= _MESSAGE_LIMIT else "…" + message[-_MESSAGE_LIMIT:]


def _unknown_fields(text: Text, value: Any, schema: dict[str, Any], pointer: str) -> Iterator[Finding]:
    """Fields that a schema which does not forbid them does not list: mostly typing errors."""
    if isinstance(value, list):
        for i, item in enumerate(value):
            yield from _unknown_fields(text, item, mapped(schema.get("items")), f"{pointer}/{i}")
    properties = mapped(schema.get("properties"))
    if not isinstance(value, dict) or not properties:
        return
    for name, inner in value.items():
        here = pointer + step(name)
        if name in properties:
            yield from _unknown_fields(text, inner, mapped(properties[name]), here)
            continue
        close = get_close_matches(str(name), list(properties), n=1, cutoff=0.6)
        yield text.find("app.unknown-field", here, f"{str(name)[:80]!r} is not a field here" + (f"; did you mean {close[0]!r}?" if close else ""))


def _without_nulls(value: Any) -> Any:
    """Kubernetes reads ``key:`` with nothing behind it as not given."""
    if isinstance(value, dict):
        return {key: _without_nulls(inner) for key, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


@cache
def _kubernetes_schema() -> dict[str, Any]:
    return dict(json.loads((_HERE / "kubernetes.json").read_text("utf-8")))


@cache
def _kubernetes_kind(kind: str) -> tuple[Any, dict[str, Any]]:
    import jsonschema_rs

    schema = _kubernetes_schema()
    chosen = {"$schema": schema["$schema"], "$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]}
    return jsonschema_rs.validator_for(chosen), chosen


@cache
def _app_schema() -> dict[str, Any]:
    return dict(json.loads((_HERE / "app-platform.json").read_text("utf-8"))["properties"]["spec"])


@cache
def _app_platform() -> tuple[Any, dict[str, Any]]:
    import jsonschema_rs

    return jsonschema_rs.validator_for(_app_schema()), _app_schema()


@cache
def _vendored(name: str) -> tuple[Any, dict[str, Any]]:
    """A schema of check-jsonschema, found without importing it: only its data is wanted."""
    import jsonschema_rs

    spec = find_spec("check_jsonschema")
    path = Path(spec.origin).parent / "builtin_schemas" / "vendor" / f"{name}.json" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise OperatorError(f"the schema {name} is not there", hint="Install pulser[infra]; it brings check-jsonschema, which carries the schemas.")
    schema = json.loads(path.read_text("utf-8"))
    return jsonschema_rs.validator_for(schema), schema
