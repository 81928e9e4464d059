"""From a template to an answer: escaped, compressed, with an entity tag and a strict content policy. The gate adds the other headers."""

from __future__ import annotations

import gzip
import hashlib
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlencode

from jinja2 import ChainableUndefined, Environment, PackageLoader
from starlette.requests import Request
from starlette.responses import Response

from pulser.console import assets, json_view, words
from pulser.core import clock as machine

HEADERS = {
    "content-security-policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "cache-control": "private, no-cache",
    "vary": "accept-encoding, cookie",
}


@cache
def environment() -> Environment:
    """The templates with their filters; everything is escaped unless made of markup here."""
    env = Environment(loader=PackageLoader("pulser.console", "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=ChainableUndefined)
    env.filters.update(json=json_view.highlight, pretty=json_view.pretty, bytes=size, span=span, clock=clock, percent=percent, hue=hue)
    env.globals.update(
        static=assets.url,
        columns=words.COLUMNS,
        status_titles=words.STATUS_TITLES,
        priorities=words.PRIORITIES,
        moves=words.moves,
        told=words.told,
        query=query,
        between=between,
    )
    env.globals["bits"] = env.get_template("bits.html").module
    return env


def page(request: Request, template: str, *, http_status: int = 200, **context: Any) -> Response:
    """The template as an answer; 304 where the browser has it already."""
    body = environment().get_template(template).render(request=request, since=_since(request), **context).encode()
    headers = dict(HEADERS)
    if http_status == 200:
        tag = 'W/"' + hashlib.sha256(body).hexdigest()[:20] + '"'
        headers["etag"] = tag
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
    if len(body) > 1000 and "gzip" in request.headers.get("accept-encoding", ""):
        body = gzip.compress(body, 5, mtime=0)
        headers["content-encoding"] = "gzip"
    return Response(body, status_code=http_status, media_type="text/html; charset=utf-8", headers=headers)


def _since(request: Request) -> str:
    """From when the page wants to hear of changes: two seconds back, for what commits while it is drawn. A refresh does not ask, so that it can be 304."""
    return "" if request.headers.get("x-pulser-refresh") else machine.iso(machine.now() - timedelta(seconds=2))


def query(values: dict[str, Any], **changes: Any) -> str:
    """``?a=b&…`` of the values that are set, with changes; empty if none is."""
    merged = {k: v for k, v in (values | changes).items() if v not in (None, "")}
    return "?" + urlencode(merged) if merged else ""


def size(count: float | None) -> str:
    """Bytes for people: 12 B, 3.4 kB, 1.2 MB."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return ""


def span(seconds: float | None) -> str:
    """A duration for people: 8 ms, 1.4 s, 2 m 05 s, 3 h 10 m."""
    if seconds is None:
        return "–"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s" if rest else f"{minutes} m"
    return f"{minutes // 60} h {minutes % 60:02d} m"


def between(start: str | None, end: str | None) -> str:
    """The duration between two RFC 3339 times; a dash if either is missing."""
    if not start or not end:
        return "–"
    return span(max(0.0, (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()))


def clock(at: str | None) -> str:
    """``2026-07-28 12:34:56 UTC`` of an RFC 3339 time; the browser turns it into local and relative words."""
    return f"{at[:10]} {at[11:19]} UTC" if at else "–"


def percent(fraction: float | None) -> int:
    """0 to 100."""
    return max(0, min(100, round(100 * (fraction or 0))))


def hue(name: str | None) -> int:
    """One of six colours for a name's initials, always the same."""
    return int(hashlib.sha256((name or "").encode()).hexdigest()[:4], 16) % 6
