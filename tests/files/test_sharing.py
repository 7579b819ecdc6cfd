"""Sharing a directory with another user, on a real node: what he may, and what he may not."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path as File

import pytest

from blocktree.caps import Right, grant_to
from blocktree.fault import Fault, Kind
from blocktree.files.opening import open_filesystem
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO, Permissions
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
async def test_what_is_taken_back_was_given_and_leaves_no_reader_behind(tmp_path: File) -> None:
    bob = a_user("bob")
    async with world(tmp_path, 1) as place, files_of(place, place.tree.user) as anns:
        ann, key = place.tree.user, bob.key.principal
        box = (await anns.mkdir(ROOT_INO, b"box", OWN)).ino
        with pytest.raises(Fault, match="was not given") as nothing:
            await anns.sharing.take_back(box, ann, {bob.principal})
        assert nothing.value.kind is Kind.NOT_FOUND
        await admit(place, bob)
        await anns.sharing.give(box, ann, [grant_to(key.id, READ | WRITE)], [key])
        with pytest.raises(Fault, match="they have the key") as reader:
            await anns.sharing.take_back(box, ann, {bob.principal})
        assert reader.value.kind is Kind.UNSUPPORTED
        await anns.sharing.take_back(box, ann, {bob.principal}, WRITE)
        access = await anns.sharing.access(box)
        assert access is not None
        assert access.grants == (grant_to(key.id, READ),)
        file = await put(anns, b"letter", b"dear bob", box)
        with pytest.raises(Fault) as no_directory:
            await anns.sharing.give(file, ann, [grant_to(key.id, WRITE)], [])
        assert no_directory.value.kind is Kind.NOT_DIRECTORY
