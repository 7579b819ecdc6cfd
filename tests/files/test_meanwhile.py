"""Attributes that are set, looked at and flushed while a commit is under way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.commit import NewVersion
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Changes, Permissions, RenameFlag
from blocktree.sectors.header import SignedHeader
from files.memory_store import MemoryStore, two_clients
from files.test_volume import MINE, RW, put, refused

LONG_AGO = 10**18
DIRECTORY = Permissions(0o755, 0, 0)


class Gate:
    """Holds up the commits of a client, and may have them fail."""

    last: "Gate"

    def __init__(self, volume: Filesystem) -> None:
        Gate.last = self
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.fault: Fault | None = None
        joint = volume.core.parts._commits
        self._commit = joint._commit
        joint._commit = self._held

    async def _held(self, versions: Sequence[NewVersion]) -> list[SignedHeader | None]:
        self.reached.set()
        await self.open.wait()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        return await self._commit(versions)


Scene = Callable[[Filesystem, Filesystem], Awaitable[None]]


def run(scene: Scene) -> None:
    async def play() -> None:
        async with two_clients(MemoryStore()) as (one, two):
            try:
                async with asyncio.timeout(20):
                    await scene(one, two)
            finally:
                Gate.last.open.set()

    asyncio.run(play())


async def seen(volume: Filesystem, name: bytes) -> tuple[int, int]:
    found = await volume.lookup(ROOT_INO, name)
    return found.mode, found.mtime_ns


def test_a_directorys_time_that_is_set_while_it_is_committed_stays() -> None:
    async def scene(one: Filesystem, two: Filesystem) -> None:
        directory = (await one.mkdir(ROOT_INO, b"d", DIRECTORY)).ino
        gate = Gate(one)
        closing = asyncio.create_task(put(one, b"f", b"x", directory))
        await gate.reached.wait()
        changes = Changes(mode=0o700, mtime_ns=LONG_AGO)
        setting = asyncio.create_task(one.setattr(directory, changes))
        await asyncio.sleep(0)
        assert await seen(one, b"d") == (0o700, LONG_AGO)
        gate.open.set()
        await asyncio.gather(closing, setting)
        assert await seen(one, b"d") == (0o700, LONG_AGO)
        await one.sync()
        assert await seen(one, b"d") == await seen(two, b"d") == (0o700, LONG_AGO)

    run(scene)


@pytest.mark.parametrize("meanwhile", [True, False])
def test_of_a_rename_and_a_time_that_is_set_the_later_one_counts(meanwhile: bool) -> None:
    async def scene(one: Filesystem, two: Filesystem) -> None:
        directory = (await one.mkdir(ROOT_INO, b"d", DIRECTORY)).ino
        await put(one, b"f", b"x", directory)
        await one.sync()
        if not meanwhile:
            await one.setattr(directory, Changes(mtime_ns=LONG_AGO))
        gate = Gate(one)
        renaming = asyncio.create_task(
            one.rename(directory, b"f", directory, b"g", RenameFlag.REPLACE)
        )
        await gate.reached.wait()
        if meanwhile:
            setting = asyncio.create_task(one.setattr(directory, Changes(mtime_ns=LONG_AGO)))
            await asyncio.sleep(0)
            gate.open.set()
            await setting
        gate.open.set()
        await renaming
        await one.sync()
        for volume in (one, two):
            assert ((await seen(volume, b"d"))[1] == LONG_AGO) is meanwhile

    run(scene)


def test_attributes_are_shown_while_they_are_committed_and_when_that_failed() -> None:
    async def scene(one: Filesystem, two: Filesystem) -> None:
        made, handle = await one.create(ROOT_INO, b"f", MINE, RW)
        await one.setattr(made.ino, Changes(mode=0o640, mtime_ns=LONG_AGO))
        gate = Gate(one)
        gate.fault = Fault(Kind.DENIED, "not now")
        flushing = asyncio.create_task(one.flush(handle))
        await gate.reached.wait()
        assert await seen(one, b"f") == (0o640, LONG_AGO)
        gate.open.set()
        await refused(Kind.DENIED, flushing)
        assert await seen(one, b"f") == (0o640, LONG_AGO)
        await one.flush(handle)
        await one.release(handle)
        assert await seen(one, b"f") == await seen(two, b"f") == (0o640, LONG_AGO)

    run(scene)


def test_a_flush_waits_for_attributes_that_are_being_committed() -> None:
    async def scene(one: Filesystem, two: Filesystem) -> None:
        ino = await put(one, b"f", b"x")
        handle = await one.open(ino, RW)
        await one.setattr(ino, Changes(mtime_ns=LONG_AGO), handle)  # with the next flush
        gate = Gate(one)
        first = asyncio.create_task(one.flush(handle))
        await gate.reached.wait()
        second = asyncio.create_task(one.fsync(handle))
        for _ in range(10):
            await asyncio.sleep(0)
        assert not second.done()
        gate.open.set()
        await asyncio.gather(first, second)
        assert (await seen(two, b"f"))[1] == LONG_AGO
        await one.release(handle)

    run(scene)
