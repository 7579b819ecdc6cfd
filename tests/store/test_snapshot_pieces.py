"""A snapshot that breaks off after every piece still arrives, and goes on where it was."""

import os
from pathlib import Path as File
from typing import Any

import pytest

from blocktree.actors import Runtime
from blocktree.disk import Disk
from blocktree.fault import Fault, Kind
from blocktree.names import digest_of
from blocktree.store import snapshots
from blocktree.store.between import GetSnapshot
from store.test_troubles import new_file, shorten_logs
from store.world import World, in_loop, until, world

FILES = 24


async def leave_behind(place: World, away: str) -> list[bytes]:
    """Write so much that who is away needs a snapshot."""
    ann = await place.client()
    await place.crash(away)
    shorten_logs(place)
    blobs = [os.urandom(900) for _ in range(FILES)]
    for blob in blobs:
        await ann.write(new_file(), blob=blob)
    for node in place.nodes.values():
        await node.store.chores.checkpoints.write()
    return blobs


def follower(place: World) -> str:
    return next(name for name in place.nodes if name != place.leader())


def small_pieces(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(snapshots, "PIECE_BYTES", 4000)
    patch.setattr(snapshots, "_PIECE_ROWS", 8)
    patch.setattr(snapshots, "_RETRY_SECONDS", 0.01)
    patch.setattr(snapshots, "_TRIES_MAX", 500)


@in_loop
async def test_a_connection_that_breaks_after_every_piece(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch)
    ask = Runtime.ask
    asked: list[bytes] = []

    async def broken(self: Runtime, to: Any, message: Any, *rest: Any, **named: Any) -> Any:
        if not isinstance(message, GetSnapshot):
            return await ask(self, to, message, *rest, **named)
        asked.append(message.after)
        if len(asked) % 3 == 0:
            raise Fault(Kind.UNREACHABLE, "the connection was lost")
        return await ask(self, to, message, *rest, **named)

    async with world(tmp_path) as place:
        away = follower(place)
        blobs = await leave_behind(place, away)
        monkeypatch.setattr(Runtime, "ask", broken)
        back = await place.start(away)
        await place.settled()
        await until(lambda: back.store.chores.backfill.missing == 0)
        assert back.disk.missing([digest_of(blob) for blob in blobs]) == []
    later = [after for after in asked if after]
    assert len(later) > 4
    assert sorted(later) == later  # never back to the beginning


@in_loop
async def test_a_node_that_loses_power_after_every_piece(
    tmp_path: File, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_pieces(monkeypatch)
    add = Disk.add_restore
    came: list[bytes] = []

    def one_more(self: Disk, items: Any) -> None:
        add(self, items)
        came.append(items[-1][0])
        raise Fault(Kind.FAILED, "the power is gone")

    async with world(tmp_path) as place:
        away = follower(place)
        blobs = await leave_behind(place, away)
        monkeypatch.setattr(snapshots, "_TRIES_MAX", 1)
        with monkeypatch.context() as patch:
            patch.setattr(Disk, "add_restore", one_more)
            for life in range(4):
                await place.start(away)
                await until(lambda life=life: len(came) > life)  # type: ignore[misc]
                await place.crash(away)
        assert sorted(set(came)) == came  # each life went on behind the one before
        back = await place.start(away)
        await place.settled()
        await until(lambda: back.store.chores.backfill.missing == 0)
        assert back.disk.missing([digest_of(blob) for blob in blobs]) == []
