"""A keeper whose stream somebody else has written to meanwhile, or may write to now."""

import asyncio
from collections.abc import Awaitable, Callable

from blocktree_gateway.keeping import Keeper
from blocktree_gateway.messages import Entry, Place
from blocktree_gateway.tree.smallfiles import SmallFiles
from blocktree_gateway.tree.streamfile import StreamFile
from files.memory_store import MemoryStore, client
from gateway.house import until

DEVICE = (b"sensors", b"attic")


def entries(*numbers: int) -> list[Entry]:
    return [Entry(1, 1, number, bytes(32), b"sealed %d" % number) for number in numbers]


def run(scene: Callable[[SmallFiles, StreamFile], Awaitable[None]]) -> None:
    async def play() -> None:
        volume = client(MemoryStore())
        await volume.start()
        try:
            files = SmallFiles(volume)
            await files.make_directory(DEVICE)
            stream = StreamFile(files, DEVICE)
            await stream.append(entries(0, 1))
            await scene(files, stream)
        finally:
            await volume.close()

    asyncio.run(play())


async def stored(files: SmallFiles) -> list[int]:
    items = await StreamFile(files, DEVICE).read_all()
    return [item.seq for item in items if isinstance(item, Entry)]


def test_what_another_gateway_kept_meanwhile_is_not_kept_twice() -> None:
    async def scene(files: SmallFiles, mine: StreamFile) -> None:
        kept: list[Place] = []
        other = StreamFile(files, DEVICE)
        await other.load()
        await other.append(entries(2, 3))
        keeper = Keeper(mine, kept.append, print, print, commit_s=0.0)
        for entry in entries(2, 3, 4):
            assert keeper.take(entry)

        async def done() -> bool | None:
            return True if kept[-1:] == [(1, 4)] else None

        await until(done)
        assert await stored(files) == [0, 1, 2, 3, 4]
        await keeper.close()

    run(scene)


def test_who_may_not_speak_for_a_device_writes_nothing() -> None:
    async def scene(files: SmallFiles, mine: StreamFile) -> None:
        allowed = True
        keeper = Keeper(mine, print, print, print, commit_s=0.0, may=lambda: allowed)
        allowed = False
        assert keeper.take(*entries(2))
        await asyncio.sleep(0.2)
        await keeper.close()
        assert await stored(files) == [0, 1]

    run(scene)


def test_what_waits_in_a_keeper_that_is_abandoned_is_not_written() -> None:
    async def scene(files: SmallFiles, mine: StreamFile) -> None:
        keeper = Keeper(mine, print, print, print)
        assert keeper.take(*entries(2))
        keeper.abandon()
        await keeper.close()
        assert await stored(files) == [0, 1]

    run(scene)
