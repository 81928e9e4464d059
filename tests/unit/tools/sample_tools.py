"""Tools for tests of the door: one that behaves, and one that tries whatever it is told to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pulser.core.tool import Call, Installation, Json, Tool


def _echo(call: Call) -> Json:
    call.progress("saying it", 0.5)
    call.log(f"said {call.args['text']}")
    call.artifact("said.txt", "text/plain").write_text(call.args["text"] * call.args["times"])
    return {"said": call.args["text"], "times": call.args["times"]}


def _execute(call: Call) -> Json:
    """Runs ``code``, which finds ``call`` and leaves what it found in ``result``."""
    result: Json = {}
    exec(call.args["code"], {"call": call, "result": result})
    return result


def _gather(args: Json, installation: Installation, folder: Path) -> Json:
    installation.target(args["target"])
    (folder / "rows").write_text("three rows")
    return {"rows_in": str(folder / "rows")}


def _load(call: Call) -> Json:
    call.artifact("rows.txt", "text/plain").write_text(Path(call.args["rows_in"]).read_text())
    return {"rows": 3}


def _apply(args: Json, result: Json, files: Mapping[str, Path], installation: Installation) -> Json:
    return {"loaded": f"{files['rows.txt'].read_text()} into {installation.target(args['target'])}"}


ECHO = Tool(
    name="test.echo",
    summary="Say it",
    run=_echo,
    arguments={
        "type": "object",
        "properties": {"text": {"type": "string"}, "times": {"type": "integer", "default": 1}},
        "required": ["text"],
        "additionalProperties": False,
    },
)
INLINE = Tool(name="test.inline", summary="Say it here", run=_echo, arguments=ECHO.arguments, where="inline")
EXECUTE = Tool(
    name="test.execute",
    summary="Run code",
    run=_execute,
    arguments={"type": "object", "properties": {"code": {"type": "string"}, "path": {"type": "string"}, "paths": {"type": "array"}}, "required": ["code"]},
    inputs=("path", "paths"),
    time_limit_s=20,
)
LOADER = Tool(
    name="test.loader",
    summary="Load rows that were gathered",
    run=_load,
    gather=_gather,
    apply=_apply,
    effect="idempotent",
    arguments={"type": "object", "properties": {"target": {"type": "string"}}, "required": ["target"]},
)
