"""YAML with a memory of places: plain values, and for each of them the line and column it was written at.

Limits are checked on the event stream, before anything is built. Aliases, tags and duplicate keys are refused: a spec never needs
them, and a spec that a person reads should mean what it looks like.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import yaml

SIZE_LIMIT_BYTES = 65_536
NODE_LIMIT = 5_000
DEPTH_LIMIT = 12
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_WORDS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong in a text, and how to mend it. Lines and columns count from 1; ``pointer`` is a JSON pointer."""

    line: int
    column: int
    message: str
    hint: str = ""
    pointer: str = ""


@dataclass(slots=True)
class Document:
    """What was read: ``value`` is None if the text could not be read at all."""

    value: Any = None
    places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def problem(self, path: Path, message: str, hint: str = "") -> None:
        """Note a problem at ``path``, or at the nearest thing around it that has a place."""
        at = path
        while at and at not in self.places:
            at = at[:-1]
        line, column = self.places.get(at, (1, 1))
        self.problems.append(Problem(line, column, message, hint, pointer(path)))


def pointer(path: Path) -> str:
    """``("a", 0)`` → ``/a/0`` (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def read(text: str) -> Document:
    """Read one YAML document; never raises for bad text, the document's problems say what is wrong."""
    doc = Document()
    if len(text.encode("utf-8", "surrogatepass")) > SIZE_LIMIT_BYTES:
        doc.problem((), f"the text is larger than {SIZE_LIMIT_BYTES} bytes", "Split it into several files.")
        return doc
    try:
        _check_limits(text, doc)
        node = None if doc.problems else yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        doc.problems.append(Problem(line, column, f"this is not YAML: {error.problem or error.context}", "Check indentation, colons and quotes here."))
        return doc
    except (yaml.YAMLError, UnicodeError) as error:
        doc.problem((), f"this is not YAML: {str(error).splitlines()[0]}", "Save it as UTF-8 text without control characters.")
        return doc
    if doc.problems:
        return doc
    if node is None:
        doc.problem((), "the text is empty")
        return doc
    doc.value = _build(node, (), doc)
    return doc


def _check_limits(text: str, doc: Document) -> None:
    nodes = depth = documents = 0
    for event in yaml.parse(text, Loader=_LOADER):
        at = (event.start_mark.line + 1, event.start_mark.column + 1) if event.start_mark else (1, 1)
        message = ""
        if isinstance(event, yaml.AliasEvent):
            message = "aliases (*name) are not read here"
        elif isinstance(event, yaml.NodeEvent):
            nodes += 1
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            if event.anchor:
                message = "anchors (&name) are not read here"
            elif nodes > NODE_LIMIT:
                message = f"more than {NODE_LIMIT} values"
            elif depth > DEPTH_LIMIT:
                message = f"nested deeper than {DEPTH_LIMIT} levels"
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            message = "a second document starts here" if documents > 1 else ""
        if message:
            doc.problems.append(Problem(*at, message, "Write the value out, once, in one document."))
            return


def _build(node: yaml.Node, path: Path, doc: Document) -> Any:
    doc.places.setdefault(path, (node.start_mark.line + 1, node.start_mark.column + 1))
    if isinstance(node, yaml.ScalarNode):
        return _scalar(node, path, doc)
    if not node.tag.endswith((":map", ":seq")):
        doc.problem(path, f"the tag {node.tag.removeprefix(_TAG)!r} is not read here", "Leave it away.")
    if isinstance(node, yaml.SequenceNode):
        return [_build(child, (*path, i), doc) for i, child in enumerate(node.value)]
    built: dict[str, Any] = {}
    for key_node, child in node.value:
        place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
        if not isinstance(key_node, yaml.ScalarNode):
            doc.problems.append(Problem(*place, "a key must be a plain word", "", pointer(path)))
            continue
        key = key_node.value  # as written: 'on' and '1' stay words when they are keys
        if key in built:
            doc.problems.append(Problem(*place, f"{key!r} is written twice", "Keep one of them.", pointer((*path, key))))
            continue
        doc.places[(*path, key)] = place
        built[key] = _build(child, (*path, key), doc)
    return built


def _scalar(node: yaml.ScalarNode, path: Path, doc: Document) -> Any:
    """Text, whole and finite decimal numbers, true/false, null; anything else YAML knows is a problem, said as such."""
    kind, text = node.tag.removeprefix(_TAG), node.value
    if kind == "str":
        return text
    if kind == "null":
        return None
    if kind == "bool":
        return _WORDS.get(text.lower(), text)
    try:
        if kind == "int":
            return int(text.replace("_", ""))
        if kind == "float" and math.isfinite(number := float(text.replace("_", ""))):
            return number
    except ValueError:
        pass
    doc.problem(path, f"{text!r} cannot be read as {kind}", "Put quotes around a text; write numbers in decimal, finite.")
    return None
