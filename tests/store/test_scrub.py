"""A flipped bit anywhere on a node's disk is found by its scrub and repaired from the others."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path as File

import pytest

from blocktree.disk import Space
from blocktree.disk.segment import HEAD_SIZE, Head, RecordKind
from blocktree.names import Digest, FileId, digest_of
from blocktree.node import Node
from blocktree.sectors.header import SignedHeader
from blocktree.sectors.table import header_key
from blocktree.store import comparing, scrub
from blocktree.store import messages as m
from blocktree.store.owners import SCRUB_KEY, owner_key
from blocktree.store.scrub_messages import Phase, Scrub, Scrubbing
from store.spoiled import flip_record, flip_row, is_sound, lose_power
from store.world import Client, World, in_loop, until, world


def new_file() -> FileId:
    return FileId(os.urandom(16))


async def scrubbed(node: Node) -> Scrubbing:
    """Have a whole round done."""
    scrubber = node.store.chores.scrubber
    before = scrubber.ended
    scrubber.begin()
    await until(lambda: scrubber.report().phase is Phase.IDLE)
    assert scrubber.ended >= before
    return scrubber.report()


async def filled(place: World, ann: Client) -> tuple[list[SignedHeader], list[bytes]]:
    blobs = [os.urandom(20_000) for _ in range(6)]
    written = [await ann.write(new_file(), blob=blob) for blob in blobs]
    await place.settled()
    return written, blobs


def follower(place: World) -> str:
    return next(name for name in place.nodes if name != place.leader())


def blob_head(digest: Digest) -> Callable[[Head], bool]:
    return lambda head: head.kind is RecordKind.BLOB and head.name == digest


@pytest.mark.parametrize("at", [HEAD_SIZE + 9999, HEAD_SIZE, 40, 2], ids=str)
@in_loop
async def test_a_blob_that_rots_is_found_and_fetched_again(tmp_path: File, at: int) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        name = follower(place)
        await place.crash(name)  # leaves a checkpoint: what is before it is not read at the start
        lost = digest_of(blobs[3])
        flip_record(tmp_path / name, blob_head(lost), at)
        node = await place.start(name)
        assert not is_sound(node.disk, lost)
        report = await scrubbed(node)
        assert (report.found, report.left) == (1, 0)
        assert lost.hex() in report.findings[0]
        assert "segment 1 at" in report.findings[0]
        for blob in blobs:
            got = await ann.ask_node(node.path, m.GetBlobs((digest_of(blob),)), m.Blobs)
            assert bytes(got.body) == blob
        status = node.store.status()
        assert (status.scrub_found, status.scrub_left) == (1, 0)
        assert status.scrubbed > 0
        assert (await scrubbed(node)).found == 0


@in_loop
async def test_an_entry_that_rots_in_the_old_log_is_found_and_dropped(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        await filled(place, ann)
        name = follower(place)
        await place.crash(name)
        head = flip_record(
            tmp_path / name, lambda head: head.kind is RecordKind.ENTRY and head.index == 5
        )
        node = await place.start(name)
        await place.settled()
        report = await scrubbed(node)
        assert (report.found, report.left) == (1, 0)
        assert f"entry {head.index} of the log" in report.findings[0]
        assert node.disk.log.first_index > head.index
        assert (await scrubbed(node)).found == 0
        await ann.write(new_file())


@pytest.mark.parametrize("at", [2, 11, 15])
@in_loop
async def test_an_index_row_of_a_blob_that_rots_is_found(tmp_path: File, at: int) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        name = follower(place)
        await place.crash(name)
        lost = digest_of(blobs[2])
        flip_row(tmp_path / name, Space.BLOBS, lost, at % 12)
        node = await place.start(name)
        report = await scrubbed(node)
        assert (report.found, report.left) == (1, 0)
        assert bytes(node.disk.read_blob(lost, verify=True)) == blobs[2]


@in_loop
async def test_a_header_row_that_rots_is_replaced_by_what_the_others_have(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        written, _ = await filled(place, ann)
        name = follower(place)
        await place.crash(name)
        file = written[1].header.file
        flip_row(tmp_path / name, Space.TABLE, header_key(file), -9)  # in the signature
        node = await place.start(name)
        found = node.store.replica.tree.header(file)
        assert found is not None
        assert found.encoded != written[1].encoded
        await place.settled()
        report = await scrubbed(node)
        assert (report.found, report.left) == (1, 0)
        assert file.hex() in report.findings[0]
        found = node.store.replica.tree.header(file)
        assert found is not None
        assert found.encoded == written[1].encoded
        assert report.rows > 6
        assert (await scrubbed(node)).found == 0


@in_loop
async def test_a_lost_row_of_the_index_is_found_by_what_the_state_names(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        node = place.nodes[follower(place)]
        lost = digest_of(blobs[0])
        node.disk.delete_blobs([lost])
        report = await scrubbed(node)
        assert (report.found, report.left) == (1, 0)
        assert bytes(node.disk.read_blob(lost, verify=True)) == blobs[0]


@in_loop
async def test_without_another_node_damage_is_told_and_stays(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        ann = await place.client()
        written, blobs = await filled(place, ann)
        await place.crash("pi-1")
        flip_record(tmp_path / "pi-1", blob_head(digest_of(blobs[0])))
        flip_row(tmp_path / "pi-1", Space.TABLE, header_key(written[1].header.file), -9)
        node = await place.start("pi-1")
        report = await scrubbed(node)
        assert (report.found, report.left) == (2, 2)
        assert any("2 damaged places" in fault for fault in node.store.status().faults)


@in_loop
async def test_tables_that_change_meanwhile_are_not_damaged(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        written, _ = await filled(place, ann)

        async def write() -> None:
            newest = written[0]
            while True:
                newest = await ann.write(newest.header.file, newest)

        writing = asyncio.ensure_future(write())
        for name in list(place.nodes):
            report = await scrubbed(place.nodes[name])
            assert (report.found, report.left) == (0, 0), report.findings
        writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)


@in_loop
async def test_a_round_goes_on_after_a_restart(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_STEP_BYTES", 30_000)
    monkeypatch.setattr(scrub, "RATE", 300_000)
    monkeypatch.setattr(scrub, "FIRST_SECONDS", 0)
    async with world(tmp_path) as place:
        ann = await place.client()
        name = follower(place)
        await filled(place, ann)
        await place.nodes[name].store.chores.checkpoints.write()
        scrubber = place.nodes[name].store.chores.scrubber
        scrubber._news.set()
        scrubber._begin()
        await until(lambda: 0 < scrubber.report().blobs < 6)
        await place.crash(name)
        before = scrubber._note
        node = await place.start(name)
        again = node.store.chores.scrubber.report()
        assert again.began == before.began
        assert again.blobs >= before.blobs > 0
        answer = await ann.ask_node(node.path, Scrub(begin=True), Scrubbing)
        assert answer.phase is not Phase.IDLE
        await until(lambda: node.store.chores.scrubber.report().phase is Phase.IDLE)
        assert node.store.chores.scrubber.report().blobs == 6
        assert node.store.replica.tree.overlay.get(SCRUB_KEY) is not None


@in_loop
async def test_a_damaged_blob_that_somebody_asks_for_is_repaired_at_once(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        name = follower(place)
        await place.crash(name)
        lost = digest_of(blobs[1])
        flip_record(tmp_path / name, blob_head(lost), 5)  # in the head
        node = await place.start(name)
        got = await ann.ask_node(node.path, m.GetBlobs((lost,)), m.Blobs)
        assert got.lengths == (0,)
        await until(lambda: is_sound(node.disk, lost))


@in_loop
async def test_a_blob_that_rots_before_the_first_checkpoint_stays_named(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        name = follower(place)
        root = await lose_power(place, name)
        lost = digest_of(blobs[4])
        flip_record(root, blob_head(lost))
        node = await place.start(name)
        await place.settled()
        assert node.store.replica.tree.is_needed(lost)
        report = await scrubbed(node)
        assert report.left == 0
        assert is_sound(node.disk, lost)


@pytest.mark.parametrize("lost", [True, False])
@in_loop
async def test_the_owner_of_a_blob_that_rots_is_found_after_a_second_look(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch, lost: bool
) -> None:
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        node = place.nodes[follower(place)]
        tree, scrubber = node.store.replica.tree, node.store.chores.scrubber
        digest = digest_of(blobs[0])
        right = tree.owners.of(digest)
        assert right is not None
        tree.overlay.delete(owner_key(digest))
        if lost:
            node.disk.delete_blobs([digest])
        else:
            tree.owners.introduce(new_file(), 7, [digest])
        assert (await scrubbed(node)).found == 0  # it could be swept already
        monkeypatch.setattr(comparing, "SWEEP_SECONDS", 0)
        await scrubber._look_again()
        assert (scrubber.found, scrubber.left) == (1, 0)
        assert tree.owners.of(digest) == right
        assert is_sound(node.disk, digest)


@in_loop
async def test_a_name_that_no_other_node_has_goes_if_its_blob_is_nowhere(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(comparing, "SWEEP_SECONDS", 0)
    async with world(tmp_path) as place:
        ann = await place.client()
        _, blobs = await filled(place, ann)
        node = place.nodes[follower(place)]
        tree = node.store.replica.tree
        nowhere, only_here = digest_of(b"nowhere"), digest_of(blobs[0])
        for name, other in place.nodes.items():
            other.store.replica.tree.owners.release([only_here] if name != follower(place) else [])
        tree.owners.introduce(new_file(), 7, [nowhere])
        await scrubbed(node)
        await node.store.chores.scrubber._look_again()
        assert tree.owners.of(nowhere) is None
        assert tree.owners.of(only_here) is not None
        assert is_sound(node.disk, only_here)
        await until(lambda: node.store.chores.scrubber.left == 0)
