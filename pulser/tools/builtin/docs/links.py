"""The links, anchors and definitions of one Markdown or HTML text, each with its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it.token import Token

_UNDEFINED = re.compile(r"(?<![\\\]\w])!?\[([^\[\]]{1,200})\]\[([^\[\]]{0,200})\]")
_CUSTOM_ID = re.compile(r"\s*\{#([\w.:-]+)\}\s*$")


@dataclass(frozen=True, slots=True)
class Link:
    """One link: ``kind`` is link or image."""

    line: int
    target: str
    kind: str = "link"


@dataclass(slots=True)
class Page:
    """What a text holds. ``duplicates`` and ``undefined`` are (line, what)."""

    links: list[Link] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)
    duplicates: list[tuple[int, str]] = field(default_factory=list)
    undefined: list[tuple[int, str]] = field(default_factory=list)
    unused: list[tuple[int, str]] = field(default_factory=list)


def read_html(text: str, first_line: int = 1) -> Page:
    """Links of ``href`` and ``src``, anchors of ``id`` and ``name``."""
    page = Page()
    _Tags(page, first_line).feed(text)
    return page


class _Tags(HTMLParser):
    def __init__(self, page: Page, first_line: int) -> None:
        super().__init__(convert_charrefs=True)
        self._page, self._offset = page, first_line - 1

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0] + self._offset
        for name, value in attrs:
            if value is None:
                continue
            if name == "id" or (name == "name" and tag == "a"):
                if name == "id" and value in self._page.anchors:
                    self._page.duplicates.append((line, f"id {value}"))
                self._page.anchors.add(value)
            elif name in ("href", "src") and tag != "base":
                self._page.links.append(Link(line, value, "image" if tag in ("img", "source") else "link"))


def read_markdown(text: str) -> Page:
    """Links in every form (inline, reference, image, autolink, HTML), headings as GitHub names them, and reference definitions."""
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
    env: dict[str, object] = {}
    tokens = parser.parse(text, env)
    page, slugs = Page(), dict[str, int]()
    line = 1
    for at, token in enumerate(tokens):
        line = token.map[0] + 1 if token.map else line
        if token.type == "html_block":
            _join(page, read_html(token.content, line))
        elif token.type == "inline":
            _inline(page, token, line)
            if tokens[at - 1].type == "heading_open":
                page.anchors.add(_slug_once(_plain(token), slugs, page))
    _definitions(page, text, env)
    return page


def _join(page: Page, other: Page) -> None:
    page.duplicates += other.duplicates
    page.links += other.links
    page.anchors |= other.anchors


def _inline(page: Page, token: Token, line: int) -> None:
    """Line breaks inside a paragraph are tokens of their own; counting them gives each link its line."""
    raw = token.content  # brackets that were escaped look otherwise here
    for child in token.children or []:
        if child.type in ("softbreak", "hardbreak"):
            line += 1
        elif child.type == "link_open":
            page.links.append(Link(line, str(child.attrs.get("href", ""))))
        elif child.type == "image":
            page.links.append(Link(line, str(child.attrs.get("src", "")), "image"))
        elif child.type == "html_inline":
            _join(page, read_html(child.content, line))
        elif child.type == "text":
            page.undefined += [(line, found[2] or found[1]) for found in _UNDEFINED.finditer(child.content) if found[0] in raw]
        line += child.content.count("\n") if child.type in ("code_inline", "html_inline") else 0


def _plain(token: Token) -> str:
    return "".join(child.content for child in token.children or [] if child.type in ("text", "code_inline", "text_special"))


def _slug_once(heading: str, slugs: dict[str, int], page: Page) -> str:
    """The heading's anchor by GitHub's rule, numbered when it occurs again."""
    if custom := _CUSTOM_ID.search(heading):
        page.anchors.add(custom[1])
        heading = heading[: custom.start()]
    slug = re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")
    number = slugs.get(slug)
    slugs[slug] = 0 if number is None else number + 1
    return slug if number is None else f"{slug}-{number + 1}"


def _definitions(page: Page, text: str, env: dict[str, object]) -> None:
    """Definitions that are given twice, or that nothing uses."""
    for one in _dicts(env.get("duplicate_refs")):
        page.duplicates.append((_first_line(one), f"definition [{one.get('title') or one.get('label') or one.get('href')}]"))
    references = env.get("references")
    if isinstance(references, dict):
        used = {" ".join(found.split()).upper() for found in re.findall(r"\[([^\[\]]{1,999})\](?!:)", text)}
        page.unused += [(_first_line(one), label) for label, one in references.items() if label not in used]


def _dicts(value: object) -> Iterator[dict[str, object]]:
    if isinstance(value, list):
        yield from (one for one in value if isinstance(one, dict))


def _first_line(reference: dict[str, object]) -> int:
    place = reference.get("map")
    return place[0] + 1 if isinstance(place, list) else 1
