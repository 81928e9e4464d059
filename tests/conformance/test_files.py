"""Files by content: kept whole, found by their company alone, within a quota, and dropped when nobody names them."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pytest

from pulser.core.errors import BadInput, NotFound, TooLarge
from pulser.core.task import Artifact, Outcome
from pulser.store.blobs import CHUNK, Blobs
from tests.conformance.world import COMPANY, OTHER, World


def write(folder: Path, content: bytes, name: str = "f") -> Path:
    (folder / name).write_bytes(content)
    return folder / name


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_a_file_comes_back_as_it_was(world: World, tmp_path: Path, size: int) -> None:
    content = bytes(n * 31 % 251 for n in range(size))
    digest, kept = world.blobs.put(COMPANY, write(tmp_path, content), name="data.bin", media_type="text/plain")
    assert (digest, kept) == (hashlib.sha256(content).hexdigest(), size)
    assert world.blobs.path(COMPANY, digest).read_bytes() == content
    assert world.blobs.put(COMPANY, write(tmp_path, content)) == (digest, size), "the same content is kept once"


def elsewhere(world: World, tmp_path: Path, **changes: Any) -> Blobs:
    """The files as another machine on the same database sees them: with a data folder of its own."""
    return Blobs(world.store, tmp_path / "elsewhere", changes.get("quota_bytes", world.settings.store.files_quota_bytes))


def test_another_machine_on_the_same_postgres_finds_the_file(postgres_world: World, tmp_path: Path) -> None:
    content = b"x" * (2 * CHUNK + 5)
    digest, _ = postgres_world.blobs.put(COMPANY, write(tmp_path, content))
    assert elsewhere(postgres_world, tmp_path).path(COMPANY, digest).read_bytes() == content


def test_a_file_whose_upload_was_cut_off_is_not_served_half_and_can_be_put_again(postgres_world: World, tmp_path: Path) -> None:
    content = bytes(n % 251 for n in range(3 * CHUNK))
    digest, _ = postgres_world.blobs.put(COMPANY, write(tmp_path, content))
    postgres_world.store.write_blocking(lambda tx: tx.raw("DELETE FROM file_chunks WHERE n = 2 RETURNING n", (), "file_chunks"), scope="owner")
    with pytest.raises(NotFound, match="damaged or not all there"):
        elsewhere(postgres_world, tmp_path).path(COMPANY, digest)
    postgres_world.blobs.put(COMPANY, write(tmp_path, content))
    assert elsewhere(postgres_world, tmp_path).path(COMPANY, digest).read_bytes() == content


def test_a_file_is_found_only_by_its_company_even_if_its_content_is_known(world: World, tmp_path: Path) -> None:
    digest, _ = world.blobs.put(OTHER, write(tmp_path, b"secret"))
    with pytest.raises(NotFound):
        world.blobs.path(COMPANY, digest)
    ours, _ = world.blobs.put(COMPANY, write(tmp_path, b"secret"))
    assert ours == digest and world.blobs.path(COMPANY, digest).read_bytes() == b"secret"


@pytest.mark.parametrize("bad", ["", "x", "../../etc/passwd", "A" * 64, "0" * 63, "0" * 65, "0" * 62 + "/.", "\x00" * 64])
def test_what_is_no_digest_is_refused(world: World, bad: str) -> None:
    with pytest.raises(BadInput, match="SHA-256"):
        world.blobs.path(COMPANY, bad)


def test_the_quota_holds_per_company_and_counts_each_content_once(world: World, tmp_path: Path) -> None:
    blobs = Blobs(world.store, tmp_path, 1000)
    blobs.put(COMPANY, write(tmp_path, b"a" * 600))
    blobs.put(COMPANY, write(tmp_path, b"a" * 600, "copy"))
    with pytest.raises(TooLarge, match="quota of 1000"):
        blobs.put(COMPANY, write(tmp_path, b"b" * 401))
    blobs.put(COMPANY, write(tmp_path, b"b" * 400))
    blobs.put(OTHER, write(tmp_path, b"b" * 401))


@pytest.mark.anyio
async def test_what_no_row_names_is_dropped_after_a_day_and_nothing_else(world: World, tmp_path: Path) -> None:
    import asyncio

    def put(content: bytes, **more: Any) -> str:
        return world.blobs.put(COMPANY, write(tmp_path, content), **more)[0]

    orphan, upload, made, shared = [
        await asyncio.to_thread(put, content, **more) for content, more in ((b"orphan", {}), (b"upload", {"name": "up.txt"}), (b"made", {}), (b"shared", {}))
    ]
    await asyncio.to_thread(world.blobs.put, OTHER, write(tmp_path, b"shared"), name="theirs.txt")
    hand = world.hand()
    task_id = await world.submit()
    [claimed] = await hand.claim()
    outcome = Outcome(claimed, "finish", result={}, artifacts=[Artifact("out.txt", made, 4, "text/plain")])
    await world.store.write(hand.pool.settler.settle, [outcome], company=COMPANY, actor=hand.pool.actor)
    assert await asyncio.to_thread(world.blobs.collect, [COMPANY, OTHER]) == 0, "younger than a day"
    world.pass_time(90_000)
    young = await asyncio.to_thread(put, b"young")
    assert await asyncio.to_thread(world.blobs.collect, [COMPANY, OTHER]) == 2
    files = world.blobs.of(COMPANY)
    for digest, stays in ((orphan, False), (shared, False), (upload, True), (made, True), (young, True)):
        if stays:
            assert (await asyncio.to_thread(files.path_of, f"file:{digest}")).exists()
        else:
            with pytest.raises(NotFound):
                await asyncio.to_thread(files.path_of, f"file:{digest}")
    assert (await asyncio.to_thread(world.blobs.path, OTHER, shared)).read_bytes() == b"shared", "another company still names it"
    assert (await asyncio.to_thread(files.path_of, f"artifact:{task_id}/out.txt")).read_bytes() == b"made"
    for reference in (f"artifact:{task_id}/none.txt", "artifact:tsk_none/out.txt", "artifact:"):
        with pytest.raises(NotFound):
            await asyncio.to_thread(files.path_of, reference)


@pytest.mark.anyio
async def test_a_later_attempts_file_replaces_the_earlier_ones_and_logs_are_kept_apart(world: World, tmp_path: Path) -> None:
    import asyncio

    hand = world.hand()
    task_id = await world.submit()
    for n in (1, 2):
        [claimed] = await hand.claim()
        digest, size = await asyncio.to_thread(world.blobs.put, COMPANY, write(tmp_path, b"v%d" % n))
        log, log_size = await asyncio.to_thread(world.blobs.put, COMPANY, write(tmp_path, b"log of %d" % n))
        outcome = Outcome(
            claimed, "retry" if n == 1 else "finish", result={}, error={"code": "transient", "detail": "x", "hint": ""} if n == 1 else None,
            artifacts=[Artifact("out.txt", digest, size, "text/plain")], log=Artifact("log", log, log_size, "text/plain"),
        )  # fmt: skip
        await world.store.write(hand.pool.settler.settle, [outcome], company=COMPANY, actor=hand.pool.actor)
        world.pass_time(10)
        await world.sweep()
    task = await world.task(task_id)
    assert [(each["name"], each["sha256"]) for each in task["artifacts"]] == [("out.txt", hashlib.sha256(b"v2").hexdigest())]
    assert [attempt["log_url"] is not None for attempt in task["attempts"]] == [True, True]
    assert dataclasses.is_dataclass(Artifact)


def test_a_put_that_fails_leaves_no_half_file_behind(world: World, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="directory"):
        world.blobs.put(COMPANY, tmp_path)
    with pytest.raises(OSError, match="No such file"):
        world.blobs.put(COMPANY, tmp_path / "none")
    left = [path for path in (world.settings.store.data_dir / "files").rglob("*") if path.is_file()]
    assert left == []
