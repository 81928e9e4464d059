"""``docs.format``: Markdown in one form, by mdformat with GitHub's extensions, as a patch or in place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from pulser.core.tool import Call, Installation, Json, Tool
from pulser.tools.builtin.docs.markdown_files import front_matter, markdown_files
from pulser.tools.builtin.folder import read_text
from pulser.tools.builtin.patch import Change, added_and_removed, apply_to, check_patchable, make_patch

LIMIT_BYTES = 2 * 1024 * 1024
_AROUND_BLOCKS = re.compile(r" ?(</?(?:p|li|ul|ol|blockquote|t[dhr]|thead|tbody|table|h\d|hr|br|pre)\b[^<>]*>) ?")


def run(call: Call) -> Json:
    """Format every Markdown file under ``path`` in memory; what differs goes into ``format.patch``."""
    path = Path(call.args["path"])
    root, files, skipped = markdown_files(path)
    changes: list[Change] = []
    for number, name in enumerate(files):
        call.progress(name, number / len(files))
        before, why_not = read_text(root / name, LIMIT_BYTES)
        after = ""
        if not why_not:
            after, why_not = formatted(before, call.args)
        if not why_not and not check_patchable(name):
            why_not = "its name cannot stand in a patch"
        if why_not:
            skipped.append({"file": name, "reason": why_not})
        elif before != after:
            changes.append(Change(name, before, after))
    changed = []
    for change in changes:
        added, removed = added_and_removed(change)
        changed.append({"file": change.name, "added": added, "removed": removed})
    if changes:
        with call.artifact("format.patch", "text/x-diff").open("w", encoding="utf-8", newline="") as out:
            out.write(make_patch(changes))
    if path.is_file() and changes:
        with call.artifact("formatted.md", "text/markdown").open("w", encoding="utf-8", newline="") as out:
            out.write(changes[0].after)
    result: Json = {"files": len(files), "changed": changed, "skipped": skipped}
    result["unchanged"] = len(files) - len(changed) - sum(s["file"] in files for s in skipped)
    return result | {"summary": _told(result, path.name, call.args.get("mode", "patch"))}


def apply(args: Json, result: Json, files: Mapping[str, Path], installation: Installation) -> Json:
    """Put the formatted text in place where ``mode`` is ``in_place``; may be repeated."""
    if args.get("mode", "patch") != "in_place":
        return {}
    return {"applied": apply_to(files, "format.patch", installation.writable(args["path"]))}


def formatted(text: str, args: Json) -> tuple[str, str]:
    """``(formatted, "")``, or ``("", why not)``. Front matter is kept as it is, and so are CRLF line ends.

    A text whose formatted form would not render the same, or would be formatted differently again, is left alone.
    """
    import mdformat

    head, body = front_matter(text)
    crlf = body.count("\r\n") * 2 > body.count("\n")
    plain = body.replace("\r\n", "\n")
    options = {"wrap": args.get("wrap", "keep"), "number": bool(args.get("number", False))}
    extensions = list(args.get("extensions", ["gfm"]))
    try:
        once = mdformat.text(plain, options=options, extensions=extensions)
        twice = mdformat.text(once, options=options, extensions=extensions)
        same = _rendered(plain) == _rendered(once)
    except (ValueError, KeyError, IndexError, AssertionError, RecursionError) as error:
        return "", f"mdformat cannot format it: {type(error).__name__}"
    if once != twice:
        return "", "its formatted form is not stable"
    if not same:
        return "", "its formatted form would not render the same"
    return head + (once.replace("\n", "\r\n") if crlf else once), ""


def _rendered(text: str) -> str:
    """The page it makes, without the spaces that make no difference."""
    from markdown_it import MarkdownIt

    html = re.sub(r"\s+", " ", MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    return _AROUND_BLOCKS.sub(r"\1", html).strip()


def _told(result: Json, name: str, mode: str) -> str:
    if not result["files"]:
        return f"There is no Markdown in {name}: nothing to format."
    count, changed = result["files"], len(result["changed"])
    told = f"{count} Markdown file{'s' * (count != 1)}: "
    told += (f"{changed} to change" + ("" if mode == "in_place" else ", see format.patch")) if changed else "all in form"
    if result["skipped"]:
        told += f"; {len(result['skipped'])} left alone ({result['skipped'][0]['file']}: {result['skipped'][0]['reason']})"
    return told + "."


_WRAP: Json = {
    "oneOf": [{"enum": ["keep", "no"]}, {"type": "integer", "minimum": 20, "maximum": 1000}],
    "default": "keep",
    "description": "Line breaks in paragraphs: keep them, no (one line each), or the width to wrap at.",
}


TOOL = Tool(
    name="docs.format",
    summary="Format Markdown in one form, as a patch or in place.",
    run=run,
    apply=apply,
    effect="idempotent",
    inputs=("path",),
    needs=("mdformat", "mdformat_gfm", "markdown_it"),
    extra="docs",
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "A Markdown file, or a folder of them."},
            "mode": {"enum": ["patch", "in_place"], "default": "patch", "description": "Only make format.patch, or also put it in place."},
            "wrap": _WRAP,
            "number": {"type": "boolean", "default": False, "description": "Number ordered lists 1, 2, 3 instead of 1, 1, 1."},
            "extensions": {
                "type": "array",
                "items": {"enum": ["gfm"]},
                "uniqueItems": True,
                "default": ["gfm"],
                "description": "gfm: tables, strikethrough, task lists.",
            },
        },
    },
    examples=({"path": "docs"}, {"path": "README.md", "mode": "in_place", "wrap": 120}),
)
