"""The board in a browser."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Site
from tests.browser.world import HOSTILE, World


def card(page: Page, title: str) -> Locator:
    return page.get_by_test_id("card").filter(has_text=title)


def column(page: Page, status: str) -> Locator:
    return page.get_by_test_id(f"column-{status}")


def open_board(page: Page, path: str = "/board") -> None:
    page.goto(path)
    expect(page.get_by_test_id("live")).to_have_attribute("data-state", "live")


def drag(page: Page, source: Locator, target: Locator) -> None:
    start, end = source.bounding_box(), target.bounding_box()
    assert start and end
    page.mouse.move(start["x"] + 20, start["y"] + start["height"] - 14)
    page.mouse.down()
    page.mouse.move(start["x"] + 40, start["y"] + start["height"] - 6, steps=4)
    page.mouse.move(end["x"] + end["width"] / 2, end["y"] + min(120, end["height"] / 2), steps=12)
    page.mouse.up()


def test_the_front_page_is_the_board_with_each_task_in_the_column_of_its_status(page: Page, site: Site) -> None:
    open_board(page, "/")
    assert page.url == f"{site.url}/board"
    expect(column(page, "running").get_by_test_id("card")).to_have_count(3)
    expect(column(page, "in_review")).to_contain_text("Changelog for 0.2")
    expect(column(page, "failed")).to_contain_text("line 18 of customers.csv is not UTF-8")
    expect(card(page, "Join the three reports").get_by_test_id("dependencies")).to_contain_text("2")
    expect(page.get_by_test_id("count-completed")).to_have_text("15+")


def test_a_task_that_moves_on_the_server_moves_on_the_board(page: Page, site: Site) -> None:
    open_board(page)
    task = next(t for t in site.world.tasks.values() if t["title"] == "Check every link in docs/")
    site.do(site.world.move, task["task_id"], "in_progress", "maya")
    expect(column(page, "running")).to_contain_text("Check every link in docs/")
    expect(column(page, "queued")).not_to_contain_text("Check every link in docs/")
    expect(page.get_by_test_id("count-running")).to_have_text("4")


def test_progress_is_drawn_without_asking_the_server_again(page: Page, site: Site) -> None:
    open_board(page)
    task = next(t for t in site.world.tasks.values() if t["title"] == "Profile the penguins data set")
    reads = site.world.reads
    site.do(site.world.tell, "executor_progress", task, "dash", message="drawing charts", fraction=0.8)
    expect(card(page, "Profile the penguins")).to_contain_text("drawing charts")
    assert card(page, "Profile the penguins").locator("progress").get_attribute("value") == "80"
    assert site.world.reads == reads


def test_a_thousand_events_cost_few_redraws(page: Page, site: Site) -> None:
    open_board(page)
    reads = site.world.reads

    def burst() -> None:
        for n in range(250):
            site.world.add(f"burst {n}", "orchestration", "noop", "low")

    site.do(burst)
    expect(page.get_by_test_id("count-queued")).to_have_text("15+")
    expect(column(page, "queued")).to_contain_text("burst 249")
    assert site.world.reads - reads <= 4 * 7


def test_a_card_dropped_where_it_may_not_go_returns_and_says_where_it_may(page: Page, site: Site) -> None:
    open_board(page)
    drag(page, card(page, "Check every link"), column(page, "in_review"))
    toast = page.get_by_test_id("toast")
    expect(toast).to_contain_text("cannot become review")
    expect(toast).to_contain_text("Allowed from here: cancel.")
    expect(column(page, "queued")).to_contain_text("Check every link")


def test_a_reviewed_task_dropped_on_done_is_approved(page: Page, site: Site) -> None:
    open_board(page)
    drag(page, card(page, "Changelog for 0.2"), column(page, "completed"))
    expect(page.get_by_test_id("toast")).to_contain_text("Approved")
    expect(card(page, "Changelog for 0.2")).to_have_attribute("data-stage", "approved")


def test_a_failed_task_dropped_on_queued_is_requeued(page: Page, site: Site) -> None:
    open_board(page)
    drag(page, card(page, "Quality rules"), column(page, "queued"))
    expect(page.get_by_test_id("toast")).to_contain_text("Back in the queue")
    expect(column(page, "queued")).to_contain_text("Quality rules of customers.csv")


def test_every_move_can_be_made_by_keyboard_alone(page: Page, site: Site) -> None:
    open_board(page)
    menu = card(page, "Capacity plan").get_by_test_id("card-menu")
    menu.focus()
    page.keyboard.press("Enter")
    expect(card(page, "Capacity plan").get_by_test_id("move-cancel")).to_be_focused()
    page.keyboard.press("Escape")
    expect(menu).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("count-cancelled")).to_have_text("2")
    fold = page.get_by_test_id("fold-cancelled")
    fold.focus()
    page.keyboard.press("Enter")
    expect(card(page, "Capacity plan")).to_be_visible()


def test_filters_narrow_the_board_and_stay_in_the_address(page: Page, site: Site) -> None:
    open_board(page)
    page.get_by_test_id("filter-agent").select_option("dash")
    expect(column(page, "completed").get_by_test_id("card")).to_have_count(1)
    assert "agent=dash" in page.url
    page.keyboard.press("/")
    expect(page.get_by_test_id("filter-q")).to_be_focused()
    page.keyboard.type("penguins")
    expect(page.get_by_test_id("card")).to_have_count(1)
    page.reload()
    expect(page.get_by_test_id("filter-agent")).to_have_value("dash")
    expect(page.get_by_test_id("card")).to_have_count(1)
    page.get_by_role("link", name="Clear").click()
    expect(column(page, "running").get_by_test_id("card")).to_have_count(3)


def test_a_long_column_shows_more_and_keeps_it_when_redrawn(page: Page, site: Site) -> None:
    open_board(page)
    expect(column(page, "completed").get_by_test_id("card")).to_have_count(15)
    page.get_by_test_id("more-completed").click()
    expect(column(page, "completed").get_by_test_id("card")).to_have_count(23)
    expect(page.get_by_test_id("count-completed")).to_have_text("23")
    site.do(site.world.add, "One more", "orchestration", "noop", "low")
    expect(column(page, "queued")).to_contain_text("One more")
    expect(column(page, "completed").get_by_test_id("card")).to_have_count(23)


def test_an_empty_board_says_how_to_submit(page: Page, site: Site) -> None:
    site.do(setattr, site.app.state, "world", World(empty=True))
    open_board(page)
    expect(page.get_by_test_id("empty")).to_contain_text("pulser demo")
    expect(page.get_by_test_id("empty")).to_contain_text(f"{site.url}/api/v1/tasks")
    site.do(site.world.add, "The first", "orchestration", "noop", "low")
    expect(column(page, "queued")).to_contain_text("The first")


def test_a_new_task_is_submitted_from_the_dialog_and_appears(page: Page, site: Site) -> None:
    open_board(page)
    page.get_by_test_id("new-task").click()
    page.get_by_test_id("new-type").select_option("orchestration")
    page.get_by_test_id("new-title").fill("Say hello")
    page.get_by_test_id("new-submit").click()
    expect(page.get_by_test_id("new-task-dialog")).to_be_hidden()
    expect(column(page, "queued")).to_contain_text("Say hello")


@pytest.mark.parametrize(("payload", "said"), [("{", "This is not JSON"), ("[1]", "Arguments are a JSON object"), ('{"path": ""}', "path: is required")])
def test_what_is_wrong_with_a_new_task_is_said_beside_its_field(page: Page, site: Site, payload: str, said: str) -> None:
    open_board(page)
    page.get_by_test_id("new-task").click()
    page.get_by_test_id("new-type").select_option("testing")
    field = page.get_by_test_id("new-payload")
    field.fill(payload)
    page.get_by_test_id("new-submit").click()
    expect(page.locator("[data-problem='/payload']")).to_contain_text(said)
    expect(field).to_be_focused()
    expect(field).to_have_attribute("aria-invalid", "true")


def test_markup_in_a_title_is_shown_and_never_run(page: Page, site: Site) -> None:
    open_board(page)
    shown = column(page, "queued").get_by_role("heading", level=3).filter(has_text="window.hacked")
    expect(shown).to_have_text(HOSTILE)
    assert page.evaluate("window.hacked") is None
    assert re.search(r"<img src=x", page.content()) is None
