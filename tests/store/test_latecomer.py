"""A node that comes late gets entries whose blobs are gone for good: nothing may wait for those."""

import asyncio
import os
from pathlib import Path as File

from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.store import messages as m
from blocktree.store.roster import node_id
from store.test_sweep import named_and_not_there, pull_the_plug
from store.world import in_loop, until, world


@in_loop
async def test_blobs_that_are_gone_are_named_nowhere_not_even_after_a_crash(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1) as place:
        client = await place.client()
        signed = None
        for _ in range(40):
            signed = await client.write(FileId(b"f" * 16), signed, blob=os.urandom(5000))
        chores = place.nodes["pi-1"].store.chores
        await chores.checkpoints.write()
        await chores._sweep()
        assert chores._sweeper.deleted == 7
        late = await place.add("pi-2")
        await until(lambda: place.voters() == 2)
        await place.settled()
        assert named_and_not_there(late) == []
        await pull_the_plug(place, "pi-2")  # it applies its log again
        late = await place.start("pi-2")
        await place.settled()
        assert late.store.replica.driver.applied
        await until(lambda: named_and_not_there(late) == [])  # it asks once more
        heir = node_id(late.credential.principal)
        place.nodes["pi-1"].store.replica.driver.transfer(heir)
        await until(lambda: place.leader() == "pi-2")  # it says now what is gone
        third = await place.add("pi-3")
        await until(lambda: place.voters() == 3)
        await place.settled()
        assert named_and_not_there(third) == []


@in_loop
async def test_a_blob_that_a_refused_entry_named_first_is_gone_for_the_next_one_too(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1) as place:
        client, file = await place.client(), FileId(b"f" * 16)
        blobs = [os.urandom(5000) for _ in range(2)]
        lengths = tuple(map(len, blobs))
        digests = (await client.ask(m.PutBlobs(lengths, b"".join(blobs)), m.Stored)).digests
        first, rival = (client.header(file, root=digest, size=5000) for digest in digests)
        outcomes = await asyncio.gather(
            *(
                client.ask(client.commit_message(client.change(signed, [digest])), m.Committed)
                for signed, digest in ((first, digests[0]), (rival, digests[1]))
            ),
            return_exceptions=True,
        )
        assert isinstance(outcomes[0], m.Committed)
        assert isinstance(outcomes[1], Fault)
        assert outcomes[1].kind is Kind.CONFLICT
        signed = client.header(file, first, root=digests[1], size=5000)  # with what is here already
        await client.ask(client.commit_message(client.change(signed, [digests[1]])), m.Committed)
        for _ in range(40):
            signed = await client.write(file, signed, blob=os.urandom(5000))
        chores = place.nodes["pi-1"].store.chores
        await chores.checkpoints.write()
        await chores._sweep()
        late = await place.add("pi-2")
        await until(lambda: place.voters() == 2)
        await place.settled()
        assert named_and_not_there(late) == []


@in_loop
async def test_blobs_that_are_gone_hold_up_no_quorum(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        await until(lambda: place.voters() == 3)
        client = await place.client()
        leader = place.leader()
        late, other = (name for name in place.nodes if name != leader)
        await place.crash(late)
        signed = None
        for _ in range(40):
            signed = await client.write(FileId(b"f" * 16), signed, blob=os.urandom(5000))
        for node in place.nodes.values():
            await node.store.chores.checkpoints.write()
            await node.store.chores._sweep()
        assert place.nodes[leader].store.chores._sweeper.deleted == 7
        await place.crash(other)
        pending = asyncio.ensure_future(client.write(FileId(b"g" * 16), blob=os.urandom(5000)))
        driver = place.nodes[leader].store.replica.driver
        await until(lambda: driver.raft.last_index > driver.applied)
        await pull_the_plug(place, leader)  # it does not know any more what is committed
        await place.start(leader)
        await place.start(late)  # without it nothing is decided
        await pending
        await place.settled()
        assert named_and_not_there(place.nodes[late]) == []
