"""JSON arrays and NDJSON as records. Numbers keep the digits they were written with; nested values stay JSON text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pulser.tools.builtin.data.recognise import Recognised, at

RECORD_LIMIT = 4 << 20
"""Characters of one record."""


class Written(str):
    """A number as it was written: 1.10 stays 1.10, and no digit of a long one is lost."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_float=Written, parse_int=Written, parse_constant=Written)


def json_objects(source: Recognised) -> Iterator[tuple[int, dict[str, Any], str]]:
    """``(line, object, original)`` of an array of objects, of one object, or of one object per line."""
    with source.path.open(encoding=source.encoding, newline="") as file:
        start = file.read(4096).lstrip("\ufeff \t\r\n")[:1]
    if start == "[":
        yield from _array(source)
    elif start == "{":
        yield from _lines_or_one(source)
    else:
        raise at(
            "/path", f"{source.path.name} is not JSON data: it begins with {start!r}, not with [ or {{", "Give an array of objects, or one object per line."
        )


def _array(source: Recognised) -> Iterator[tuple[int, dict[str, Any], str]]:
    whole = source.path.read_text(encoding=source.encoding)
    position = whole.index("[") + 1
    line, counted = 1, 0
    first = True
    while True:
        position = _skip(whole, position)
        if first and whole[position : position + 1] == "]":
            return
        if not first:
            if whole[position : position + 1] == "]":
                if _skip(whole, position + 1) != len(whole):
                    raise _bad(source, whole, position + 1, "text after the end of the array")
                return
            if whole[position : position + 1] != ",":
                raise _bad(source, whole, position, "expected , or ]")
            position = _skip(whole, position + 1)
        try:
            value, end = _DECODER.raw_decode(whole, position)
        except json.JSONDecodeError as error:
            raise _bad(source, whole, error.pos, error.msg) from error
        except RecursionError as error:
            raise _bad(source, whole, position, "nested too deep") from error
        line += whole.count("\n", counted, position)
        counted = position
        yield line, _object(source, value, line), whole[position:end]
        position, first = end, False


def _lines_or_one(source: Recognised) -> Iterator[tuple[int, dict[str, Any], str]]:
    with source.path.open(encoding=source.encoding, newline="") as file:
        for number, line in enumerate(file, 1):
            original = line.strip("\ufeff \t\r\n")
            if not original:
                continue
            try:
                value = _DECODER.decode(original)
            except RecursionError as error:
                raise at("/path", f"{source.path.name}: line {number:,} is nested too deep") from error
            except json.JSONDecodeError as error:
                if number == 1 or not _seen_whole(source):
                    yield from _one(source, number, error)
                    return
                raise at(
                    "/path", f"{source.path.name}: line {number:,}, column {error.colno} is not JSON: {error.msg}", "Each line holds one JSON object."
                ) from error
            yield number, _object(source, value, number), original


def _seen_whole(source: Recognised) -> bool:
    """Whether the first line with text is a whole object, so that the file is NDJSON."""
    with source.path.open(encoding=source.encoding, newline="") as file:
        first = next((line for line in file if line.strip("\ufeff \t\r\n")), "")
    try:
        _DECODER.decode(first.strip("\ufeff \t\r\n"))
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _one(source: Recognised, number: int, error: json.JSONDecodeError) -> Iterator[tuple[int, dict[str, Any], str]]:
    whole = source.path.read_text(encoding=source.encoding).strip("\ufeff \t\r\n")
    try:
        value = _DECODER.decode(whole)
    except RecursionError as deep:
        raise at("/path", f"{source.path.name} is nested too deep") from deep
    except json.JSONDecodeError as second:
        raise at("/path", f"{source.path.name}: line {second.lineno:,}, column {second.colno} is not JSON: {second.msg}") from error
    yield number, _object(source, value, number), whole


def _object(source: Recognised, value: Any, line: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        kind = {list: "an array", str: "text", bool: "true or false", Written: "a number", type(None): "null"}.get(type(value), "something else")
        raise at("/path", f"{source.path.name}: line {line:,} holds {kind} where an object is expected", 'Records look like {"column": value}.')
    return value


def _skip(whole: str, position: int) -> int:
    while position < len(whole) and whole[position] in " \t\r\n":
        position += 1
    return position


def _bad(source: Recognised, whole: str, position: int, why: str) -> Exception:
    line = whole.count("\n", 0, position) + 1
    column = position - (whole.rfind("\n", 0, position) + 1) + 1
    return at("/path", f"{source.path.name}: line {line:,}, column {column} is not JSON: {why}")


def cell(value: Any) -> tuple[str | None, str]:
    """The text of one value and its kind: ``n`` number, ``b`` boolean, ``s`` string, ``o`` nested, empty for null."""
    if value is None:
        return None, ""
    if isinstance(value, Written):
        return str(value), "n"
    if value is True or value is False:
        return ("true" if value else "false"), "b"
    if isinstance(value, str):
        return value, "s"
    return _encoded(value), "o"


def _encoded(value: Any) -> str:
    """Nested values back as JSON, numbers with their own digits."""
    if isinstance(value, Written):
        return str(value) if str(value) not in ("NaN", "Infinity", "-Infinity") else "null"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key, ensure_ascii=False)}: {_encoded(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_encoded(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)
