"""``pulser agents``: who there is; and writing one of your own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client
from pulser.cli.exits import USAGE
from pulser.core.errors import BadInput, Conflict

if TYPE_CHECKING:
    from pulser.client import Agent

app = typer.Typer(help="List, show, pause and resume agents; write and check specs.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME", help="An agent's name.")]


@app.command("list")
def list_(as_json: Json = False) -> None:
    """List the agents with what they do now."""
    with client() as pulser:
        found = pulser.agents()
    if as_json:
        show.document(found)
        return
    rows = (
        [a["name"], "paused" if a["paused"] else _state(a), a["role"], ", ".join(each["task_type"] for each in a["task_types"]),
         str(_load(a, "running")), str(_load(a, "queued")),
         str((a.get("stats") or {}).get("completed", "")), show.span((a.get("stats") or {}).get("p95_s"))]
        for a in found
    )  # fmt: skip
    show.table(("agent", "state", "role", "task types", "running", "queued", "done", "p95"), rows)


def _state(agent: Agent) -> str:
    return "ready" if any(each.get("alive") and each.get("available") for each in agent["instances"]) else "no worker"


def _load(agent: Agent, name: str) -> int:
    return int((agent.get("load") or {}).get(name, 0))


@app.command("show")
def show_(name: Name, as_json: Json = False) -> None:
    """Show an agent: its actions, instances and figures."""
    with client() as pulser:
        agent = pulser.agent(name)
    if as_json:
        show.document(agent)
        return
    values: dict[str, Any] = dict(agent)
    names = ("name", "role", "description", "skills", "review", "backup", "time_limit_s", "targets", "paused", "load", "stats")
    show.pairs({key: values.get(key) for key in names})
    show.say()
    show.table(("action", "tool", "what it does"), ([each["action"], each["tool"], each["summary"]] for each in agent["actions"]))
    if agent["instances"]:
        show.say()
        columns = ("instance", "host", "pid", "running", "capacity", "available", "alive")
        show.table(columns, ([each.get(key) for key in ("instance_id", *columns[1:])] for each in agent["instances"]))


@app.command()
def pause(name: Name, as_json: Json = False) -> None:
    """Give an agent nothing new; what it has goes on."""
    with client() as pulser:
        _tell(pulser.pause(name), name, "paused", as_json)


@app.command()
def resume(name: Name, as_json: Json = False) -> None:
    """Give a paused agent work again."""
    with client() as pulser:
        _tell(pulser.resume(name), name, "resumed", as_json)


def _tell(agent: Agent, name: str, what: str, as_json: bool) -> None:
    if as_json:
        show.document(agent)
    else:
        show.say(f"{name}  {what}")


@app.command()
def new(
    name: Name,
    to: Annotated[Path | None, typer.Option("--to", "-o", help="File to write; NAME.yaml if not given, - is standard output.")] = None,
    as_json: Json = False,
) -> None:
    """Write an agent spec to start from."""
    from pulser.agents.spec import template
    from pulser.core.ids import check_name

    text = template(check_name(name, "the agent"))
    if str(to) == "-":
        show.say(text.removesuffix("\n"))
        return
    path = to or Path(f"{name}.yaml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise Conflict(f"there is a file {path} already", hint="Name another one with --to.") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be written: {error.strerror}", hint="Name another one with --to.") from None
    if as_json:
        show.document({"written": str(path)})
    else:
        show.say(str(path))
        show.note(f"Check it with: pulser agents validate {path}. Pulser loads it from the folder that PULSER_TOOLS_AGENTS_DIR names.")


@app.command()
def validate(files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Agent specs.")], as_json: Json = False) -> None:
    """Check agent specs; exit code 2 if one is not acceptable."""
    from pulser.agents.spec import check

    found = []
    for path in files:
        try:
            problems = check(path.read_text("utf-8"), str(path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{path} cannot be read: {error}", hint="It must be a text file in UTF-8.") from None
        found += [{"file": str(path), "line": p.line, "column": p.column, "pointer": p.pointer, "problem": p.message, "hint": p.hint} for p in problems]
        if not problems and not as_json:
            show.say(f"{path}: ok")
    if as_json:
        show.document({"ok": not found, "problems": found})
    for each in [] if as_json else found:
        show.note(f"{each['file']}:{each['line']}:{each['column']}: {each['problem']}" + (f"\n  {each['hint']}" if each["hint"] else ""))
    raise typer.Exit(USAGE if found else 0)
