"""Every error Pulser raises on purpose, by who must act.

::

    PulserError
    ├── CallerError            the request is at fault; mend it and send it again
    │   ├── BadInput           422  a value is wrong
    │   │   ├── UnknownName    422  a type, agent, action or tool that does not exist
    │   │   └── CredentialInPayload 422
    │   ├── Malformed          400  not JSON, not UTF-8, nested too deep
    │   ├── NotSignedIn        401
    │   ├── Forbidden          403
    │   ├── NotFound           404
    │   ├── Conflict           409
    │   │   ├── IllegalMove    409  this stage does not lead there
    │   │   └── KeyInUse       409  an Idempotency-Key whose first request still runs
    │   ├── Gone               410  a cursor that was pruned
    │   ├── Precondition       412
    │   └── TooLarge           413
    ├── LeaseLost              409  the work belongs to somebody else now; stop
    ├── WorkFailed             the work itself failed
    │   ├── Permanent          trying again will not help
    │   └── Transient          trying again may help
    │       └── TimedOut
    ├── OperatorError          settings, migrations or the machine are at fault
    └── Unavailable            503  a back end is down, full or in maintenance; try again

Each class has a stable ``code``; the HTTP door turns it into a problem (RFC 9457) with ``type`` ``/problems/<code>``.
"""

from __future__ import annotations

from typing import Any


class PulserError(Exception):
    """Base of the tree. ``hint`` says how to mend it; ``fields`` are extra members of the problem document."""

    code = "error"
    status = 500
    title = "Something went wrong"

    def __init__(self, detail: str, *, hint: str = "", **fields: Any) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.detail, self.hint, self.fields))


def _rebuild(kind: type[PulserError], detail: str, hint: str, fields: dict[str, Any]) -> PulserError:
    return kind(detail, hint=hint, **fields)


class CallerError(PulserError):
    code, status, title = "bad-request", 400, "The request cannot be served as it is"


class BadInput(CallerError):
    """A value is wrong. ``errors`` (in fields) is a list of ``{"pointer": "/payload/x", "detail": "..."}``."""

    code, status, title = "bad-input", 422, "A value is not acceptable"


class UnknownName(BadInput):
    code, title = "unknown-name", "There is nothing of that name"


class CredentialInPayload(BadInput):
    code, title = "credential-in-payload", "A payload must not carry a credential"


class Malformed(CallerError):
    code, status, title = "malformed", 400, "The body cannot be read"


class NotSignedIn(CallerError):
    code, status, title = "not-signed-in", 401, "Sign in first"


class Forbidden(CallerError):
    code, status, title = "forbidden", 403, "Not allowed"


class NotFound(CallerError):
    code, status, title = "not-found", 404, "Not found"


class Conflict(CallerError):
    code, status, title = "conflict", 409, "The state does not allow this"


class IllegalMove(Conflict):
    code, title = "illegal-move", "That move is not allowed from here"


class KeyInUse(Conflict):
    code, title = "key-in-use", "The first request with this key is still running"


class Gone(CallerError):
    code, status, title = "gone", 410, "No longer there"


class Precondition(CallerError):
    code, status, title = "precondition-failed", 412, "It has changed meanwhile"


class TooLarge(CallerError):
    code, status, title = "too-large", 413, "Too large"


class LeaseLost(PulserError):
    code, status, title = "lease-lost", 409, "The lease is held by somebody else now"


class WorkFailed(PulserError):
    """The work itself failed. ``retry`` tells whether trying again may help."""

    code, status, title = "work-failed", 500, "The work failed"
    retry = False


class Permanent(WorkFailed):
    code = "permanent"


class Transient(WorkFailed):
    code = "transient"
    retry = True


class TimedOut(Transient):
    code, title = "timed-out", "The time limit passed"


class OperatorError(PulserError):
    code, status, title = "operator-error", 500, "Pulser is not set up for this"


class Unavailable(PulserError):
    """A back end is down or full. ``retry_after_s`` (in fields) is sent as ``Retry-After``."""

    code, status, title = "unavailable", 503, "Not available right now"


def nearest(name: str, known: list[str]) -> str:
    """A hint: the known names, nearest first if one is near."""
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.5)
    listed = ", ".join(sorted(known))
    return f"Did you mean {close[0]!r}? Known: {listed}." if close else f"Known: {listed}."
