"""Looking at the files of a directory one by one does not take a round trip for each."""

import asyncio
import os
from collections.abc import Awaitable, Callable

from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Permissions
from blocktree.store.messages import GetHeaders
from blocktree.wire import Record
from files.memory_store import MemoryStore, two_clients
from files.test_volume import put

FILES = 300


class Watched:
    """A laptop that looks at files which another one made, and what it asks for meanwhile."""

    def __init__(self, store: MemoryStore, volume: Filesystem, directory: int) -> None:
        self.volume = volume
        self.asked: list[int] = []  # headers, in each message
        self.now = 100.0
        self._directory = directory
        volume._neighbours._clock = lambda: self.now
        ask = volume.core.service._runtime.ask

        async def watched(to: object, message: Record, **options: object) -> Record:
            if isinstance(message, GetHeaders):
                self.asked.append(len(message.files))
            return await ask(to, message, **options)  # type: ignore[arg-type]

        volume.core.service._runtime.ask = watched  # type: ignore[method-assign]

    async def look(self, *numbers: int, pause: float = 0.001) -> list[int]:
        """Look names up; how many headers each message asked for."""
        self.asked.clear()
        for number in numbers:
            self.now += pause
            found = await self.volume.lookup(self._directory, b"f%d" % number)
            assert found.size == number
        return list(self.asked)


def run(scene: Callable[[Watched], Awaitable[None]]) -> None:
    async def play() -> None:
        store = MemoryStore()
        async with two_clients(store) as (one, two):
            directory = (await one.mkdir(ROOT_INO, b"d", Permissions(0o755, 0, 0))).ino
            for number in range(FILES):
                await put(one, b"f%d" % number, os.urandom(number), directory)
            assert (await two.lookup(ROOT_INO, b"d")).ino == directory
            watched = Watched(store, two, directory)
            await watched.look(0, pause=1)  # has the directory itself at hand
            await scene(watched)

    asyncio.run(play())


def test_headers_come_along_when_one_lookup_follows_another() -> None:
    async def scene(watched: Watched) -> None:
        asked = await watched.look(*range(1, FILES))
        assert sum(asked) < FILES + 64
        assert len(asked) < FILES // 5
        assert asked[:3] == [2, 3, 5]  # the one that is waited for, and 1, 2, 4
        assert max(asked) <= 65
        assert not await watched.look(*range(FILES))

    run(scene)


def test_a_lookup_now_and_then_asks_for_its_own_header_alone() -> None:
    async def scene(watched: Watched) -> None:
        assert await watched.look(7, 13, 99, 250, pause=0.06) == [1, 1, 1, 1]

    run(scene)


def test_who_waits_for_a_header_does_not_wait_for_what_comes_along() -> None:
    async def scene(watched: Watched) -> None:
        headers = watched.volume.core.headers

        async def settled() -> int:
            await asyncio.gather(*headers._tasks)
            return len(headers._known)

        await watched.look(*range(1, 6))
        for number in range(6, FILES):
            before = await settled()
            asked = await watched.look(number)
            at_once = len(headers._known) - before
            assert at_once <= 17
            if asked and asked[0] > 17:  # some bucket has so many that are not known yet
                assert await settled() - before == asked[0]
                return
        raise AssertionError("never many came along")

    run(scene)
