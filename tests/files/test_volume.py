"""One client on the sector service in memory: what programs expect of a file system."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Changes, Permissions, RenameFlag, Renaming
from blocktree.store.clock import boot_clock
from files.memory_store import MemoryStore, client

RW = os.O_RDWR
MINE = Permissions(0o644, 1, 2)


def run(scene: Callable[[MemoryStore, Filesystem], Awaitable[None]], **limits: Any) -> None:
    async def play() -> None:
        store = MemoryStore()
        volume = client(store, **limits)
        await volume.start()
        try:
            await scene(store, volume)
        finally:
            await volume.close()

    asyncio.run(play())


async def put(volume: Filesystem, name: bytes, content: bytes, directory: int = ROOT_INO) -> int:
    attributes, handle = await volume.create(directory, name, MINE, RW | os.O_CREAT)
    if content:
        assert await volume.write(handle, 0, content) == len(content)
    await volume.flush(handle)
    await volume.release(handle)
    return attributes.ino


async def get(volume: Filesystem, ino: int) -> bytes:
    handle = await volume.open(ino, os.O_RDONLY)
    size = (await volume.getattr(ino)).size
    parts = [bytes(await volume.read(handle, at, 1 << 17)) for at in range(0, size, 1 << 17)]
    await volume.release(handle)
    return b"".join(parts)


async def listing(volume: Filesystem, directory: int = ROOT_INO) -> list[bytes]:
    names: list[bytes] = []
    after = 0
    while entries := await volume.readdir(directory, after, 100):
        names += [entry.name for entry in entries]
        after = entries[-1].cookie
    return sorted(names)


async def refused(kind: Kind, call: Awaitable[object]) -> None:
    with pytest.raises(Fault) as caught:
        await call
    assert caught.value.kind is kind, caught.value


def test_a_small_file_is_one_commit() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        await put(volume, b"first", b"x")
        before = dict(store.counts)
        await put(volume, b"small", b"hello")
        grown = {k: v - before.get(k, 0) for k, v in store.counts.items() if v - before.get(k, 0)}
        assert grown == {"Commit": 1}

    run(scene)


def test_leases_run_out_while_the_laptop_sleeps() -> None:
    async def scene(_: MemoryStore, volume: Filesystem) -> None:
        assert volume.core.service.clock is boot_clock

    run(scene)


def test_a_cached_read_costs_no_message() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        content = os.urandom(3_000_000)
        ino = await put(volume, b"big", content)
        before = dict(store.counts)
        assert await get(volume, ino) == content
        assert (await volume.lookup(ROOT_INO, b"big")).size == len(content)
        assert store.counts == before

    run(scene)


@pytest.mark.parametrize("size", [0, 1, 2048, 2049, 65536, 65537, 1 << 20, 9_999_999])
def test_what_is_written_is_read_again_by_a_new_client(size: int) -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        content = os.urandom(size)
        ino = await put(volume, b"f", content)
        other = client(store, "other")
        await other.start()
        attributes = await other.lookup(ROOT_INO, b"f")
        assert (attributes.ino, attributes.size) == (ino, size)
        assert await get(other, ino) == content
        await other.close()

    run(scene)


def test_names() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        a = await put(volume, b"a", b"A")
        b = await put(volume, b"b", b"B")
        sub = (await volume.mkdir(ROOT_INO, b"d", Permissions(0o755, 1, 2))).ino
        await refused(Kind.EXISTS, volume.mkdir(ROOT_INO, b"d", MINE))
        await refused(Kind.EXISTS, volume.rename(ROOT_INO, b"a", ROOT_INO, b"b", RenameFlag(1)))
        await volume.rename(ROOT_INO, b"a", sub, b"a2", RenameFlag.REPLACE)
        await refused(Kind.NOT_FOUND, volume.lookup(ROOT_INO, b"a"))
        assert (await volume.lookup(sub, b"a2")).ino == a
        await refused(Kind.NOT_EMPTY, volume.rmdir(ROOT_INO, b"d"))
        await volume.rename(ROOT_INO, b"b", sub, b"a2", RenameFlag.EXCHANGE)
        assert (await volume.lookup(sub, b"a2")).ino == b
        assert (await volume.lookup(ROOT_INO, b"b")).ino == a
        await volume.rename(sub, b"a2", ROOT_INO, b"b", RenameFlag.REPLACE)
        assert await get(volume, (await volume.lookup(ROOT_INO, b"b")).ino) == b"B"
        await refused(Kind.USAGE, volume.rename(ROOT_INO, b"d", sub, b"x", RenameFlag.REPLACE))
        await volume.rmdir(ROOT_INO, b"d")
        assert await listing(volume) == [b"b"]
        await volume.unlink(ROOT_INO, b"b")
        assert await listing(volume) == []

    run(scene)


def test_hard_and_symbolic_links() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        ino = await put(volume, b"a", b"one")
        sub = (await volume.mkdir(ROOT_INO, b"d", MINE)).ino
        assert (await volume.link(ino, sub, b"b")).links == 2
        await volume.unlink(ROOT_INO, b"a")
        assert (await volume.getattr(ino)).links == 1
        assert await get(volume, (await volume.lookup(sub, b"b")).ino) == b"one"
        link = await volume.symlink(ROOT_INO, b"l", b"d/b", MINE)
        assert await volume.readlink(link.ino) == b"d/b"
        await refused(Kind.TOO_LARGE, volume.symlink(ROOT_INO, b"m", b"x" * 4096, MINE))

    run(scene)


def test_an_unlinked_file_is_usable_while_it_is_open() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        content = os.urandom(300_000)
        ino = await put(volume, b"a", content)
        handle = await volume.open(ino, RW)
        await volume.unlink(ROOT_INO, b"a")
        volume.core.engine.fetcher.cache.bytes_max = 0
        assert await volume.read(handle, 0, 300_000) == content
        await volume.write(handle, 299_999, b"xyz")
        await volume.flush(handle)
        assert bytes(await volume.read(handle, 299_998, 10)) == content[299_998:299_999] + b"xyz"
        assert (await volume.getattr(ino)).links == 0
        await volume.release(handle)
        assert volume.core.engine.leftovers.held == 0

    run(scene)


def test_truncate_and_holes() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        ino = await put(volume, b"a", b"x" * 200_000)
        await volume.setattr(ino, Changes(size=70_000))
        await volume.setattr(ino, Changes(size=150_000))
        assert await get(volume, ino) == b"x" * 70_000 + bytes(80_000)
        handle = await volume.open(ino, RW)
        await volume.write(handle, 10_000_000, b"end")
        await volume.flush(handle)
        assert await get(volume, ino) == b"x" * 70_000 + bytes(9_930_000) + b"end"
        await volume.setattr(ino, Changes(size=5))
        await volume.release(handle)
        assert await get(volume, ino) == b"xxxxx"

    run(scene)


def test_attributes_and_extended_attributes() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        ino = await put(volume, b"a", b"x")
        changed = await volume.setattr(ino, Changes(mode=0o600, uid=7, mtime_ns=5, atime_ns=6))
        assert (changed.mode, changed.uid, changed.mtime_ns, changed.atime_ns) == (0o600, 7, 5, 6)
        await refused(Kind.NOT_FOUND, volume.getxattr(ino, b"user.a"))
        await volume.setxattr(ino, b"user.a", b"1", 1)
        await refused(Kind.EXISTS, volume.setxattr(ino, b"user.a", b"2", 1))
        await volume.setxattr(ino, b"user.b", b"2", 0)
        assert await volume.listxattr(ino) == [b"user.a", b"user.b"]
        await volume.removexattr(ino, b"user.a")
        other = client(store, "other")
        await other.start()
        await other.lookup(ROOT_INO, b"a")
        assert await other.getxattr(ino, b"user.b") == b"2"
        assert (await other.getattr(ino)).mode == 0o600
        await other.close()

    run(scene)


def test_a_directory_of_thousands() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        names = [b"file-%d" % number for number in range(2000)]
        for name in names:
            await put(volume, name, name)
        assert await listing(volume) == sorted(names)
        other = client(store, "other")
        await other.start()
        assert await listing(other) == sorted(names)
        for name in names[::2]:
            await other.unlink(ROOT_INO, name)
        assert await listing(volume) == sorted(names[1::2])
        await other.close()

    run(scene)


def test_writers_wait_when_too_much_is_not_committed() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        attributes, handle = await volume.create(ROOT_INO, b"a", MINE, RW)
        content = os.urandom(1 << 20)
        for number in range(40):
            await volume.write(handle, number << 20, content)
            assert volume.core.engine.budget.held <= 10 << 20
        await volume.flush(handle)
        await volume.release(handle)
        assert await get(volume, attributes.ino) == content * 40

    run(scene, dirty_bytes=8 << 20)


def test_several_renames_are_one_transaction() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        sub = (await volume.mkdir(ROOT_INO, b"sub", MINE)).ino
        moved = (await volume.mkdir(ROOT_INO, b"d", MINE)).ino
        await put(volume, b"inside", b"1", moved)
        file = await put(volume, b"new", b"2")
        old = await put(volume, b"old", b"3", sub)
        before = len(store.commits)
        move = Renaming(ROOT_INO, b"d", sub, b"d2", RenameFlag.NOREPLACE)
        stand_in = Renaming(ROOT_INO, b"new", ROOT_INO, b"d", RenameFlag.NOREPLACE)
        await volume.rename_together([move, stand_in])
        assert len(store.commits) == before + 1
        assert await listing(volume) == [b"d", b"sub"]
        assert await listing(volume, sub) == [b"d2", b"old"]
        assert await get(volume, (await volume.lookup(moved, b"inside")).ino) == b"1"
        assert [(await volume.getattr(ino)).links for ino in (ROOT_INO, sub, moved)] == [3, 3, 2]

        over = Renaming(ROOT_INO, b"d", sub, b"old", RenameFlag.REPLACE)
        lacking = Renaming(sub, b"nothing", ROOT_INO, b"x", RenameFlag.REPLACE)
        await refused(Kind.NOT_FOUND, volume.rename_together([over, lacking]))
        twice = Renaming(sub, b"old", ROOT_INO, b"x", RenameFlag.REPLACE)
        await refused(Kind.USAGE, volume.rename_together([over, twice]))
        within = Renaming(moved, b"inside", ROOT_INO, b"x", RenameFlag.REPLACE)
        away = Renaming(sub, b"d2", ROOT_INO, b"d3", RenameFlag.REPLACE)
        await refused(Kind.USAGE, volume.rename_together([within, away]))
        assert await get(volume, old) == b"3"  # none of it was done
        assert await listing(volume) == [b"d", b"sub"]
        await volume.rename_together([over])
        assert await get(volume, (await volume.lookup(sub, b"old")).ino) == b"2"
        assert await get(volume, file) == b"2"

    run(scene)
