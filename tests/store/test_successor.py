"""A node set up anew under an old path: what others still tell its predecessor is not for it."""

import asyncio
from pathlib import Path as File

from blocktree.actors import Address
from blocktree.raft import Heartbeat, NodeId
from blocktree.store.between import RAFT_ACTOR, RaftMessages
from blocktree.store.roster import node_id
from store.world import World, in_loop, until, world


async def tell(place: World, to: NodeId, at: str) -> None:
    """Have the leader say to the node at a path that far more was acknowledged than is there."""
    leader = place.nodes[place.leader()]
    raft = leader.store.replica.driver.raft
    message = RaftMessages(to, (Heartbeat(raft.term, 1 << 20, 1 << 20),))
    await leader.runtime.tell(Address(place.nodes[at].path, RAFT_ACTOR), message)
    await asyncio.sleep(0.3)


@in_loop
async def test_what_a_predecessor_acknowledged_is_not_asked_of_its_successor(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        follower = next(name for name in place.nodes if name != place.leader())
        store = place.nodes[follower].store
        await tell(place, NodeId("ab" * 32), follower)
        assert not store.failed.done()
        await place.settled()
        await tell(place, node_id(place.nodes[follower].credential.principal), follower)
        await until(store.failed.done)  # said to itself, it means that its disk lost something
