"""``/docs``: the OpenAPI document as a page that needs no script and nothing from anywhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, Response

Json = dict[str, Any]
router = APIRouter(include_in_schema=False)
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"}
_STYLE = """
:root{color-scheme:dark light;--back:#161616;--layer:#262626;--text:#f4f4f4;--weak:#c6c6c6;--line:#525252;--link:#78a9ff}
@media(prefers-color-scheme:light){:root{--back:#fff;--layer:#f4f4f4;--text:#161616;--weak:#525252;--line:#c6c6c6;--link:#0043ce}}
body{background:var(--back);color:var(--text);font:16px/1.5 "IBM Plex Sans",system-ui,sans-serif;margin:0 auto;max-width:60rem;padding:2rem 1rem}
a{color:var(--link)}h2{margin-top:3rem}summary{cursor:pointer;padding:.75rem 1rem;background:var(--layer)}details{border:1px solid var(--line);margin:.5rem 0}
details>div{padding:0 1rem 1rem}code,pre{font-family:"IBM Plex Mono",ui-monospace,monospace;font-size:.875rem}
pre{background:var(--layer);padding:1rem;overflow:auto}
.verb{display:inline-block;min-width:4rem;font-weight:600}table{border-collapse:collapse;width:100%}
td,th{border-bottom:1px solid var(--line);padding:.4rem .5rem;text-align:left;
vertical-align:top}.weak{color:var(--weak)}
"""


@router.get("/docs")
async def reference(request: Request) -> Response:
    """The page."""
    return HTMLResponse("".join(_page(request.app.openapi())), headers=_HEADERS)


def _page(document: Json) -> Iterator[str]:
    info = document["info"]
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
    yield f"<title>{escape(info['title'])} HTTP API</title>"
    yield f"<style>{_STYLE}</style></head><body><main><h1>{escape(info['title'])} HTTP API {escape(info['version'])}</h1><p>{escape(info['description'])}</p>"
    yield '<p>The same for programs: <a href="/openapi.json">openapi.json</a> (OpenAPI 3.1). Changing something needs <code>Authorization: Bearer …</code>:'
    yield " an API key, or on this machine the contents of the file <code>token</code> in the data folder.</p><nav><ul>"
    for tag in document["tags"]:
        yield f'<li><a href="#about-{_anchor(tag["name"])}">{escape(tag["name"])}</a> <span class="weak">{escape(tag["description"])}</span></li>'
    yield '<li><a href="#shapes">shapes</a> <span class="weak">What is sent and answered.</span></li></ul></nav>'
    for tag in document["tags"]:
        yield f'<h2 id="about-{_anchor(tag["name"])}">{escape(tag["name"].capitalize())}</h2>'
        for path, methods in document["paths"].items():
            for method, operation in methods.items():
                if operation["tags"][-1] == tag["name"]:
                    yield from _operation(document, method, path, operation)
    yield '<h2 id="shapes">Shapes</h2>'
    for name, schema in document["components"]["schemas"].items():
        meaning = f'<span class="weak">{escape(schema.get("description", ""))}</span>'
        yield f'<details id="shape-{escape(name)}"><summary><code>{escape(name)}</code> {meaning}</summary><div>'
        yield f"<pre>{_json(schema)}</pre></div></details>"
    yield "</main></body></html>"


def _operation(document: Json, method: str, path: str, operation: Json) -> Iterator[str]:
    yield f'<details id="{escape(operation["operationId"])}"><summary><span class="verb">{method.upper()}</span> <code>{escape(path)}</code> '
    yield f'<span class="weak">{escape(operation.get("summary", ""))}</span></summary><div><p>{escape(operation.get("description", ""))}</p>'
    if parameters := operation.get("parameters"):
        yield "<table><thead><tr><th>parameter</th><th>in</th><th>meaning</th></tr></thead><tbody>"
        for each in parameters:
            meaning = each.get("description") or each.get("schema", {}).get("description") or ""
            yield f"<tr><td><code>{escape(each['name'])}</code></td><td>{escape(each['in'])}</td><td>{escape(meaning)}</td></tr>"
        yield "</tbody></table>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h3>Body <span class='weak'>{escape(media_type)} {_shape(content.get('schema', {}))}</span></h3>"
        for name, example in content.get("examples", {}).items():
            yield f"<p>{escape(name)}</p><pre>{_json(example['value'])}</pre>"
    yield "<table><thead><tr><th>answer</th><th>meaning</th><th>shape</th></tr></thead><tbody>"
    for status, answer in operation["responses"].items():
        if "$ref" in answer:
            answer = document["components"]["responses"][answer["$ref"].rsplit("/", 1)[-1]]
        shapes = " ".join(f"{escape(kind)} {_shape(content.get('schema', {}))}" for kind, content in answer.get("content", {}).items())
        yield f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{shapes}</td></tr>"
    yield "</tbody></table></div></details>"


def _shape(schema: Json) -> str:
    name = schema.get("$ref", "").rsplit("/", 1)[-1]
    return f'<a href="#shape-{escape(name)}">{escape(name)}</a>' if name else ""


def _json(value: Any) -> str:
    return escape(json.dumps(value, indent=2, ensure_ascii=False))


def _anchor(name: str) -> str:
    return escape(name.replace(" ", "-"))
