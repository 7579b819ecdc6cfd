"""What the sector service does when something breaks: disks, laggards, forgotten uploads."""

import asyncio
import errno
import os
import time
from pathlib import Path as File

import pytest

from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId, digest_of
from blocktree.sectors.transaction import Expire
from blocktree.store import messages as m
from blocktree.store.messages import STAGED_SECONDS
from store.world import World, in_loop, until, world


def new_file() -> FileId:
    return FileId(os.urandom(16))


@in_loop
async def test_a_node_stops_when_a_sync_fails_and_the_others_go_on(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        name = tree.leader()
        node = tree.nodes[name]

        def fail() -> None:
            raise Fault(Kind.FAILED, "a sync failed: input/output error")

        node.disk.begin_sync = lambda: None
        node.disk.sync = fail  # type: ignore[method-assign]
        signed = await ann.write(new_file())
        fault = await node.store.failed
        assert "sync failed" in fault.what
        await tree.crash(name)
        assert (await ann.read(signed.header.file)).headers == (signed.encoded,)


@in_loop
async def test_a_node_stops_when_the_kernel_reports_a_failed_sync(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        (node,) = tree.nodes.values()
        kernel = node.store.replica.host.kernel
        if kernel is None:
            pytest.skip("this kernel cannot sync by itself")
        kernel.take = lambda: errno.EIO  # type: ignore[method-assign]
        change = asyncio.ensure_future(ann.write(new_file()))
        fault = await node.store.failed
        assert "sync failed" in fault.what
        change.cancel()
        await asyncio.gather(change, return_exceptions=True)


@in_loop
async def test_a_node_stops_when_it_cannot_apply_what_was_decided(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        follower = next(name for name in tree.nodes if name != tree.leader())
        node = tree.nodes[follower]

        def fail(*_: object) -> None:
            raise AssertionError("impossible")

        node.store.replica.tree.apply = fail  # type: ignore[assignment, method-assign]
        await ann.write(new_file())
        await node.store.failed
        await tree.crash(follower)
        again = await tree.start(follower)  # nothing half applied was kept
        await tree.settled()
        assert again.store.replica.failed is None


@in_loop
async def test_a_leader_that_is_stopped_hands_over_first(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        await ann.write(new_file())
        before = tree.leader()
        term = tree.nodes[before].store.replica.driver.raft.term
        await tree.stop(before)
        await until(tree.leader)
        started = time.monotonic()
        await ann.write(new_file())
        assert time.monotonic() - started < 1.0
        assert tree.nodes[tree.leader()].store.replica.driver.raft.term == term + 1


def shorten_logs(tree: World) -> None:
    for node in tree.nodes.values():
        object.__setattr__(node.store.replica.host, "log_kept", 4)


@in_loop
async def test_a_voter_behind_the_log_gets_a_snapshot_while_others_write(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        away = next(name for name in tree.nodes if name != tree.leader())
        old = await ann.write(new_file(), blob=os.urandom(600))
        await tree.settled()
        await tree.crash(away)
        shorten_logs(tree)
        blobs = [os.urandom(900) for _ in range(40)]
        for blob in blobs:
            await ann.write(new_file(), blob=blob)
        await ann.write(old.header.file, old, blob=os.urandom(700))
        for node in tree.nodes.values():
            await node.store.chores.checkpoints.write()
        back = await tree.start(away)
        writes = [asyncio.ensure_future(ann.write(new_file())) for _ in range(20)]
        await asyncio.gather(*writes)
        await tree.settled()
        await until(lambda: back.store.chores.backfill.missing == 0)
        assert back.disk.missing([digest_of(blob) for blob in blobs]) == []
        tables = [
            list(node.store.replica.tree.overlay.items(b"h", b"", 10_000))
            for node in tree.nodes.values()
        ]
        assert tables[0] == tables[1] == tables[2]


@in_loop
async def test_uploads_without_a_commit_are_dropped_after_a_while(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        (node,) = tree.nodes.values()
        staging = node.store.replica.staging
        lost, kept = os.urandom(300), os.urandom(300)
        await ann.ask(m.PutBlobs((300,), lost), m.Stored)
        await ann.write(new_file(), blob=kept)
        assert staging.bytes_waiting == 300
        now = staging._now
        staging._now = lambda: now() + STAGED_SECONDS + 1
        await staging.expire()
        assert staging.bytes_waiting == 0
        assert node.disk.missing([digest_of(lost), digest_of(kept)]) == [digest_of(lost)]


@in_loop
async def test_old_versions_expire_for_all_replicas_alike(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        file = new_file()
        first = await ann.write(file, blob=os.urandom(400))
        await ann.write(file, first, blob=os.urandom(400))
        leader = tree.nodes[tree.leader()]
        outcome = await leader.store.commits.propose(Expire(time.time_ns()))
        assert len(outcome.dropped) == 1
        assert (await ann.ask(m.GetHistory(file), m.History)).headers == ()
        await tree.settled()
        for node in tree.nodes.values():
            await node.store.chores.checkpoints.write()
            await node.store.chores._sweep()
            assert node.disk.missing([Digest(first.header.root)])


@in_loop
async def test_on_a_full_disk_the_past_gives_way(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        file = new_file()
        first = await ann.write(file, blob=os.urandom(400))
        second = await ann.write(file, first, blob=os.urandom(500))
        (node,) = tree.nodes.values()
        await node.store.chores._relieve()
        assert len((await ann.ask(m.GetHistory(file), m.History)).headers) == 1
        node.store.replica.staging.reserve = 1 << 60
        await node.store.chores._relieve()
        assert (await ann.ask(m.GetHistory(file), m.History)).headers == ()
        for _ in range(2):
            await node.store.chores.checkpoints.write()
            await node.store.chores._sweep()
        assert node.disk.missing([Digest(first.header.root)])
        assert not node.disk.missing([Digest(second.header.root)])


@in_loop
async def test_another_trees_state_is_refused(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        await tree.crash("pi-1")
        (tmp_path / "pi-1" / "log").rename(tmp_path / "log")
        (tmp_path / "pi-1" / "index").rename(tmp_path / "index")
        await tree.add("pi-2")
        await tree.crash("pi-2")
        for part in ("log", "index"):
            (tmp_path / "pi-2" / part).rename(tmp_path / f"old-{part}")
            (tmp_path / part).rename(tmp_path / "pi-2" / part)
        with pytest.raises(Fault) as refused:
            await tree.start("pi-2")
        assert refused.value.kind in (Kind.DENIED, Kind.WRONG_TREE)
