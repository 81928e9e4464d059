"""``pulser key`` and ``pulser company``: who may come in, beside the local operator."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from pulser.cli import show
from pulser.cli.connect import Json, store
from pulser.core.errors import BadInput

key_app = typer.Typer(help="Make, list and revoke API keys.", no_args_is_help=True)
company_app = typer.Typer(help="Make and list companies.", no_args_is_help=True)
Company = Annotated[str, typer.Option("--company", "-c", help="The company's id.")]


@key_app.command("create")
def create_key(
    name: Annotated[str, typer.Option("--name", "-n", help="What it is for: a name of a-z, 0-9, _ . and -.")],
    company: Company = "default",
    role: Annotated[str, typer.Option("--role", "-r", help="viewer, operator or admin.")] = "operator",
    expires_at: Annotated[str | None, typer.Option("--expires-at", help="RFC 3339 time after which it opens nothing.")] = None,
    as_json: Json = False,
) -> None:
    """Make an API key. It is shown this once; only its hash is kept."""
    from pulser.access import keys

    with store() as opened:
        key_id, secret = opened.write_blocking(keys.create, company, name, role, _time(expires_at), scope="auth")
    if as_json:
        show.document({"key_id": key_id, "key": secret, "company": company, "name": name, "role": role, "expires_at": expires_at})
    else:
        show.say(secret)
        show.note(f"The key {key_id} ({name}, {role} of {company}) is not shown again. Use it as: PULSER_API_KEY=… or Authorization: Bearer …")


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    at: datetime | None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise BadInput(f"{text!r} is not a time with its zone", hint="For example: 2027-01-31T00:00:00Z")
    return at


@key_app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List the keys, never their secrets."""
    from pulser.access import keys

    with store() as opened:
        found = opened.read_blocking(keys.list_keys, scope="auth")
    if as_json:
        show.document([{name: value.isoformat() if isinstance(value, datetime) else value for name, value in each.items()} for each in found])
        return
    rows = (
        [each["key_id"], each["name"], each["company_id"], each["role"], _day(each["created_at"]), _day(each["last_used_at"]),
         "revoked" if each["revoked_at"] else _day(each["expires_at"])]
        for each in found
    )  # fmt: skip
    show.table(("key", "name", "company", "role", "made", "last used", "until"), rows, empty="There are no keys.")


def _day(at: datetime | None) -> str:
    return at.astimezone().strftime("%Y-%m-%d %H:%M") if at else ""


@key_app.command("revoke")
def revoke_key(key_id: Annotated[str, typer.Argument(metavar="ID", help="A key's id: key_…")], company: Company = "default", as_json: Json = False) -> None:
    """Make a key open nothing any more."""
    from pulser.access import keys

    with store() as opened:
        opened.write_blocking(keys.revoke, company, key_id, scope="auth")
    if as_json:
        show.document({"key_id": key_id, "revoked": True})
    else:
        show.say(f"{key_id}  revoked")


@company_app.command("create")
def create_company(
    company_id: Annotated[str, typer.Argument(metavar="ID", help="A name of a-z, 0-9, _ . and -.")],
    name: Annotated[str | None, typer.Option("--name", "-n", help="For people; the id if not given.")] = None,
    as_json: Json = False,
) -> None:
    """Make a company: tasks, files and keys of one are never seen by another."""
    from pulser.access import keys

    with store() as opened:
        opened.write_blocking(keys.create_company, company_id, name or company_id, scope="auth")
    if as_json:
        show.document({"company_id": company_id, "name": name or company_id})
    else:
        show.say(company_id)


@company_app.command("list")
def list_companies(as_json: Json = False) -> None:
    """List the companies."""
    from pulser.access import keys

    with store() as opened:
        found = opened.read_blocking(keys.list_companies, scope="auth")
    if as_json:
        show.document([{name: value.isoformat() if isinstance(value, datetime) else value for name, value in each.items()} for each in found])
    else:
        show.table(("company", "name", "made"), ([each["company_id"], each["name"], _day(each["created_at"])] for each in found))
