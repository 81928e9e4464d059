"""``docs.check_links``: links, images and anchors of a folder of Markdown and HTML that lead nowhere. Nothing is fetched."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pulser.core.tool import Call, Json, Tool
from pulser.tools.builtin.docs.links import Link, Page, read_html, read_markdown
from pulser.tools.builtin.docs.markdown_files import SUFFIXES, front_matter
from pulser.tools.builtin.folder import list_folder, read_text

HTML = (".html", ".htm")
LIMIT_BYTES = 4 * 1024 * 1024
MAX_PAGES = 10_000
_TEMPLATE_MARKS = (("{{", "}}"), ("{%", "%}"), ("<%", "%>"))
_INDEXES = ("index.md", "README.md", "index.html")
_SUGGESTIONS = 100  # looking for the nearest name costs time per broken link


def run(call: Call) -> Json:
    """Read every page under ``path``, follow its relative links within the folder, and list what is broken."""
    root = Path(call.args["path"])
    listing = list_folder(root, max_files=100_000, max_bytes=1 << 40, hidden=True)
    names = set(listing.files)
    wanted = [name for name in listing.files if name.lower().endswith((*SUFFIXES, *HTML))][:MAX_PAGES]
    skipped = [one for one in listing.skipped if one["file"].lower().endswith((*SUFFIXES, *HTML))]
    pages: dict[str, Page] = {}
    for number, name in enumerate(wanted):
        if number % 50 == 0:
            call.progress(f"Reading {name}", 0.7 * number / len(wanted))
        text, why_not = read_text(root / name, LIMIT_BYTES)
        if not why_not and name.lower().endswith(HTML) and _is_template(text):
            why_not = "a template"
        if why_not:
            skipped.append({"file": name, "reason": why_not})
        else:
            pages[name] = _read(name, text)
    folders = {str(parent) for name in names for parent in Path(name).parents}
    site = _Site(pages, names, folders, bool(call.args.get("anchors", True)))
    for name, page in pages.items():
        for link in page.links:
            site.check(name, link)
        site.broken += [_broken(name, line, f"[{label}]", "no definition of that name") for line, label in page.undefined]
    result = _summed_up(site, skipped)
    result["summary"] = _told(result, root.name)
    call.artifact("links.json", "application/json").write_text(
        json.dumps(result | {"broken": site.broken, "external": site.listed_external()}, indent=1), "utf-8"
    )
    call.artifact("links.md", "text/markdown").write_text(_report(result, site), encoding="utf-8")
    return result


def _read(name: str, text: str) -> Page:
    if name.lower().endswith(HTML):
        return read_html(text)
    head, body = front_matter(text)
    return read_markdown("\n" * head.count("\n") + body)  # lines keep their numbers


def _is_template(text: str) -> bool:
    """True if a line holds a template's marks, one after the other. Not by pattern: a page of brackets alone would keep it busy for hours."""
    marks = [pair for pair in _TEMPLATE_MARKS if pair[0] in text]
    return any(closing in line.partition(opening)[2] for opening, closing in marks for line in text.splitlines())


class _Site:
    """All pages of the folder, and what was found about their links."""

    def __init__(self, pages: dict[str, Page], names: set[str], folders: set[str], anchors: bool) -> None:
        self.pages, self.names, self.folders, self.anchors = pages, names, folders, anchors
        self._sorted = sorted(names)
        self.broken: list[Json] = []
        self.outside: list[Json] = []
        self.external: dict[str, Json] = {}
        self.checked = 0

    def check(self, page: str, link: Link) -> None:
        """Sort one link: external, outside the folder, fine, or broken."""
        target = link.target.strip()
        try:
            parts = urlsplit(target)
        except ValueError:
            self.broken.append(_broken(page, link.line, target, "not a URL"))
            return
        if parts.scheme or parts.netloc:
            if parts.scheme in ("http", "https", "") and target:
                seen = self.external.setdefault(target, {"url": target[:2000], "count": 0, "first": f"{page}:{link.line}"})
                seen["count"] += 1
            return
        self.checked += 1
        path, anchor = unquote(parts.path), unquote(parts.fragment)
        found = self._resolve(page, path)
        if found.startswith("../") or found == "..":
            self.outside.append({"file": page, "line": link.line, "target": target[:500]})
        elif found not in self.names and found not in self.folders:
            reason = "no such image" if link.kind == "image" else "no such file"
            self.broken.append(_broken(page, link.line, target, reason, self._nearest_file(page, found)))
        elif self.anchors and anchor:
            self._check_anchor(page, link, found, anchor)

    def _resolve(self, page: str, path: str) -> str:
        """The path inside the folder; a leading slash means its top."""
        if not path:
            return page
        base = "" if path.startswith("/") else posixpath.dirname(page)
        found = posixpath.normpath(posixpath.join(base, path.lstrip("/") if path.startswith("/") else path) or ".")
        return found

    def _check_anchor(self, page: str, link: Link, found: str, anchor: str) -> None:
        if found in self.folders:
            found = next((f"{found}/{name}".removeprefix("./") for name in _INDEXES if f"{found}/{name}".removeprefix("./") in self.names), "")
        there = self.pages.get(found)
        if there is None or anchor.lower() == "top" or anchor in there.anchors or anchor.startswith(":~:"):
            return
        if anchor.lower() in there.anchors and found.lower().endswith(SUFFIXES):
            return  # GitHub's own headings are found whatever the case
        near = get_close_matches(anchor, sorted(there.anchors)[:2000], n=1, cutoff=0.4) if len(self.broken) < _SUGGESTIONS else []
        self.broken.append(_broken(page, link.line, link.target, f"no such anchor in {found}", f"#{near[0]}" if near else ""))

    def _nearest_file(self, page: str, missing: str) -> str:
        """What was meant, perhaps: the same name elsewhere or in another case, else the nearest path; relative to the page."""
        if len(self.broken) >= _SUGGESTIONS:
            return ""
        base = posixpath.basename(missing).lower()
        same = sorted((n for n in self.names if posixpath.basename(n).lower() == base), key=lambda n: (n.lower() != missing.lower(), len(n), n))
        near = same[:1] or get_close_matches(missing, self._sorted[:2000], n=1, cutoff=0.6)
        return posixpath.relpath(near[0], posixpath.dirname(page) or ".") if near else ""

    def listed_external(self) -> list[Json]:
        return sorted(self.external.values(), key=lambda one: (-one["count"], one["url"]))


def _broken(file: str, line: int, target: str, reason: str, suggestion: str = "") -> Json:
    return {"file": file, "line": line, "target": target[:500], "reason": reason, "suggestion": suggestion or None}


def _summed_up(site: _Site, skipped: list[dict[str, str]]) -> Json:
    site.broken.sort(key=lambda one: (one["file"], one["line"]))
    duplicates = [{"file": name, "line": line, "what": what} for name, page in site.pages.items() for line, what in page.duplicates]
    unused = [{"file": name, "line": line, "what": what} for name, page in site.pages.items() for line, what in page.unused]
    return {
        "files": len(site.pages),
        "links_checked": site.checked,
        "broken": site.broken[:500],
        "broken_count": len(site.broken),
        "outside": site.outside[:100],
        "external": site.listed_external()[:200],
        "external_count": len(site.external),
        "external_checked": False,
        "duplicates": duplicates[:200],
        "unused_definitions": unused[:200],
        "skipped": skipped[:200],
    }


def _told(result: Json, name: str) -> str:
    if not result["files"] and not result["skipped"]:
        return f"There is no Markdown or HTML in {name}: no links to check."
    files, broken = result["files"], result["broken_count"]
    told = f"{result['links_checked']} relative links in {files} file{'s' * (files != 1)}: "
    told += f"{broken} broken ({result['broken'][0]['file']}:{result['broken'][0]['line']} {result['broken'][0]['target']})" if broken else "none broken"
    told += f". {result['external_count']} external addresses are listed, not fetched: there is no network here"
    told += f". {len(result['outside'])} links leave the folder and were not checked" if result["outside"] else ""
    told += f". {len(result['skipped'])} files were left out ({result['skipped'][0]['file']}: {result['skipped'][0]['reason']})" if result["skipped"] else ""
    return told + "."


def _report(result: Json, site: _Site) -> str:
    lines = ["# Links", "", result["summary"], ""]
    if site.broken:
        counts = Counter(re.sub(r" in .*", "", one["reason"]) for one in site.broken)
        lines += ["## Broken: " + ", ".join(f"{count} x {reason}" for reason, count in counts.most_common()), ""]
        lines += ["| where | target | why | perhaps |", "|---|---|---|---|"]
        lines += [
            f"| {_code(one['file'])}:{one['line']} | {_code(one['target'])} | {one['reason']} | {_code(one['suggestion'])} |" for one in site.broken[:5000]
        ]
        lines.append("")
    for title, key in (("Given twice", "duplicates"), ("Definitions that nothing uses", "unused_definitions")):
        if result[key]:
            lines += [f"## {title}", "", *(f"- {_code(one['file'])}:{one['line']} {_code(one['what'])}" for one in result[key]), ""]
    if result["outside"]:
        lines += ["## Outside the folder, not checked", "", *(f"- {_code(one['file'])}:{one['line']} {_code(one['target'])}" for one in result["outside"]), ""]
    if result["skipped"]:
        lines += ["## Left out", "", *(f"- {_code(one['file'])}: {one['reason']}" for one in result["skipped"]), ""]
    if site.external:
        lines += [
            "## External, not fetched",
            "",
            *(f"- {_code(one['url'])} ({one['count']}, first in {_code(one['first'])})" for one in site.listed_external()[:5000]),
        ]
    return "\n".join(lines).rstrip() + "\n"


def _code(text: str | None) -> str:
    return "`" + re.sub(r"\s+", " ", text.replace("`", "'").replace("|", "\\|")) + "`" if text else ""


TOOL = Tool(
    name="docs.check_links",
    summary="Find links, images and anchors that lead nowhere in a folder of Markdown and HTML.",
    run=run,
    effect="read",
    inputs=("path",),
    needs=("markdown_it",),
    extra="docs",
    arguments={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "additionalProperties": False,
        "required": ["path"],
        "properties": {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096, "description": "A folder of Markdown or HTML; links that leave it are not checked."},
            "anchors": {"type": "boolean", "default": True, "description": "Also check that the heading or id behind # is there."},
        },
    },
    examples=({"path": "docs"},),
)
