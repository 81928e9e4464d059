"""The commands put together, and how a call ends: an exit code, at most a few lines on standard error, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from pulser.cli import agents, backup, config, connect, console, db, dead, demo, doctor, events, exits, keys, serve, submit, tasks, watch
from pulser.core.errors import PulserError

EPILOG = "Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in exits.MEANING.items()) + "."


def commands(*, rich: bool = False) -> typer.Typer:
    """All commands. ``rich``: help with frames and colours, for a terminal."""
    app = typer.Typer(
        name="pulser",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich" if rich else None,
        epilog=EPILOG,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(connect.before)
    app.command()(serve.serve)
    app.command()(serve.worker)
    app.command()(demo.demo)
    app.command()(submit.submit)
    app.add_typer(tasks.app, name="tasks")
    app.add_typer(dead.app, name="dead")
    app.command()(watch.watch)
    app.add_typer(agents.app, name="agents")
    app.command()(events.events)
    app.command("open")(console.open_)
    app.command(hidden=True)(console.dashboard)
    app.command()(config.config)
    app.command()(doctor.doctor)
    app.add_typer(db.app, name="db")
    app.command()(backup.backup)
    app.command()(backup.restore)
    app.add_typer(keys.key_app, name="key")
    app.add_typer(keys.company_app, name="company")
    app.command()(config.version)
    return app


def build(*, rich: bool = False) -> Any:
    """The same, ready to be called or drawn."""
    return typer.main.get_command(commands(rich=rich))


def run(arguments: Sequence[str]) -> int:
    """One call; its exit code."""
    try:
        code = build(rich=sys.stdout.isatty()).main(args=list(arguments), prog_name="pulser", standalone_mode=False)
        return code if isinstance(code, int) else exits.OK
    except TyperException as error:
        _complain(error)
        return exits.USAGE
    except (typer.Abort, KeyboardInterrupt):
        return exits.INTERRUPTED
    except PulserError as error:
        for line in exits.message(error):
            print(line, file=sys.stderr)
        if _debugging():
            raise
        return exits.code_of(error)
    except Exception as error:
        if _debugging():
            raise
        print(f"pulser: {type(error).__name__}: {error}", file=sys.stderr)
        print("  This is a mistake in Pulser. PULSER_LOG_LEVEL=debug shows where.", file=sys.stderr)
        return exits.FAILED


def _complain(error: TyperException) -> None:
    """Wrong usage, in a line, with where to read on."""
    context = getattr(error, "ctx", None)
    if type(error).__name__ == "NoArgsIsHelpError":  # a group alone: its help is the answer
        print(error.format_message(), file=sys.stderr)
        return
    print(f"pulser: {error.format_message()}", file=sys.stderr)
    if context is not None:
        print(f"  See: {context.command_path} --help", file=sys.stderr)


def _debugging() -> bool:
    """True if the operator wants tracebacks."""
    try:
        return connect.settings().settings.observe.log_level == "debug"
    except PulserError:
        return False
