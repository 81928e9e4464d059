"""The Markdown reference of an API: by tag, with parameters, bodies, responses and schemas that link to each other."""

from __future__ import annotations

import json
import re
from typing import Any

from pulser.core.errors import BadInput
from pulser.core.tool import Json
from pulser.tools.builtin.docs.openapi import Operation, example_of, mapping, operations, resolve, sequence

LIMIT_CHARS = 20_000_000
_DEPTH = 4


def as_markdown(document: Json, title: str = "") -> str:
    """The whole reference; :class:`BadInput` if it would grow beyond the limit."""
    info = mapping(document.get("info"))
    lines = [f"# {_line(title or info.get('title') or 'API reference')}", ""]
    lines += [f"Version {_line(info['version'])}", ""] if info.get("version") else []
    lines += [_text(info.get("description"))] if info.get("description") else []
    lines += _servers(document) + _auth(document)
    groups = _by_tag(document)
    lines += ["## Contents", ""]
    for tag, found in groups.items():
        lines += [f"- **{_line(tag)}**", *(f"  - [{_code(op.where)}](#{_anchor(op)}) {_line(op.body.get('summary', ''))}".rstrip() for op in found)]
    lines.append("")
    about = {str(tag.get("name")): tag for tag in sequence(document.get("tags")) if isinstance(tag, dict)}
    size = 0
    for tag, found in groups.items():
        lines += [f"## {_line(tag)}", ""] + ([_text(about[tag]["description"])] if about.get(tag, {}).get("description") else [])
        for operation in found:
            made = _operation(document, operation)
            size += sum(map(len, made))
            if size > LIMIT_CHARS:
                raise BadInput(f"the reference would have more than {LIMIT_CHARS:,} characters", hint="Split the document by tag.")
            lines += made
    return "\n".join(lines + _schemas(document)).rstrip() + "\n"


def _by_tag(document: Json) -> dict[str, list[Operation]]:
    named = [str(tag["name"]) for tag in sequence(document.get("tags")) if isinstance(tag, dict) and tag.get("name")]
    groups: dict[str, list[Operation]] = {name: [] for name in named}
    for operation in operations(document):
        for tag in operation.tags[:1] or ["Other"]:
            groups.setdefault(tag, []).append(operation)
    return {tag: found for tag, found in groups.items() if found}


def _servers(document: Json) -> list[str]:
    servers = [server for server in sequence(document.get("servers")) if isinstance(server, dict)]
    lines = [f"- {_code(server.get('url', ''))} {_line(server.get('description', ''))}".rstrip() for server in servers]
    return ["## Servers", "", *lines, ""] if lines else []


def _auth(document: Json) -> list[str]:
    schemes = mapping(mapping(document.get("components")).get("securitySchemes"))
    lines = []
    for name, raw in schemes.items():
        scheme = resolve(document, raw)
        kind = scheme.get("type")
        how = {
            "http": f"HTTP {scheme.get('scheme', '')} {scheme.get('bearerFormat', '')}".strip(),
            "apiKey": f"a key in the {scheme.get('in', '')} {_code(scheme.get('name', ''))}",
            "oauth2": "OAuth 2: " + ", ".join(mapping(scheme.get("flows"))),
            "openIdConnect": f"OpenID Connect: {scheme.get('openIdConnectUrl', '')}",
        }.get(str(kind), str(kind))
        lines.append(f"- **{_line(name)}**: {_line(how)}. {_line(scheme.get('description', ''))}".rstrip())
    return ["## Authentication", "", *lines, ""] if lines else []


def _operation(document: Json, operation: Operation) -> list[str]:
    body = operation.body
    lines = [f'<a id="{_anchor(operation)}"></a>', "", f"### {operation.method.upper()} {_code(operation.path)}", ""]
    lines += [f"**{_line(body['summary'])}**", ""] if body.get("summary") else []
    lines += ["> Deprecated.", ""] if body.get("deprecated") is True else []
    lines += [_text(body["description"])] if body.get("description") else []
    lines += [f"Operation: {_code(body['operationId'])}", ""] if body.get("operationId") else []
    lines += _needs(body.get("security", document.get("security")))
    if operation.parameters:
        lines += ["#### Parameters", "", "| name | in | type | required | description |", "|---|---|---|---|---|"]
        lines += [_parameter(document, parameter) for parameter in operation.parameters] + [""]
    if "requestBody" in body:
        request = resolve(document, body["requestBody"])
        lines += ["#### Body" + (" (required)" if request.get("required") is True else ""), ""]
        lines += [_text(request["description"])] if request.get("description") else []
        lines += _contents(document, request)
    responses = mapping(body.get("responses"))
    if responses:
        lines += ["#### Responses", ""]
        for code, raw in responses.items():
            response = resolve(document, raw)
            lines += [f"**{_line(code)}** {_line(response.get('description', ''))}".rstrip(), ""]
            lines += [f"- header {_code(name)}: {_cell(resolve(document, h).get('description', ''))}" for name, h in mapping(response.get("headers")).items()]
            lines += [""] * bool(response.get("headers")) + _contents(document, response)
    return lines


def _needs(security: Any) -> list[str]:
    options = [" and ".join(mapping(one)) or "nothing" for one in sequence(security)]
    return [f"Needs: {_line(' or '.join(options))}", ""] if options else []


def _parameter(document: Json, parameter: Json) -> str:
    schema: Any = parameter.get("schema") or next((mapping(c).get("schema") for c in mapping(parameter.get("content")).values()), {})
    needed = "yes" if parameter.get("required") is True else ""
    return f"| {_code(parameter['name'])} | {_cell(parameter.get('in', ''))} | {_type(document, schema)} | {needed} | {_cell(_about(parameter, schema))} |"


def _about(owner: Json, schema: Any) -> str:
    """The description and what the schema demands beyond its type."""
    schema = schema if isinstance(schema, dict) else {}
    told = [str(owner.get("description") or schema.get("description") or "")]
    if sequence(schema.get("enum")):
        told.append("One of: " + ", ".join(_short(value) for value in schema["enum"][:40]) + ".")
    if "default" in schema:
        told.append(f"Default: {_short(schema['default'])}.")
    names = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern", "minItems", "maxItems", "multipleOf")
    limits = [f"{name} {_short(schema[name])}" for name in names if name in schema]
    told += ["; ".join(limits) + "."] if limits else []
    told += ["Read only."] * (schema.get("readOnly") is True) + ["Deprecated."] * ((schema.get("deprecated") or owner.get("deprecated")) is True)
    return " ".join(part for part in told if part)


def _contents(document: Json, owner: Json) -> list[str]:
    lines = []
    for media, raw in mapping(owner.get("content")).items():
        content = mapping(raw)
        schema = content.get("schema", {})
        lines += [f"{_code(media)}: {_type(document, schema)}", ""]
        if isinstance(schema, dict) and "$ref" not in schema:
            lines += _table(document, schema)
        named = next((resolve(document, e).get("value") for e in mapping(content.get("examples")).values()), None)
        example = content["example"] if "example" in content else named if named is not None else example_of(document, schema) if "json" in media else None
        if example is not None:
            lines += _fenced(example)
    return lines


def _table(document: Json, schema: Json) -> list[str]:
    rows = _rows(document, schema, "", 0)
    return ["| field | type | required | description |", "|---|---|---|---|", *rows, ""] if rows else []


def _rows(document: Json, schema: Json, prefix: str, depth: int) -> list[str]:
    """Fields of a schema, those of nested ones indented by their path; a reference ends in a link, so no circle can be entered."""
    rows = []
    needed = {str(name) for name in sequence(schema.get("required"))}
    for part in sequence(schema.get("allOf")):
        if isinstance(part, dict) and "$ref" not in part and depth < _DEPTH:
            rows += _rows(document, part, prefix, depth + 1)
    for name, raw in mapping(schema.get("properties")).items():
        field = raw if isinstance(raw, dict) else {}
        rows.append(f"| {_code(prefix + name)} | {_type(document, field)} | {'yes' if name in needed else ''} | {_cell(_about(field, field))} |")
        inner = field.get("items") if isinstance(field.get("items"), dict) else field
        if isinstance(inner, dict) and "$ref" not in inner and depth < _DEPTH:
            rows += _rows(document, inner, f"{prefix}{name}{'[]' if inner is not field else ''}.", depth + 1)
    return rows


def _type(document: Json, schema: Any, depth: int = 0) -> str:
    """A schema's type in a few words, with links to named schemas."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return "any"
    if isinstance(ref := schema.get("$ref"), str):
        name = ref.rsplit("/", 1)[-1]
        return f"[{_cell(name)}](#schema-{_slug(name)})" if ref.startswith("#/components/schemas/") and resolve(document, schema) else _cell(ref[:200])
    for key, word in (("oneOf", " or "), ("anyOf", " or "), ("allOf", " and ")):
        if options := sequence(schema.get(key)):
            return word.join(dict.fromkeys(_type(document, option, depth + 1) for option in options[:20]))
    kinds = schema.get("type", "object" if "properties" in schema else "any")
    told = []
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        told.append(f"array of {_type(document, schema.get('items'), depth + 1)}" if kind == "array" else _cell(kind))
    told += ["null"] if schema.get("nullable") is True else []
    return " or ".join(told) + (f" ({_cell(schema['format'])})" if isinstance(schema.get("format"), str) else "")


def _schemas(document: Json) -> list[str]:
    schemas = mapping(mapping(document.get("components")).get("schemas"))
    lines = ["## Schemas", ""] if schemas else []
    for name, raw in schemas.items():
        schema = raw if isinstance(raw, dict) else {}
        lines += [f'<a id="schema-{_slug(name)}"></a>', "", f"### {_line(name)}", ""]
        lines += [_text(schema["description"])] if schema.get("description") else []
        lines += [f"Type: {_type(document, schema)}", ""]
        lines += [f"One of: {', '.join(_short(value) for value in schema['enum'][:100])}", ""] if sequence(schema.get("enum")) else []
        lines += _table(document, schema)
        example = example_of(document, {"$ref": f"#/components/schemas/{name.replace('~', '~0').replace('/', '~1')}"})
        lines += _fenced(example) if isinstance(example, dict | list) and example else []
    return lines


def _fenced(example: Any) -> list[str]:
    text = example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False, default=str)[:20_000]
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    return [f"{fence}json" if not isinstance(example, str) else fence, text, fence, ""]


def _anchor(operation: Operation) -> str:
    return _slug(f"{operation.method}-{operation.path}")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _short(value: Any) -> str:
    return _code(json.dumps(value, ensure_ascii=False, default=str)[:200])


def _code(text: Any) -> str:
    plain = re.sub(r"\s+", " ", str(text)).replace("|", "\\|")
    if "`" not in plain:
        return f"`{plain}`" if plain else ""
    fence = "`" * (max(map(len, re.findall(r"`+", plain))) + 1)  # longer than any run inside, so that nothing inside can end it
    return f"{fence} {plain} {fence}"


def _line(text: Any) -> str:
    return re.sub(r"\s+", " ", str(text or "")).strip().replace("<", "&lt;")


def _cell(text: Any) -> str:
    return _line(text).replace("|", "\\|")


def _text(text: Any) -> str:
    """A description as its author wrote it (it may be Markdown), with tags shown and not obeyed, and its headings one rank lower than ours."""
    shown = re.sub(r"<(?=[A-Za-z/!?])(?!https?://)", "&lt;", str(text).strip())
    return re.sub(r"^(#{1,6}) +(.+)$", r"**\2**", shown, flags=re.MULTILINE) + "\n"
