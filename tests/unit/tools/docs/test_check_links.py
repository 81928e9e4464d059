"""docs.check_links finds what leads nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from pulser.core.errors import BadInput
from pulser.tools.builtin.docs.check_links import TOOL
from tests.unit.tools.fake_call import run


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "guide" / "images").mkdir(parents=True)
    (folder / "README.md").write_text("# Hello, World!\n\n## Hello, World!\n\n## `code` & more\n\n<a id='by-hand'></a>\n")
    (folder / ".github").mkdir()
    (folder / ".github" / "template.md").write_text("# x\n")
    (folder / "guide" / "start.md").write_text("# Start\n")
    (folder / "guide" / "images" / "a b.png").write_bytes(b"\x89PNG")
    return folder


def page(site: Path, text: str, name: str = "guide/page.md") -> None:
    (site / name).write_text(text)


def broken(site: Path, tmp_path: Path, **args: object) -> list[tuple[int, str, str | None]]:
    return [(one["line"], one["target"], one["suggestion"]) for one in run(TOOL, tmp_path, path=str(site), **args).result["broken"]]


GOOD = [
    "[a](start.md)", "[a](../README.md#hello-world)", "[a](../README.md#hello-world-1)", "[a](/README.md#code--more)", "[a](../README.md#by-hand)", "[a](#top)",
    "[a](../guide/)", "[a](..)", "![i](images/a%20b.png)", "![i](<images/a b.png>)", "[a](mailto:a@example.org)", "[a](start.md?x=1)",
    "[a](../.github/template.md)", "`[a](nowhere.md)`",
    "[a][d]\n\n[d]: start.md", "<img src='images/a b.png'>", "    [a](nowhere.md)", "arr[0][1] and \\[x\\]\\[y\\]", "[a](../README.md#Hello-World)",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_links_that_lead_somewhere_are_fine(text, site, tmp_path):
    page(site, text + "\n")
    assert broken(site, tmp_path) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("one\ntwo [a](strat.md) [b](start.md)\n", (2, "strat.md", "start.md")),
        ("[a](Start.md)", (1, "Start.md", "start.md")),
        ("[a](README.md)", (1, "README.md", "../README.md")),
        ("![i](images/b.png)", (1, "images/b.png", "images/a b.png")),
        ("[a](../README.md#hello-wurld)", (1, "../README.md#hello-wurld", "#hello-world-1")),
        ("\n\n[a](#nowhere)", (3, "#nowhere", None)),
        ("---\ntitle: x\n---\n\n[a](strat.md)", (5, "strat.md", "start.md")),
        ("[a][missing]", (1, "[missing]", None)),
        ("<a\nhref='strat.md'>x</a>", (1, "strat.md", "start.md")),
        ("| a |\n|---|\n| [a](strat.md) |", (3, "strat.md", "start.md")),
        ("- x\n- y [a][d]\n\n[d]: strat.md", (2, "strat.md", "start.md")),
    ],
)
def test_links_that_lead_nowhere_are_told_with_line_and_what_is_near(text, found, site, tmp_path):
    page(site, text)
    line, target, suggestion = found
    assert [b[:2] for b in broken(site, tmp_path)] == [(line, target)]
    assert suggestion is None or broken(site, tmp_path)[0][2] == suggestion or target.startswith("../README.md#")


def test_html_pages_are_read_too(site, tmp_path):
    page(site, "<h1 id=x>x</h1>\n<a href='#x'>a</a> <a href='#y'>b</a>\n<img src='none.png'><p id=x>", "index.html")
    made = run(TOOL, tmp_path, path=str(site))
    assert [(b["line"], b["target"]) for b in made.result["broken"]] == [(2, "#y"), (3, "none.png")]
    assert made.result["duplicates"] == [{"file": "index.html", "line": 3, "what": "id x"}]


def test_templates_are_left_out_because_their_links_are_not_written_yet(site, tmp_path):
    page(site, "<a href='/board{{ query }}'>x</a>", "page.html")
    assert run(TOOL, tmp_path, path=str(site)).result["skipped"] == [{"file": "page.html", "reason": "a template"}]


def test_external_addresses_are_listed_and_said_not_to_be_fetched(site, tmp_path):
    page(site, "[a](https://example.org/x) <https://example.org/x>\n![b](//cdn.example.org/b.png)\n")
    result = run(TOOL, tmp_path, path=str(site)).result
    assert [(e["url"], e["count"], e["first"]) for e in result["external"]] == [
        ("https://example.org/x", 2, "guide/page.md:1"),
        ("//cdn.example.org/b.png", 1, "guide/page.md:2"),
    ]
    assert result["external_checked"] is False and "not fetched" in result["summary"] and result["broken_count"] == 0


def test_links_out_of_the_folder_are_told_and_not_followed(site, tmp_path):
    page(site, "[a](../../other/secret.md)\n")
    result = run(TOOL, tmp_path, path=str(site)).result
    assert result["broken"] == [] and result["outside"][0]["target"] == "../../other/secret.md"


def test_definitions_given_twice_or_never_used_are_told(site, tmp_path):
    page(site, "[a][x]\n\n[x]: start.md\n[x]: ../README.md\n[y]: start.md\n")
    result = run(TOOL, tmp_path, path=str(site)).result
    assert [(d["line"], d["what"]) for d in result["duplicates"]] == [(4, "definition [X]")]
    assert [(d["line"], d["what"]) for d in result["unused_definitions"]] == [(5, "Y")]


def test_anchors_can_be_left_out(site, tmp_path):
    page(site, "[a](start.md#nowhere)\n")
    assert len(broken(site, tmp_path)) == 1 and broken(site, tmp_path, anchors=False) == []


def test_the_report_names_file_and_line(site, tmp_path):
    page(site, "[a](strat.md)\n")
    made = run(TOOL, tmp_path, path=str(site))
    assert "| `guide/page.md`:1 | `strat.md` | no such file | `start.md` |" in made.text("links.md")
    assert made.json("links.json")["broken"][0]["suggestion"] == "start.md"


def test_a_file_that_is_not_utf8_is_told_and_the_rest_is_checked(site, tmp_path):
    (site / "latin.md").write_bytes(b"caf\xe9 [a](x.md)\n")
    result = run(TOOL, tmp_path, path=str(site)).result
    assert [s["file"] for s in result["skipped"]] == ["latin.md"] and result["files"] == 3


def test_a_folder_without_pages_has_a_clear_result(tmp_path):
    (tmp_path / "code").mkdir()
    assert "no links to check" in run(TOOL, tmp_path, path=str(tmp_path / "code")).result["summary"]


@pytest.mark.parametrize("name", ["nowhere", "README.md"])
def test_what_is_not_a_folder_is_refused(name, site, tmp_path):
    with pytest.raises(BadInput):
        run(TOOL, tmp_path, path=str(site / name))


def test_a_page_of_brackets_is_no_template_and_is_read_in_reasonable_time(site, tmp_path):
    page(site, "{{" * 500_000 + "\n}}", "brackets.html")
    assert broken(site, tmp_path) == []
