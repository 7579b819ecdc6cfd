"""A node that is behind meets members that it has never heard of: also the leader may be one."""

import asyncio
import contextlib
import os
from pathlib import Path as File

import pytest

from blocktree.fault import Fault, Kind
from blocktree.keys import MemberKind, member_of, new_credential, process_credential
from blocktree.names import FileId, Path, join
from blocktree.store import messages as m
from blocktree.store.roster import Belonging, Roster, node_id
from store.test_removal import owner_of
from store.world import NOW, World, in_loop, make_tree, until, world


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


def test_a_node_that_still_reads_the_past_denies_nobody_and_sends_him_on() -> None:
    tree = make_tree()
    laptop = process_credential(tree.user, "laptop", now=NOW, draw=os.urandom).identity
    spent = new_credential(
        tree.owner, MemberKind.NODE, join(Path(f"/{tree.tree}"), "pi-9"), now=NOW, draw=os.urandom
    )
    node = member_of(spent.identity)
    roster = Roster()
    roster.me = node.principal
    owner = [each for each in tree.members if each.principal == tree.owner.identity.principal]
    for members, index in (((*owner, node), 0), (owner, 2)):  # told; before the user and the node
        roster.replace((Belonging(each) for each in members), index)
        with pytest.raises(Fault, match="has just joined"):
            roster.check_read()
    with pytest.raises(Fault, match="has just joined") as early:
        roster.check(laptop)
    assert early.value.kind is Kind.BUSY
    roster.replace((Belonging(each) for each in (*owner, node)), 9)
    with pytest.raises(Fault, match="does not belong") as stranger:
        roster.check(laptop)
    assert stranger.value.kind is Kind.DENIED
    roster.replace((Belonging(each) for each in (*tree.members, node)), 10)
    roster.check(laptop)
    user = next(each for each in tree.members if each.principal == tree.user.identity.principal)
    roster.replace((Belonging(user, removed=True), Belonging(node)), 11)
    with pytest.raises(Fault, match=r"does not belong|withdrawn"):
        roster.check(laptop)


@in_loop
async def test_who_has_just_come_to_lead_denies_nobody_before_its_log_is_read(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1) as place:
        client = await place.client()
        (node,) = place.nodes.values()
        store, sectors = node.store, node.store.replica.tree.sectors
        identity = client.credential.identity
        assert store.writer_of(identity) == client.user.key.principal
        store._writers.clear()

        def nobody(_principal: object) -> None:
            raise Fault(Kind.DENIED, "does not belong to this tree")

        sectors.identify = nobody  # type: ignore[assignment, method-assign]
        with pytest.raises(Fault) as stranger:
            store.writer_of(identity)
        assert stranger.value.kind is Kind.DENIED
        driver = store.replica.driver
        applied, driver.applied = driver.applied, 1  # of an earlier term, as after a restart
        driver.raft._state.term += 1
        try:
            with pytest.raises(Fault, match="still reads its log") as early:
                store.writer_of(identity)
        finally:
            driver.applied = applied
            driver.raft._state.term -= 1
        assert early.value.kind is Kind.BUSY
