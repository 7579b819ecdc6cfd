"""Commits of one turn of the loop travel together, and each fares as it would alone."""

import asyncio
import os
from collections.abc import Sequence
from typing import Any

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.commit import RIDE_BYTES_MAX, NewVersion
from blocktree.files.joint import CHANGES_MAX, Joint
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO
from blocktree.names import Digest
from blocktree.sectors.check import read_transaction
from blocktree.sectors.header import SignedHeader, sign_header
from blocktree.store.messages import Commit
from files.memory_store import MemoryStore
from files.test_two_clients import run as run_two
from files.test_volume import get, put, run
from sectors.house import ANNA, file_id, fresh


def version(number: int, pages: int = 0) -> NewVersion:
    file = file_id(number)
    made = {Digest(bytes(32)): bytes(pages)} if pages else {}
    return NewVersion(file, None, fresh(file), pages=made)


class Service:
    """Commits what it is given, notes what came together, and refuses what it is told to."""

    def __init__(self) -> None:
        self.came: list[list[int]] = []
        self.refused: dict[int, Kind] = {}

    async def commit(self, versions: Sequence[NewVersion]) -> list[SignedHeader | None]:
        numbers = [int.from_bytes(version.file) for version in versions]
        self.came.append(numbers)
        await asyncio.sleep(0)
        for number in numbers:
            if number in self.refused:
                raise Fault(self.refused[number], "refused", path=str(number))
        return [sign_header(fresh(version.file), ANNA.key) for version in versions]


def together(*asked: Sequence[NewVersion], refused: dict[int, Kind] | None = None) -> Any:
    """What each got that asked for commits at the same time, and what came to the service."""

    async def play() -> Any:
        service = Service()
        service.refused = refused or {}
        joint = Joint(service.commit)
        found = await asyncio.gather(*map(joint.commit, asked), return_exceptions=True)
        return [_told(one) for one in found], service.came

    return asyncio.run(play())


def _told(one: Any) -> Any:
    if isinstance(one, Fault):
        return one.kind
    return [int.from_bytes(signed.header.file) for signed in one]


def test_what_is_asked_for_in_one_turn_is_one_transaction() -> None:
    told, came = together([version(1)], [version(2), version(3)], [version(4)])
    assert came == [[1, 2, 3, 4]]
    assert told == [[1], [2, 3], [4]]


def test_what_comes_later_waits_for_nothing() -> None:
    async def play() -> None:
        service = Service()
        joint = Joint(service.commit)
        first = asyncio.ensure_future(joint.commit([version(1)]))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert service.came == [[1]]
        await joint.commit([version(2)])
        await first
        assert service.came == [[1], [2]]

    asyncio.run(play())


@pytest.mark.parametrize("kind", [Kind.CONFLICT, Kind.DENIED, Kind.NO_SPACE, Kind.EXISTS])
def test_when_it_is_refused_each_is_committed_alone(kind: Kind) -> None:
    told, came = together([version(1)], [version(2)], [version(3)], refused={2: kind})
    assert told == [[1], kind, [3]]
    assert came[0] == [1, 2, 3]
    assert sorted(came[1:]) == [[1], [2], [3]]


def test_one_alone_is_not_tried_again() -> None:
    told, came = together([version(1)], refused={1: Kind.CONFLICT})
    assert told == [Kind.CONFLICT]
    assert came == [[1]]


@pytest.mark.parametrize("kind", [Kind.NO_QUORUM, Kind.UNREACHABLE])
def test_an_open_outcome_is_open_for_all(kind: Kind) -> None:
    told, came = together([version(1)], [version(2)], refused={2: kind})
    assert told == [kind, kind]
    assert came == [[1, 2]]


def test_a_file_is_in_a_transaction_once() -> None:
    told, came = together([version(1)], [version(2), version(1)], [version(3)])
    assert came == [[1], [2, 1, 3]]
    assert told == [[1], [2, 1], [3]]


def test_transactions_are_bounded() -> None:
    count = 3 * CHANGES_MAX + 1
    told, came = together(*[[version(n)] for n in range(1, count + 1)])
    assert told == [[n] for n in range(1, count + 1)]
    assert max(map(len, came)) == CHANGES_MAX
    assert len(came) == 4
    _, came = together(*[[version(n, RIDE_BYTES_MAX // 2)] for n in range(1, 6)])
    assert came == [[1, 2], [3, 4], [5]]


def test_what_is_large_goes_alone_and_keeps_nobody() -> None:
    many = [version(n) for n in range(100, 101 + CHANGES_MAX)]
    _, came = together([version(1)], [version(2, RIDE_BYTES_MAX + 1)], many, [version(3)])
    assert sorted(came, key=len) == [[2], [1, 3], [*range(100, 101 + CHANGES_MAX)]]


def test_who_gives_up_takes_nobody_along() -> None:
    async def play() -> None:
        service = Service()
        joint = Joint(service.commit)
        first, second = (asyncio.ensure_future(joint.commit([version(n)])) for n in (1, 2))
        await asyncio.sleep(0)
        first.cancel()
        assert [signed.header.file for signed in await second if signed] == [file_id(2)]
        assert service.came == [[1, 2]]
        assert first.cancelled()

    asyncio.run(play())


# With a volume


def committed(store: MemoryStore) -> list[int]:
    """How many changes each commit had."""
    return [len(read_transaction(one.transaction).headers) for one in store.commits]


async def rewrite(volume: Filesystem, ino: int, content: bytes) -> None:
    handle = await volume.open(ino, os.O_RDWR)
    await volume.write(handle, 0, content)
    await volume.fsync(handle)
    await volume.release(handle)


def test_files_that_are_closed_at_the_same_time_are_one_commit() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        files = [await put(volume, b"%d" % n, b"old") for n in range(20)]
        before = len(store.commits)
        await asyncio.gather(*(rewrite(volume, ino, b"new %d" % ino) for ino in files))
        assert sum(committed(store)[before:]) == 20
        assert len(store.commits) - before <= 3
        for ino in files:
            assert await get(volume, ino) == b"new %d" % ino

    run(scene)


def test_one_of_them_that_somebody_changed_meanwhile_keeps_nobody() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        files = [await put(one, b"%d" % n, b"old") for n in range(5)]
        other = (await two.lookup(ROOT_INO, b"3")).ino
        handles = [await one.open(ino, os.O_RDWR) for ino in files]
        for handle in handles:
            await one.write(handle, 0, b"new")
        await rewrite(two, other, b"two")
        await asyncio.gather(*map(one.fsync, handles))
        for ino in files:
            assert await get(one, ino) == b"new"
        assert await get(two, other) == b"new"

    run_two(scene)


def test_a_right_that_lacks_for_one_is_told_to_that_one() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        files = [await put(volume, b"%d" % n, b"old") for n in range(4)]
        handles = [await volume.open(ino, os.O_RDWR) for ino in files]
        for handle in handles:
            await volume.write(handle, 0, b"new")
        third = read_transaction(store.commits[2].transaction).headers

        def _third(message: Commit) -> bool:
            theirs = {signed.header.file for signed in third if signed is not None}
            here = read_transaction(message.transaction).transaction.changes
            return bool(theirs & {change.file for change in here} - {bytes(16)})

        denied = Fault(Kind.DENIED, "not there")
        store.refuse = lambda message: (
            denied if isinstance(message, Commit) and _third(message) else None
        )
        found = await asyncio.gather(*map(volume.fsync, handles), return_exceptions=True)
        assert [type(one) for one in found] == [type(None), type(None), Fault, type(None)]
        store.refuse = lambda _: None
        await volume.fsync(handles[2])
        assert [await get(volume, ino) for ino in files] == [b"new"] * 4

    run(scene)
