"""Closing without waiting: batched, seen elsewhere at once, durable by fsync, never silent."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO
from blocktree.store.messages import Commit
from blocktree.wire import Record
from files.memory_store import MemoryStore, client, shaky
from files.test_volume import MINE, RW, get, listing, put, refused


def run(scene: Callable[[MemoryStore, Filesystem, Filesystem], Awaitable[None]]) -> None:
    async def play() -> None:
        store = MemoryStore(delay=shaky(1))
        one, two = client(store, "one", fast_close=True), client(store, "two")
        await one.start()
        await two.start()
        try:
            await scene(store, one, two)
        finally:
            await one.close()
            await two.close()

    asyncio.run(play())


def test_many_small_files_share_few_commits() -> None:
    async def scene(store: MemoryStore, one: Filesystem, _: Filesystem) -> None:
        names = [b"f%03d" % number for number in range(200)]
        for name in names:
            await put(one, name, name)
        await one.sync()
        assert store.counts["Commit"] < 50
        assert await listing(one) == names

    run(scene)


def test_what_one_closes_the_other_sees_at_once() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        for number in range(20):
            name, content = b"f%d" % number, os.urandom(number * 1000)
            await put(one, name, content)
            found = await two.lookup(ROOT_INO, name)
            assert await get(two, found.ino) == content

    run(scene)


def test_fsync_still_waits() -> None:
    async def scene(store: MemoryStore, one: Filesystem, _: Filesystem) -> None:
        _attributes, handle = await one.create(ROOT_INO, b"f", MINE, RW | os.O_CREAT)
        await one.write(handle, 0, b"hello")
        before = store.counts.get("Commit", 0)
        await one.fsync(handle)
        assert store.counts["Commit"] == before + 1
        await one.release(handle)

    run(scene)


def test_a_refusal_in_the_background_makes_the_next_close_wait_and_tell() -> None:
    async def scene(store: MemoryStore, one: Filesystem, _: Filesystem) -> None:
        refusing = asyncio.Event()

        def refuse(message: Record) -> Fault | None:
            if not isinstance(message, Commit):
                return None
            refusing.set()
            return Fault(Kind.NO_SPACE, "the disk is full")

        store.refuse = refuse
        await put(one, b"first", b"x")
        await refusing.wait()
        for _turn in range(100):  # turns of the loop, in which the refusal comes back
            await asyncio.sleep(0)
        await refused(Kind.NO_SPACE, put(one, b"second", b"y"))
        store.refuse = lambda _: None
        await one.sync()
        assert await listing(one) == [b"first", b"second"]

    run(scene)
