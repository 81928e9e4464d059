"""What an action runs: a tool behind the tools' door, or one of the orchestrator's own, which act on the board."""

from __future__ import annotations

from typing import Any

from pulser.agents import coordinate, noop
from pulser.tools import arguments, inputs, registry
from pulser.tools.inputs import Places

OWN: dict[str, dict[str, Any]] = {"pulser.noop": noop.ARGUMENTS, "pulser.coordinate": coordinate.ARGUMENTS}


def schema(tool: str) -> dict[str, Any]:
    """The JSON Schema of the arguments of ``tool``."""
    return OWN[tool] if tool in OWN else registry.get(tool).arguments


def summary(tool: str) -> str:
    """What ``tool`` does, in a line."""
    return {"pulser.noop": "Do nothing, as a probe", "pulser.coordinate": "Run steps as sub-tasks"}.get(tool) or registry.get(tool).summary


def check_payload(tool: str, args: dict[str, Any], raw: str, *, pointer: str, places: Places | None = None) -> None:
    """Raise :class:`~pulser.core.errors.BadInput` unless ``args`` (``raw`` is their JSON) fit ``tool`` and carry no credential; with ``places``
    also unless the files they name are there."""
    text = raw.encode()
    arguments.check_json(args, pointer, text)
    arguments.refuse_credentials(args, pointer)
    if tool in OWN:
        arguments.check(OWN[tool], args, pointer)
        return
    found = registry.get(tool)
    arguments.check(found, args, pointer)
    if places is not None and found.inputs:
        inputs.check(found, args, places.roots, places.data_dir, pointer)
