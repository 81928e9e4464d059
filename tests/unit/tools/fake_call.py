"""A plain stand-in for the door: calls a tool's ``run`` in this process and keeps what it made.

::

    made = run(TOOL, tmp_path, path=str(folder), fix=True)
    made.result["summary"]; made.text("fix.patch"); made.logs
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pulser.core.errors import BadInput
from pulser.core.tool import Tool


@dataclass
class FakeCall:
    """Satisfies :class:`pulser.core.tool.Call`; everything is kept in memory or under ``out``."""

    args: dict[str, Any]
    out: Path
    media_types: dict[str, str] = field(default_factory=dict)
    steps: list[tuple[str, float | None]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)

    def artifact(self, name: str, media_type: str) -> Path:
        assert "/" not in name, f"artifact names are plain names, not {name!r}"
        self.media_types[name] = media_type
        return self.out / name

    def progress(self, message: str, fraction: float | None = None) -> None:
        assert fraction is None or 0 <= fraction <= 1, f"fraction {fraction} is not in [0, 1]"
        self.steps.append((message, fraction))

    def log(self, line: str) -> None:
        self.logs.append(line)


@dataclass
class Made:
    """What one call made: the result, and the artifacts by name."""

    result: dict[str, Any]
    call: FakeCall

    @property
    def files(self) -> dict[str, Path]:
        return {name: self.call.out / name for name in self.call.media_types}

    @property
    def logs(self) -> list[str]:
        return self.call.logs

    def text(self, name: str) -> str:
        with self.files[name].open(encoding="utf-8", newline="") as file:  # as written: CRLF stays CRLF
            return file.read()

    def json(self, name: str) -> Any:
        return json.loads(self.text(name))


@dataclass
class FakeInstallation:
    """What ``gather`` and ``apply`` may ask; ``roots`` are the folders that may be written."""

    roots: tuple[Path, ...] = ()
    known_failures: list[dict[str, Any]] = field(default_factory=list)
    known_events: list[dict[str, Any]] = field(default_factory=list)
    targets: dict[str, str] = field(default_factory=dict)

    def failures(self, limit: int) -> list[dict[str, Any]]:
        return self.known_failures[:limit]

    def events(self, kinds: list[str], limit: int) -> list[dict[str, Any]]:
        return [event for event in self.known_events if event["kind"] in kinds][:limit]

    def target(self, name: str) -> str:
        return self.targets[name]

    def writable(self, path: str) -> Path:
        for root in self.roots:
            found = (root / path).resolve()  # an absolute path stays what it is
            if found.is_relative_to(root.resolve()) and found.exists():
                return found
        raise BadInput(f"{path} is not under a folder that may be written")


def check_args(tool: Tool, args: dict[str, Any]) -> dict[str, Any]:
    """``args`` with the schema's top-level defaults, refused as the door would refuse them."""
    import jsonschema_rs

    full = {name: spec["default"] for name, spec in tool.arguments.get("properties", {}).items() if "default" in spec} | args
    problems = [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in jsonschema_rs.Draft202012Validator(tool.arguments).iter_errors(full)]
    if problems:
        raise BadInput("; ".join(problems))
    return full


def run(tool: Tool, folder: Path, /, **args: Any) -> Made:
    """Check ``args`` against the tool's schema, call it with a fresh folder under ``folder``, and see that the result is JSON."""
    out = folder / f"out-{len(list(folder.glob('out-*')))}"
    out.mkdir(parents=True)
    call = FakeCall(check_args(tool, args), out)
    result = tool.run(call)
    json.dumps(result, allow_nan=False)
    missing = [name for name in call.media_types if not (out / name).is_file()]
    assert not missing, f"artifacts were named but not written: {missing}"
    return Made(result, call)
