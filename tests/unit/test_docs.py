"""The docs tell the truth: links lead somewhere, commands exist, examples work, generated pages are what the code says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from scripts import generate_docs

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob(".github/*.md")])
FENCE = re.compile(r"^[ ]{0,3}```(\w*)\n(.*?)^[ ]{0,3}```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """The anchors of its headings, as GitHub makes them."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", re.sub(r"[`*]", "", heading)).strip().lower().replace(" ", "-") for heading in headings}


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in FENCE.findall(page.read_text("utf-8")) if language in languages]


def commands() -> Iterator[tuple[str, str]]:
    """Every command line that a page shows, with the page: in blocks of shell, and in `code` that begins with the program."""
    for page in PAGES:
        for block in blocks(page, "sh", "bash", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                if line.strip() and not line.strip().startswith("#"):
                    yield name(page), re.sub(r"\s+#.*", "", line.strip()).removeprefix("$ ")
        for inline in re.findall(r"`((?:pulser|make) [^`]+)`", prose(page)):
            yield name(page), inline


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_within_the_repository_leads_somewhere(page: Path):
    broken = []
    for target in re.findall(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)", prose(page)):
        link = "".join(target)
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        if not there.exists() or (anchor and anchor not in anchors(there)):
            broken.append(link)
    assert not broken


def test_every_page_can_be_reached_from_the_readme():
    seen: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        waiting += [(page.parent / link.partition("#")[0]).resolve() for link in re.findall(r"\]\(([^)\s:]+)\)", prose(page)) if link.partition("#")[0]]
    assert {name(page) for page in PAGES} <= {name(page) for page in seen if page.is_relative_to(ROOT)}


def test_every_make_command_in_the_docs_is_a_target():
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    shown = [(page, target) for page, line in commands() for target in re.findall(r"(?:^|\s)make ([a-z-]+)", line)]
    assert shown
    assert not [pair for pair in shown if pair[1] not in targets]


def test_every_setting_that_the_docs_name_exists():
    known = {line.lstrip("#").split("=")[0] for line in (ROOT / ".env.example").read_text("utf-8").splitlines() if "=" in line}
    own = {"PULSER_ENV_FILE", "PULSER_TEST_POSTGRES", "PULSER_API_PORT"}
    named = {(name(page), variable) for page in PAGES for variable in re.findall(r"\bPULSER_[A-Z0-9_]*[A-Z0-9]\b", page.read_text("utf-8"))}
    assert not {pair for pair in named if pair[1] not in known | own}


def test_generated_pages_are_in_step_with_the_code():
    stale = [page for page, text in generate_docs.pages() if not (ROOT / page).is_file() or (ROOT / page).read_text("utf-8") != text]
    assert not stale, "run `make docs`"


def test_a_page_that_is_not_in_step_fails_the_check(tmp_path: Path):
    page = tmp_path / ".env.example"
    page.write_text("PULSER_PORT=1\n")
    script = "import sys; from pathlib import Path; from scripts import generate_docs as it; it.ROOT = Path(sys.argv[1]); sys.exit(it.main(sys.argv[2:]))"
    run = [sys.executable, "-c", script, str(tmp_path)]
    told = subprocess.run([*run, "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and ".env.example" in told.stderr
    assert page.read_text() == "PULSER_PORT=1\n"
    assert subprocess.run(run, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert subprocess.run([*run, "--check"], cwd=ROOT, capture_output=True, check=False).returncode == 0


def test_the_agent_that_the_docs_show_is_one():
    from pulser.agents import spec

    examples = blocks(ROOT / "docs/how-to/write-an-agent.md", "yaml")
    assert examples
    assert [spec.check(example, "example.yaml") for example in examples] == [[]] * len(examples)


def test_the_tool_that_the_docs_show_works(tmp_path: Path):
    (example,) = blocks(ROOT / "docs/how-to/write-a-tool.md", "python")
    made: dict[str, Any] = {}
    exec(compile(example, "example.py", "exec"), made)
    (tmp_path / "text.txt").write_text("one two two")

    call = SimpleNamespace(args={"path": str(tmp_path / "text.txt")}, artifact=lambda name, media_type: tmp_path / name)
    assert made["COUNT"].run(call) == {"words": 3}
    assert (tmp_path / "words.txt").read_text() == "one\ntwo"


def test_the_readme_begins_with_what_it_is_and_the_two_commands():
    screen = (ROOT / "README.md").read_text("utf-8").splitlines()[:12]
    assert any(line.startswith("make run ") for line in screen)
    assert any(line.startswith("make test ") for line in screen)


def test_shell_blocks_are_well_formed():
    for page in PAGES:
        for block in blocks(page, "sh", "bash"):
            told = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True, check=False, env={"PATH": os.environ["PATH"]})
            assert told.returncode == 0, (name(page), told.stderr)


if find_spec("pulser.cli"):

    def test_every_pulser_command_in_the_docs_is_one():
        """Parsed as the program would, up to the point of doing it."""
        import shlex

        from typer.main import get_command

        app = import_module("pulser.cli").app
        unknown = []
        for page, line in commands():
            words = shlex.split(line)
            while words and re.match(r"[A-Z_]+=", words[0]):
                words.pop(0)
            if words[:1] == ["pulser"] and (problem := parse(get_command(app), words[1:])):
                unknown.append((page, line, problem))
        assert not unknown

    def parse(command: Any, words: list[str]) -> str:
        """Why ``command`` does not understand ``words``; empty if it does. Words in capitals stand for what a user fills in."""
        context = None
        while hasattr(command, "commands") and words:
            context = command.make_context(command.name or "pulser", [], parent=context, resilient_parsing=True)
            if words[0] not in command.commands:
                return f"there is no command {words[0]}"
            command, words = command.commands[words[0]], words[1:]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
        return next((f"there is no option {word}" for word in words if word.startswith("-") and word.partition("=")[0] not in options), "")
