"""What holds for every page: weight, policy, contrast, small screens, vendored files."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections import Counter
from importlib.resources import files

import pytest
from playwright.sync_api import Page, Response, expect

from pulser.console import words
from pulser.events.catalogue import KINDS
from tests.browser.conftest import Site

PAGES = ["/board", "/agents", "/events", "/tasks/review"]
WEIGHT_BYTES = 80_000

# The lowest contrast of any visible text to the first opaque background behind it (WCAG 2.2, 1.4.3).
CONTRAST = """() => {
  const parse = (text) => { const c = document.createElement('canvas').getContext('2d', {willReadFrequently: true}); c.fillStyle = text; c.fillRect(0, 0, 1, 1); return [...c.getImageData(0, 0, 1, 1).data]; };
  const light = ([r, g, b]) => { const f = (v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }; return 0.2126 * f(r) + 0.7152 * f(g) + 0.0722 * f(b); };
  const behind = (element) => { for (let at = element; at; at = at.parentElement) { const c = parse(getComputedStyle(at).backgroundColor); if (c[3] > 250) return c; } return [255, 255, 255]; };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !element.checkVisibility({opacityProperty: true}) || element.closest('[disabled], dialog, .avatar, .visually-hidden')) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) found.push(`${ratio.toFixed(2)} ${element.className} ${element.textContent.trim().slice(0, 30)}`);
  }
  return [...new Set(found)];
}"""  # noqa: E501

NAMELESS = """() => [...document.querySelectorAll('button, a, input, select, textarea')]
  .filter((one) => !(one.textContent.trim() || one.ariaLabel || one.labels?.length)).map((one) => one.outerHTML)"""


def path_of(path: str, site: Site) -> str:
    return path.replace("review", next(t["task_id"] for t in site.world.tasks.values() if t["stage"] == "review"))


@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_light_comes_from_here_alone_and_may_be_kept(page: Page, site: Site, path: str) -> None:
    seen: list[Response] = []
    page.on("response", lambda answer: seen.append(answer))
    page.goto(path_of(path, site))
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")
    assert all(answer.url.startswith(site.url) for answer in seen)
    weight: Counter[str] = Counter()
    for answer in seen:
        if answer.url.endswith("/tail") or "/api/" in answer.url or "/tail?" in answer.url:
            continue
        kind = "fonts" if answer.url.endswith(".woff2") else "rest"
        weight[kind] += len(gzip.compress(answer.body(), 6))
        if "/static/" in answer.url:
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert 10_000 < weight["rest"] < WEIGHT_BYTES
    print(f"{path}: {weight['rest'] / 1000:.1f} kB compressed, fonts {weight['fonts'] / 1000:.1f} kB")


@pytest.mark.parametrize("path", PAGES)
def test_the_content_policy_is_strict_and_nothing_stands_inline(page: Page, site: Site, path: str) -> None:
    answer = page.goto(path_of(path, site))
    assert answer is not None
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self'") and "unsafe" not in policy
    assert page.evaluate("document.querySelectorAll('script:not([src]), style').length") == 0
    text = answer.text()
    assert " style=" not in text and " onclick=" not in text and "javascript:" not in text


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_text_has_enough_contrast_in_both_themes(page: Page, site: Site, path: str, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
    page.goto(path_of(path, site))
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_a_screen_of_360_pixels(page: Page, site: Site, path: str) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(path_of(path, site))
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("path", PAGES)
def test_every_control_has_a_name_and_ids_are_unique(page: Page, site: Site, path: str) -> None:
    page.goto(path_of(path, site))
    nameless = page.evaluate(NAMELESS)
    assert nameless == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert [name for name, count in Counter(ids).items() if count > 1] == []


def test_the_theme_is_dark_unless_chosen_and_the_choice_is_kept(page: Page, site: Site) -> None:
    page.emulate_media(color_scheme="no-preference")
    page.goto("/agents")
    background = "getComputedStyle(document.documentElement).backgroundColor"
    dark = page.evaluate(background)
    page.locator("#theme").click()
    light = page.evaluate(background)
    assert (dark, light) == ("rgb(22, 22, 22)", "rgb(244, 244, 244)") or (light, dark) == ("rgb(22, 22, 22)", "rgb(244, 244, 244)")
    page.reload()
    assert page.evaluate(background) == light


def test_the_first_tab_stop_skips_to_the_content(page: Page, site: Site) -> None:
    page.goto("/board")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_vendored_files_are_what_their_list_says() -> None:
    root = files("pulser.console") / "static" / "vendor"
    listed = json.loads((root / "VENDOR.json").read_text())
    for entry in listed:
        assert hashlib.sha256((root / entry["file"]).read_bytes()).hexdigest() == entry["sha256"], entry["file"]
        assert entry["licence"] and entry["version"] and entry["package"].startswith("npm:")
    present = {f"{folder.name}/{file.name}" for folder in root.iterdir() if folder.is_dir() for file in folder.iterdir()}
    assert present == {entry["file"] for entry in listed}


def test_every_kind_of_event_has_an_icon() -> None:
    assert set(words.kinds()) == set(KINDS)
