"""A node that is behind meets members that it has never heard of: also the leader may be one."""

import asyncio
import contextlib
from pathlib import Path as File

from blocktree.fault import Fault
from blocktree.names import FileId
from blocktree.store import messages as m
from blocktree.store.roster import node_id
from store.test_removal import owner_of
from store.world import World, in_loop, until, world


async def hand_over(place: World, to: str) -> None:
    """Make this node the leader."""
    heir = node_id(place.nodes[to].credential.principal)
    while (leader := place.leader()) != to:
        if leader and heir in place.nodes[leader].store.replica.driver.membership.voters:
            with contextlib.suppress(Fault):  # one is under way
                place.nodes[leader].store.replica.driver.transfer(heir)
        await asyncio.sleep(0.1)


@in_loop
async def test_a_node_that_was_away_hears_a_leader_that_joined_meanwhile(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        owner = await owner_of(place)
        away = next(name for name in place.nodes if name != place.leader())
        await place.stop(away)
        leaves = place.leader()
        principal = place.nodes[leaves].credential.principal
        await place.add("pi-4")
        await until(lambda: place.voters() == 4)
        await hand_over(place, "pi-4")
        await owner.ask(m.Remove(principal), m.Removed)
        await place.crash(leaves)
        client = await place.client()
        signed = await client.write(FileId(b"f" * 16), blob=b"while it was away")
        await place.start(away)  # it knows itself, one other follower, and one that is gone
        await place.settled()
        roster = place.nodes[away].roster
        assert roster.belongs(place.nodes["pi-4"].credential.identity)
        assert not roster.belonging(principal)
        await client.write(FileId(b"f" * 16), signed, blob=b"and now that it is back")
        await place.settled()
