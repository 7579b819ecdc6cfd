"""A disk that is suddenly full: no entry comes into the log without the blobs that it names."""

import os
import time
from pathlib import Path as File

from blocktree.disk import Batch
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId
from store.test_sweep import named_and_not_there, pull_the_plug
from store.world import in_loop, until, world


@in_loop
async def test_an_entry_waits_for_its_blobs_until_there_is_room_for_them(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        client = await place.client()
        name = next(name for name in place.nodes if name != place.leader())
        disk, leader = place.nodes[name].disk, place.nodes[place.leader()].store.replica.driver
        await until(lambda: disk.log.last_index == leader.raft.last_index)
        append, refused = disk.append, []

        def short(batch: Batch) -> None:
            """There is room for entries, and none for blobs."""
            if batch.blobs:
                time.sleep(0.2)  # meanwhile the entry comes along
                refused.append(batch)
                raise Fault(Kind.NO_SPACE, "the disk is full")
            append(batch)

        disk.append = short  # type: ignore[method-assign]
        before = disk.log.last_index
        signed = await client.write(FileId(b"f" * 16), blob=os.urandom(200_000))
        await client.write(FileId(b"g" * 16), blob=os.urandom(200_000))
        await until(lambda: len(refused) >= 2)
        others = [node.disk.log.last_index for key, node in place.nodes.items() if key != name]
        assert min(others) > before
        assert disk.log.last_index == before
        disk.append = append  # type: ignore[method-assign]
        await place.settled()
        assert disk.missing([Digest(signed.header.root)]) == []
        await pull_the_plug(place, name)
        node = await place.start(name)
        await place.settled()
        assert named_and_not_there(node) == []
        assert node.disk.missing([Digest(signed.header.root)]) == []
