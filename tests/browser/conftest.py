"""A server of the stand-in, Debian's chromium, and pages that complain when anything was thrown or refused by the content policy."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.browser.standin import COOKIE, SECRET, build
from tests.browser.world import World

CHROMIUM = Path("/usr/bin/chromium")
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run"]


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@dataclass
class Site:
    """The address, and the world behind it. ``do`` runs a function on the server's own thread, where the world may be changed."""

    url: str
    app: Any
    loop: asyncio.AbstractEventLoop

    @property
    def world(self) -> World:
        found: World = self.app.state.world
        return found

    def do(self, work: Callable[..., Any], *args: Any, **more: Any) -> Any:
        async def run() -> Any:
            return work(*args, **more)

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(10)


@contextmanager
def serving(app: Any) -> Iterator[tuple[str, asyncio.AbstractEventLoop]]:
    """Serve ``app`` from a thread of its own: its address, and its loop."""
    server = _Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(),), daemon=True)
    thread.start()
    assert server.ready.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}", loop
    server.should_exit = True
    thread.join(10)
    loop.close()


@pytest.fixture(scope="session")
def served() -> Iterator[Site]:
    app = build(World())
    with serving(app) as (url, loop):
        yield Site(url, app, loop)


@pytest.fixture
def site(served: Site) -> Site:
    """The site with a fresh world."""
    served.do(setattr, served.app.state, "world", World())
    return served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip("chromium is not installed (apt-get install chromium)")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=ARGS)
        yield found
        found.close()


@pytest.fixture
def context(browser: Browser, site: Site) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=site.url, viewport={"width": 1280, "height": 800}, color_scheme="dark")
    made.set_default_timeout(10_000)
    yield made
    made.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of; a test that expects one empties it."""
    return []


@pytest.fixture
def reader(context: BrowserContext, complaints: list[str]) -> Iterator[Page]:
    """A page that has not signed in."""
    page = context.new_page()
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    yield page
    assert complaints == []


@pytest.fixture
def page(reader: Page, context: BrowserContext, site: Site) -> Page:
    """A page that has signed in."""
    context.add_cookies([{"name": COOKIE, "value": SECRET, "url": site.url, "httpOnly": True, "sameSite": "Strict"}])
    return reader
