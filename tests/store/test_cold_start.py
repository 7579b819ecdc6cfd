"""Everything loses power at once, before anything but the log was kept."""

import asyncio
from pathlib import Path as File

import pytest

from blocktree.fault import Fault, Kind
from blocktree.names import Address, FileId
from blocktree.sectors.transaction import Command
from blocktree.store import messages as m
from blocktree.store.joining import Joining
from store.world import SMALL, World, in_loop, until, world


async def pull_the_plug(place: World, name: str) -> None:
    """End a node without the checkpoint that it would leave behind."""
    place.nodes[name].store.replica.failed = Fault(Kind.STOPPED, "the plug was pulled")
    await place.crash(name)


@in_loop
async def test_a_young_tree_comes_back_from_its_logs_alone(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        client = await place.client()
        await client.write(FileId(b"f" * 16), blob=b"a first file")
        await place.settled()
        names = sorted(place.nodes)
        for name in names:
            await pull_the_plug(place, name)
        for name in names:
            await place.start(name)
            assert not place.nodes[name].store.replica.driver.applied
        await until(place.leader, 15)
        await until(lambda: place.leader() and len(place.nodes[place.leader()].roster), 5)
        await place.settled()
        assert place.voters() == 3
        assert await client.version(FileId(b"f" * 16)) == 1
        assert place.voters() == 3


@in_loop
async def test_an_old_checkpoint_does_not_keep_out_who_joined_since(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        await place.nodes["pi-1"].store.chores.checkpoints.write()
        for name in ("pi-2", "pi-3"):
            await place.add(name)
        await until(lambda: place.voters() == 3)
        await place.settled()
        for name in ("pi-1", "pi-2", "pi-3"):
            await pull_the_plug(place, name)
        for name in ("pi-3", "pi-2", "pi-1"):
            await place.start(name)
        await until(place.leader, 15)
        await place.settled()
        assert place.voters() == 3


@in_loop
async def test_a_node_that_leads_before_it_has_read_its_log_may_ask_itself(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        (node,) = place.nodes.values()
        message = m.Join(node.credential.identity.chain, node.addresses)
        here = Address(node.path, m.STORE_ACTOR)
        joined = await node.runtime.ask(here, message, m.Joined)
        assert joined.index == node.store.replica.driver.applied  # it is on record: nothing to do


@in_loop
async def test_who_comes_before_the_tree_has_begun_is_asked_to_wait(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin, propose = asyncio.Event(), Joining._propose

    async def late(self: Joining, command: Command) -> None:
        await begin.wait()
        await propose(self, command)

    monkeypatch.setattr(Joining, "_propose", late)
    place = World(tmp_path, SMALL)
    try:
        node = await place.add("pi-1")
        await until(lambda: node.store.replica.driver.applied)
        client = await place.client()
        change = client.change(client.header(FileId(b"f" * 16)))
        with pytest.raises(Fault) as caught:
            await client.ask_node(node.path, client.commit_message(change), m.Committed)
        assert caught.value.kind is Kind.BUSY, caught.value
        begin.set()
        await client.write(FileId(b"f" * 16))
    finally:
        await place.close()
