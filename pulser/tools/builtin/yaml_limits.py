"""YAML from strangers: measured by its events before anything is built, then read by the rules of YAML 1.2's core schema.

Measured first because the harm is in the building: aliases of aliases grow to gigabytes, 300,000 keys take half a minute.
YAML 1.2's rules because in 1.1 ``on:`` is True, ``22:22`` is 1342 and ``2024-01-01`` is not text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml
from yaml.constructor import SafeConstructor
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, DocumentStartEvent, NodeEvent, ScalarEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.resolver import BaseResolver

from pulser.core.errors import BadInput

try:
    from yaml._yaml import CParser as _Parser
except ImportError:  # a PyYAML without libyaml: slower, the same limits hold
    _Parser = None  # type: ignore[assignment, misc]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one text may hold; ``nodes`` counts what its aliases stand for too."""

    size_bytes: int = 2 * 1024 * 1024
    nodes: int = 100_000
    depth: int = 64
    aliases: int = 200
    documents: int = 200


DEFAULT = Limits()


class _Resolver(BaseResolver):
    """The core schema of YAML 1.2.2, chapter 10.3, and ``<<`` of 1.1, which Compose files use."""


for _tag, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("null", r"~|null|Null|NULL|", "~nN\0"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", "-+.0123456789"),
    ("merge", r"<<", "<"),
):
    _chars = [c if c != "\0" else "" for c in _first]
    _Resolver.add_implicit_resolver("tag:yaml.org,2002:" + _tag, re.compile(rf"(?:{_pattern})\Z"), _chars)


class _Constructor(SafeConstructor):
    """Plain values only; a key given twice and a number that is not finite are refused."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: dict[Any, Node] = {}
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise _at(key_node, "a key must be plain text or a number")
            if key in seen:
                raise _at(key_node, f"the key {str(key)[:80]!r} is given twice, first on line {_line(seen[key])}")
            seen[key] = key_node
        return super().construct_mapping(node, deep=deep)

    def core_int(self, node: ScalarNode) -> int:
        text = node.value
        if len(text) > 400:
            raise _at(node, "a number of more than 400 digits")
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)

    def core_float(self, node: ScalarNode) -> float:
        text = node.value.lower().replace(".inf", "inf").replace(".nan", "nan")
        value = float(text)
        if not math.isfinite(value):
            raise _at(node, f"{node.value[:40]!r} is not a finite number")
        return value


_Constructor.add_constructor("tag:yaml.org,2002:int", _Constructor.core_int)  # type: ignore[type-var]
_Constructor.add_constructor("tag:yaml.org,2002:float", _Constructor.core_float)  # type: ignore[type-var]
for _tag in ("timestamp", "binary", "set", "omap", "pairs"):  # what they make is not JSON
    _Constructor.add_constructor("tag:yaml.org,2002:" + _tag, SafeConstructor.construct_undefined)  # type: ignore[type-var]

if _Parser is not None:

    class _Loader(_Parser, _Constructor, _Resolver):
        def __init__(self, text: str) -> None:
            _Parser.__init__(self, text)
            _Constructor.__init__(self)
            _Resolver.__init__(self)
else:
    from yaml.composer import Composer
    from yaml.parser import Parser
    from yaml.reader import Reader
    from yaml.scanner import Scanner

    class _Loader(Reader, Scanner, Parser, Composer, _Constructor, _Resolver):  # type: ignore[no-redef]
        def __init__(self, text: str) -> None:
            Reader.__init__(self, text)
            Scanner.__init__(self)
            Parser.__init__(self)
            Composer.__init__(self)
            _Constructor.__init__(self)
            _Resolver.__init__(self)


def load(text: str | bytes, *, limits: Limits = DEFAULT, what: str = "the file") -> Any:
    """The one document in ``text`` as plain values (JSON is YAML too); :class:`BadInput` names the line of what is wrong."""
    return load_with_lines(text, limits=limits, what=what)[0]


def load_with_lines(text: str | bytes, *, limits: Limits = DEFAULT, what: str = "the file") -> tuple[Any, dict[str, int]]:
    """The document, and the line (from 1) of every JSON pointer in it; those of a merge or an alias point at their source."""
    found = load_all_with_lines(text, limits=limits, what=what)
    if len(found) > 1:
        raise BadInput(f"{what} holds {len(found)} documents where one is expected", hint="Keep what follows the second '---' in a file of its own.")
    return found[0] if found else (None, {})


def load_all(text: str | bytes, *, limits: Limits = DEFAULT, what: str = "the file") -> list[Any]:
    """Every document in ``text`` (Kubernetes keeps many in one file)."""
    return [value for value, _ in load_all_with_lines(text, limits=limits, what=what)]


def load_all_with_lines(text: str | bytes, *, limits: Limits = DEFAULT, what: str = "the file") -> list[tuple[Any, dict[str, int]]]:
    """Every document with its lines."""
    decoded = _decoded(text, limits, what)
    try:
        _measure(decoded, limits)
        loader = _Loader(decoded)
        try:
            documents = []
            while loader.check_node() and (node := loader.get_node()) is not None:
                value = loader.construct_document(node)
                documents.append((value, dict(_lines(node, ""))))
            return documents
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise BadInput(f"{what} is not YAML: {_told(error)}", hint="Mend that line; tabs cannot indent YAML.") from None
    except BadInput as error:
        raise BadInput(f"{what}: {error.detail}", hint=error.hint) from None


def _decoded(text: str | bytes, limits: Limits, what: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > limits.size_bytes:
        raise BadInput(f"{what} has {size:,} bytes, more than {limits.size_bytes:,}", hint="Split it.")
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{what} is not UTF-8: byte {error.start} is 0x{text[error.start]:02x}", hint="Save it as UTF-8.") from None


def _measure(text: str, limits: Limits) -> None:
    """Walk the events, building nothing. An alias weighs what its anchor weighs."""
    loader = _Loader(text)
    nodes = aliases = documents = 0
    weight: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = []  # anchor and the count before it, of every collection that is open
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, DocumentStartEvent):
                documents, weight = documents + 1, {}
                _refuse_over(documents, limits.documents, "documents", event)
            elif isinstance(event, AliasEvent):
                aliases += 1
                nodes += weight.get(event.anchor or "", 1)
                _refuse_over(aliases, limits.aliases, "aliases", event)
                if any(anchor == event.anchor for anchor, _ in open_):
                    raise BadInput(f"line {_line(event)}: the alias *{(event.anchor or '')[:40]} stands inside what it names")
            elif isinstance(event, CollectionStartEvent):
                open_.append((event.anchor, nodes))
                nodes += 1
                _refuse_over(len(open_), limits.depth, "levels of nesting", event)
            elif isinstance(event, CollectionEndEvent):
                anchor, before = open_.pop()
                if anchor:
                    weight[anchor] = nodes - before
            elif isinstance(event, ScalarEvent):
                nodes += 1
                if event.anchor:
                    weight[event.anchor] = 1
            if isinstance(event, NodeEvent):
                _refuse_over(nodes, limits.nodes, "values, counting what aliases stand for", event)
    finally:
        loader.dispose()


def _refuse_over(count: int, limit: int, what: str, event: Any) -> None:
    if count > limit:
        raise BadInput(f"line {_line(event)}: more than {limit:,} {what}", hint="Split it, or write it plainly.")


def _lines(node: Node, pointer: str) -> Iterator[tuple[str, int]]:
    yield pointer, _line(node)
    if isinstance(node, MappingNode):
        for key, value in node.value:
            step = f"{pointer}/{str(getattr(key, 'value', '')).replace('~', '~0').replace('/', '~1')}"
            yield from _lines(value, step)
            yield step, _line(key)  # the key's line, where a person looks
    elif isinstance(node, SequenceNode):
        for index, item in enumerate(node.value):
            yield from _lines(item, f"{pointer}/{index}")


def _at(node: Node, problem: str) -> BadInput:
    return BadInput(f"line {_line(node)}: {problem}")


def _line(node: Any) -> int:
    return int(node.start_mark.line) + 1 if node.start_mark else 1


def _told(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark else str(problem)
