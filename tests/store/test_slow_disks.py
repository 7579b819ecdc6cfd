"""Nodes whose disks are slow: elections wait for them, writes go on, and commits pass streams."""

import asyncio
import logging
import os
import time
from pathlib import Path as File

import pytest

from blocktree.disk.files import File as DiskFile
from blocktree.store import messages as m
from blocktree.store.driver import TICK_SECONDS
from store.test_troubles import new_file
from store.world import World, in_loop, until, world

SYNC_SECONDS = 0.4


def slow_down(place: World, *names: str, seconds: float = SYNC_SECONDS) -> None:
    """Let syncs take so long, on all nodes or on some."""
    for name in names or place.nodes:
        disk = place.nodes[name].disk
        sync = disk.sync

        def slowly(sync: object = sync) -> None:
            time.sleep(seconds)
            sync()  # type: ignore[operator]

        disk.begin_sync = lambda: None
        disk.sync = slowly  # type: ignore[method-assign]


@in_loop
async def test_elections_wait_for_disks_that_take_400_ms(
    tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "blocktree.store.driver")
    async with world(tmp_path) as place:
        slow_down(place)
        ann = await place.client()
        for _ in range(4):
            await ann.write(new_file())
        await place.settled()
        nodes = place.nodes.values()
        waits = [node.store.replica.driver.raft.patience_ticks * TICK_SECONDS for node in nodes]
        # A time is known to a tick, so one that began just after a tick looks a tick shorter.
        assert min(waits) >= 2 * (SYNC_SECONDS - TICK_SECONDS)
        assert "elections wait" in caplog.text
        assert "longer here: the disk takes up to" in caplog.text
        gone = place.leader()
        terms = place.nodes[gone].store.replica.driver.raft.term
        await place.crash(gone)
        await until(place.leader)
        await ann.write(new_file())
        led = place.nodes[place.leader()].store.replica.driver.raft.term
        assert led <= terms + 4  # not again and again before votes could be saved


@in_loop
async def test_a_follower_with_a_quick_disk_takes_the_place_of_one_that_takes_10_ms(
    tmp_path: File,
) -> None:
    async with world(tmp_path) as place:
        await until(lambda: place.voters() == 3)
        replica, ann = place.nodes[place.leader()].store.replica, await place.client()

        def asked() -> str:
            lead = replica.driver.raft._state.lead
            assert lead is not None
            (node,) = {*replica.driver.membership.voters} - lead.reserve - {replica.me}
            return node

        slow = asked()
        (name,) = [n for n, each in place.nodes.items() if each.store.replica.me == slow]
        slow_down(place, name, seconds=0.01)
        for _ in range(200):
            await ann.write(new_file())
            if asked() != slow:
                break
        assert asked() != slow


@in_loop
async def test_no_sync_waits_for_more_than_a_piece_of_a_stream(tmp_path: File) -> None:
    async with world(tmp_path, 1) as place:
        ann, disk = await place.client(), place.nodes["pi-1"].disk
        stream_of = disk._stream
        sync, waited = stream_of._sync, list[int]()

        def slowly(file: DiskFile) -> None:
            waited.append(disk.unsynced)
            time.sleep(0.05)
            sync(file)

        disk.begin_sync = lambda: None
        stream_of._sync = slowly  # type: ignore[method-assign]
        stream = [os.urandom(1 << 20) for _ in range(32)]
        puts = [ann.ask(m.PutBlobs((len(blob),), blob), m.Stored) for blob in stream]
        streaming = asyncio.gather(*puts)
        while not streaming.done():
            await ann.write(new_file())
        assert await streaming
        await until(lambda: sum(waited) >= 24 << 20)
        assert max(waited) < 9 << 20, "what was written of the stream, and what came beside"
