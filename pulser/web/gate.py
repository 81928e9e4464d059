"""The gate every HTTP request passes once: its host and origin, how its body is framed and how long it may be, who calls, what is logged.

A plain ASGI callable: it costs a few microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import Counter, Histogram

from pulser.core import errors
from pulser.core.clock import monotonic
from pulser.core.ids import ulid
from pulser.core.settings import Server
from pulser.observe import logs
from pulser.web import problems
from pulser.web.caller import Callers, session_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logs.get("http")
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1", "[::1]"})
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# What proxies add. Behind one, whoever asks is not on this machine, whatever the address says.
_PROXIED = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-server", b"x-real-ip"}
)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}\Z")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
]

REQUESTS = Counter("pulser_http_requests_total", "HTTP requests by method and status", ["method", "status"])
SECONDS = Histogram("pulser_http_request_seconds", "Seconds until the answer began", buckets=(0.001, 0.005, 0.02, 0.05, 0.2, 1, 5))


class Gate:
    """Wraps the application. ``open_reads``: on loopback, who asks it by a name of loopback and through no proxy may read without sign-in."""

    def __init__(self, app: App, callers: Callers, server: Server, *, open_reads: bool) -> None:
        self._app, self._callers, self._server, self._open = app, callers, server, open_reads
        own = {server.host, f"[{server.host}]"} if server.host not in ("0.0.0.0", "::") else set()  # noqa: S104 - compared, not bound
        self._hosts = LOOPBACK | set(server.allowed_hosts) | own
        self._any_host = not open_reads and not server.allowed_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = monotonic()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        named = headers.get(b"x-request-id", b"")
        request_id = named.decode() if _REQUEST_ID.match(named) else "req_" + ulid(int(began * 1000))
        scope["pulser.request_id"] = request_id
        tail = [*_HEADERS, (b"x-request-id", request_id.encode())]
        method, path = scope["method"], scope["path"]
        api = path.startswith("/api/")

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = message.get("headers", ())
                message["headers"] = [*given, *tail]
                if api and b"cache-control" not in dict(given):
                    message["headers"].append((b"cache-control", b"no-store"))
                status = message["status"]
                REQUESTS.labels(method if method in _METHODS else "other", status).inc()
                SECONDS.observe(monotonic() - began)
                if status >= 500 or (status >= 400 and api):
                    log.info("answered", method=method, path=path, status=status, request_id=request_id, ms=round((monotonic() - began) * 1000, 2))
            await send(message)

        try:
            same_origin, local = self._check(method, headers)
            scope["pulser.open"] = self._open and local and _PROXIED.isdisjoint(headers)
            cookies = headers.get(b"cookie")
            session = session_of(scope, cookies.decode("latin-1")) if cookies else ""
            scope["pulser.actor"] = await self._callers.of(headers.get(b"authorization", b"").decode("latin-1"), session, same_origin=same_origin)
            limit = self._server.upload_limit_bytes if path == "/api/v1/files" else self._server.body_limit_bytes
            length = headers.get(b"content-length", b"0")
            if not length.isdigit() or len(length) > 18:
                raise errors.Malformed("Content-Length is not a number")
            if int(length) > limit:
                raise _too_large(limit)
        except errors.PulserError as error:
            await problems.response(error, request_id)(scope, receive, answer)
            return
        if b"content-length" in headers or method in SAFE:
            await self._app(scope, receive, answer)
            return
        await self._app(scope, _limited(receive, limit), answer)

    def _check(self, method: str, headers: dict[bytes, bytes]) -> tuple[bool, bool]:
        """Refuse what should not be read at all; returns whether a browser's cookie may be believed, and whether the host is a name of loopback."""
        if b"transfer-encoding" in headers and b"content-length" in headers:
            raise errors.Malformed("both Content-Length and Transfer-Encoding", hint="Send one of them: two readers would disagree where the request ends.")
        host = headers.get(b"host", b"").decode("latin-1")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name not in self._hosts and not self._any_host:
            raise errors.Forbidden(f"the host {name[:100]!r} is not served here", hint="Add it to PULSER_ALLOWED_HOSTS if it should be.")
        origin = headers.get(b"origin", b"").decode("latin-1")
        site = headers.get(b"sec-fetch-site", b"same-origin")
        ours = (not origin or urlsplit(origin).netloc == host) and site in (b"same-origin", b"none")
        if method not in SAFE and not ours and origin not in self._server.cors_origins:
            raise errors.Forbidden("a page of another origin asked for this", hint="Add the origin to PULSER_CORS_ORIGINS if it should be allowed.")
        return ours, name in LOOPBACK


_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PATCH", "PUT", "DELETE"})


def _too_large(limit: int) -> errors.TooLarge:
    return errors.TooLarge(
        f"the body is larger than {limit} bytes", hint="Upload large data with POST /api/v1/files and name it in the payload.", limit_bytes=limit
    )


def _limited(receive: Receive, limit: int) -> Receive:
    """For bodies of unsaid length: count as they come."""
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return counted
