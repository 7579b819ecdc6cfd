"""A commit whose outcome a client never hears of: done or not, nothing is lost or refused."""

import asyncio
import gc
import os

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO
from blocktree.store.messages import Commit, GetHeaders
from blocktree.wire import Record
from files.memory_store import MemoryStore, client
from files.test_volume import MINE, RW, get, listing, refused


@pytest.mark.parametrize("size", [5, 300_000])
def test_a_file_of_ones_own_is_not_taken_for_somebody_elses(size: int) -> None:
    async def play() -> None:
        store = MemoryStore()
        one, two = client(store, "one", patience_s=0.2), client(store, "two")
        await one.start()
        await two.start()
        content, more = os.urandom(size), os.urandom(7)
        attributes, handle = await one.create(ROOT_INO, b"f", MINE, RW)
        await one.write(handle, 0, content)
        store.tamper = _lose_answers_of_commits
        await refused(Kind.NO_QUORUM, one.fsync(handle))
        store.tamper = lambda _, answer: answer
        await one.write(handle, size, more)
        await one.fsync(handle)
        await one.release(handle)
        assert await listing(two) == [b"f"]
        assert await get(two, (await two.lookup(ROOT_INO, b"f")).ino) == content + more
        assert await get(one, attributes.ino) == content + more
        await one.close()
        await two.close()

    asyncio.run(play())


def test_nobody_waits_for_ever_for_a_task_that_was_cancelled() -> None:
    async def play() -> None:
        store = MemoryStore()
        one = client(store, "one")
        await one.start()
        async with asyncio.timeout(5):
            store.tamper = _cancel
            await refused(Kind.CANCELLED, one.create(ROOT_INO, b"f", MINE, RW))
            store.tamper = lambda _, answer: answer
            _, handle = await one.create(ROOT_INO, b"f", MINE, RW)
            store.tamper = _cancel
            await refused(Kind.CANCELLED, one.fsync(handle))
            store.tamper = lambda _, answer: answer
            await one.fsync(handle)
        await one.close()

    asyncio.run(play())


def test_a_fault_that_many_names_meet_is_told_once_and_heard_by_all() -> None:
    async def play() -> None:
        unheard: list[dict[str, object]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: unheard.append(told))
        store = MemoryStore()
        one = client(store, "one", patience_s=0.2)
        await one.start()
        handles = [(await one.create(ROOT_INO, b"%d" % n, MINE, RW))[1] for n in range(60)]
        store.tamper = _lose_answers_of_commits
        await refused(Kind.NO_QUORUM, one.fsyncdir(ROOT_INO))
        store.tamper = lambda _, answer: answer
        await asyncio.sleep(0)
        gc.collect()
        assert unheard == []
        for handle in handles:
            await one.release(handle)
        await one.close()

    asyncio.run(play())


def _cancel(message: Record, answer: Record) -> Record:
    if isinstance(message, Commit | GetHeaders):
        raise asyncio.CancelledError
    return answer


def _lose_answers_of_commits(message: Record, answer: Record) -> Record:
    if isinstance(message, Commit):
        raise Fault(Kind.NO_QUORUM, "the leader was lost")
    return answer
