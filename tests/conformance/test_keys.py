"""Companies and keys: a key opens its company until it expires or is revoked, and what is stored opens nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from pulser.access import keys
from pulser.core.errors import BadInput, Conflict, NotFound
from tests.conformance.world import COMPANY, OTHER, World

pytestmark = pytest.mark.anyio


async def auth(world: World, fn: Any, *args: Any) -> Any:
    return await world.store.write(fn, *args, scope="auth")


async def opens(world: World, secret: str) -> Any:
    return await world.store.read(lambda tx: keys.sign_in(tx, keys.digest(secret)), scope="auth")


async def test_a_key_opens_its_company_in_its_role(world: World) -> None:
    _, secret = await auth(world, keys.create, OTHER, "ci", "viewer")
    actor, until = await opens(world, secret)
    assert (actor.name, actor.company_id, actor.role, actor.may_write, until) == ("key:ci", OTHER, "viewer", False, None)
    for wrong in ("", "pk_", secret[:-1], secret + "a", secret.upper(), " " + secret):
        assert await opens(world, wrong) is None


async def test_neither_the_list_nor_the_row_tells_the_secret(world: World) -> None:
    _, secret = await auth(world, keys.create, COMPANY, "ci", "admin")
    [listed] = await world.store.read(keys.list_keys, scope="auth")
    assert "secret_hash" not in listed and secret not in str(listed)
    rows = await world.sql("SELECT * FROM api_keys")
    assert secret not in str(rows) and secret.removeprefix("pk_") not in str(rows)


async def test_a_revoked_or_expired_key_opens_nothing(world: World) -> None:
    now = await world.store.read(lambda tx: tx.now, scope="auth")
    key_id, secret = await auth(world, keys.create, COMPANY, "ci", "admin")
    _, short = await auth(world, keys.create, COMPANY, "short", "admin", now + timedelta(hours=1))
    assert await world.store.read(keys.count, scope="auth") == 2
    await auth(world, keys.revoke, COMPANY, key_id)
    assert await opens(world, secret) is None
    assert (await opens(world, short))[1] == now + timedelta(hours=1)
    world.pass_time(3601)
    assert await opens(world, short) is None
    with pytest.raises(NotFound):
        await auth(world, keys.revoke, COMPANY, key_id)


async def test_keys_that_cannot_be_are_refused(world: World) -> None:
    now = await world.store.read(lambda tx: tx.now, scope="auth")
    for arguments in ((COMPANY, "", "admin"), (COMPANY, "A b", "admin"), (COMPANY, "ci", "root"), (COMPANY, "ci", "admin", now - timedelta(seconds=1))):
        with pytest.raises(BadInput):
            await auth(world, keys.create, *arguments)
    with pytest.raises(NotFound):
        await auth(world, keys.create, "unheard-of", "ci", "admin")
    for bad in ("", " ", "Acme", "a\x00", "x" * 10_000, "../x", "1st"):
        with pytest.raises(BadInput):
            await auth(world, keys.create_company, bad, "Bad")
    with pytest.raises(Conflict):
        await auth(world, keys.create_company, OTHER, "Again")


async def test_the_default_company_is_made_once(world: World) -> None:
    await auth(world, keys.ensure_default)
    await auth(world, keys.ensure_default)
    assert [each["company_id"] for each in await world.store.read(keys.list_companies, scope="auth")] == [COMPANY, OTHER]


async def test_use_is_noted_at_most_once_an_hour(world: World) -> None:
    _, secret = await auth(world, keys.create, COMPANY, "ci", "admin")

    async def used_at() -> Any:
        [listed] = await world.store.read(keys.list_keys, scope="auth")
        return listed["last_used_at"]

    assert await used_at() is None
    await auth(world, keys.used, keys.digest(secret))
    first = await used_at()
    world.pass_time(1800)
    await auth(world, keys.used, keys.digest(secret))
    assert await used_at() == first
    world.pass_time(1801)
    await auth(world, keys.used, keys.digest(secret))
    assert await used_at() > first
