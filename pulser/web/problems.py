"""Errors as problem documents (RFC 9457), from one tree, for every door that speaks HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from pulser.core import errors
from pulser.observe import logs

log = logs.get("web")
MEDIA_TYPE = "application/problem+json"
_JSON = "Send UTF-8 encoded JSON, not nested deeper than 64 levels."
_TITLES = {404: ("not-found", "Not found"), 405: ("method-not-allowed", "That method is not for this address")}


def document(error: errors.PulserError, request_id: str | None) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Status, body and headers of the problem."""
    body: dict[str, Any] = {"type": f"/problems/{error.code}", "title": error.title, "status": error.status, "detail": error.detail}
    if error.hint:
        body["hint"] = error.hint
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["Retry-After"] = str(int(error.fields.get("retry_after_s", 2)))
    if isinstance(error, errors.NotSignedIn):
        headers["WWW-Authenticate"] = "Bearer"
    body |= {key: value for key, value in error.fields.items() if key not in body and key not in ("retry_after_s", "result", "artifacts", "log")}
    if request_id:
        body["request_id"] = request_id
    return error.status, body, headers


def response(error: errors.PulserError, request_id: str | None = None) -> Response:
    """The problem as a response."""
    status, body, headers = document(error, request_id)
    return Response(msgspec.json.encode(body), status_code=status, media_type=MEDIA_TYPE, headers=headers)


Page = Callable[[Request, errors.PulserError], Response]


def install(app: FastAPI, page: Page | None = None) -> None:
    """Answer every error of ``app`` with a problem; a browser that looks at pages gets it as ``page``, if one is given."""

    def answer(request: Request, error: errors.PulserError) -> Response:
        if page is not None and _wants_page(request):
            try:
                shown = page(request, error)
                shown.headers.update(document(error, None)[2])
                return shown
            except Exception:  # what is wrong may be the pages themselves
                log.exception("the page of an error failed", path=request.url.path)
        return response(error, request.scope.get("pulser.request_id"))

    async def ours(request: Request, error: Exception) -> Response:
        if not isinstance(error, errors.PulserError):
            raise error
        if error.status >= 500 and not isinstance(error, errors.Unavailable):
            log.error("request failed", error=error.detail, code=error.code, path=request.url.path)
        return answer(request, error)

    async def invalid(request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        if any(each["type"] == "json_invalid" for each in found):
            return answer(request, errors.Malformed("the body is not JSON", hint=_JSON))
        listed = [{"pointer": "/" + "/".join(str(part) for part in each["loc"][1:]), "detail": each["msg"], "in": str(each["loc"][0])} for each in found]
        detail = f"{listed[0]['in']} {listed[0]['pointer']}: {listed[0]['detail']}" if listed else "a value is not acceptable"
        return answer(request, errors.BadInput(detail, errors=listed))

    async def plain(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 400:  # what Starlette and FastAPI cannot read: not UTF-8, nested too deep, a form that is cut off
            return answer(request, errors.Malformed(str(getattr(error, "detail", "")) or "the request cannot be read", hint=_JSON))
        code, title = _TITLES.get(status, ("http-error", "The request failed"))
        detail = f"{request.method} {request.url.path}: {title.lower()}" if status in _TITLES else str(getattr(error, "detail", title))
        made = errors.CallerError(detail, hint="See /docs for what there is." if status in _TITLES else "")
        made.code, made.status, made.title = code, status, title
        shown = answer(request, made)
        shown.headers.update(getattr(error, "headers", None) or {})
        return shown

    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("unexpected error", path=request.url.path)
        request_id = request.scope.get("pulser.request_id")
        return answer(request, errors.PulserError(f"an unexpected error; it was logged as {request_id}", hint="Please report it with the request id."))

    app.add_exception_handler(errors.PulserError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, unexpected)


def _wants_page(request: Request) -> bool:
    return request.method in ("GET", "HEAD") and not request.url.path.startswith("/api/") and "text/html" in request.headers.get("accept", "")


_MEANINGS = {
    "error": "Something went wrong that nobody foresaw. It was logged under the request id; please report it with that.",
    "bad-request": "The request cannot be served as it is.",
    "bad-input": "A value is not acceptable. `errors` names each place by a JSON pointer and says what is wrong there.",
    "unknown-name": "There is no agent, task type, action or the like of that name. `hint` lists the known ones, the nearest first.",
    "credential-in-payload": "A payload carried what looks like a password or key. It would be kept in the database: put it into the settings instead.",
    "malformed": "The body cannot be read: it is not UTF-8, not JSON, nested too deep, or its length is said in two ways.",
    "not-signed-in": "This needs an API key or the local token, or what was sent opens nothing: mistyped, expired, revoked or signed out.",
    "forbidden": "Whoever asks may not do this: the key's role or company does not allow it, or the host or origin is not one of ours.",
    "not-found": "There is no such thing in your company.",
    "conflict": "The present state does not allow this.",
    "illegal-move": "The task's stage does not lead there. `allowed` lists where it may go.",
    "key-in-use": "A request with this Idempotency-Key is still running. Ask again in a moment, with the same body.",
    "gone": "The events after this cursor were pruned, or it is from before the database was restored. Start again from the current state.",
    "precondition-failed": "It has changed since you read it. Read it again, then decide.",
    "too-large": "More bytes than may be sent here. Large data is uploaded as a file and named in the payload.",
    "lease-lost": "The work belongs to somebody else now: the lease ran out or was taken back. Stop; what you write is not taken.",
    "work-failed": "The work itself failed.",
    "permanent": "The work failed, and trying again will not help.",
    "transient": "The work failed, and trying again may help.",
    "timed-out": "The work took longer than its time limit.",
    "operator-error": "The settings, the migrations or the machine are at fault. Whoever runs Pulser can mend it.",
    "unavailable": "A back end is down or full, or maintenance is under way. Try again after the seconds that `Retry-After` says.",
    "method-not-allowed": "The address exists, but not for this method. `Allow` lists those it takes.",
    "http-error": "The request failed before it reached anything of ours.",
}


def meaning(code: str) -> dict[str, Any]:
    """What ``/problems/<code>`` stands for: ``type``, ``title``, ``status`` and, in words, ``meaning``; :class:`NotFound` if there is no such code."""
    known: dict[str, tuple[str, int]] = {name: (title, status) for status, (name, title) in _TITLES.items()} | {"http-error": ("The request failed", 500)}
    kinds: list[type[errors.PulserError]] = [errors.PulserError]
    while kinds:
        kind = kinds.pop()
        known.setdefault(kind.code, (kind.title, kind.status))
        kinds += [each for each in kind.__subclasses__() if each.__module__ == errors.__name__]
    if code not in known:
        raise errors.NotFound(f"there is no problem {code[:60]!r}", hint=f"Known: {', '.join(sorted(known))}.")
    title, status = known[code]
    return {"type": f"/problems/{code}", "title": title, "status": status, "meaning": _MEANINGS.get(code, title)}
