"""Structured logs: one JSON object a line, or a readable line on a terminal; each with the request, task and company it is about.

::

    log = logs.get("worker")
    with logs.about(task_id=task.task_id, company_id=task.company_id):
        log.info("task_claimed", attempt=1)

Everything that is logged in this process goes through here, also what libraries log (uvicorn must be started with ``log_config=None``),
and is redacted on its way out, exceptions included. It is the standard library's logging: structlog costs 0.2 s to import.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Any

from pulser.observe.redact import redact, redact_text

LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_TALKATIVE = ("alembic", "asyncio", "httpcore", "httpx2", "multipart", "sqlglot", "urllib3", "watchfiles")  # told from warning upward
_COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31;1"}

_about: ContextVar[Mapping[str, Any]] = ContextVar("pulser_log_about", default={})  # noqa: B039 - never changed in place


class Log:
    """A logger whose messages say what happened, in few fixed words, with what varies in fields beside it."""

    __slots__ = ("_logger",)

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, /, **fields: Any) -> None:
        """For the one who mends Pulser."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, /, **fields: Any) -> None:
        """Something happened as it should."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, /, **fields: Any) -> None:
        """Something is odd, and Pulser goes on."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, /, **fields: Any) -> None:
        """Something failed that a person should look at."""
        self._log(logging.ERROR, event, fields)

    def exception(self, event: str, /, **fields: Any) -> None:
        """The same, with the exception that is being handled."""
        self._log(logging.ERROR, event, fields, with_exception=True)

    def _log(self, level: int, event: str, fields: dict[str, Any], with_exception: bool = False) -> None:
        if self._logger.isEnabledFor(level):
            self._logger.log(level, "%s", event, extra={"fields": fields}, exc_info=with_exception)


def get(name: str) -> Log:
    """The logger of a room, such as ``worker``."""
    return Log(logging.getLogger(f"pulser.{name}"))


@contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Within, every record of this task or thread carries these fields too: ``request_id``, ``task_id``, ``company_id``."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def current() -> Mapping[str, Any]:
    """The fields of :func:`about` that hold here."""
    return _about.get()


def configure(level: str = "info", fmt: str = "auto", stream: IO[str] | None = None) -> None:
    """Send every record of this process to ``stream`` (standard error). ``fmt``: ``json``, ``console``, or ``auto``: console on a terminal.

    May be called again; call it after libraries that set up logging themselves.
    """
    stream = stream or sys.stderr
    terminal = stream.isatty()
    readable = fmt == "console" or (fmt == "auto" and terminal)
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_Console(colours=terminal) if readable else _Json())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(LEVELS[level])
    for name in [*logging.root.manager.loggerDict]:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(LEVELS[level], logging.WARNING))
    logging.captureWarnings(True)


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    """The record as fields, redacted. The time is the record's own: when it was told, not when it was written."""
    facts: dict[str, Any] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name.removeprefix("pulser."),
        "event": redact_text(record.getMessage()),
    }
    told = {**_about.get(), **getattr(record, "fields", {})}
    for name, value in redact(told).items():
        facts[f"{name}_" if name in facts else name] = value
    if record.exc_info and record.exc_info[0] is not None:
        facts["exception"] = redact_text(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        facts["stack"] = redact_text(record.stack_info)
    return facts


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        try:
            return json.dumps(_facts(record), ensure_ascii=False, default=str)
        except Exception as error:  # a record that cannot be told must neither stop the work nor be told unredacted
            return json.dumps({"level": "error", "logger": record.name, "event": "record_untellable", "error": type(error).__name__})


class _Console(logging.Formatter):
    def __init__(self, colours: bool) -> None:
        super().__init__()
        self._colours = colours

    def format(self, record: logging.LogRecord) -> str:
        try:
            facts = _facts(record)
        except Exception as error:  # as above
            return f"record_untellable {type(error).__name__}"
        at, level, name, event = (str(facts.pop(key)) for key in ("ts", "level", "logger", "event"))
        traces = "".join("\n" + _plain(facts.pop(key), lines=True) for key in ("exception", "stack") if key in facts)
        fields = "  ".join(
            f"{key}={_plain(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str))}" for key, value in facts.items()
        )
        level = f"\x1b[{_COLOURS.get(level, '0')}m{level:<7}\x1b[0m" if self._colours else f"{level:<7}"
        return f"{at[11:23]} {level} {_plain(name):<10} {_plain(event)}  {fields}".rstrip() + traces


def _plain(text: str, lines: bool = False) -> str:
    """Without control characters: nobody's input may move a terminal's cursor or begin a new line of the log."""
    return "".join(c if c.isprintable() or (lines and c in "\n\t") else c.encode("unicode_escape").decode() for c in text)
