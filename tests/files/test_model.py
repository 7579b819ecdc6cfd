"""Random operations of two clients give what a plain model of a file system gives."""

import asyncio
import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Changes, Permissions, RenameFlag
from blocktree.sectors.header import FileKind
from files.memory_store import MemoryStore, client, shaky
from files.model import Model, Refused

_DIRECTORY = Permissions(0o755, 0, 0)
_FILE = Permissions(0o644, 0, 0)
_NAMES = st.sampled_from([b"a", b"b", b"c"])
_PATHS = st.lists(_NAMES, min_size=1, max_size=3).map(tuple)
_SIZES = st.sampled_from([0, 1, 100, 2047, 2048, 2049, 65535, 65536, 65537, 200_000])
_OPERATIONS = st.one_of(
    st.tuples(st.just("write"), _PATHS, _SIZES, st.sampled_from([1, 10, 3000, 70_000])),
    st.tuples(st.just("truncate"), _PATHS, _SIZES),
    st.tuples(st.just("mkdir"), _PATHS),
    st.tuples(st.just("unlink"), _PATHS),
    st.tuples(st.just("rmdir"), _PATHS),
    st.tuples(st.just("rename"), _PATHS, _PATHS),
    st.tuples(st.just("exchange"), _PATHS, _PATHS),
    st.tuples(st.just("link"), _PATHS, _PATHS),
    st.tuples(st.just("read"), _PATHS),
    st.tuples(st.just("list"), st.lists(_NAMES, max_size=2).map(tuple)),
)
_STEPS = st.lists(st.tuples(st.integers(0, 1), _OPERATIONS), max_size=40)


class Player:
    """Carries out operations on a volume by path, as a kernel would."""

    def __init__(self, volume: Filesystem) -> None:
        self.volume = volume
        self.counter = 0

    async def find(self, path: tuple[bytes, ...]) -> int:
        ino = ROOT_INO
        for name in path:
            ino = (await self.volume.lookup(ino, name)).ino
        return ino

    async def parent(self, path: tuple[bytes, ...]) -> int:
        ino = await self.find(path[:-1])
        if (await self.volume.getattr(ino)).kind is not FileKind.DIRECTORY:
            raise Fault(Kind.NOT_DIRECTORY, "not a directory")  # the kernel sees to that
        return ino

    async def write(self, path: tuple[bytes, ...], offset: int, size: int, fill: bytes) -> None:
        parent = await self.parent(path)
        _, handle = await self.volume.create(parent, path[-1], _FILE, os.O_RDWR)
        try:
            await self.volume.write(handle, offset, fill * size)
            await self.volume.flush(handle)
        finally:
            await self.volume.release(handle)

    async def truncate(self, path: tuple[bytes, ...], size: int) -> None:
        await self.volume.setattr(await self.find(path), Changes(size=size))

    async def mkdir(self, path: tuple[bytes, ...]) -> None:
        await self.volume.mkdir(await self.parent(path), path[-1], _DIRECTORY)

    async def unlink(self, path: tuple[bytes, ...]) -> None:
        await self.volume.unlink(await self.parent(path), path[-1])

    async def rmdir(self, path: tuple[bytes, ...]) -> None:
        await self.volume.rmdir(await self.parent(path), path[-1])

    async def rename(
        self, source: tuple[bytes, ...], target: tuple[bytes, ...], flags: int = 0
    ) -> None:
        places = await self.parent(source), await self.parent(target)
        await self.volume.rename(places[0], source[-1], places[1], target[-1], RenameFlag(flags))

    async def exchange(self, source: tuple[bytes, ...], target: tuple[bytes, ...]) -> None:
        await self.rename(source, target, 2)

    async def link(self, source: tuple[bytes, ...], target: tuple[bytes, ...]) -> None:
        ino = await self.find(source)
        await self.volume.link(ino, await self.parent(target), target[-1])

    async def read(self, path: tuple[bytes, ...]) -> tuple[bytes, int]:
        ino = await self.find(path)
        handle = await self.volume.open(ino, os.O_RDONLY)
        attributes = await self.volume.getattr(ino)
        content = bytes(await self.volume.read(handle, 0, attributes.size + 10))
        await self._close(handle)
        return content, attributes.links

    async def list(self, path: tuple[bytes, ...]) -> list[bytes]:
        entries = await self.volume.readdir(await self.find(path), 0, 100, attributes=True)
        return sorted(entry.name for entry in entries)

    async def _close(self, handle: int) -> None:
        await self.volume.flush(handle)
        await self.volume.release(handle)


async def play(steps: list[tuple[int, tuple[Any, ...]]], *, fast_close: bool) -> None:
    store = MemoryStore(delay=shaky(len(steps)))
    players = [Player(client(store, name, fast_close=fast_close)) for name in ("one", "two")]
    for player in players:
        await player.volume.start()
    model = Model()
    try:
        for number, (who, (operation, *arguments)) in enumerate(steps):
            if operation == "write":
                arguments.append(bytes([number + 1]))
            expected: Any
            try:
                expected = getattr(model, operation)(*arguments)
            except Refused as refused:
                expected = refused.args
            try:
                actual = await getattr(players[who], operation)(*arguments)
            except Fault as fault:
                actual = (fault.kind,)
            said = repr(actual)[-60:], repr(expected)[-60:]
            assert actual == expected, (number, who, operation, arguments, *said)
    finally:
        for player in players:
            await player.volume.close()
    fresh = Player(client(store, "three"))
    await fresh.volume.start()
    for path in model.files():
        assert await fresh.read(path) == model.read(path)
    for path in model.directories():
        assert await fresh.list(path) == model.list(path)
        links = (await fresh.volume.getattr(await fresh.find(path))).links
        assert links == 2 + sum(way[:-1] == path for way in model.directories(path) if way != path)
    await fresh.volume.close()


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(_STEPS, st.booleans())
def test_random_operations(steps: list[tuple[int, tuple[Any, ...]]], fast_close: bool) -> None:
    asyncio.run(play(steps, fast_close=fast_close))
