"""Removing many names at once."""

from blocktree.fault import Kind
from blocktree.files.removal import Removals
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO
from files.memory_store import MemoryStore, client
from files.test_volume import MINE, listing, put, refused, run


def test_many_names_are_removed_in_a_few_transactions() -> None:
    async def scene(store: MemoryStore, volume: Filesystem) -> None:
        removals = Removals(volume.core, volume.names)

        async def remove(names: list[bytes]) -> None:
            await removals.remove(volume.core.nodes.at(ROOT_INO), names)

        names = [b"file-%d" % number for number in range(150)]
        for name in names:
            ino = await put(volume, name, name)
        await volume.link(ino, ROOT_INO, b"second link")
        await volume.mkdir(ROOT_INO, b"empty", MINE)
        full = (await volume.mkdir(ROOT_INO, b"full", MINE)).ino
        await put(volume, b"inner", b"", full)
        await refused(Kind.NOT_EMPTY, remove([names[0], b"full"]))
        await refused(Kind.NOT_FOUND, remove([b"absent"]))
        before = store.counts["Commit"]
        await remove([*names, b"second link", b"empty"])
        assert store.counts["Commit"] - before <= 4
        assert await listing(volume) == [b"full"]
        assert (await volume.getattr(ROOT_INO)).links == 3
        other = client(store, "other")
        await other.start()
        assert await listing(other) == [b"full"]
        await other.close()

    run(scene)
