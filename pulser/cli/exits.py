"""What the exit codes mean, and which error ends with which."""

from __future__ import annotations

from collections.abc import Iterator

from pulser.core import errors

OK, FAILED, USAGE, NOT_FOUND, NOT_ALLOWED, CONFLICT, UNAVAILABLE, OPERATOR, INTERRUPTED = 0, 1, 2, 3, 4, 5, 6, 7, 130

MEANING: dict[int, str] = {
    OK: "done",
    FAILED: "the work failed: a task failed or was cancelled, or its verdict is negative",
    USAGE: "wrong usage, or a value that is not acceptable",
    NOT_FOUND: "not found",
    NOT_ALLOWED: "not signed in, or not allowed",
    CONFLICT: "the state does not allow it",
    UNAVAILABLE: "the server cannot be reached, is busy, or did not finish in time",
    OPERATOR: "settings, migrations or the machine need the operator",
    INTERRUPTED: "interrupted",
}

# The first that fits; the tree stands in core/errors.py.
_BY_ERROR: tuple[tuple[type[errors.PulserError], int], ...] = (
    (errors.NotSignedIn, NOT_ALLOWED),
    (errors.Forbidden, NOT_ALLOWED),
    (errors.NotFound, NOT_FOUND),
    (errors.Gone, NOT_FOUND),
    (errors.Conflict, CONFLICT),
    (errors.Precondition, CONFLICT),
    (errors.LeaseLost, CONFLICT),
    (errors.CallerError, USAGE),
    (errors.Unavailable, UNAVAILABLE),
    (errors.OperatorError, OPERATOR),
    (errors.PulserError, FAILED),
)


def code_of(error: errors.PulserError) -> int:
    """The exit code for ``error``."""
    return next(code for kind, code in _BY_ERROR if isinstance(error, kind))


def message(error: errors.PulserError) -> Iterator[str]:
    """Lines for standard error: what is wrong, where, and how to mend it."""
    yield f"pulser: {error.detail}"
    places = error.fields.get("errors")
    for place in places if isinstance(places, list) else []:
        if isinstance(place, dict) and place.get("detail") and str(place["detail"]) not in error.detail:
            yield f"  {place.get('pointer', '')}: {place['detail']}"
    yield from (f"  {line}" for line in error.hint.splitlines())
