"""What retention gives up goes in such an order that a crash leaves nothing named and not there."""

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path as File

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO, Changes
from blocktree.names import Digest, FileId, digest_of
from blocktree.node import Node
from blocktree.sectors.check import tree_of
from blocktree.sectors.difference import Difference
from blocktree.sectors.header import Header, load_header
from blocktree.sectors.pages import Tree
from blocktree.store.owners import OWNER_PREFIX, SWEEP_PREFIX, owner_key, read_dropped
from blocktree.store.sweep import Sweeper
from files.test_real_nodes import laptop
from files.test_volume import MINE, get
from store.world import SMALL, World, in_loop, until, world


async def pull_the_plug(place: World, name: str) -> None:
    """End a node without the checkpoint that it would leave behind."""
    place.nodes[name].store.replica.failed = Fault(Kind.STOPPED, "the plug was pulled")
    await place.crash(name)


def named_and_not_there(node: Node) -> list[Digest]:
    return node.disk.missing(owned(node))


def owned(node: Node) -> list[Digest]:
    rows = node.store.replica.tree.overlay.items(OWNER_PREFIX, b"", 10_000)
    return [Digest(key[len(OWNER_PREFIX) :]) for key, _ in rows]


@in_loop
async def test_a_crash_after_a_sweep_leaves_no_blob_that_is_named_and_not_there(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1, SMALL) as place:
        client = await place.client()
        signed, blobs = None, [os.urandom(5000) for _ in range(40)]
        for blob in blobs:
            signed = await client.write(FileId(b"f" * 16), signed, blob=blob)
        (node,) = place.nodes.values()
        chores = node.store.chores
        await chores.checkpoints.write()
        for last in range(1, 4):  # the plug is pulled after each of three steps
            sweeper = chores._sweeper
            for step in (sweeper.sweep, chores.checkpoints.write, sweeper.purge)[:last]:
                await step()
            await pull_the_plug(place, "pi-1")
            node = await place.start("pi-1")
            await until(place.leader)
            await client.version(FileId(b"f" * 16))
            assert named_and_not_there(node) == []
            chores = node.store.chores
            await chores.checkpoints.write()
        await chores._sweep()
        gone = node.disk.missing([digest_of(blob) for blob in blobs])
        assert set(gone) == {digest_of(blob) for blob in blobs[:7]}
        assert named_and_not_there(node) == []


@in_loop
async def test_a_blob_whose_deletion_waits_for_the_disk_counts_as_missing(tmp_path: File) -> None:
    async with world(tmp_path, 1, SMALL) as place:
        client = await place.client()
        blobs = [os.urandom(5000) for _ in range(2)]
        for blob in blobs:
            await client.write(FileId(os.urandom(16)), blob=blob)
        (node,) = place.nodes.values()
        replica = node.store.replica
        back, gone = map(digest_of, blobs)
        busy = threading.Event()
        replica.host.worker.submit(lambda: busy.wait(10), lambda *_: None)
        dropping = asyncio.ensure_future(replica.staging.drop([back, gone]))
        await asyncio.sleep(0)
        assert replica.staging.missing([back]) == [back]  # so it is sent again, and stays
        replica.staging.add([(back, blobs[0])])
        busy.set()
        await dropping
        assert bytes(node.disk.read_blob(back, verify=True)) == blobs[0]
        assert node.disk.missing([back, gone]) == [gone]


@in_loop
async def test_a_page_of_the_successor_that_is_gone_costs_no_sector_that_is_kept(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, 1, SMALL) as place:
        (node,) = place.nodes.values()
        tree, sweeper = node.store.replica.tree, node.store.chores._sweeper
        with monkeypatch.context() as patch:
            patch.setattr(Sweeper, "sweep", nothing_swept)
            async with laptop(place) as volume:
                attributes, handle = await volume.create(ROOT_INO, b"f", MINE, os.O_RDWR)
                content = os.urandom(1000) * 140
                for start in range(0, len(content), 1000):
                    await volume.write(handle, start, content[start : start + 1000])
                    await volume.flush(handle)
                await volume.release(handle)
        lose_pages(node)
        await node.store.chores.checkpoints.write()
        while await sweeper.sweep():
            pass
        await node.store.chores.checkpoints.write()
        await sweeper.purge()
        assert sweeper.deleted > 50
        assert not tree.overlay.items(SWEEP_PREFIX, b"", 10)
        async with laptop(place, "other") as reader:
            assert await get(reader, (await reader.lookup(ROOT_INO, b"f")).ino) == content
        assert attributes.size == 0


async def nothing_swept(_: Sweeper) -> int:
    return 0


def lose_pages(node: Node) -> None:
    """As on a node that joined late: it has dropped versions, and not the pages after them."""
    overlay = node.store.replica.tree.overlay
    rows = [read_dropped(row) for _, row in overlay.items(SWEEP_PREFIX, b"", 10_000)]
    for dropped in rows[1::2]:
        header = load_header(dropped.old).header
        if header.size > header.sector_size:  # its root is a page
            overlay.delete(owner_key(Digest(header.root)))
            node.disk.delete_blobs([Digest(header.root)])


@in_loop
async def test_what_is_left_of_many_versions_is_what_the_kept_ones_have(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a directory that grew and shrank, and of files with pages over pages."""
    async with world(tmp_path, 1, SMALL) as place:
        (node,) = place.nodes.values()
        sweeper, read = node.store.chores._sweeper, Sweeper._read
        jobs: list[int] = []

        def counted(self: Sweeper, digests: Sequence[Digest]) -> dict[Digest, bytes | None]:
            jobs.append(len(digests))
            return read(self, digests)

        monkeypatch.setattr(Sweeper, "_read", counted)
        async with laptop(place) as volume:
            attributes, handle = await volume.create(ROOT_INO, b"f", MINE, os.O_RDWR)
            for start in range(0, 140_000, 2000):
                await volume.write(handle, start, os.urandom(2000))
                await volume.fsync(handle)
            await volume.setattr(attributes.ino, Changes(size=9000), handle)
            await volume.release(handle)
            for number in range(120):
                name = b"%d" % number + b"n" * 60
                _, handle = await volume.create(ROOT_INO, name, MINE, os.O_RDWR)
                await volume.write(handle, 0, os.urandom(3000))
                await volume.fsync(handle)
                await volume.release(handle)
            for number in range(0, 120, 3):
                await volume.unlink(ROOT_INO, b"%d" % number + b"n" * 60)
        await node.store.chores.checkpoints.write()
        jobs.clear()
        while await sweeper.sweep():
            pass
        await node.store.chores.checkpoints.write()
        while await sweeper.purge():
            pass
        assert set(owned(node)) == named(node)
        assert named_and_not_there(node) == []
        assert sweeper.deleted > 200
        assert len(jobs) < 20, jobs


def named(node: Node) -> set[Digest]:
    """Every sector and page of every version that is kept."""
    tree = node.store.replica.tree
    found: set[Digest] = set()
    for key, row in tree.overlay.items(b"h", b"", 10_000):
        for encoded in (row, *tree.history(FileId(key[1:]), 0, 100)):
            found |= parts_of(node, load_header(encoded).header)
    for key, _ in tree.overlay.items(b"d", b"", 10_000):
        for encoded in tree.history(FileId(key[1:]), 0, 100):
            found |= parts_of(node, load_header(encoded).header)
    return found


def parts_of(node: Node, header: Header) -> set[Digest]:
    walk, found = Difference(tree_of(header), Tree()), set[Digest]()
    while wanted := walk.missing():
        pages = {digest: bytes(node.disk.read_blob(digest, verify=True)) for digest in wanted}
        found |= {digest for _, digest in walk.feed(pages)}
    return found | {digest for _, digest in walk.feed({})}
