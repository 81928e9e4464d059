"""Which tools there are: a table of names, each imported when first asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from pulser.core.errors import OperatorError, UnknownName, nearest
from pulser.core.tool import Tool


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a tool is: ``module:ATTRIBUTE``, and the folder to import it from where that is not Pulser itself."""

    target: str
    folder: Path | None = None


_TABLE: dict[str, Entry] = {
    "code.lint": Entry("pulser.tools.builtin.code.lint:TOOL"),
    "code.test": Entry("pulser.tools.builtin.code.run_tests:TOOL"),
    "docs.format": Entry("pulser.tools.builtin.docs.format:TOOL"),
    "docs.changelog": Entry("pulser.tools.builtin.docs.changelog:TOOL"),
    "docs.api_docs": Entry("pulser.tools.builtin.docs.api_docs:TOOL"),
    "docs.check_links": Entry("pulser.tools.builtin.docs.check_links:TOOL"),
    "data.profile": Entry("pulser.tools.builtin.data.profile:TOOL"),
    "data.query": Entry("pulser.tools.builtin.data.query:TOOL"),
    "data.etl": Entry("pulser.tools.builtin.data.etl:TOOL"),
    "data.quality": Entry("pulser.tools.builtin.data.quality:TOOL"),
    "infra.validate": Entry("pulser.tools.builtin.infra.validate:TOOL"),
    "infra.capacity": Entry("pulser.tools.builtin.infra.capacity:TOOL"),
    "skills.mine_failures": Entry("pulser.tools.builtin.skills.mine_failures:TOOL"),
}
_loaded: dict[str, Tool] = {}


def names() -> list[str]:
    """Every name that :func:`get` knows, sorted."""
    return sorted(_TABLE)


def entry(name: str) -> Entry:
    """Where the tool ``name`` is; :class:`UnknownName` names the nearest."""
    found = _TABLE.get(name)
    if found is None:
        raise UnknownName(f"there is no tool {name[:80]!r}", hint=nearest(name[:80], names()))
    return found


def get(name: str) -> Tool:
    """The tool ``name``, imported at the first call; :class:`UnknownName` names the nearest."""
    tool = _loaded.get(name)
    if tool is None:
        tool = _loaded[name] = _load(name, entry(name))
    return tool


def add(name: str, target: str, folder: Path | None = None) -> None:
    """Make ``module:ATTRIBUTE`` known as ``name``; ``folder`` is put on the import path, here and in the child."""
    if name in _TABLE and _TABLE[name] != Entry(target, folder):
        raise OperatorError(f"there is a tool {name!r} already", hint="Give the new one another name.")
    _TABLE[name] = Entry(target, folder)


def _load(name: str, where: Entry) -> Tool:
    module, _, attribute = where.target.partition(":")
    if where.folder is not None and str(where.folder) not in sys.path:
        sys.path.append(str(where.folder))
    try:
        tool = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise OperatorError(f"the tool {name} cannot be loaded from {where.target}: {error}", hint="Check that this release of Pulser is complete.") from error
    if not isinstance(tool, Tool):
        raise OperatorError(f"{where.target} is not a tool", hint="It must be a pulser.core.tool.Tool.")
    return tool
