"""Settings from the environment: the one place that reads it.

Order, strongest first: what the command line says, the environment, the file ``.env`` (in the working directory, or where
``PULSER_ENV_FILE`` says), the default. Every problem is told at once, as one :class:`OperatorError`; a ``PULSER_…`` name that nothing
knows is one, so that a typing mistake cannot pass for a setting. What the settings are stands in :mod:`pulser.core.settings`.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pulser.core.errors import OperatorError
from pulser.core.settings import Settings

# Names the documents give to things that are not built yet: understood, and without effect.
RESERVED = {
    "REDIS_URL": "the queue's Redis, when there is scale-out over Celery",
    "SUPABASE_URL": "the Supabase project whose Postgres is used; set PULSER_DATABASE_URL instead",
    "CELERY_WORKERS": "the number of Celery workers",
    "WEBHOOK_SECRET": "the secret that signs incoming webhooks",
    "ALLOWED_COMMANDS": "commands the shell tool may run",
}
ENV_FILE = "PULSER_ENV_FILE"
FOR_TESTS = "PULSER_TEST_"  # read by the tests themselves

# What a type cannot say. Keys are Setting.key.
CHOICES: dict[str, tuple[str, ...]] = {
    "observe.log_level": ("debug", "info", "warning", "error"),
    "observe.log_format": ("auto", "json", "console"),
    "tools.sandbox": ("auto", "bwrap", "landlock", "off"),
}
AT_LEAST: dict[str, float] = {
    "server.body_limit_bytes": 1,
    "server.upload_limit_bytes": 1,
    "store.writers": 1,
    "store.readers": 1,
    "store.queue_limit": 1,
    "queue.payload_limit_bytes": 1,
    "queue.result_limit_bytes": 1,
    "queue.batch_limit": 1,
    "worker.concurrency": 1,
    "worker.lease_s": 0.05,
    "worker.renew_s": 0.01,
    "worker.sweep_s": 0.01,
}
AT_MOST: dict[str, float] = {"server.port": 65_535}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. ``key`` is ``worker.lease_s``, ``env`` its variable, ``also`` other names that are understood."""

    key: str
    env: str
    also: tuple[str, ...]
    kind: Any
    default: Any
    meaning: str
    secret: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, and where each came from: ``sources["worker.lease_s"]`` is ``default`` or, say, ``environment PULSER_WORKER_LEASE_S``."""

    settings: Settings
    sources: Mapping[str, str]
    reserved: tuple[str, ...] = ()  # names that were set and have no effect yet


@dataclass(frozen=True, slots=True)
class Row:
    """One line of ``pulser config``; secrets are masked."""

    name: str
    value: str
    default: str
    source: str
    meaning: str


@cache
def catalogue() -> tuple[Setting, ...]:
    """Every setting there is, in the order of the sections."""
    return tuple(_settings())


def _settings() -> Iterator[Setting]:
    sections = get_type_hints(Settings)
    for section in fields(Settings):
        kind = sections[section.name]
        hints = get_type_hints(kind)
        for each in fields(kind):
            meta = each.metadata
            yield Setting(
                key=f"{section.name}.{each.name}",
                env=meta["env"] or f"PULSER_{section.name}_{each.name}".upper(),
                also=tuple(meta["also"]),
                kind=hints[each.name],
                default=_default(each),
                meaning=meta["meaning"],
                secret=meta["secret"],
            )


def _default(each: Field[Any]) -> Any:
    return each.default_factory() if each.default_factory is not MISSING else each.default


def load(environ: Mapping[str, str] | None = None, overrides: Mapping[str, Any] | None = None, folder: Path | None = None) -> Loaded:
    """Settings as they hold now, or one :class:`OperatorError` that lists every problem.

    ``environ`` is the process's if it is not given. ``overrides`` come from the command line by key (``{"server.port": 9000}``);
    None means not given. ``.env`` is looked for in ``folder``: the working directory, or nowhere if ``environ`` was given.
    """
    if environ is None:
        environ, folder = os.environ, folder or Path.cwd()
    problems: list[str] = []
    layers = [("environment", environ), *_files(environ, folder, problems)]
    for origin, names in layers:
        problems += _unknown(names, origin)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    problems += [f"{key} is not a setting" for key in given if key not in {setting.key for setting in catalogue()}]
    for setting in catalogue():
        value, source = _chosen(setting, given, layers)
        try:
            values[setting.key] = setting.default if source == "default" else _value(setting, value)
        except ValueError as problem:
            problems.append(f"{source.split(' ', 1)[-1]}: {problem}")
            values[setting.key] = setting.default
        sources[setting.key] = source
    if values["worker.renew_s"] >= values["worker.lease_s"]:
        problems.append("PULSER_WORKER_RENEW_S must be less than PULSER_WORKER_LEASE_S, or every lease runs out before it is renewed")
    if problems:
        count = "1 setting is" if len(problems) == 1 else f"{len(problems)} settings are"
        raise OperatorError(f"{count} not usable: " + "; ".join(problems), hint="`pulser config` lists every setting with its meaning.", problems=problems)
    reserved = tuple(name for name in RESERVED if any(names.get(name) for _, names in layers))
    return Loaded(_assembled(values), sources, reserved)


def _assembled(values: Mapping[str, Any]) -> Settings:
    sections = {}
    for name, kind in get_type_hints(Settings).items():
        sections[name] = kind(**{each.name: values[f"{name}.{each.name}"] for each in fields(kind)})
    return Settings(**sections)


def _chosen(setting: Setting, given: Mapping[str, Any], layers: list[tuple[str, Mapping[str, str]]]) -> tuple[Any, str]:
    if setting.key in given:
        return given[setting.key], f"command line {setting.key}"
    for origin, names in layers:
        for name in (setting.env, *setting.also):
            if names.get(name):  # an empty value is what Compose and .env files write for 'not set'
                return names[name], f"{origin} {name}"
    return None, "default"


def _unknown(names: Mapping[str, str], origin: str) -> Iterator[str]:
    known = {name for setting in catalogue() for name in (setting.env, *setting.also)} | {ENV_FILE}
    for name in sorted(names):
        if not name.startswith("PULSER_") or name in known or name.startswith(FOR_TESTS):
            continue
        near = get_close_matches(name, known, n=3, cutoff=0.6)
        yield f"{name} ({origin}) is not a setting" + (f"; did you mean {' or '.join(near)}?" if near else "")


# ---- the file ---------------------------------------------------------------------------------------------------------------


def _files(environ: Mapping[str, str], folder: Path | None, problems: list[str]) -> list[tuple[str, Mapping[str, str]]]:
    named = environ.get(ENV_FILE)
    path = Path(named) if named else folder / ".env" if folder else None
    if path is None or (not named and not path.is_file()):
        return []
    try:
        return [(f"file {path.name}", _read_env(path.read_text("utf-8"), path.name, problems))]
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{path} cannot be read: {error}")
        return []


def _read_env(text: str, name: str, problems: list[str]) -> dict[str, str]:
    """``NAME=value`` lines; ``export`` in front, quotes and a comment after white space are understood. Nothing is expanded."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip().removeprefix("export ").strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip().isidentifier():
            problems.append(f"{name} line {number} is not NAME=value")
            continue
        value = value.strip()
        value = value[1:].partition(value[0])[0] if value[:1] in {"'", '"'} else value.split(" #", 1)[0].rstrip()
        found[key.strip()] = value
    return found


# ---- values -----------------------------------------------------------------------------------------------------------------


def _value(setting: Setting, given: Any) -> Any:
    value = _parsed(setting.kind, given) if isinstance(given, str) else _checked(setting.kind, given)
    if setting.key in CHOICES and value not in CHOICES[setting.key]:
        raise ValueError(f"must be one of {', '.join(CHOICES[setting.key])}, not {value!r}")
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        least, most = AT_LEAST.get(setting.key, 0), AT_MOST.get(setting.key, math.inf)
        if not least <= value <= most:
            raise ValueError(f"must be {least} or more, not {value}" if value < least else f"must be {most} or less, not {value}")
    return value


def _parsed(kind: Any, text: str) -> Any:
    text = text.strip()
    parsers: dict[Any, Callable[[str], Any]] = {
        str: str,
        bool: _bool,
        int: _int,
        float: _float,
        Path: _path,
        tuple[str, ...]: lambda text: tuple(_items(text)),
        tuple[float, ...]: lambda text: tuple(_float(item) for item in _items(text)),
        tuple[Path, ...]: lambda text: tuple(_path(item) for item in _items(text)),
        dict[str, str]: _dict,
    }
    return parsers[kind](text)


def _checked(kind: Any, value: Any) -> Any:
    """A value that has its type already, from the command line."""
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if isinstance(kind, type) and (not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool)):
        raise ValueError(f"must be {kind.__name__}, not {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("must be a finite number")
    return value


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",") if item.strip()]


def _path(text: str) -> Path:
    if "\0" in text:
        raise ValueError("is not a path")
    return Path(text).expanduser()


def _bool(text: str) -> bool:
    lowered = text.lower()
    if lowered in {"1", "true", "yes", "on"}:
        return True
    if lowered in {"0", "false", "no", "off"}:
        return False
    raise ValueError(f"must be true or false, not {text[:40]!r}")


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, not {text[:40]!r}") from None


def _float(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text[:40]!r}") from None
    if not math.isfinite(value) or value < 0:  # NaN passes every later comparison
        raise ValueError(f"must be a finite number, 0 or more, not {text[:40]!r}")
    return value


def _dict(text: str) -> dict[str, str]:
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        raise ValueError('must be a JSON object of texts, such as {"name": "value"}')  # the value itself may hold a password: not quoted
    return value


# ---- told -------------------------------------------------------------------------------------------------------------------


def describe(loaded: Loaded) -> list[Row]:
    """Rows for ``pulser config``, in the order of the sections."""
    rows = []
    for setting in catalogue():
        section, _, name = setting.key.partition(".")
        value = getattr(getattr(loaded.settings, section), name)
        rows.append(Row(setting.env, shown(value, secret=setting.secret), shown(setting.default), loaded.sources[setting.key], setting.meaning))
    return rows


def shown(value: Any, *, secret: bool = False) -> str:
    """A value as it would be written in the environment; of a secret only what is none: a URL without its password."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(shown(item) for item in value)
    if isinstance(value, dict):
        return json.dumps({name: shown(item, secret=secret) for name, item in value.items()}) if value else ""
    if isinstance(value, float):
        return f"{value:g}"
    text = str(value)
    if not secret or not text:
        return text
    scheme, found, rest = text.partition("://")
    if not found:
        return "********"
    from pulser.observe.redact import redact_text

    return redact_text(f"{scheme}://{rest}")
