"""Markdown that an agent wrote, drawn in the browser: as elements, and soon, whatever it wrote."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Page

from pulser.console import assets
from tests.browser.conftest import Site

DRAW = """async ([where, text]) => {
  const { markdown } = await import(where);
  const began = performance.now();
  const box = markdown(text);
  return { html: box.innerHTML, ms: performance.now() - began };
}"""


@pytest.fixture
def draw(reader: Page, site: Site) -> Any:
    reader.goto("/agents")
    return lambda text: reader.evaluate(DRAW, [assets.url("js/markdown.js"), text])


DRAWN = [
    ("# Title ##", "<h3>Title</h3>"),
    ("## C#", "<h4>C#</h4>"),
    ("### ###", "<h5></h5>"),
    ("a **b *c* d** e", "<p>a <strong>b <em>c</em> d</strong> e</p>"),
    ("`a*b*` and ``c`d``", "<p><code>a*b*</code> and <code>c`d</code></p>"),
    ('[a `b`](https://x.example/Foo_(bar) "title")', '<p><a href="https://x.example/Foo_(bar)" rel="noreferrer noopener">a <code>b</code></a></p>'),
    ("[a](javascript:x) ![b](https://x.example/y.png)", "<p>a b</p>"),
    (r"\*not\* __yes__", "<p>*not* <strong>yes</strong></p>"),
    ("<b>text</b> [open", "<p>&lt;b&gt;text&lt;/b&gt; [open</p>"),
]


def test_what_is_written_is_drawn(draw: Any) -> None:
    assert [draw(text)["html"] for text, _ in DRAWN] == [html for _, html in DRAWN]


FLOODS = ["[", "![", "[a](", "[a](b ", "[a](b(", "`", "`a", "``a`b", "*", "*a", "* ", "**a", "_", "__a", "#", "# ", "\\", "|", "| ", "- ", ">", "1", "~~~", " "]


def test_no_flood_holds_up_the_page(draw: Any) -> None:
    slow = {}
    for start in ("", "# ", "a "):
        for piece in FLOODS:
            ms = draw(start + piece * (49_900 // len(piece)))["ms"]
            if ms > 2_000:
                slow[start + piece] = ms
    assert not slow


def test_a_long_text_is_cut_and_says_so(draw: Any) -> None:
    drawn = draw("word " * 100_000)
    assert len(drawn["html"]) < 60_000 and "download it" in drawn["html"]
