"""Two clients at once: what one closes the other reads, and nothing anybody closed is lost."""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable

import pytest

from blocktree.fault import Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import (
    ROOT_INO,
    Attributes,
    Changes,
    Lock,
    LockKind,
    Permissions,
    RenameFlag,
)
from blocktree.names import Path
from blocktree.store.messages import PutBlobs
from blocktree.wire import Record
from files.memory_store import MemoryStore, shaky, two_clients
from files.test_volume import MINE, RW, get, listing, put, refused


def run(scene: Callable[[MemoryStore, Filesystem, Filesystem], Awaitable[None]]) -> None:
    async def play() -> None:
        store = MemoryStore(delay=shaky(1))
        async with two_clients(store) as (one, two):
            await scene(store, one, two)

    asyncio.run(play())


def test_what_one_closes_the_other_reads_at_once() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        for size in (10, 100_000, 5, 3_000_000, 0):
            content = os.urandom(size)
            ino = (await put_over(one, b"f", content)).ino
            assert (await two.lookup(ROOT_INO, b"f")).size == size
            assert await get(two, ino) == content
            assert await get(one, ino) == content

    run(scene)


async def put_over(volume: Filesystem, name: bytes, content: bytes) -> Attributes:
    attributes, handle = await volume.create(ROOT_INO, name, MINE, RW | os.O_TRUNC)
    await volume.setattr(attributes.ino, Changes(size=0), handle)
    await volume.write(handle, 0, content)
    await volume.flush(handle)
    await volume.release(handle)
    return attributes


def test_the_kernel_is_told_before_another_client_sees_a_change() -> None:
    async def scene(store: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        told: list[tuple[int, bytes | None]] = []

        async def invalidate(ino: int, name: bytes | None) -> None:
            told.append((ino, name))

        one.on_invalidate(invalidate)
        ino = await put(one, b"f", b"1")
        await refused(Kind.NOT_FOUND, one.lookup(ROOT_INO, b"g"))
        assert one.valid_s(ino) > 0
        await two.lookup(ROOT_INO, b"f")
        handle = await two.open(ino, RW)
        await two.write(handle, 0, b"2")
        await two.flush(handle)
        assert (ino, None) in told
        await two.rename(ROOT_INO, b"f", ROOT_INO, b"g", RenameFlag.REPLACE)
        assert {(ROOT_INO, b"f"), (ROOT_INO, b"g")} <= set(told)
        assert await listing(one) == [b"g"]
        await two.release(handle)

    run(scene)


def test_only_one_client_makes_a_name() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        flags = RW | os.O_CREAT | os.O_EXCL
        for number in range(20):
            name = b"lock-%d" % number
            made = await asyncio.gather(
                one.create(ROOT_INO, name, MINE, flags),
                two.create(ROOT_INO, name, MINE, flags),
                return_exceptions=True,
            )
            assert sum(isinstance(result, tuple) for result in made) == 1
            for volume, result in zip((one, two), made, strict=True):
                if isinstance(result, tuple):
                    await volume.flush(result[1])
                    await volume.release(result[1])

    run(scene)


def test_two_clients_fill_one_directory() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        async def fill(volume: Filesystem, tag: bytes) -> None:
            await asyncio.gather(*(put(volume, b"%s-%d" % (tag, n), tag) for n in range(60)))

        await asyncio.gather(fill(one, b"one"), fill(two, b"two"))
        expected = sorted(b"%s-%d" % (tag, n) for tag in (b"one", b"two") for n in range(60))
        assert await listing(one) == await listing(two) == expected

    run(scene)


def test_sectors_that_do_not_overlap_are_both_kept() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        ino = await put(one, b"f", bytes(500_000))
        await two.lookup(ROOT_INO, b"f")
        first, second = await one.open(ino, RW), await two.open(ino, RW)
        await one.write(first, 0, b"1" * 65536)
        await two.write(second, 65536 * 3, b"2" * 65536)
        await asyncio.gather(one.flush(first), two.flush(second))
        expected = b"1" * 65536 + bytes(65536 * 2) + b"2" * 65536 + bytes(500_000 - 65536 * 4)
        assert await get(one, ino) == await get(two, ino) == expected
        await one.release(first)
        await two.release(second)

    run(scene)


def test_a_file_that_another_client_removed_is_readable_while_open() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        content = os.urandom(200_000)
        ino = await put(one, b"f", content)
        await two.lookup(ROOT_INO, b"f")
        handle = await two.open(ino, RW)
        await one.unlink(ROOT_INO, b"f")
        assert await two.read(handle, 0, 200_000) == content
        await two.write(handle, 0, b"x")
        await two.flush(handle)
        await two.release(handle)
        await refused(Kind.NOT_FOUND, two.lookup(ROOT_INO, b"f"))

    run(scene)


def test_a_lock_held_by_one_keeps_the_other_out() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        ino = await put(one, b"f", b"0")
        await two.lookup(ROOT_INO, b"f")
        lock = Lock(LockKind.WRITE, 0, 10, 1, 1)
        free = Lock(LockKind.UNLOCK, 0, 10, 1, 1)

        async def count(volume: Filesystem) -> None:
            handle = await volume.open(ino, RW)
            for _ in range(10):
                await volume.setlock(handle, lock, wait=True)
                number = int(bytes(await volume.read(handle, 0, 10)))
                await volume.write(handle, 0, b"%d" % (number + 1))
                await volume.setlock(handle, free, wait=False)
            await volume.release(handle)

        first = await one.open(ino, RW)
        await one.setlock(first, lock, wait=False)
        other = await two.open(ino, RW)
        await refused(Kind.BUSY, two.setlock(other, lock, wait=False))
        found = await two.getlock(other, lock)
        assert found is not None
        assert found.kind is LockKind.WRITE
        await one.setlock(first, free, wait=False)
        await asyncio.gather(count(one), count(two))
        assert await get(one, ino) == b"20"

    run(scene)


def test_a_directory_is_not_removed_under_a_name_that_was_promised() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        sub = (await one.mkdir(ROOT_INO, b"d", Permissions(0o755, 0, 0))).ino
        handle = (await one.create(sub, b"f", MINE, RW))[1]
        await two.lookup(ROOT_INO, b"d")
        await refused(Kind.NOT_EMPTY, two.rmdir(ROOT_INO, b"d"))
        assert await listing(two, sub) == [b"f"]
        await one.release(handle)

    run(scene)


def slow_uploads(store: MemoryStore) -> asyncio.Event:
    """No blob that is put ahead arrives before the event is set."""
    arrived = asyncio.Event()
    answer = store.answer

    async def slowly(message: Record, here: Path) -> Record:
        if isinstance(message, PutBlobs):
            await arrived.wait()
        return await answer(message, here)

    store.answer = slowly  # type: ignore[method-assign]
    return arrived


def test_what_is_appended_to_a_new_large_file_is_there_before_others_append() -> None:
    async def scene(store: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        arrived = slow_uploads(store)
        first, second = os.urandom(3_000_000), b"the last line"
        attributes, handle = await one.create(ROOT_INO, b"log", MINE, RW | os.O_APPEND)
        await one.write(handle, 0, first)

        async def append() -> None:
            ino = (await two.lookup(ROOT_INO, b"log")).ino
            theirs = await two.open(ino, RW | os.O_APPEND)
            await two.write(theirs, 0, second)
            await two.flush(theirs)
            await two.release(theirs)

        appending = asyncio.create_task(append())
        await asyncio.sleep(0.1)
        arrived.set()
        await appending
        await one.flush(handle)
        await one.release(handle)
        assert await get(two, attributes.ino) == first + second
        assert await get(one, attributes.ino) == first + second

    run(scene)


def test_a_large_file_on_its_way_holds_up_no_other_name_of_its_directory() -> None:
    async def scene(store: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        arrived = slow_uploads(store)
        content = os.urandom(5_000_000)
        large = asyncio.create_task(put(one, b"large", content))
        while not store.counts.get("Commit"):  # noqa: ASYNC110 - its name, without its content
            await asyncio.sleep(0)
        await put(one, b"small", b"x")
        assert await listing(two) == [b"large", b"small"]
        assert not large.done()
        arrived.set()
        await large
        assert await get(two, (await two.lookup(ROOT_INO, b"large")).ino) == content

    run(scene)


async def opened_twice(
    one: Filesystem, two: Filesystem, content: bytes
) -> tuple[int, Callable[[Filesystem, int, bytes], Awaitable[None]]]:
    """A file that both have open and have read, and what writes to it."""
    ino = await put(one, b"f", content)
    await two.lookup(ROOT_INO, b"f")
    handles = {each: await each.open(ino, RW) for each in (one, two)}
    for each, handle in handles.items():
        assert bytes(await each.read(handle, 0, len(content))) == content

    async def write(volume: Filesystem, offset: int, data: bytes) -> None:
        await volume.write(handles[volume], offset, data)
        if data.endswith(b"!"):
            await volume.flush(handles[volume])

    return ino, write


def test_bytes_of_one_sector_that_do_not_overlap_are_both_kept() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        for size in (300, 100_000, 300_000):  # in the header, in sectors
            ino, write = await opened_twice(one, two, bytes(size))
            await write(one, 100, b"first")
            await write(two, 200, b"second!")
            await write(one, 10, b"third!")
            expected = bytearray(size)
            expected[10:16], expected[100:105], expected[200:207] = b"third!", b"first", b"second!"
            assert await get(one, ino) == await get(two, ino) == expected
            await one.unlink(ROOT_INO, b"f")

    run(scene)


def test_two_that_append_to_one_sector_keep_what_they_do_not_write() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        ino, write = await opened_twice(one, two, b"0" * 3000)
        await write(one, 3000, b"1" * 100)
        await write(two, 3200, b"2" * 99 + b"!")
        await write(one, 3100, b"3" * 99 + b"!")
        expected = b"0" * 3000 + b"1" * 100 + b"3" * 99 + b"!" + b"2" * 99 + b"!"
        assert await get(one, ino) == await get(two, ino) == expected

    run(scene)


def test_what_was_cut_off_does_not_come_back_with_what_another_wrote() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        ino, write = await opened_twice(one, two, b"0" * 5000)
        await one.setattr(ino, Changes(size=4000))
        await write(one, 0, b"1")
        await write(two, 4500, b"2!")
        await write(one, 1, b"3!")
        assert (await get(two, ino))[:4000] == b"13!" + b"0" * 3997

    run(scene)


@pytest.mark.parametrize("seed", range(20))
def test_each_of_two_writers_keeps_its_own_records(seed: int) -> None:
    """A file of records, and nobody locks: one writes the even ones, the other the odd ones."""

    async def scene(store: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        dice = random.Random(seed)
        unit, count = dice.choice(((7, 200), (1000, 150), (5000, 60), (40_000, 20)))
        expected = bytearray(unit * count)
        ino, _ = await opened_twice(one, two, bytes(expected))

        async def work(volume: Filesystem, own: int) -> None:
            handle = await volume.open(ino, RW)
            for turn in range(40):
                at = unit * dice.randrange(own, count, 2)
                data = bytes([65 + turn]) * unit
                expected[at : at + unit] = data
                await volume.write(handle, at, data)
                if dice.random() < 0.3:
                    await volume.flush(handle)
                if dice.random() < 0.1:
                    await volume.read(handle, 0, unit * count)
            await volume.flush(handle)
            await volume.release(handle)

        await asyncio.gather(work(one, 0), work(two, 1))
        assert await get(one, ino) == await get(two, ino) == expected

    run(scene)
