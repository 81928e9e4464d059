"""Static files under ``/static/<digest>/…``: the digest covers all of them, so that a browser may keep each for ever.

Text is compressed once, at first use. A digest of an older release still finds the file, but is not to be kept.
"""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response

ROOT = files("pulser.console") / "static"
FOR_EVER = "public, max-age=31536000, immutable"
TYPES = {
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
    ".json": "application/json",
}
TEXT = (".js", ".css", ".svg", ".json", ".txt")


@cache
def tree() -> dict[str, bytes]:
    """Every static file by its path below ``static/``."""
    found: dict[str, bytes] = {}

    def walk(folder: Traversable, prefix: str) -> None:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir():
                walk(entry, f"{prefix}{entry.name}/")
            else:
                found[prefix + entry.name] = entry.read_bytes()

    walk(ROOT, "")
    return found


@cache
def digest() -> str:
    """Twelve hexadecimal digits that change when any static file does."""
    total = hashlib.sha256()
    for path, content in tree().items():
        total.update(path.encode() + b"\0" + hashlib.sha256(content).digest())
    return total.hexdigest()[:12]


def url(path: str) -> str:
    """The address of a static file; KeyError if there is none, so that a template cannot name a missing one."""
    if path not in tree():
        raise KeyError(f"no static file {path}")
    return f"/static/{digest()}/{path}"


@cache
def _packed(path: str) -> bytes:
    return gzip.compress(tree()[path], 9, mtime=0)


async def serve(request: Request) -> Response:
    """GET /static/{digest}/{path}."""
    path = request.path_params["path"]
    content = tree().get(path)
    if content is None:
        return Response("No such file.", status_code=404, media_type="text/plain")
    suffix = path[path.rfind(".") :]
    keep = FOR_EVER if request.path_params["digest"] == digest() else "no-cache"
    headers = {"cache-control": keep, "vary": "accept-encoding"}
    if suffix in TEXT and "gzip" in request.headers.get("accept-encoding", ""):
        content = _packed(path)
        headers["content-encoding"] = "gzip"
    kind = TYPES.get(suffix) or mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Response(content, media_type=kind, headers=headers)


async def favicon(_request: Request) -> Response:
    """GET /favicon.ico: browsers ask for it whatever the page says."""
    return Response(tree()["logo.svg"], media_type="image/svg+xml", headers={"cache-control": "public, max-age=86400"})
