"""What retention gives up goes in such an order that a crash leaves nothing named and not there."""

import asyncio
import os
import threading
from pathlib import Path as File

from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId
from blocktree.node import Node
from blocktree.store.owners import OWNER_PREFIX
from store.world import SMALL, World, digest_of, in_loop, until, world


async def pull_the_plug(place: World, name: str) -> None:
    """End a node without the checkpoint that it would leave behind."""
    place.nodes[name].store.replica.failed = Fault(Kind.STOPPED, "the plug was pulled")
    await place.crash(name)


def named_and_not_there(node: Node) -> list[Digest]:
    rows = node.store.replica.tree.overlay.items(OWNER_PREFIX, b"", 10_000)
    return node.disk.missing([Digest(key[len(OWNER_PREFIX) :]) for key, _ in rows])


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
