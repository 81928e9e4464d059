"""Who may change something: reading is open, the rest asks for the local token."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Site
from tests.browser.standin import COOKIE, SECRET
from tests.browser.test_board import card, column, drag, open_board


def test_a_reader_who_presses_a_button_is_told_how_to_sign_in(reader: Page, site: Site) -> None:
    open_board(reader)
    reader.get_by_test_id("new-task").click()
    dialog = reader.get_by_test_id("sign-in-dialog")
    expect(dialog).to_contain_text("pulser open")
    reader.get_by_test_id("token").fill("wrong")
    reader.get_by_test_id("sign-in-submit").click()
    expect(dialog.get_by_role("alert")).to_contain_text("That token was not accepted")
    reader.get_by_test_id("token").fill(SECRET)
    reader.get_by_test_id("sign-in-submit").click()
    expect(reader.get_by_test_id("who")).to_contain_text("local")
    reader.get_by_test_id("new-task").click()
    expect(reader.get_by_test_id("new-task-dialog")).to_be_visible()


def test_a_card_a_reader_drags_goes_back(reader: Page, site: Site) -> None:
    open_board(reader)
    drag(reader, card(reader, "Quality rules"), column(reader, "queued"))
    expect(reader.get_by_test_id("sign-in-dialog")).to_be_visible()
    expect(column(reader, "failed")).to_contain_text("Quality rules")


def test_a_start_link_signs_in_and_leaves_no_secret_in_the_address(reader: Page, site: Site) -> None:
    reader.goto(f"/#start={SECRET}")
    expect(reader.get_by_test_id("who")).to_contain_text("local")
    assert SECRET not in reader.url
    assert reader.evaluate("document.cookie") == ""


def test_a_used_start_link_says_so_and_leaves_no_secret_either(reader: Page, site: Site) -> None:
    reader.goto("/#start=used")
    expect(reader.get_by_test_id("toast")).to_contain_text("The start link did not work")
    assert "used" not in reader.url


def test_a_session_that_ended_meanwhile_asks_again(page: Page, site: Site) -> None:
    open_board(page)
    page.context.clear_cookies(name=COOKIE)
    card(page, "Capacity plan").get_by_test_id("card-menu").click()
    card(page, "Capacity plan").get_by_test_id("move-cancel").click()
    expect(page.get_by_test_id("sign-in-dialog")).to_be_visible()


def test_signing_out_leaves_a_reader(page: Page, site: Site) -> None:
    open_board(page)
    page.get_by_test_id("sign-out").click()
    expect(page.get_by_test_id("sign-in")).to_be_visible()
    expect(page.get_by_test_id("sign-out")).to_have_count(0)
    assert not page.context.cookies()


@pytest.mark.parametrize("path", ["/agents", "/tasks"])
def test_no_page_changes_anything_for_a_reader(reader: Page, site: Site, path: str) -> None:
    if path == "/tasks":
        path += "/" + next(t["task_id"] for t in site.world.tasks.values() if t["stage"] == "review")
    reader.goto(path)
    reader.locator("[data-move], [data-agent-call]").first.click()
    expect(reader.get_by_test_id("sign-in-dialog")).to_be_visible()
    assert not site.world.paused
