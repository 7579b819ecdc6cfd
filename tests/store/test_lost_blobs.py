"""A blob that finds no room is named by no entry; one that a disk has lost is fetched again."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path as File

import pytest

from blocktree.disk import Batch
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, FileId, Path, digest_of
from blocktree.node import Node
from blocktree.store.backfill import Backfill
from blocktree.store.between import NeedBlobs
from blocktree.store.blobs import Fetched
from blocktree.store.owners import BACKFILL_KEY
from store.test_sweep import named_and_not_there, owned, pull_the_plug
from store.world import World, in_loop, until, world

FILE = FileId(b"f" * 16)


def without_room(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[Batch]:
    """There is room for entries, and none for blobs; what was refused."""
    append, refused = node.disk.append, list[Batch]()

    def short(batch: Batch) -> None:
        if batch.blobs:
            refused.append(batch)
            raise Fault(Kind.NO_SPACE, "the disk is full")
        append(batch)

    monkeypatch.setattr(node.disk, "append", short)
    return refused


@in_loop
async def test_a_blob_that_found_no_room_is_missing_in_the_same_turn_of_the_loop(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, 1) as place:
        await until(place.leader)
        node = place.nodes["pi-1"]
        replica, blob = node.store.replica, os.urandom(5000)
        digest, seen = digest_of(blob), list[list[Digest]]()
        without_room(node, monkeypatch)
        # Told as soon as the disk was tried; a change that waited to be checked may come next.
        monkeypatch.setattr(
            replica.driver.saver,
            "_told_idle",
            lambda: seen.append(replica.staging.missing([digest])),
        )
        written = replica.staging.add([(digest, blob)])
        with pytest.raises(Fault, match="full"):
            await written
        assert seen == [[digest]]


async def commit_that_is_checked_late(place: World, monkeypatch: pytest.MonkeyPatch) -> Digest:
    """A change comes while the disk has no room for its blob, and is checked just after that."""
    leader = place.nodes[place.leader()]
    commits, saver = leader.store.commits, leader.store.replica.driver.saver
    client, blob = await place.client(), os.urandom(5000)
    refused, waiting = without_room(leader, monkeypatch), list[object]()
    told = saver._told_idle

    def check() -> None:
        while waiting:
            waiting.pop()()  # type: ignore[operator]
        told()

    monkeypatch.setattr(commits._checks, "run", waiting.append)
    monkeypatch.setattr(saver, "_told_idle", check)
    with pytest.raises(Fault):
        await client.commit_with(FILE, blob)
    assert refused
    return digest_of(blob)


@in_loop
async def test_a_change_whose_blob_found_no_room_before_it_was_checked_is_refused(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path) as place:
        await until(lambda: place.voters() == 3)
        with monkeypatch.context() as patch:
            digest = await commit_that_is_checked_late(place, patch)
        client = await place.client("phone")
        assert await client.version(FILE) == 0
        for node in place.nodes.values():
            assert digest not in owned(node)


async def a_sector(place: World) -> bytes:
    """The content of a file that every node has."""
    client, blob = await place.client(), os.urandom(50_000)
    await client.write(FILE, blob=blob)
    await place.settled()
    return blob


@in_loop
async def test_a_blob_that_a_disk_lost_before_its_entry_was_applied_again_is_fetched(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        blob = await a_sector(place)
        name, digest = next(n for n in place.nodes if n != place.leader()), digest_of(blob)
        node = place.nodes[name]
        node.disk.delete_blobs([digest])
        node.disk.sync()
        await pull_the_plug(place, name)
        node = await place.start(name)
        await place.settled()
        await until(lambda: digest in owned(node), 10)
        await until(lambda: not node.disk.missing([digest]), 30)
        assert bytes(node.disk.read_blob(digest, verify=True)) == blob


@in_loop
async def test_only_who_has_applied_the_entry_says_that_its_blob_is_gone(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        replica = place.nodes["pi-1"].store.replica
        unknown, applied = digest_of(b"unknown"), replica.driver.applied
        answer = await replica.reader.serve_node(NeedBlobs((unknown,), (applied + 1,)))
        assert answer.lengths == (0,)
        answer = await replica.reader.serve_node(NeedBlobs((unknown,), (applied,)))
        assert answer.lengths == (-1,)


@in_loop
async def test_a_name_goes_only_when_no_node_has_its_blob(tmp_path: File) -> None:
    async with world(tmp_path) as place:
        blob = await a_sector(place)
        digest = digest_of(blob)
        one, two = (node for name, node in place.nodes.items() if name != place.leader())
        place.nodes[place.leader()].store.replica.tree.owners.release([digest])
        place.nodes[place.leader()].disk.delete_blobs([digest])  # it says that the blob is gone
        one.disk.delete_blobs([digest])
        one.store.replica.staging.forget([digest])
        one.store.chores.backfill.met([digest])
        await until(lambda: not one.disk.missing([digest]), 30)  # from the other one
        assert digest in owned(one)
        for node in (one, two):
            node.disk.delete_blobs([digest])
            node.store.replica.staging.forget([digest])
        one.store.chores.backfill.met([digest])
        await until(lambda: digest not in owned(one), 30)
        assert one.store.chores.backfill.missing == 0


@in_loop
async def test_while_a_node_does_not_answer_one_that_calls_a_blob_gone_is_not_enough(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        digest = digest_of(await a_sector(place))
        leader = place.nodes[place.leader()]
        one, away = (name for name in place.nodes if name != place.leader())
        await place.crash(away)
        leader.store.replica.tree.owners.release([digest])
        node = place.nodes[one]
        for each in (leader, node):
            each.disk.delete_blobs([digest])
        node.store.replica.staging.forget([digest])
        node.store.chores.backfill.met([digest])
        await node.store.chores.backfill.run()
        assert digest in owned(node)
        await place.start(away)
        await until(lambda: not node.disk.missing([digest]), 30)


@in_loop
async def test_a_blob_that_is_lost_everywhere_keeps_no_node_from_joining(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        client, blob = await place.client(), os.urandom(50_000)
        signed = await client.write(FILE, blob=blob)
        place.nodes["pi-1"].disk.delete_blobs([digest_of(blob)])
        late = await place.add("pi-2")
        await until(lambda: place.voters() == 2, 30)
        await place.settled()
        assert named_and_not_there(late) == [digest_of(blob)]
        await until(lambda: late.store.chores.backfill.missing == 1)  # it says so
        await client.write(FILE, signed, blob=os.urandom(50_000))


@in_loop
async def test_an_entry_waits_for_its_blob_while_a_node_that_may_have_it_is_away(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        blob = await a_sector(place)
        leader = place.leader()
        away, other = (name for name in place.nodes if name != leader)
        await place.crash(away)
        for name in (leader, other):
            place.nodes[name].disk.delete_blobs([digest_of(blob)])
        late = await place.add("pi-4")
        held = late.store.replica.arrivals
        await until(lambda: held.held)
        await asyncio.sleep(3)
        assert digest_of(blob) not in owned(late)
        await place.start(away)
        await until(lambda: digest_of(blob) in owned(late), 30)
        assert late.disk.missing([digest_of(blob)]) == []


@in_loop
async def test_what_nobody_has_is_asked_for_less_and_less_often_and_news_at_once(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(tmp_path, 2) as place:
        blob = await a_sector(place)
        node = place.nodes["pi-1"]
        for each in place.nodes.values():
            each.disk.delete_blobs([digest_of(blob)])
        replica, now = node.store.replica, [1000.0]
        backfill, fetch = Backfill(replica), replica.fetcher.fetch
        asked = list[float]()

        async def counted(wanted: Mapping[Digest, int], nodes: Sequence[Path]) -> Fetched:
            asked.append(now[0])
            return await fetch(wanted, nodes)

        await node.store.chores.stop()
        monkeypatch.setattr(replica.fetcher, "fetch", counted)
        monkeypatch.setattr(replica, "host", replace(replica.host, clock=lambda: now[0]))
        backfill.met([digest_of(blob)])
        for _ in range(100):
            await backfill.run()
            now[0] += 1
        assert asked == [1000, 1002, 1006, 1014, 1030, 1060, 1090]
        backfill.lacks([digest_of(b"something else")])
        await backfill.run()
        assert asked[-1] == now[0]


@in_loop
async def test_after_a_snapshot_a_blob_that_is_lost_everywhere_is_the_only_one_missing(
    tmp_path: File,
) -> None:
    async with world(tmp_path, 2) as place:
        blob = await a_sector(place)
        for each in place.nodes.values():
            each.disk.delete_blobs([digest_of(blob)])
        replica = place.nodes["pi-1"].store.replica
        replica.tree.overlay.put(BACKFILL_KEY, b"1")
        backfill = Backfill(replica)
        assert backfill.missing == -1
        await backfill.run()
        assert (backfill.missing, backfill.damaged) == (1, {digest_of(blob)})
