"""The reference page of the command line, drawn from the commands themselves."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from pulser.cli.commands import build
from pulser.cli.exits import MEANING


def page() -> str:
    """docs/reference/cli.md without its first line."""
    root = build()
    lines = [
        "# Command line",
        "",
        "Each command says the same with `--help`. `serve`, `worker`, `db`, `doctor`, `config`, `backup`, `restore`, `key` and `company` open the data folder",
        "or the database themselves; every other command speaks to the server at `PULSER_URL`, or on this machine at `PULSER_PORT`, signed in with",
        "`PULSER_API_KEY` or the data folder's token. `--url` and `--data` before the command name another server and data folder.",
        "",
        "With `--json` standard output holds one JSON document, or one JSON document per line where events are told, and nothing else. Tables have frames and",
        "colours on a terminal only (never with `NO_COLOR`); piped they are plain columns. Errors go to standard error: what is wrong, and how to mend it;",
        "with `PULSER_LOG_LEVEL=debug` also where. The option `--install-completion` makes the shell complete commands.",
        "",
        "## Exit codes",
        "",
        "| code | meaning |",
        "| --- | --- |",
        *(f"| {code} | {meaning} |" for code, meaning in MEANING.items()),
    ]
    for name, command in root.commands.items():
        if not command.hidden:
            lines += _command(f"pulser {name}", command)
    lines += ["", "## Other names", "", "`pulser dashboard` prints a sign-in link of the console, as `pulser open --no-browser` does."]
    return "\n".join(lines) + "\n"


def _command(path: str, command: Any, depth: int = 2) -> Iterator[str]:
    yield from ("", f"{'#' * depth} {path}", "", *list(_help(command))[:-1])
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from _command(f"{path} {name}", each, depth + 1)
        return
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    usage = " ".join([path, *(["[OPTIONS]"] if options else []), *map(_argument, arguments)])
    yield from ("", "```text", usage, "```")
    rows = [(_argument(each), each.help) for each in arguments if each.help]
    rows += [(_names(each), each.help) for each in options if not each.hidden]
    if rows:
        yield from ("", "| | |", "| --- | --- |", *(f"| `{name}` | {_cell(text)} |" for name, text in rows))


def _argument(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _help(command: Any) -> Iterator[str]:
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        text = " ".join(paragraph.split())
        head, found, example = text.partition("For example: ")
        yield from (f"For example: `{example}`" if found and not head else text, "")


def _names(option: Any) -> str:
    names = ", ".join(option.opts)
    if option.secondary_opts:
        return f"{names} / {', '.join(option.secondary_opts)}"
    return names if option.is_flag else f"{names} {max(option.opts, key=len).removeprefix('--').upper().replace('-', '_')}"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")
