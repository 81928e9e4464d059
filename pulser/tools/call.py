"""The one door to tools: look up, check, bring the inputs, run confined, collect what was made, and let it take effect."""

from __future__ import annotations

import asyncio
import inspect
import json
import traceback
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pulser.core.errors import Permanent, PulserError, TimedOut
from pulser.core.task import Artifact
from pulser.core.tool import Effect, Installation, Json, Tool
from pulser.tools import arguments, inputs, registry
from pulser.tools.inputs import Files
from pulser.tools.paths import Root, regular_file
from pulser.tools.sandbox import folder as folders
from pulser.tools.sandbox.child import run_child
from pulser.tools.sandbox.handle import Handle
from pulser.tools.sandbox.log import BoundedLog
from pulser.tools.sandbox.request import ChildRequest, Limits, Progress

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """On whose behalf a tool is called, what it may touch and how much it may take."""

    company_id: str
    task_id: str
    attempt: int
    scratch_dir: Path  # folders of calls, and the log of this one, are made under it
    data_dir: Path | None  # Pulser's own; never shown to a tool
    files: Files
    installation: Installation
    roots: tuple[Root, ...] = ()
    on_progress: Progress | None = None  # called on the loop, at most ten times a second
    time_limit_s: float | None = None  # None: the tool's own
    sandbox: str = "auto"
    children: asyncio.Semaphore | None = None  # how many child processes at once
    result_limit_bytes: int = 1 << 20
    artifact_limit_bytes: int = 100 << 20
    disk_limit_bytes: int = 512 << 20
    log_limit_bytes: int = 262_144
    apply: bool = True  # False while a person is to look first: then call `apply` afterwards


@dataclass(frozen=True, slots=True)
class Result:
    """What a call came to. ``log_path`` is the caller's to keep or remove; None if nothing was said."""

    result: Json
    artifacts: list[Artifact]
    log_path: Path | None
    effect: Effect = "read"


def log_path(context: Context) -> Path:
    """Where the log of this attempt is when :func:`call` has returned or raised; absent if nothing was said."""
    return context.scratch_dir / f"{Path(context.task_id).name}-{context.attempt}.log"


async def call(name: str, args: Json, context: Context) -> Result:
    """Call the tool ``name``. Errors are those of :mod:`pulser.core.errors`: ``BadInput`` for arguments and inputs,
    ``Permanent``, ``Transient`` and ``TimedOut`` for the work, ``OperatorError`` where nothing confines a child."""
    tool = registry.get(name)
    arguments.check(tool, args)
    full = arguments.with_defaults(tool, args)
    _check_needs(tool)
    log = BoundedLog(context.log_limit_bytes)
    async with AsyncExitStack() as cleaning:
        cleaning.callback(_keep_log, log, context)
        if tool.where == "inline":
            return await _inline(tool, full, context, log, cleaning)
        return await _in_child(tool, full, context, log, cleaning)


async def apply(name: str, args: Json, result: Json, artifacts: list[Artifact], context: Context) -> Json:
    """Let a result that was looked at take effect; the result with what that added. Safe to call again after a crash."""
    tool = registry.get(name)
    if tool.apply is None:
        return result
    full = arguments.with_defaults(tool, args)
    log = BoundedLog(context.log_limit_bytes)
    try:
        places = {artifact.name: context.files.path_of(f"file:{artifact.sha256}") for artifact in artifacts}
        return await _applied(tool, full, result, places, context, log)
    finally:
        _keep_log(log, context)


async def _in_child(tool: Tool, args: Json, context: Context, log: BoundedLog, cleaning: AsyncExitStack) -> Result:
    folder = folders.make(context.scratch_dir)
    cleaning.push_async_callback(_shielded, folders.remove, folder)
    gather = tool.gather
    gathered: Json = {}
    if gather is not None:
        gathered = await _trusted(log, lambda: gather(args, context.installation, folder / "gathered"))
    ready = await asyncio.to_thread(inputs.resolve, tool, args, context.roots, context.data_dir, context.files, folder)
    place = registry.entry(tool.name)
    request = ChildRequest(
        target=place.target,
        args={**ready.args, **gathered},
        folder=folder,
        reads=tuple(dict.fromkeys(ready.reads)),
        hidden=(Path(context.data_dir).resolve(),) if context.data_dir is not None else (),
        git=tuple(ready.git),
        import_from=place.folder,
        limits=Limits(
            time_s=_time_limit(tool, context),
            memory_bytes=tool.memory_limit_bytes,
            disk_bytes=context.disk_limit_bytes,
            result_bytes=context.result_limit_bytes,
        ),
        sandbox=context.sandbox,
        log=log,
        on_progress=context.on_progress,
    )
    if context.children is not None:
        async with context.children:
            done = await run_child(request)
    else:
        done = await run_child(request)
    return await _finished(tool, args, done.value, dict(done.artifacts), folder / "out", context, log)


async def _inline(tool: Tool, args: Json, context: Context, log: BoundedLog, cleaning: AsyncExitStack) -> Result:
    """In this process: for tools of Pulser's own that touch nothing. A folder is made only if one is asked for."""
    loop = asyncio.get_running_loop()
    named: dict[str, str] = {}
    made: list[Path] = []

    def folder() -> Path:
        if not made:
            made.append(folders.make(context.scratch_dir))
        return made[0]

    def heard(message: Json) -> None:
        if message["kind"] == "artifact":
            named[message["name"]] = message["media_type"]
        elif message["kind"] == "log":
            log.line(message["line"])
        elif context.on_progress is not None:
            loop.call_soon_threadsafe(context.on_progress, message["message"], message["fraction"])

    async def clean() -> None:
        if made:
            await _shielded(folders.remove, made[0])

    cleaning.push_async_callback(clean)
    if tool.gather is not None or tool.inputs:
        gather = tool.gather
        gathered = await _trusted(log, lambda: gather(args, context.installation, folder() / "gathered")) if gather is not None else {}
        ready = await asyncio.to_thread(inputs.resolve, tool, args, context.roots, context.data_dir, context.files, folder())
        args_of_run = {**ready.args, **gathered}
    else:
        args_of_run = args
    handle = Handle(args_of_run, lambda: folder() / "out", heard)
    limit_s = _time_limit(tool, context)
    try:
        async with asyncio.timeout(limit_s):
            value = await _run_inline(tool, handle, log)
    except TimeoutError:
        raise TimedOut(f"the tool did not finish within {limit_s:g} s", hint="Raise time_limit_s, or give it less to do.") from None
    return await _finished(tool, args, value, named, made[0] / "out" if made else None, context, log)


async def _run_inline(tool: Tool, handle: Handle, log: BoundedLog) -> Json:
    """A coroutine function is awaited here, others run in a thread (which cannot be killed, so they must end by themselves)."""
    if not inspect.iscoroutinefunction(tool.run):
        return await _trusted(log, lambda: tool.run(handle))
    try:
        value: Json = await tool.run(handle)
        return value
    except (PulserError, asyncio.CancelledError):
        raise
    except Exception as error:
        raise _told(error, log) from error


async def _finished(tool: Tool, args: Json, value: Json, named: Mapping[str, str], out: Path | None, context: Context, log: BoundedLog) -> Result:
    """Keep the artifacts, then let the result take effect unless somebody is to look first."""
    artifacts: list[Artifact] = []
    places: dict[str, Path] = {}
    if out is not None and named:
        artifacts, places = await asyncio.to_thread(_collect, named, out, context)
    if tool.apply is not None and context.apply:
        value = await _applied(tool, args, value, places, context, log)
    if tool.where == "inline" or tool.apply is not None:  # a child's was measured as it came
        _check_size(value, context.result_limit_bytes)
    return Result(value, artifacts, log_path(context) if log.total_bytes else None, tool.effect)


def _collect(named: Mapping[str, str], out: Path, context: Context) -> tuple[list[Artifact], dict[str, Path]]:
    places = {name: regular_file(out, name, context.artifact_limit_bytes) for name in named}
    artifacts = []
    for name, path in places.items():
        sha256, size_bytes = context.files.put(path)
        artifacts.append(Artifact(name, sha256, size_bytes, named[name]))
    return artifacts, places


async def _applied(tool: Tool, args: Json, result: Json, places: Mapping[str, Path], context: Context, log: BoundedLog) -> Json:
    take_effect = tool.apply
    if take_effect is None:
        return result
    return {**result, **await _trusted(log, lambda: take_effect(args, result, places, context.installation))}


async def _trusted(log: BoundedLog, work: Callable[[], T]) -> T:
    """Run a trusted half of a tool in a thread; what is no error of ours becomes :class:`Permanent`, with the traceback in the log."""
    try:
        return await asyncio.to_thread(work)
    except PulserError:
        raise
    except Exception as error:
        raise _told(error, log) from error


def _told(error: Exception, log: BoundedLog) -> Permanent:
    for line in "".join(traceback.format_exception(error)).splitlines()[-40:]:
        log.line(line[:1000])
    return Permanent(f"the tool failed: {type(error).__name__}: {str(error)[:400]}", hint="Its log has the traceback.")


def _check_size(value: Any, limit_bytes: int) -> None:
    try:
        size = len(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise Permanent(f"the tool's result is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise Permanent(f"the tool returned {type(value).__name__} where an object was due")
    if size > limit_bytes:
        raise Permanent(f"the tool's result is larger than {limit_bytes:,} bytes", hint="Larger results belong into artifacts.")


def _time_limit(tool: Tool, context: Context) -> float:
    return tool.time_limit_s if context.time_limit_s is None else context.time_limit_s


def _check_needs(tool: Tool) -> None:
    missing = [module for module in tool.needs if not _installed(module)]
    if missing:
        raise Permanent(
            f"{tool.name} needs {', '.join(missing)}, which is not installed", hint=f"pip install 'pulser[{tool.extra or 'agents'}]'", extra=tool.extra
        )


@lru_cache(maxsize=256)
def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _keep_log(log: BoundedLog, context: Context) -> None:
    path = log_path(context)
    if log.total_bytes:
        context.scratch_dir.mkdir(parents=True, exist_ok=True)
        log.write_to(path)
    else:
        path.unlink(missing_ok=True)  # of an earlier call


async def _shielded(work: Callable[[Path], None], path: Path) -> None:
    """Finish ``work`` in a thread even if we are cancelled meanwhile."""
    await asyncio.shield(asyncio.to_thread(work, path))
