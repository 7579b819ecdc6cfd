"""Small files of the tree by path, over the real file system service."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree_gateway.tree.smallfiles import SmallFiles, place_of
from files.memory_store import MemoryStore, client


def run(scene: Callable[[SmallFiles, Filesystem], Awaitable[None]]) -> None:
    async def play() -> None:
        volume = client(MemoryStore())
        await volume.start()
        try:
            await scene(SmallFiles(volume), volume)
        finally:
            await volume.close()

    asyncio.run(play())


def test_what_is_written_is_read_and_directories_are_made_on_the_way() -> None:
    async def scene(files: SmallFiles, _: Filesystem) -> None:
        await files.write((b"a", b"b", b"c"), b"one")
        assert await files.read((b"a", b"b", b"c")) == b"one"
        await files.write((b"a", b"b", b"c"), b"two")
        assert await files.read((b"a", b"b", b"c")) == b"two"
        assert await files.names((b"a", b"b")) == [b"c"]

    run(scene)


def test_what_is_not_there_is_none_and_has_no_names() -> None:
    async def scene(files: SmallFiles, _: Filesystem) -> None:
        assert await files.read((b"a", b"b")) is None
        assert await files.names((b"a",)) == []
        assert await files.read_link((b"a",)) is None
        await files.remove((b"a", b"b"))

    run(scene)


def test_appends_grow_a_file_and_an_overwrite_keeps_it() -> None:
    async def scene(files: SmallFiles, _: Filesystem) -> None:
        for line in (b"1\n", b"22\n", b"333\n"):
            await files.append((b"log",), line)
        assert await files.read((b"log",)) == b"1\n22\n333\n"
        before = await files.find((b"log",))
        await files.overwrite((b"log",), b"new")
        after = await files.find((b"log",))
        assert before is not None
        assert after is not None
        assert before.ino == after.ino
        assert await files.read((b"log",)) == b"new"

    run(scene)


def test_who_writes_below_a_directory_does_not_bring_it_back_when_it_was_moved() -> None:
    async def scene(files: SmallFiles, _: Filesystem) -> None:
        await files.make_directory((b"old",))
        await files.append((b"old", b"a", b"log"), b"1\n", base=1)
        await files.move((b"old",), (b"new",))
        for write in (files.append, files.overwrite):
            with pytest.raises(Fault) as gone:
                await write((b"old", b"a", b"log"), b"2\n", base=1)
            assert gone.value.kind is Kind.NOT_FOUND
        await files.link((b"old",), b"new")
        with pytest.raises(Fault) as moved:
            await files.append((b"old", b"a", b"log"), b"2\n", base=1)
        assert moved.value.kind is Kind.NOT_DIRECTORY
        await files.append((b"new", b"a", b"log"), b"2\n", base=1)
        assert await files.read((b"new", b"a", b"log")) == b"1\n2\n"

    run(scene)


def test_a_link_can_be_turned_and_a_directory_renamed_and_removed() -> None:
    async def scene(files: SmallFiles, _: Filesystem) -> None:
        await files.write((b"old", b"x"), b"1")
        await files.link((b"to",), b"old")
        await files.link((b"to",), b"new")
        assert await files.read_link((b"to",)) == b"new"
        await files.move((b"old",), (b"deep", b"new"))
        assert await files.read((b"deep", b"new", b"x")) == b"1"
        await files.remove((b"deep",))
        assert await files.find((b"deep",)) is None

    run(scene)


def test_a_rename_onto_something_is_refused() -> None:
    async def scene(files: SmallFiles, _: Filesystem) -> None:
        await files.write((b"a", b"x"), b"1")
        await files.write((b"b", b"y"), b"2")
        with pytest.raises(Fault) as caught:
            await files.move((b"a",), (b"b",))
        assert caught.value.kind is Kind.EXISTS
        with pytest.raises(Fault) as caught:
            await files.write((b"a", b"x", b"z"), b"3")
        assert caught.value.kind is Kind.NOT_DIRECTORY

    run(scene)


def test_nothing_is_remembered_of_files_that_are_no_longer_used() -> None:
    async def scene(files: SmallFiles, volume: Filesystem) -> None:
        for number in range(20):
            await files.write((b"d", str(number).encode()), b"x" * 3000)
            await files.append((b"d", str(number).encode()), b"y")
        await volume.sync()
        assert len(volume.core.nodes) <= 2

    run(scene)


def test_a_place_is_a_path_without_its_tree() -> None:
    assert place_of("/bt1tree/sensors/attic") == (b"sensors", b"attic")
