"""Members that are removed: they leave the group first, then everybody refuses them, at once."""

import dataclasses
from pathlib import Path as File

import pytest

from blocktree.actors import Runtime
from blocktree.fault import Fault, Kind
from blocktree.link import Links, Side
from blocktree.names import FileId
from blocktree.node import Node
from blocktree.store import messages as m
from blocktree.store.folder import NodeFolder
from store.test_sweep import pull_the_plug
from store.world import Client, World, free_port, in_loop, until, world


class Owner(Client):
    """The owner in person."""

    def __init__(self, world: World) -> None:
        super().__init__(world, "desk")
        self.links = Links(
            Side(world.tree.owner, lambda _: None), sources=[world.where], dice=lambda: 0.5
        )
        self.runtime = Runtime(world.tree.owner.path, self.links)


async def owner_of(place: World) -> Owner:
    owner = Owner(place)
    await owner.start()
    place.clients.append(owner)
    return owner


def voters_of(node: Node) -> int:
    return len(node.store.replica.driver.membership.voters)


async def hears(node: Node) -> str:
    """The sentence with which a node stops."""
    await until(node.store.failed.done, 20)
    return node.store.failed.result().what


@in_loop
async def test_a_follower_is_removed_and_told_so(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        owner = await owner_of(place)
        gone = next(name for name in place.nodes if name != place.leader())
        node = place.nodes[gone]
        principal = node.credential.principal
        await owner.ask(m.Remove(principal), m.Removed)
        assert voters_of(place.nodes[place.leader()]) == 2
        assert "removed from the tree" in await hears(node)
        await place.crash(gone)
        with pytest.raises(Fault) as refused:  # also at its next start
            await place.start(gone)
        assert refused.value.kind is Kind.DENIED
        assert "removed from the tree" in refused.value.what
        client = await place.client()
        await client.write(FileId(b"f" * 16), blob=b"still alive")
        assert await owner.ask(m.Remove(principal), m.Removed)  # again: nothing left to do


@in_loop
async def test_the_leader_is_removed_after_it_handed_over(tmp_path: File) -> None:
    async with world(tmp_path, 2) as place:
        owner = await owner_of(place)
        gone = place.leader()
        node = place.nodes[gone]
        await owner.ask(m.Remove(node.credential.principal), m.Removed)
        assert "removed from the tree" in await hears(node)
        await place.crash(gone)
        await until(place.leader)
        assert voters_of(place.nodes[place.leader()]) == 1
        client = await place.client()
        await client.write(FileId(b"f" * 16), blob=b"one is enough")
        last = place.nodes[place.leader()].credential.principal
        with pytest.raises(Fault) as refused:
            await owner.ask(m.Remove(last), m.Removed)
        assert refused.value.kind is Kind.USAGE


@in_loop
async def test_a_dead_node_is_removed_and_its_path_given_anew(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        owner = await owner_of(place)
        gone = next(name for name in place.nodes if name != place.leader())
        principal = place.nodes[gone].credential.principal
        await place.crash(gone)
        await owner.ask(m.Remove(principal), m.Removed)
        (tmp_path / gone).rename(tmp_path / "old")
        await place.add(gone)
        await until(lambda: place.voters() == 3)
        assert place.nodes[gone].credential.principal != principal
        with pytest.raises(Fault) as mistaken:  # who removes by an old list means the new one
            await owner.ask(m.Remove(principal), m.Removed)
        assert mistaken.value.kind is Kind.CONFLICT
        assert place.voters() == 3


@in_loop
async def test_a_node_that_was_removed_before_its_first_checkpoint_is_told_so(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        owner = await owner_of(place)
        gone = next(name for name in place.nodes if name != place.leader())
        principal = place.nodes[gone].credential.principal
        await pull_the_plug(place, gone)  # what it knew of the tree is in its log alone
        await owner.ask(m.Remove(principal), m.Removed)
        folder = NodeFolder(tmp_path / gone)
        doors = [address for path in place.paths[:2] for address in place.where(path)]
        doors = [*doors, f"127.0.0.1:{free_port()}"]  # the last one is nobody's
        folder.save_settings(dataclasses.replace(folder.settings(), seeds=tuple(doors)))
        node = await place.start(gone)
        assert "removed from the tree" in await hears(node)


@in_loop
async def test_only_the_owner_removes(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        client = await place.client()
        principal = place.nodes["pi-1"].credential.principal
        with pytest.raises(Fault) as refused:
            await client.ask(m.Remove(principal), m.Removed)
        assert refused.value.kind is Kind.DENIED
