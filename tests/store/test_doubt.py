"""A node whose log is damaged takes no part before the group has repaired it."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path as File

import pytest

from blocktree.disk import Disk
from blocktree.disk.segment import RecordKind
from blocktree.fault import Fault, Kind
from blocktree.names import FileId, digest_of
from blocktree.raft import Role
from blocktree.store import messages as m
from blocktree.store.doubt import Doubt
from store.spoiled import flip_record, heads, lose_power, pull_plug
from store.world import World, in_loop, until, world


def new_file() -> FileId:
    return FileId(os.urandom(16))


def follower(place: World) -> str:
    return next(name for name in place.nodes if name != place.leader())


def spoil_log(root: File) -> int:
    """Damage an entry in the middle of the log; its index."""
    found = [head for _, head in heads(root) if head.kind is RecordKind.ENTRY]
    middle = found[-3]
    flip_record(root, lambda head: head == middle)
    return middle.index


@in_loop
async def test_a_damaged_middle_of_the_log_costs_the_vote_until_it_is_repaired(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        files = [new_file() for _ in range(8)]
        written = [await ann.write(file, blob=os.urandom(5000)) for file in files]
        await place.settled()
        name = follower(place)
        spoil_log(await lose_power(place, name))
        node = await place.start(name)
        replica = node.store.replica
        assert replica.doubt.deaf
        assert any("does not vote" in fault for fault in node.store.status().faults)
        assert node.store.status().role is m.Role.LEARNER
        later = await ann.write(new_file(), blob=b"meanwhile")
        await until(lambda: not replica.doubt.active)
        assert node.disk.damage is None
        await until(lambda: place.voters() == 3)
        await place.settled()
        assert not replica.driver.raft.in_doubt
        for signed in (*written, later):
            found = replica.tree.header(signed.header.file)
            assert found is not None
            assert found.encoded == signed.encoded
        gone = next(n for n in place.nodes if n not in (name, place.leader()))
        await place.crash(gone)  # now its vote counts again
        await ann.write(new_file())


@in_loop
async def test_in_doubt_and_alone_a_node_gives_no_vote_and_says_why(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        for _ in range(5):
            await ann.write(new_file())
        await place.settled()
        name = follower(place)
        others = [other for other in place.nodes if other != name]
        spoil_log(await lose_power(place, name))
        await place.crash(others[1])
        node = await place.start(name)
        replica, other = node.store.replica, place.nodes[others[0]].store.replica
        await asyncio.sleep(3)  # several election timeouts
        assert replica.driver.raft.role is Role.FOLLOWER
        assert other.driver.raft.role is not Role.LEADER
        assert "not repaired yet" in replica.doubt.sentence
        await place.start(others[1])
        await until(lambda: not replica.doubt.active)
        await ann.write(new_file())


@in_loop
async def test_a_damaged_node_without_any_peer_refuses_and_says_why(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        ann = await place.client()
        file = new_file()
        for _ in range(5):
            await ann.write(new_file())
        name = place.leader()
        root = await lose_power(place, name)
        index = spoil_log(root)
        node = await place.start(name)
        with pytest.raises(Fault) as refused:
            await ann.ask(m.GetHeaders((file,)), m.Headers)
        assert refused.value.kind is Kind.DAMAGED
        assert "the log is damaged" in refused.value.what
        assert node.disk.log.last_index < index + 1  # nothing was thrown away or made up
        assert not node.store.replica.driver.leads


@in_loop
async def test_a_lost_index_comes_back_from_the_segments(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        blob = os.urandom(70_000)
        signed = await ann.write(new_file(), blob=blob)
        await place.settled()
        name = follower(place)
        await place.crash(name)
        (tmp_path / name / "index" / "data.mdb").write_bytes(b"not what it was" * 1000)
        node = await place.start(name)
        assert not node.store.replica.doubt.active  # the log goes back to its beginning
        await place.settled()
        found = node.store.replica.tree.header(signed.header.file)
        assert found is not None
        assert found.encoded == signed.encoded
        assert bytes(node.disk.read_blob(digest_of(blob), verify=True)) == blob


@in_loop
async def test_a_lost_table_comes_from_the_group(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        blob = os.urandom(70_000)
        signed = await ann.write(new_file(), blob=blob)
        await place.settled()
        name = follower(place)
        disk, driver = place.nodes[name].disk, place.nodes[name].store.replica.driver
        await place.nodes[name].store.chores.checkpoints.write()
        disk.compact(driver.raft.mark(driver.applied))
        await place.crash(name)
        shutil.rmtree(tmp_path / name / "index")
        node = await place.start(name)
        doubt: Doubt = node.store.replica.doubt
        assert doubt.active
        assert "table is lost" in doubt.sentence
        await until(lambda: not doubt.active)
        await until(lambda: place.voters() == 3)
        found = node.store.replica.tree.header(signed.header.file)
        assert found is not None
        assert found.encoded == signed.encoded
        assert bytes(node.disk.read_blob(digest_of(blob), verify=True)) == blob


@in_loop
async def test_a_disk_that_forgot_what_it_called_durable_is_found_out_and_repaired(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        early = [await ann.write(new_file(), blob=os.urandom(900)) for _ in range(4)]
        await place.settled()
        name = follower(place)
        pull_plug(place, name)  # and this is all that its disk really kept
        late = [await ann.write(new_file(), blob=os.urandom(900)) for _ in range(6)]
        await place.settled()
        await place.crash(name)
        shutil.rmtree(tmp_path / name)
        (tmp_path / f"{name}.cut").rename(tmp_path / name)
        node = await place.start(name)
        fault = await node.store.failed
        assert fault.kind is Kind.DAMAGED
        assert "the disk lost what it had called durable" in fault.what
        await place.crash(name)
        node = await place.start(name)
        assert node.store.replica.doubt.deaf
        await until(lambda: not node.store.replica.doubt.active and place.voters() == 3)
        await place.settled()
        for signed in (*early, *late):
            found = node.store.replica.tree.header(signed.header.file)
            assert found is not None
            assert found.encoded == signed.encoded


@pytest.mark.parametrize("stage", ["deaf", "hearing"])
@in_loop
async def test_power_lost_in_the_middle_of_the_repair_begins_it_again(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        written = [await ann.write(new_file(), blob=os.urandom(900)) for _ in range(8)]
        await place.settled()
        name = place.leader()  # it leads, and will have to be elected anew
        spoil_log(await lose_power(place, name))
        gate = asyncio.Event()
        repaired = Disk.repaired
        monkeypatch.setattr(Disk, "repaired", lambda _: None)  # as if it never came so far
        monkeypatch.setattr(Doubt, "_cleared", held_back(gate))
        node = await place.start(name)
        if stage == "hearing":
            gate.set()
            await until(lambda: not node.store.replica.doubt.deaf)
        await lose_power(place, name)
        gate.set()
        monkeypatch.setattr(Disk, "repaired", repaired)
        node = await place.start(name)
        assert node.store.replica.doubt.deaf
        await until(lambda: not node.store.replica.doubt.active and place.voters() == 3)
        await place.settled()
        for signed in written:
            found = node.store.replica.tree.header(signed.header.file)
            assert found is not None
            assert found.encoded == signed.encoded


def held_back(gate: asyncio.Event) -> Callable[[Doubt], Awaitable[int]]:
    """The first step of the repair, once the gate is open."""
    cleared = Doubt._cleared

    async def wait(doubt: Doubt) -> int:
        await gate.wait()
        return await cleared(doubt)

    return wait
