"""Sharing a directory with another user, on a real node: what he may, and what he may not."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path as File

import pytest

from blocktree.caps import Right, grant_to, open_ring
from blocktree.fault import Fault, Kind
from blocktree.files.opening import open_filesystem
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Changes, Permissions
from blocktree.keys import Credential, MemberKind, member_of, new_credential, user_path
from blocktree.sectors.transaction import Join
from blocktree.wire import encode
from files.test_volume import get, put
from store.world import NOW, Client, World, in_loop, make_tree, world

OWN = Permissions(0o755, 0, 0)
READ, WRITE = Right.READ, Right.WRITE


def a_user(name: str) -> Credential:
    tree = make_tree()
    path = user_path(tree.tree, name)
    return new_credential(tree.owner, MemberKind.USER, path, now=NOW, draw=os.urandom)


async def admit(place: World, user: Credential) -> None:
    """Record a member."""
    store = place.nodes[place.leader()].store
    join = Join(encode(member_of(user.identity)), store.replica.host.now_ns())
    assert (await store.commits.propose(join)).fault() is None


@asynccontextmanager
async def files_of(place: World, user: Credential) -> AsyncIterator[Filesystem]:
    client = Client(place, os.urandom(4).hex(), replace(place.tree, user=user))
    place.clients.append(client)
    files = open_filesystem(user, client.runtime, lambda: place.paths)
    await files.start()
    try:
        yield files
    finally:
        await files.close()


@in_loop
async def test_another_user_may_what_he_was_given_and_no_more(tmp_path: File) -> None:
    bob, carol = a_user("bob"), a_user("carol")
    async with world(tmp_path, 1) as place, files_of(place, place.tree.user) as anns:
        box = (await anns.mkdir(ROOT_INO, b"box", OWN)).ino
        await put(anns, b"letter", b"dear bob", box)
        await admit(place, bob)
        with pytest.raises(Fault, match="no read cap") as blind:
            async with files_of(place, bob):
                pass
        assert blind.value.kind is Kind.DENIED
        key = bob.key.principal
        await anns.sharing.give(ROOT_INO, place.tree.owner, [grant_to(key.id, READ)], [key])
        async with files_of(place, bob) as bobs:
            his = (await bobs.lookup(ROOT_INO, b"box")).ino
            assert await get(bobs, (await bobs.lookup(his, b"letter")).ino) == b"dear bob"
            with pytest.raises(Fault, match="lacks the right to write"):
                await bobs.mkdir(his, b"answers", OWN)
            await anns.sharing.give(box, place.tree.user, [grant_to(key.id, WRITE)], [])
            await bobs.mkdir(his, b"answers", OWN)
            await put(bobs, b"answer", b"dear ann", his)
            for number in range(50):
                await put(
                    bobs, b"%d" % number, b"from bob", (await bobs.lookup(his, b"answers")).ino
                )
            assert await get(anns, (await anns.lookup(box, b"answer")).ino) == b"dear ann"
            with pytest.raises(Fault, match="lacks the right to write"):
                await bobs.mkdir(ROOT_INO, b"elsewhere", OWN)
            grants = [grant_to(carol.principal, WRITE)]
            with pytest.raises(Fault, match="may not share this directory") as denied:
                await bobs.sharing.give(his, bob, grants, [])
            assert denied.value.kind is Kind.DENIED
            access = await bobs.sharing.access(his)
            assert access is not None
            assert access.grants == (grant_to(key.id, WRITE),)
            await anns.sharing.take_back(box, place.tree.user, {bob.principal})
            with pytest.raises(Fault, match="lacks the right to write"):
                await bobs.mkdir(his, b"too late", OWN)
        async with files_of(place, place.tree.user) as fresh:  # what he wrote stays readable
            box = (await fresh.lookup(ROOT_INO, b"box")).ino
            assert await get(fresh, (await fresh.lookup(box, b"answer")).ino) == b"dear ann"
            answers = (await fresh.lookup(box, b"answers")).ino
            assert len(await fresh.readdir(answers, 0, 100, attributes=True)) == 50
            assert await get(fresh, (await fresh.lookup(answers, b"49")).ino) == b"from bob"


@in_loop
async def test_who_lost_the_right_to_read_reads_nothing_that_is_written_later(
    tmp_path: File,
) -> None:
    bob = a_user("bob")
    async with world(tmp_path, 1) as place, files_of(place, place.tree.user) as anns:
        ann, key = place.tree.user, bob.key.principal
        box = (await anns.mkdir(ROOT_INO, b"box", OWN)).ino
        deep = (await anns.mkdir(box, b"deep", OWN)).ino
        old = os.urandom(200_000)
        large = await put(anns, b"large", old, deep)
        await anns.setxattr(large, b"user.colour", b"red", 0)
        for number in range(70):
            await put(anns, b"%d" % number, b"small", box)
        twice = await put(anns, b"twice", b"two names", box)
        await anns.link(twice, deep, b"again")
        await admit(place, bob)
        await anns.sharing.give(box, ann, [grant_to(key.id, READ | WRITE)], [key])
        bobs = [
            each.ring  # what he could keep
            for each in (anns.core.nodes.at(ino) for ino in (box, deep, large))
        ]
        done = await anns.sharing.take_back(box, ann, {bob.principal}, place=(ROOT_INO, b"box"))
        assert done is not None
        assert (len(done.files), len(done.kept)) == (73, 1)  # box, deep, large, 70 small; twice
        access = await anns.sharing.access(box)
        assert access is not None
        assert (access.grants, access.read_caps, access.epoch) == ((), (), 2)
        handle = await anns.open(large, os.O_RDWR)
        await anns.write(handle, 0, b"written later")
        await anns.flush(handle)
        await anns.release(handle)
        await put(anns, b"secret", b"made later", box)
        for ino, ring in zip((box, deep, large), bobs, strict=True):
            header = anns.core.nodes.at(ino).last
            assert header is not None
            assert ring is not None
            assert (header.epoch, ring.epoch) == (2, 1)
            with pytest.raises(Fault):
                open_ring(ring.current, header.epoch, header.past_keys, header.file)
        await reads_everything(place, old)
        again = await anns.sharing.renew(box, ann, place=(ROOT_INO, b"box"))
        assert len(again.files) == 74
        await reads_everything(place, old)


async def reads_everything(place: World, old: bytes) -> None:
    """Whoever may read still does, what was written before and after."""
    async with files_of(place, place.tree.user) as fresh:
        box = (await fresh.lookup(ROOT_INO, b"box")).ino
        deep = (await fresh.lookup(box, b"deep")).ino
        large = (await fresh.lookup(deep, b"large")).ino
        assert await get(fresh, large) == b"written later" + old[13:]
        assert await fresh.getxattr(large, b"user.colour") == b"red"
        assert await get(fresh, (await fresh.lookup(box, b"69")).ino) == b"small"
        assert await get(fresh, (await fresh.lookup(box, b"secret")).ino) == b"made later"
        assert await get(fresh, (await fresh.lookup(deep, b"again")).ino) == b"two names"


@in_loop
async def test_what_is_open_elsewhere_goes_on_under_its_new_key(tmp_path: File) -> None:
    async with (
        world(tmp_path, 1) as place,
        files_of(place, place.tree.user) as anns,
        files_of(place, place.tree.user) as other,
    ):
        box = (await anns.mkdir(ROOT_INO, b"box", OWN)).ino
        deep = (await anns.mkdir(box, b"deep", OWN)).ino
        await put(anns, b"log", b"one ", deep)
        assert (await other.lookup(ROOT_INO, b"box")).ino == box
        assert (await other.lookup(box, b"deep")).ino == deep
        log = (await other.lookup(deep, b"log")).ino
        handle = await other.open(log, os.O_RDWR)
        await other.write(handle, 4, b"two ")
        renewed = await anns.sharing.renew(box, place.tree.user, place=(ROOT_INO, b"box"))
        assert len(renewed.files) == 3
        await other.write(handle, 8, b"three")
        await other.flush(handle)
        assert bytes(await other.read(handle, 0, 100)) == b"one two three"
        await other.release(handle)
        assert await get(anns, log) == b"one two three"
        again = await anns.sharing.renew(box, place.tree.user, place=(ROOT_INO, b"box"))
        assert len(again.files) == 3
        await other.setattr(log, Changes(mode=0o600))
        assert len(await other.readdir(deep, 0, 10, attributes=True)) == 1


@in_loop
async def test_the_root_is_taken_back_by_its_owner_and_a_mount_goes_on(tmp_path: File) -> None:
    bob = a_user("bob")
    async with world(tmp_path, 1) as place, files_of(place, place.tree.user) as anns:
        owner, key = place.tree.owner, bob.key.principal
        await put(anns, b"letter", b"dear bob")
        await admit(place, bob)
        await anns.sharing.give(ROOT_INO, owner, [grant_to(key.id, READ)], [key])
        async with files_of(place, place.tree.user) as other, files_of(place, bob) as bobs:
            assert await get(bobs, (await bobs.lookup(ROOT_INO, b"letter")).ino) == b"dear bob"
            known = (await other.lookup(ROOT_INO, b"letter")).ino
            await anns.sharing.take_back(ROOT_INO, owner, {bob.principal})
            with pytest.raises(Fault, match="no read cap"):
                await bobs.lookup(ROOT_INO, b"letter")
            assert (await other.lookup(ROOT_INO, b"letter")).ino == known
            assert await get(other, known) == b"dear bob"
            await put(other, b"answer", b"dear ann")
            assert await get(anns, (await anns.lookup(ROOT_INO, b"answer")).ino) == b"dear ann"


@in_loop
async def test_what_is_taken_back_was_given(tmp_path: File) -> None:
    bob = a_user("bob")
    async with world(tmp_path, 1) as place, files_of(place, place.tree.user) as anns:
        ann, key = place.tree.user, bob.key.principal
        box = (await anns.mkdir(ROOT_INO, b"box", OWN)).ino
        with pytest.raises(Fault, match="was not given") as nothing:
            await anns.sharing.take_back(box, ann, {bob.principal})
        assert nothing.value.kind is Kind.NOT_FOUND
        await admit(place, bob)
        await anns.sharing.give(box, ann, [grant_to(key.id, READ | WRITE)], [key])
        await anns.sharing.take_back(box, ann, {bob.principal}, WRITE)
        access = await anns.sharing.access(box)
        assert access is not None
        assert access.grants == (grant_to(key.id, READ),)
        assert access.readers == {bob.principal}
        file = await put(anns, b"letter", b"dear bob", box)
        with pytest.raises(Fault) as no_directory:
            await anns.sharing.give(file, ann, [grant_to(key.id, WRITE)], [])
        assert no_directory.value.kind is Kind.NOT_DIRECTORY
