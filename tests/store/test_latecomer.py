"""A node that comes late gets entries whose blobs are gone for good: nothing may wait for those."""

import os
from pathlib import Path as File

from blocktree.names import FileId
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
        assert named_and_not_there(late) == []
        heir = node_id(late.credential.principal)
        place.nodes["pi-1"].store.replica.driver.transfer(heir)
        await until(lambda: place.leader() == "pi-2")  # it says now what is gone
        third = await place.add("pi-3")
        await until(lambda: place.voters() == 3)
        await place.settled()
        assert named_and_not_there(third) == []
