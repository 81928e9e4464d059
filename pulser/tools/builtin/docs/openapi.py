"""An OpenAPI 3.0 or 3.1 document: read with limits, references followed with a guard, operations and examples taken out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput
from pulser.core.tool import Json
from pulser.tools.builtin.folder import check_exists
from pulser.tools.builtin.yaml_limits import Limits, load

LIMITS = Limits(size_bytes=16 * 1024 * 1024, nodes=1_000_000, depth=100, aliases=500)
METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
EXAMPLE_NODES = 400
EXAMPLE_DEPTH = 12


@dataclass(slots=True)
class Operation:
    """One method of one path, with the path's own parameters already joined in."""

    method: str
    path: str
    body: Json
    parameters: list[Json] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        return f"{self.method.upper()} {self.path}"


def read_openapi(path: Path) -> Json:
    """The document; :class:`BadInput` if it is not JSON or YAML, or not OpenAPI 3."""
    check_exists(path)
    if path.is_dir():
        raise BadInput(f"{path.name} is a folder", hint="Name the OpenAPI file itself, such as openapi.yaml.")
    with path.open("rb") as file:
        content = file.read(LIMITS.size_bytes + 1)
    if len(content) > LIMITS.size_bytes:
        raise BadInput(f"{path.name} has more than {LIMITS.size_bytes:,} bytes")
    document = _json(content, path.name) if content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" else load(content, limits=LIMITS, what=path.name)
    if not isinstance(document, dict):
        raise BadInput(f"{path.name} is not an OpenAPI document: it holds {type(document).__name__}, not a mapping")
    if "swagger" in document:
        raise BadInput(f"{path.name} is Swagger {document['swagger']}, not OpenAPI 3", hint="Convert it first, for example with swagger2openapi.")
    version = str(document.get("openapi", ""))
    if not version.startswith(("3.0", "3.1")):
        raise BadInput(f"{path.name} is not OpenAPI 3.0 or 3.1: its member openapi is {version[:40]!r}", hint="The file begins with: openapi: 3.1.0")
    return document


def _json(content: bytes, name: str) -> Any:
    try:
        depth = _json_depth(content)
        if depth > LIMITS.depth:
            raise BadInput(f"{name} is nested {depth} levels deep, more than {LIMITS.depth}")
        return json.loads(content)
    except UnicodeDecodeError as error:
        raise BadInput(f"{name} is not UTF-8: byte {error.start}") from None
    except json.JSONDecodeError:
        return load(content, limits=LIMITS, what=name)  # YAML's flow style begins with a brace too


def _json_depth(content: bytes) -> int:
    """How deep the brackets go, at most: those in texts count too, which only makes the guard stricter."""
    depth = deepest = 0
    for byte in content:
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    return deepest


def resolve(document: Json, value: Any) -> Json:
    """``value``, or what its ``$ref`` leads to inside the document; ``{}`` if that is nowhere, outside, or a circle."""
    seen: set[str] = set()
    while isinstance(value, dict) and isinstance(value.get("$ref"), str):
        ref = value["$ref"]
        if ref in seen or not ref.startswith("#/"):
            return {}
        seen.add(ref)
        value = _pointed(document, ref)
    return value if isinstance(value, dict) else {}


def _pointed(document: Json, ref: str) -> Any:
    here: Any = document
    for step in ref[2:].split("/"):
        step = step.replace("~1", "/").replace("~0", "~")
        if isinstance(here, dict):
            here = here.get(step, here.get(int(step)) if step.isdigit() and len(step) < 10 else None)
        elif isinstance(here, list) and step.isdigit() and len(step) < 10 and int(step) < len(here):
            here = here[int(step)]
        else:
            return None
    return here


def references(value: Any) -> Iterator[str]:
    """Every ``$ref`` in a value."""
    todo = [value]
    while todo:
        here = todo.pop()
        if isinstance(here, dict):
            if isinstance(here.get("$ref"), str):
                yield here["$ref"]
            todo += here.values()
        elif isinstance(here, list):
            todo += here


def operations(document: Json) -> list[Operation]:
    """All operations in the order of the document."""
    found = []
    for path, item in mapping(document.get("paths")).items():
        item = resolve(document, item)
        for method in METHODS:
            if isinstance(item.get(method), dict):
                body = item[method]
                parameters = {}
                for raw in [*sequence(item.get("parameters")), *sequence(body.get("parameters"))]:
                    one = resolve(document, raw)
                    parameters[(one.get("in"), one.get("name"))] = one
                found.append(
                    Operation(method, str(path), body, [p for p in parameters.values() if p.get("name")], [str(t) for t in sequence(body.get("tags"))])
                )
    return found


def mapping(value: Any) -> Json:
    """``value`` with text keys if it is a mapping (YAML reads ``200:`` as a number), else an empty one."""
    return {str(key): item for key, item in value.items()} if isinstance(value, dict) else {}


def sequence(value: Any) -> list[Any]:
    """``value`` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def example_of(document: Json, schema: Any) -> Any:
    """A value that shows a schema: its own example, or one made from its types; circles and depth end in ``null`` or nothing."""
    return _example(document, schema, [], [EXAMPLE_NODES])


def _example(document: Json, raw: Any, open_: list[str], left: list[int]) -> Any:
    left[0] -= 1
    ref = raw.get("$ref") if isinstance(raw, dict) else None
    if left[0] < 0 or len(open_) > EXAMPLE_DEPTH or (ref and ref in open_):
        return None
    schema = resolve(document, raw)
    inside = [*open_, str(ref or "")]
    if (given := _given(schema)) is not None:
        return given
    for key in ("oneOf", "anyOf"):
        if options := sequence(schema.get(key)):
            return _example(document, next((o for o in options if o != {"type": "null"}), options[0]), inside, left)
    kind = schema.get("type")
    kind = next((k for k in kind if k != "null"), "null") if isinstance(kind, list) else kind
    if kind == "object" or "properties" in schema or "allOf" in schema:
        made: dict[str, Any] = {}
        for part in sequence(schema.get("allOf")):
            piece = _example(document, part, inside, left)
            made |= piece if isinstance(piece, dict) else {}
        for name, part in mapping(schema.get("properties")).items():
            made[name] = _example(document, part, inside, left)
        extra = schema.get("additionalProperties")
        return made or ({"key": _example(document, extra, inside, left)} if isinstance(extra, dict) else {})
    if kind == "array":
        item = _example(document, schema.get("items"), inside, left)
        return [] if item is None else [item]
    return _plain(kind, schema)


def _given(schema: Json) -> Any:
    for key in ("example", "const", "default"):
        if schema.get(key) is not None:
            return schema[key]
    for key in ("examples", "enum"):
        if sequence(schema.get(key)):
            return schema[key][0]
    return None


def _plain(kind: Any, schema: Json) -> Any:
    if kind == "string":
        formats = {"date": "2024-01-31", "date-time": "2024-01-31T12:00:00Z", "uuid": "123e4567-e89b-12d3-a456-426614174000", "email": "ada@example.org"}
        return (formats | {"uri": "https://example.org", "binary": "<bytes>"}).get(str(schema.get("format")), "string")
    if kind in ("integer", "number"):
        least = schema.get("minimum", 0)
        return least if isinstance(least, int | float) else 0
    return True if kind == "boolean" else None
