"""Blobs reach every follower ahead of their entry, and leave each node at most once when large."""

import os
from pathlib import Path as File
from typing import Any

from blocktree.names import FileId, digest_of
from blocktree.node import Node
from blocktree.store import messages as m
from blocktree.store.between import HoldBlobs
from blocktree.store.forwarding import CHAIN_BYTES
from store.world import World, in_loop, until, world


def new_file() -> FileId:
    return FileId(os.urandom(16))


def watch(node: Node) -> list[HoldBlobs]:
    """What a node sends of blobs ahead."""
    sent: list[HoldBlobs] = []
    runtime: Any = node.runtime
    post = runtime.post

    def posted(to: Any, message: Any, **rest: Any) -> bool:
        done = post(to, message, **rest)
        if done and isinstance(message, HoldBlobs):
            sent.append(message)
        return bool(done)

    runtime.post = posted
    return sent


async def linked(tree: World) -> None:
    """Let every node have a link for large messages to every other."""
    ann = await tree.client()
    leader = tree.leader()
    for _ in range(3):
        await ann.write(new_file(), blob=os.urandom(CHAIN_BYTES))
        await tree.settled()
    assert tree.leader() == leader


@in_loop
async def test_a_large_batch_goes_through_all_nodes_in_a_chain(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        await linked(tree)
        ann = await tree.client()
        sent = {name: watch(node) for name, node in tree.nodes.items()}
        blob = os.urandom(2 * CHAIN_BYTES)
        digest = digest_of(blob)
        await ann.ask(m.PutBlobs((len(blob),), blob), m.Stored)
        await until(lambda: not any(n.disk.missing([digest]) for n in tree.nodes.values()))
        counts = {name: len(messages) for name, messages in sent.items()}
        assert counts.pop(tree.leader()) == 1
        assert sorted(counts.values()) == [0, 1]


@in_loop
async def test_a_small_blob_goes_to_each_follower_directly(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        await linked(tree)
        ann = await tree.client()
        sent = watch(tree.nodes[tree.leader()])
        blob = os.urandom(CHAIN_BYTES // 4)
        await ann.ask(m.PutBlobs((len(blob),), blob), m.Stored)
        assert [message.onward for message in sent] == [(), ()]


@in_loop
async def test_a_node_that_does_not_send_on_costs_a_fetch(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        await linked(tree)
        ann = await tree.client()
        for node in tree.nodes.values():
            forwarder: Any = node.store.replica.forwarder
            forwarder.send_on = lambda _: None
        blob = os.urandom(2 * CHAIN_BYTES)
        await ann.write(new_file(), blob=blob)
        await tree.settled()
        for node in tree.nodes.values():
            assert node.disk.missing([digest_of(blob)]) == []
