"""``pulser watch``: the board as it changes, in the terminal."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pulser.cli import show
from pulser.cli.connect import Json, client

if TYPE_CHECKING:
    from pulser.client import Agent, Event, Task

AT_MOST_EVERY_S = 0.25  # a redraw reads the lists again
COLUMNS = ("task", "status", "agent", "action", "priority", "took", "title")


def watch(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Tasks to show.")] = 20,
    agent: Annotated[str | None, typer.Option(help="Of this agent only.")] = None,
    as_json: Json = False,
) -> None:
    """Watch tasks and agents live, until Ctrl-C. When piped or with --json: the events, one per line."""
    from pulser.cli.events import tell

    if as_json or not show.terminal():
        with client() as pulser:
            for event in pulser.tail(retries=20):
                tell(event, as_json=as_json)
        return
    told: queue.Queue[Event | Exception] = queue.Queue()
    threading.Thread(target=_listen, args=(told,), name="tail", daemon=True).start()
    _live(told, limit, agent)


def _listen(told: queue.Queue[Any]) -> None:
    """Events from a connection of its own."""
    try:
        with client() as pulser:
            for event in pulser.tail():
                told.put(event)
    except Exception as error:  # raised again where the person sees it
        told.put(error)


def _live(told: queue.Queue[Any], limit: int, agent: str | None) -> None:
    from rich.live import Live

    stop = threading.Event()
    with client() as pulser, Live(screen=True, auto_refresh=False) as live:
        latest: list[Event] = pulser.latest_events(5)
        while True:
            tasks = list(pulser.tasks(limit=limit, **({"agent": agent} if agent else {})))
            live.update(_drawing(tasks, pulser.agents(), latest), refresh=True)
            news = [told.get()]
            stop.wait(AT_MOST_EVERY_S)  # what comes meanwhile is drawn together
            while not told.empty():
                news.append(told.get_nowait())
            for each in news:
                if isinstance(each, Exception):
                    raise each
            latest = [*latest, *news][-5:]


def _drawing(tasks: list[Task], agents: list[Agent], latest: list[Event]) -> Any:
    from rich.console import Group
    from rich.text import Text

    def count(each: Agent, name: str) -> int:
        return int((each.get("load") or {}).get(name, 0))

    crew = Text("  ").join(
        Text(f"{a['name']} {count(a, 'running')}▶ {count(a, 'queued')}…", style="yellow" if a["paused"] else "cyan" if count(a, "running") else "dim")
        for a in agents
    )
    rows = [
        [t["task_id"], t["status"], t["assigned_agent"], t["action"], t["priority"], show.span(show.between(t.get("started_at"), t.get("completed_at"))),
         show.clean((t.get("title") or "")[:60])]
        for t in tasks
    ]  # fmt: skip
    lines = [Text(f"{show.when(e['ts'])[11:]}  {show.clean(e.get('says') or e['event'])}", style="dim") for e in latest]
    return Group(crew, show.rich_table(COLUMNS, rows), *lines)
