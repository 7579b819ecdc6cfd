"""Directories made here wait for the first thing in them; nobody can tell, but by the commits."""

import asyncio
import os

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Changes, Permissions, RenameFlag
from blocktree.store.messages import Commit
from blocktree.wire import Record
from files import test_two_clients, test_volume
from files.memory_store import MemoryStore, client
from files.test_volume import MINE, RW, get, listing, put, refused

OWN = Permissions(0o755, 1, 2)


async def mkdir(volume: Filesystem, name: bytes, directory: int = ROOT_INO) -> int:
    return (await volume.mkdir(directory, name, OWN)).ino


def spent(store: MemoryStore, before: dict[str, int]) -> dict[str, int]:
    return {k: v - before.get(k, 0) for k, v in store.counts.items() if v - before.get(k, 0)}


def test_directories_and_the_first_file_in_them_are_one_commit() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        await put(volume, b"first", b"x")
        before = dict(store.counts)
        deep = await mkdir(volume, b"c", await mkdir(volume, b"b", await mkdir(volume, b"a")))
        await put(volume, b"file", b"hello", deep)
        assert spent(store, before) == {"Commit": 1}
        await put(volume, b"second", b"there", deep)
        assert spent(store, before) == {"Commit": 2}, "the new directory was leased exclusively"
        other = client(store, "other")
        await other.start()
        found = ROOT_INO
        for name in (b"a", b"b", b"c"):
            found = (await other.lookup(found, name)).ino
        assert await listing(other, found) == [b"file", b"second"]
        assert (await other.getattr(ROOT_INO)).links == 3
        await other.close()

    test_volume.run(scene)


def test_an_empty_directory_is_seen_elsewhere_at_once() -> None:
    async def scene(store: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        outer = await mkdir(one, b"outer")
        await mkdir(one, b"inner", outer)
        assert store.counts.get("Commit", 0) == 0
        assert await listing(two) == [b"outer"]
        found = (await two.lookup(ROOT_INO, b"outer")).ino
        await refused(Kind.EXISTS, two.mkdir(found, b"inner", OWN))
        assert await listing(two, found) == [b"inner"]
        await put(two, b"theirs", b"2", found)
        await put(one, b"mine", b"1", outer)
        assert (
            await listing(one, outer) == await listing(two, found) == [b"inner", b"mine", b"theirs"]
        )

    test_two_clients.run(scene)


def test_a_directory_that_stays_empty_is_committed_by_sync_and_by_fsync_of_the_one_above() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        await mkdir(volume, b"a")
        await volume.sync()
        assert store.counts["Commit"] == 1
        await mkdir(volume, b"b")
        await volume.fsyncdir(ROOT_INO)
        assert store.counts["Commit"] == 2
        await volume.sync()
        assert store.counts["Commit"] == 2

    test_volume.run(scene)


def test_what_was_set_before_the_commit_holds_after_it() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        ino = await mkdir(one, b"d")
        await one.setattr(ino, Changes(mode=0o700, uid=7, mtime_ns=5))
        await one.setxattr(ino, b"user.x", b"y", 0)
        assert (await one.getattr(ino)).mtime_ns == 5
        found = await two.lookup(ROOT_INO, b"d")
        assert (found.mode, found.uid, found.mtime_ns, found.links) == (0o700, 7, 5, 2)
        assert await two.getxattr(found.ino, b"user.x") == b"y"

        ino = await mkdir(one, b"e")
        await one.setattr(ino, Changes(mtime_ns=5))
        await mkdir(one, b"inner", ino)
        here = await one.getattr(ino)
        found = await two.lookup(ROOT_INO, b"e")
        assert here.mtime_ns == found.mtime_ns > 5, "something was made in it since"
        assert here.links == found.links == 3
        await mkdir(one, b"more", ino)
        await one.setattr(ino, Changes(mtime_ns=5))
        assert await listing(two, found.ino) == [b"inner", b"more"]
        assert (await two.getattr(found.ino)).mtime_ns == 5, "set after the last thing was made"
        await one.rmdir(ino, b"more")
        assert (await two.getattr(found.ino)).mtime_ns > 5

    test_two_clients.run(scene)


def test_a_directory_made_here_is_removed_once_it_is_empty() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        ino = await mkdir(volume, b"d")
        _, handle = await volume.create(ino, b"f", MINE, RW | os.O_CREAT)
        await refused(Kind.NOT_EMPTY, volume.rmdir(ROOT_INO, b"d"))
        await volume.unlink(ino, b"f")
        await volume.release(handle)
        await volume.rmdir(ROOT_INO, b"d")
        await refused(Kind.NOT_FOUND, volume.mkdir(ino, b"late", OWN))
        assert store.counts.get("Commit", 0) == 0
        await volume.sync()
        assert await listing(volume) == []

    test_volume.run(scene)


def test_every_change_of_names_works_in_a_directory_made_here() -> None:
    async def scene(_: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        old = await put(one, b"old", b"1")
        await one.rename(ROOT_INO, b"old", await mkdir(one, b"a"), b"new", RenameFlag.REPLACE)
        await one.link(old, await mkdir(one, b"b"), b"again")
        await one.symlink(await mkdir(one, b"c"), b"link", b"target", OWN)
        await one.rename(ROOT_INO, b"c", await mkdir(one, b"d"), b"moved", RenameFlag.REPLACE)
        await mkdir(one, b"e")
        await mkdir(one, b"f")
        await one.rename(ROOT_INO, b"e", ROOT_INO, b"f", RenameFlag.EXCHANGE)
        await one.rename(ROOT_INO, b"e", ROOT_INO, b"f", RenameFlag.REPLACE)
        names = [b"a", b"b", b"d", b"f"]
        assert await listing(one) == await listing(two) == names
        found = [(await two.lookup(ROOT_INO, name)).ino for name in names]
        assert [await listing(two, ino) for ino in found] == [[b"new"], [b"again"], [b"moved"], []]
        assert await get(two, (await two.lookup(found[0], b"new")).ino) == b"1"

    test_two_clients.run(scene)


def test_a_refused_commit_is_told_by_close_and_by_the_next_mkdir() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        def refuse(message: Record) -> Fault | None:
            if isinstance(message, Commit):
                return Fault(Kind.NO_SPACE, "the disk is full")
            return None

        store.refuse = refuse
        ino = await mkdir(volume, b"d")
        await refused(Kind.NO_SPACE, put(volume, b"f", b"x", ino))
        volume.flushes.launch(volume.core.nodes.at(ino))
        for _turn in range(100):  # turns of the loop, in which the refusal comes back
            await asyncio.sleep(0)
        await refused(Kind.NO_SPACE, volume.mkdir(ROOT_INO, b"e", OWN))
        store.refuse = lambda _: None
        await volume.sync()
        assert await listing(volume) == [b"d"]
        assert await listing(volume, ino) == [b"f"]

    test_volume.run(scene)


def test_a_name_taken_while_the_lease_was_lost_refuses_the_directory_and_all_in_it() -> None:
    async def scene(store: MemoryStore, one: Filesystem, two: Filesystem) -> None:
        inner = await mkdir(one, b"inner", await mkdir(one, b"d"))
        _, handle = await one.create(inner, b"f", MINE, RW | os.O_CREAT)
        await one.write(handle, 0, b"1")
        store.leases.leave(one.core.service.session)  # as after a long sleep, without a word
        theirs = await mkdir(two, b"d")
        await put(two, b"g", b"2", theirs)
        await refused(Kind.EXISTS, one.fsync(handle))
        await one.release(handle)
        await one.sync()
        assert await listing(one, (await one.lookup(ROOT_INO, b"d")).ino) == [b"g"]
        assert await listing(two, theirs) == [b"g"]

    test_two_clients.run(scene)


def test_an_attempt_that_was_not_heard_of_is_met_again() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        lost: list[Record] = []

        def lose(message: Record, answer: Record) -> Record:
            if isinstance(message, Commit) and not lost:
                lost.append(answer)
                raise Fault(Kind.FAILED, "nobody knows")
            return answer

        store.tamper = lose
        ino = await mkdir(volume, b"inner", await mkdir(volume, b"d"))
        await refused(Kind.FAILED, put(volume, b"f", b"x", ino))
        await put(volume, b"g", b"y", ino)
        await volume.sync()
        assert await listing(volume, ino) == [b"f", b"g"]

    test_volume.run(scene)
