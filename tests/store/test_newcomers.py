"""Clients and nodes that joined after those clients last asked who belongs."""

import asyncio
import os
from pathlib import Path as File

from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.names import Address, FileId, digest_of
from blocktree.store.messages import STORE_ACTOR, GetStatus, Status
from store.world import in_loop, until, world


@in_loop
async def test_a_client_comes_to_know_a_node_that_joined_a_moment_ago(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        seeds = [address for path in place.paths for address in place.where(path)]
        client = Client(place.tree.user, seeds=seeds)
        try:
            await client.start()
            newcomer = await place.add("pi-2")
            client.links.sources.append(place.where)
            async with asyncio.timeout(10):
                while True:
                    try:
                        to = Address(newcomer.path, STORE_ACTOR)
                        answer = await client.runtime.ask(to, GetStatus(), Status, timeout=2)
                    except Fault as fault:
                        if fault.kind is not Kind.UNREACHABLE:  # that is tried again
                            raise
                        await asyncio.sleep(0.05)
                    else:
                        break
            assert answer.path == newcomer.path
        finally:
            await client.close()


@in_loop
async def test_a_client_whose_only_address_is_of_a_node_that_starts_waits_for_it(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 1) as place:
        seeds = [address for path in place.paths for address in place.where(path)]
        await place.stop("pi-1")
        client = Client(place.tree.user, seeds=seeds)
        starting = asyncio.ensure_future(client.start(find_seconds=20))
        try:
            await asyncio.sleep(0.5)
            assert not starting.done()
            await place.start("pi-1")
            await starting
            assert client.nodes() == (place.nodes["pi-1"].path,)
        finally:
            starting.cancel()
            await client.close()


@in_loop
async def test_a_newcomer_is_not_held_up_by_a_leader_that_has_lost_a_blob(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        blob = os.urandom(100_000)
        await ann.write(FileId(os.urandom(16)), blob=blob)
        await place.settled()
        leader, digest = place.nodes[place.leader()], digest_of(blob)
        leader.disk.delete_blobs([digest])
        newcomer = await place.add("pi-4")
        await until(lambda: place.voters() == 4, 30)
        assert bytes(newcomer.disk.read_blob(digest, verify=True)) == blob
        await until(lambda: not leader.disk.missing([digest]), 30)  # it was made aware of it


@in_loop
async def test_an_entry_that_comes_again_after_it_was_applied_keeps_nothing(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        ann = await place.client()
        await ann.write(FileId(os.urandom(16)), blob=b"so that something is applied")
        replica = place.nodes["pi-1"].store.replica
        gone = digest_of(b"gone")
        replica.staging.pin(replica.driver.applied, [gone])
        assert not replica.staging.pinned(gone)


@in_loop
async def test_entries_that_a_snapshot_stands_for_keep_nothing(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        replica = place.nodes["pi-1"].store.replica
        at, gone = replica.driver.applied + 10, digest_of(b"gone")
        replica.staging.pin(at, [gone])
        replica.restored(replica.driver.raft.mark(replica.driver.applied))
        assert replica.staging.pinned(gone)  # it is behind the snapshot
        replica.staging.begin(at)
        assert not replica.staging.pinned(gone)
