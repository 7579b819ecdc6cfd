"""The file system on three real nodes: TLS links, Raft, disks, and a leader that dies."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as File

from blocktree.actors import Runtime
from blocktree.files.opening import Limits, open_filesystem
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Permissions
from blocktree.keys import process_credential
from blocktree.link import Links, Side
from files.test_volume import MINE, RW, get, listing, put
from store.world import NOW, World, in_loop, until, world


@asynccontextmanager
async def laptop(tree: World, name: str = "laptop") -> AsyncIterator[Filesystem]:
    credential = process_credential(tree.tree.user, name, now=NOW, draw=os.urandom)
    links = Links(Side(credential, lambda _: None), sources=[tree.where], dice=lambda: 0.5)
    runtime = Runtime(credential.path, links)
    limits = Limits(cache_bytes=32 << 20)
    volume = open_filesystem(tree.tree.user, runtime, lambda: tree.paths, limits)
    await volume.start()
    try:
        yield volume
    finally:
        await volume.close()
        await runtime.close()
        await links.close()


@in_loop
async def test_two_laptops_share_a_tree(tmp_path: File) -> None:
    async with world(tmp_path) as tree, laptop(tree, "one") as one, laptop(tree, "two") as two:
        content = os.urandom(3 << 20)
        ino = await put(one, b"big", content)
        assert (await two.lookup(ROOT_INO, b"big")).size == len(content)
        assert await get(two, ino) == content
        directory = (await one.mkdir(ROOT_INO, b"d", Permissions(0o755, 0, 0))).ino
        await two.lookup(ROOT_INO, b"d")

        async def fill(volume: Filesystem, tag: bytes) -> None:
            for number in range(20):
                await put(volume, b"%s-%d" % (tag, number), tag * 500, directory)

        await asyncio.gather(fill(one, b"one"), fill(two, b"two"))
        names = sorted(b"%s-%d" % (tag, n) for tag in (b"one", b"two") for n in range(20))
        assert await listing(one, directory) == await listing(two, directory) == names
        handle = await two.open(ino, RW)
        await two.write(handle, 1 << 20, b"changed")
        await two.flush(handle)
        first = await one.open(ino, RW)
        assert bytes(await one.read(first, 1 << 20, 7)) == b"changed"


@in_loop
async def test_a_copy_goes_on_when_the_leader_dies(tmp_path: File) -> None:
    async with world(tmp_path) as tree, laptop(tree) as volume:
        content = os.urandom(1 << 20)
        attributes, handle = await volume.create(ROOT_INO, b"f", MINE, RW)
        for number in range(24):
            await volume.write(handle, number << 20, content)
            if number == 12:
                await tree.crash(tree.leader())
        await volume.flush(handle)
        await volume.release(handle)
        await until(tree.leader)
        async with laptop(tree, "other") as other:
            await other.lookup(ROOT_INO, b"f")
            assert await get(other, attributes.ino) == content * 24
