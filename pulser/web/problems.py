"""Errors as problem documents (RFC 9457), from one tree, for every door that speaks HTTP."""

from __future__ import annotations

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


def install(app: FastAPI) -> None:
    """Answer every error of ``app`` with a problem."""

    async def ours(request: Request, error: Exception) -> Response:
        if not isinstance(error, errors.PulserError):
            raise error
        if error.status >= 500 and not isinstance(error, errors.Unavailable):
            log.error("request failed", error=error.detail, code=error.code, path=request.url.path)
        return response(error, request.scope.get("pulser.request_id"))

    async def invalid(request: Request, error: Exception) -> Response:
        found = error.errors() if isinstance(error, RequestValidationError) else []
        if any(each["type"] == "json_invalid" for each in found):
            return response(errors.Malformed("the body is not JSON", hint=_JSON), request.scope.get("pulser.request_id"))
        listed = [{"pointer": "/" + "/".join(str(part) for part in each["loc"][1:]), "detail": each["msg"], "in": str(each["loc"][0])} for each in found]
        detail = f"{listed[0]['in']} {listed[0]['pointer']}: {listed[0]['detail']}" if listed else "a value is not acceptable"
        return response(errors.BadInput(detail, errors=listed), request.scope.get("pulser.request_id"))

    async def plain(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        if status == 400:  # what Starlette and FastAPI cannot read: not UTF-8, nested too deep, a form that is cut off
            return response(
                errors.Malformed(str(getattr(error, "detail", "")) or "the request cannot be read", hint=_JSON), request.scope.get("pulser.request_id")
            )
        code, title = _TITLES.get(status, ("http-error", "The request failed"))
        detail = f"{request.method} {request.url.path}: {title.lower()}" if status in _TITLES else str(getattr(error, "detail", title))
        made = errors.CallerError(detail, hint="See /docs for what there is." if status in _TITLES else "")
        made.code, made.status, made.title = code, status, title
        headers = getattr(error, "headers", None) or {}
        answer = response(made, request.scope.get("pulser.request_id"))
        answer.headers.update(headers)
        return answer

    async def unexpected(request: Request, error: Exception) -> Response:
        log.exception("unexpected error", path=request.url.path)
        made = errors.PulserError("an unexpected error; it was logged under the request id", hint="Please report it with the request id.")
        return response(made, request.scope.get("pulser.request_id"))

    app.add_exception_handler(errors.PulserError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, plain)
    app.add_exception_handler(Exception, unexpected)
