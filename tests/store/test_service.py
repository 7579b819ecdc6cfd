"""The sector service of three real nodes: what clients are promised, also when nodes die."""

import asyncio
import os
import time
from pathlib import Path as File

import pytest

from blocktree.disk import Limits
from blocktree.fault import Fault, Kind
from blocktree.keys import new_tree
from blocktree.names import FileId, digest_of
from blocktree.store import messages as m
from store.world import NOW, SMALL, Client, in_loop, until, world


def new_file() -> FileId:
    return FileId(os.urandom(16))


@in_loop
async def test_what_one_commits_another_reads(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann, bob = await tree.client("laptop"), await tree.client("desk")
        file = new_file()
        signed = await ann.write(file, blob=os.urandom(1000))
        assert (await bob.read(file)).headers == (signed.encoded,)
        with pytest.raises(Fault) as conflict:
            await bob.write(file)
        assert conflict.value.kind is Kind.CONFLICT
        assert conflict.value.path == file.hex()
        assert (await bob.read(file, known=(1,))).headers == (b"",)
        assert (await bob.read(new_file())).headers == (None,)
        later = await bob.write(file, signed)
        history = await ann.ask(m.GetHistory(file), m.History)
        assert history.headers == (signed.encoded,)
        assert (await ann.read(file)).headers == (later.encoded,)


@in_loop
async def test_the_same_transaction_again_is_answered_again(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        signed = ann.header(new_file())
        message = ann.commit_message(ann.change(signed))
        first = await ann.ask(message, m.Committed)
        again = await ann.ask(message, m.Committed)
        assert again.index > first.index
        assert again.leased_ms == 0
        later = await ann.write(signed.header.file, signed)
        await ann.ask(message, m.Committed)
        assert (await ann.read(signed.header.file)).headers == (later.encoded,)


@in_loop
async def test_blobs_ride_along_and_every_node_serves_them(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        blob = os.urandom(4096)
        digest = digest_of(blob)
        signed = ann.header(new_file(), root=digest, size=len(blob))
        bare = ann.commit_message(ann.change(signed, [digest]))
        with pytest.raises(Fault) as missing:
            await ann.ask(bare, m.Committed)
        assert missing.value.kind is Kind.NOT_FOUND
        await ann.ask(m.Commit(bare.transaction, b"", (len(blob),), blob), m.Committed)
        await tree.settled()
        for path in tree.paths:
            blobs = await ann.ask_node(path, m.GetBlobs((digest, digest_of(b""))), m.Blobs)
            assert blobs.lengths == (4096, 0)
            assert bytes(blobs.body) == blob


@in_loop
async def test_a_follower_fetches_blobs_that_were_not_forwarded(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        leader = tree.nodes[tree.leader()].store.replica
        leader.forwarder.forward = lambda *_: None  # type: ignore[method-assign]
        blob = os.urandom(70_000)
        await ann.write(new_file(), blob=blob)
        await tree.settled()
        for node in tree.nodes.values():
            assert node.disk.missing([digest_of(blob)]) == []


@in_loop
async def test_a_write_after_the_leader_died_is_acknowledged_within_two_seconds(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        files = [new_file() for _ in range(20)]
        written = [await ann.write(file, blob=os.urandom(500)) for file in files[:10]]
        before = time.monotonic()
        await tree.crash(tree.leader())
        await ann.write(files[10])
        assert time.monotonic() - before < 2.0
        assert (await ann.read(*files[:10])).headers == tuple(s.encoded for s in written)


@in_loop
async def test_a_node_that_was_away_catches_up_with_log_and_blobs(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        away = next(name for name in tree.nodes if name != tree.leader())
        await tree.crash(away)
        blobs = [os.urandom(3000) for _ in range(20)]
        for blob in blobs:
            await ann.write(new_file(), blob=blob)
        node = await tree.start(away)
        await tree.settled()
        assert node.disk.missing([digest_of(blob) for blob in blobs]) == []


@in_loop
async def test_a_stopped_tree_comes_back_with_everything(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        file = new_file()
        signed = await ann.write(file, blob=os.urandom(100))
        names = list(tree.nodes)
        for name in names:
            await tree.crash(name)
        for name in names:
            await tree.start(name)
        assert (await ann.read(file)).headers == (signed.encoded,)


@in_loop
async def test_a_late_joiner_gets_the_state_in_a_snapshot_and_all_blobs(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        (node,) = tree.nodes.values()
        object.__setattr__(node.store.replica.host, "log_kept", 5)
        blobs = [os.urandom(2000) for _ in range(60)]
        for blob in blobs:
            await ann.write(new_file(), blob=blob)
        await node.store.chores.checkpoints.write()
        assert node.disk.log.first_index > 10
        late = await tree.add("pi-9")
        await until(lambda: tree.voters() == 2)
        assert late.disk.missing([digest_of(blob) for blob in blobs]) == []
        signed = await ann.write(new_file(), blob=os.urandom(100))
        await tree.settled()
        assert late.store.replica.tree.header(signed.header.file) is not None


@in_loop
async def test_a_lease_is_called_back_before_a_change_is_acknowledged(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann, bob = await tree.client("laptop"), await tree.client("desk")
        file = new_file()
        signed = await ann.write(file)
        answer = await bob.read(file, session=bob.session)
        assert 0 < answer.leased_ms < 700
        bob.ear.gate.clear()
        change = asyncio.ensure_future(ann.write(file, signed))
        await until(lambda: bob.ear.recalls)
        (recall,) = bob.ear.recalls
        assert recall.files == (file,)
        assert recall.session == bob.session
        assert recall.grant >= answer.grant
        await asyncio.sleep(0.1)
        assert not change.done()
        assert (await bob.read(file, session=bob.session)).leased_ms == 0  # a change is under way
        bob.ear.gate.set()
        await change


@in_loop
async def test_a_client_that_is_gone_delays_a_change_only_until_its_lease_ends(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as tree:
        ann, bob = await tree.client("laptop"), await tree.client("desk")
        file = new_file()
        signed = await ann.write(file)
        assert (await bob.read(file, session=bob.session)).leased_ms
        await bob.close()
        before = time.monotonic()
        await ann.write(file, signed)
        assert time.monotonic() - before < 1.0


@in_loop
async def test_an_exclusive_lease_is_called_back_for_a_reader(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann, bob = await tree.client("laptop"), await tree.client("desk")
        file = new_file()
        await ann.write(file)
        mine = await ann.read(file, session=ann.session, exclusive=True)
        assert mine.leased_ms
        await bob.read(file, session=bob.session)
        assert [recall.files for recall in ann.ear.recalls] == [(file,)]
        again = await ann.read(file, session=ann.session, exclusive=True)
        assert again.leased_ms
        assert [recall.files for recall in bob.ear.recalls] == [(file,)]


def lock(owner: int, kind: m.LockKind = m.LockKind.WRITE) -> m.LockRange:
    return m.LockRange(kind, 0, (1 << 63) - 1, owner, 1)


@in_loop
async def test_locks_hold_between_two_clients_and_over_a_change_of_leader(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann, bob = await tree.client("laptop"), await tree.client("desk")
        file = new_file()
        held = await ann.ask(m.Lock(ann.session, file, lock(1)), m.Locked)
        with pytest.raises(Fault) as refused:
            await bob.ask(m.Lock(bob.session, file, lock(2)), m.Locked)
        assert refused.value.kind is Kind.CONFLICT
        seen = await bob.ask(m.GetLock(bob.session, file, lock(2)), m.InTheWay)
        assert seen.lock == lock(1)
        await tree.crash(tree.leader())
        alive = await ann.ask(m.KeepAlive(ann.session, (m.HeldLock(file, lock(1)),)), m.Alive)
        assert alive.epoch > held.epoch
        assert alive.grace_ms > 0
        waiting = asyncio.ensure_future(
            bob.ask(m.Lock(bob.session, file, lock(2), wait=True), m.Locked)
        )
        await asyncio.sleep(0.2)
        assert not waiting.done()
        await ann.ask(m.Unlock(ann.session, file, lock(1)), m.Locked)
        await waiting


@in_loop
async def test_without_a_quorum_there_is_an_answer_in_bounded_time(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        file = new_file()
        await ann.write(file)
        leader = tree.leader()
        for name in [name for name in tree.nodes if name != leader]:
            await tree.crash(name)
        before = time.monotonic()
        with pytest.raises(Fault) as lost:
            await ann.ask_node(
                tree.nodes[leader].path,
                ann.commit_message(ann.change(ann.header(new_file()))),
                m.Committed,
            )
        assert lost.value.kind in (Kind.NO_QUORUM, Kind.UNREACHABLE, Kind.NOT_LEADER)
        assert time.monotonic() - before < 10
        with pytest.raises(Fault) as unread:
            await ann.ask_node(tree.nodes[leader].path, m.GetHeaders((file,)), m.Headers)
        assert unread.value.kind in (Kind.NO_QUORUM, Kind.NOT_LEADER)


@in_loop
async def test_a_full_disk_refuses_content_and_still_answers_reads(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        file = new_file()
        signed = await ann.write(file, blob=os.urandom(100))
        (node,) = tree.nodes.values()
        staging = node.store.replica.staging
        staging.reserve = staging.room + (1 << 40)
        with pytest.raises(Fault) as full:
            await ann.write(new_file(), blob=os.urandom(100))
        assert full.value.kind is Kind.NO_SPACE
        assert (await ann.read(file)).headers == (signed.encoded,)
        status = await ann.ask_node(node.path, m.GetStatus(), m.Status)
        assert any("full" in fault for fault in status.faults)


@in_loop
async def test_strangers_are_refused(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        other = new_tree("away", "eve", now=NOW, passphrase="x", draw=os.urandom, cost=4)
        eve = Client(tree, "laptop", other)
        await eve.start()
        with pytest.raises(Fault) as refused:
            await eve.ask_node(tree.paths[0], m.GetStatus(), m.Status)
        assert refused.value.kind in (Kind.WRONG_TREE, Kind.DENIED, Kind.UNREACHABLE)
        await eve.close()


@in_loop
async def test_a_forged_header_is_refused(tmp_path: File) -> None:
    async with world(tmp_path, 1) as tree:
        ann = await tree.client()
        signed = ann.header(new_file())
        broken = signed.encoded[:-1] + bytes([signed.encoded[-1] ^ 1])
        change = ann.change(signed)
        forged = type(change)(change.file, 0, broken)
        with pytest.raises(Fault) as refused:
            await ann.ask(ann.commit_message(forged), m.Committed)
        assert refused.value.kind is Kind.DAMAGED


@in_loop
async def test_many_commits_at_once_are_all_applied_once(tmp_path: File) -> None:
    async with world(tmp_path) as tree:
        ann = await tree.client()
        files = [new_file() for _ in range(200)]
        await asyncio.gather(*(ann.write(file) for file in files))
        found = await ann.read(*files)
        assert all(found.headers)
        await tree.settled()
        tables = [
            list(node.store.replica.tree.overlay.items(b"h", b"", 10_000))
            for node in tree.nodes.values()
        ]
        assert tables[0] == tables[1] == tables[2]


@in_loop
async def test_dropped_versions_take_their_blobs_along(tmp_path: File) -> None:
    async with world(tmp_path, 1, Limits(segment=1 << 20, reserve=SMALL.reserve)) as tree:
        ann = await tree.client()
        file = new_file()
        signed, blobs = None, [os.urandom(5000) for _ in range(40)]
        for blob in blobs:
            signed = await ann.write(file, signed, blob=blob)
        (node,) = tree.nodes.values()
        chores = node.store.chores
        await chores.checkpoints.write()
        await chores._sweep()
        gone = set(node.disk.missing([digest_of(blob) for blob in blobs]))
        assert gone == {digest_of(blob) for blob in blobs[:7]}  # 32 past versions and this one stay
        assert not node.store.replica.tree.is_needed(digest_of(blobs[0]))
        assert node.store.replica.tree.is_needed(digest_of(blobs[-1]))
