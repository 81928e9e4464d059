"""Failures in log files: plain lines, lines of JSON, and Python tracebacks as one failure each."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput
from pulser.tools.builtin.folder import check_exists, list_folder
from pulser.tools.builtin.skills.failure import Failure, moment

SIZE_LIMIT_BYTES = 256 * 1024 * 1024
LINE_LIMIT = 16_384
_SUFFIXES = (".log", ".jsonl", ".ndjson", ".out", ".err")
_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)\]?\s*[-|:]?\s*")
_LEVEL = re.compile(r"\b(ERROR|CRITICAL|FATAL|SEVERE|PANIC|EMERG|ALERT)\b")
_HARMLESS = re.compile(r"^\W{0,3}(DEBUG|INFO|NOTICE|WARN(ING)?|TRACE)\b")
_EXCEPTION = re.compile(r"^[\w.]*(?:Error|Exception|Warning|Interrupt|Exit|Timeout|Failure|Expired|NotFound|Refused)\b(?::|$)")
_PREFIX = re.compile(r"^[\s\[\]|:-]*(?:ERROR|CRITICAL|FATAL|SEVERE|PANIC|EMERG|ALERT)[\s\]|:-]+")
_FRAME = re.compile(r'^\s+File "([^"]+)", line (\d+), in (\S+)')
_LIBRARY = re.compile(r"/lib/python\d|/site-packages/|<frozen ")
_BAD_LEVELS = {"error", "critical", "fatal", "severe", "panic", "alert", "emergency", "exception"}


def files_of(paths: Iterable[str]) -> list[Path]:
    """The files themselves, and the logs in folders; :class:`BadInput` if one is not there or all are too large together."""
    found: list[Path] = []
    for text in paths:
        path = Path(text)
        check_exists(path)
        found += [path / name for name in list_folder(path, _SUFFIXES).files] if path.is_dir() else [path]
    total = sum(path.stat().st_size for path in found)
    if total > SIZE_LIMIT_BYTES:
        raise BadInput(f"the logs have {total:,} bytes, more than {SIZE_LIMIT_BYTES:,}", hint="Name fewer or shorter files.")
    return found


def failures_in(path: Path) -> Iterator[Failure]:
    """Failures of one log file, in its order. Bytes that are not UTF-8 are shown as �."""
    with path.open("rb") as file:
        if b"\0" in file.read(8192):
            raise BadInput(f"{path.name} is not a text file: it holds a NUL byte", hint="Name a log file that is text, not compressed.")
        file.seek(0)
        yield from _read((line.decode("utf-8", "replace").rstrip("\r\n") for line in _lines(file)), path.name)


def _lines(file: Any) -> Iterator[bytes]:
    """Lines, each cut at a limit; what follows the cut is dropped."""
    while line := file.readline(LINE_LIMIT):
        rest = line
        while rest and not rest.endswith(b"\n") and len(rest) == LINE_LIMIT:
            rest = file.readline(LINE_LIMIT)
        yield line


def _read(lines: Iterator[str], source: str) -> Iterator[Failure]:
    pending = next(lines, None)
    held: Failure | None = None  # a line that a traceback may follow: the two are one failure
    at: str | None = None
    while pending is not None:
        line, pending = pending, None
        seen = _TIME.match(line)
        at = moment(seen[1]) if seen else at
        if "Traceback (most recent call last)" in line:
            message, frame, pending = _traceback(lines)
            if message:
                held = Failure(message, at=at, source=source, code=_class_of(message), frame=frame)
        else:
            if held is not None:
                yield held
            held = _of_json(line, source) if line.lstrip().startswith("{") else _of_line(line[seen.end() :] if seen else line, at, source)
        if pending is None:
            pending = next(lines, None)
    if held is not None:
        yield held


def _class_of(message: str) -> str:
    """``JSONDecodeError`` of ``json.decoder.JSONDecodeError: …``."""
    return message.partition(":")[0].rpartition(".")[2][:80]


def _of_line(text: str, at: str | None, source: str) -> Failure | None:
    if _HARMLESS.match(text):
        return None
    if _EXCEPTION.match(text):
        return Failure(text, at=at, source=source, code=_class_of(text))
    level = _LEVEL.search(text[:200])
    return Failure(_PREFIX.sub("", text), at=at, source=source) if level else None


def _traceback(lines: Iterator[str]) -> tuple[str, str, str | None]:
    """The exception's line, the innermost frame (of one's own code, if there is any), and the line after if it was read too far."""
    own = any_frame = ""
    for line in lines:
        if found := _FRAME.match(line):
            any_frame = f"{Path(found[1]).name}, in {found[3]}"
            own = own if _LIBRARY.search(found[1]) else any_frame
        elif _TIME.match(line):
            return "", own or any_frame, line
        elif line and not line[0].isspace():
            return line[:2000], own or any_frame, None
        elif not line:
            return "", own or any_frame, None
    return "", own or any_frame, None


def _of_json(line: str, source: str) -> Failure | None:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict):
        return None
    level = str(entry.get("level") or entry.get("levelname") or entry.get("severity") or entry.get("log_level") or "").lower()
    error = entry.get("error") or entry.get("exception") or entry.get("exc_info")
    if level not in _BAD_LEVELS and not (level == "" and error):
        return None
    inner = error if isinstance(error, dict) else {}
    message = inner.get("detail") or inner.get("message") or entry.get("message") or entry.get("msg") or entry.get("event") or error
    if isinstance(error, str) and error.strip() and message is not error:
        message = f"{message}: {error.strip().splitlines()[-1]}"
    at = entry.get("timestamp") or entry.get("time") or entry.get("ts") or entry.get("at") or entry.get("@timestamp")
    return Failure(
        _text(message, 4000),
        at=moment(at),
        source=source,
        code=_text(inner.get("code") or inner.get("type") or entry.get("code")),
        agent=_text(entry.get("agent")),
        task_type=_text(entry.get("task_type")),
        task_id=_text(entry.get("task_id")),
    )


def _text(value: Any, limit: int = 80) -> str:
    """The beginning of ``value`` as text that can be written: JSON may hold halves of surrogate pairs."""
    return str(value or "")[:limit].encode("utf-8", "replace").decode()
