"""Are these arguments acceptable: to the tool's schema, as JSON, and free of credentials. On the path of every submission, so fast first."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

import jsonschema_rs

from pulser.core.errors import BadInput, CredentialInPayload
from pulser.core.tool import Json, Tool
from pulser.tools.credentials import is_itself, is_secret_name, shape_of

DEPTH_LIMIT = 64
ERRORS_SHOWN = 50
_HUGE_EXPONENT = re.compile(rb"[0-9][eE]\+?[0-9]{3}")

_validators: dict[int, tuple[Json, Any]] = {}  # by id of the schema, which is kept so that the id stays its own


def check(tool: Tool | Json, args: Any, pointer: str = "/payload") -> None:
    """Raise :class:`BadInput` unless ``args`` satisfy the schema; its ``errors`` list every problem with a JSON pointer under ``pointer``."""
    schema = tool.arguments if isinstance(tool, Tool) else tool
    known = _validators.get(id(schema))
    if known is None:
        known = _validators[id(schema)] = (schema, jsonschema_rs.Draft202012Validator(schema))
    try:
        fine = known[1].is_valid(args)
    except (ValueError, UnicodeError):  # not JSON at all: say where
        check_json(args, pointer)
        raise BadInput("the arguments are not JSON", errors=[{"pointer": pointer, "detail": "is not JSON"}]) from None
    if not fine:
        _refuse(schema, known[1], args, pointer)


def with_defaults(tool: Tool, args: Json) -> Json:
    """``args`` with the defaults of the schema's own properties filled in."""
    properties = tool.arguments.get("properties", {})
    missing = {name: spec["default"] for name, spec in properties.items() if isinstance(spec, dict) and "default" in spec and name not in args}
    return {**args, **missing} if missing else args


def check_json(value: Any, pointer: str = "", raw: bytes | None = None) -> None:
    """Refuse what is JSON to a parser but poison to a store: NUL, lone surrogates, NaN and Infinity, nesting beyond 64 levels.

    ``raw`` is the text ``value`` was parsed from, if at hand: clean text spares the walk.
    """
    if raw is not None and _plain(raw):
        return
    problems = [{"pointer": where or "/", "detail": detail} for where, detail in _poison(value, pointer)]
    if problems:
        _raise(problems, "the value is not JSON that can be kept")


def refuse_credentials(value: Any, pointer: str = "/payload") -> None:
    """Raise :class:`CredentialInPayload` if anything in ``value`` looks like a secret; what was found is named, never shown."""
    if not _suspicious(value):
        return
    errors = [{"pointer": where or "/", "detail": why} for where, name, text in _texts(value, pointer) if (why := _why_secret(name, text))]
    if errors:
        raise CredentialInPayload(
            f"{errors[0]['pointer']} {errors[0]['detail']}",
            hint="Payloads are kept and shown. Name a load target or a connection from the settings instead.",
            errors=errors[:ERRORS_SHOWN],
        )


def _suspicious(value: Any) -> bool:
    """A quick look without pointers; True if a second one is due."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if shape_of(item):
                return True
        elif isinstance(item, Mapping):
            for name, inner in item.items():
                if (inner and is_secret_name(name) and isinstance(inner, (str, list))) or shape_of(name):
                    return True
                if isinstance(inner, (str, Mapping, list)):
                    waiting.append(inner)
        elif isinstance(item, list):
            waiting.extend(item)
    return False


def _why_secret(name: str, text: str) -> str:
    if name and is_secret_name(name) and is_itself(text):
        return f"is a text under the name {name[:60]!r}"
    what = shape_of(text)
    return f"contains what looks like {what}" if what else ""


def _plain(raw: bytes) -> bool:
    """True if nothing in the text could be poison. Escapes, odd numbers and deep nesting get the walk."""
    if b"\\u" in raw or b"NaN" in raw or b"Infinity" in raw or b"\0" in raw:
        return False
    if raw.count(b"{") + raw.count(b"[") > DEPTH_LIMIT:
        return False
    return not (b"e" in raw or b"E" in raw) or not _HUGE_EXPONENT.search(raw)


def _poison(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    waiting: list[tuple[str, Any, int]] = [(pointer, value, 1)]
    while waiting:
        where, item, depth = waiting.pop()
        if isinstance(item, str):
            if bad := _bad_text(item):
                yield where, bad
        elif isinstance(item, float):
            if not math.isfinite(item):
                yield where, "is not a finite number"
        elif isinstance(item, (dict, list)):
            if depth > DEPTH_LIMIT:
                yield where[:200], f"is nested deeper than {DEPTH_LIMIT} levels"
                return
            if isinstance(item, dict):
                for key, inner in item.items():
                    if bad := _bad_text(key):
                        yield where, f"has a key that {bad}"
                    waiting.append((_join(where, key), inner, depth + 1))
            else:
                waiting.extend((f"{where}/{n}", inner, depth + 1) for n, inner in enumerate(item))


def _bad_text(text: str) -> str:
    if "\0" in text:
        return "contains a NUL character"
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            return "contains half of a surrogate pair"
    return ""


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str, str]]:
    """Every text in ``value``: pointer, the key it stands under (that of the list, in a list), the text. Keys are texts too."""
    waiting: list[tuple[str, str, Any]] = [(pointer, "", value)]
    while waiting:
        where, key, item = waiting.pop()
        if isinstance(item, str):
            yield where, key, item
        elif isinstance(item, Mapping):
            for name, inner in item.items():
                yield where, "", str(name)
                waiting.append((_join(where, str(name)), str(name), inner))
        elif isinstance(item, (list, tuple)):
            waiting.extend((f"{where}/{n}", key, inner) for n, inner in enumerate(item))


def _join(pointer: str, key: str) -> str:
    """RFC 6901."""
    name = key.encode("utf-8", "replace").decode().replace("~", "~0").replace("/", "~1").replace("\0", "�")
    return f"{pointer}/{name}"


def _refuse(schema: Json, validator: Any, args: Any, pointer: str) -> NoReturn:
    problems: list[dict[str, str]] = []
    for error in validator.iter_errors(args):
        where = pointer
        for part in error.instance_path:
            where = _join(where, str(part))
        problems.extend(_said(schema, error, where, args))
        if len(problems) >= ERRORS_SHOWN:
            break
    _raise(problems, "the arguments are not acceptable")


def _said(schema: Json, error: Any, where: str, args: Any) -> Iterator[dict[str, str]]:
    kind = error.kind
    if hasattr(kind, "unexpected"):
        known = _properties(schema, list(error.schema_path)[:-1])
        for name in kind.unexpected:
            yield {"pointer": _join(where, str(name)), "detail": "is not known here." + _did_you_mean(str(name), known)}
    elif hasattr(kind, "property"):
        yield {"pointer": _join(where, str(kind.property)), "detail": "is missing"}
    else:
        yield {"pointer": where, "detail": str(error.message)[:400]}


def _properties(schema: Any, path: list[Any]) -> list[str]:
    """The properties known where ``additionalProperties`` refused something."""
    for part in path:
        try:
            schema = schema[part]
        except (KeyError, IndexError, TypeError):
            return []
    return list(schema.get("properties", {})) if isinstance(schema, dict) else []


def _did_you_mean(name: str, known: list[str]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else (f" Known: {', '.join(sorted(known))}." if known else "")


def _raise(problems: list[dict[str, str]], summary: str) -> NoReturn:
    first = problems[0] if problems else {"pointer": "/", "detail": "is not acceptable"}
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    raise BadInput(f"{summary}: {first['pointer']} {first['detail']}{more}", hint="See errors for each place.", errors=problems[:ERRORS_SHOWN])
