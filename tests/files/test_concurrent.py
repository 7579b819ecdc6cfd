"""Two clients, several programs on each, answers lost, leaders moving: the tree stays whole."""

import asyncio
import random
from typing import Any

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.files.volume import ROOT_INO
from blocktree.sectors.header import FileKind
from blocktree.wire import Record
from files.memory_store import MemoryStore, client, shaky
from files.test_model import Player

_NAMES = (b"a", b"b", b"c")
_WEIGHTS = {
    "write": 6,
    "truncate": 2,
    "mkdir": 4,
    "unlink": 2,
    "rmdir": 1,
    "rename": 4,
    "exchange": 1,
    "link": 2,
    "read": 4,
    "list": 2,
}
_EXPECTED = {
    Kind.NOT_FOUND,
    Kind.EXISTS,
    Kind.IS_DIRECTORY,
    Kind.NOT_DIRECTORY,
    Kind.NOT_EMPTY,
    Kind.USAGE,
    Kind.CONFLICT,  # a number whose file somebody else removed: ESTALE, the kernel looks up again
}


def _path(dice: random.Random) -> tuple[bytes, ...]:
    return tuple(dice.choice(_NAMES) for _ in range(dice.choice((1, 1, 2, 2, 3))))


async def _program(player: Player, dice: random.Random, steps: int) -> None:
    for _ in range(steps):
        operation = dice.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        arguments: list[Any] = [_path(dice)]
        if operation == "write":
            arguments += [dice.choice((0, 100, 65536)), dice.choice((1, 3000, 70_000)), b"x"]
        elif operation == "truncate":
            arguments.append(dice.choice((0, 1, 2049, 200_000)))
        elif operation in {"rename", "exchange", "link"}:
            arguments.append(_path(dice))
        try:
            await getattr(player, operation)(*arguments)
        except Fault as fault:
            if fault.kind not in _EXPECTED:
                raise


async def _walk(volume: Filesystem, directory: int = ROOT_INO) -> dict[bytes, Any]:
    """Everything below a directory; every entry must lead to a file of the size it says."""
    found: dict[bytes, Any] = {}
    for entry in await volume.readdir(directory, 0, 100, attributes=True):
        attributes = await volume.lookup(directory, entry.name)
        assert attributes.ino == entry.ino
        if attributes.kind is FileKind.DIRECTORY:
            found[entry.name] = await _walk(volume, entry.ino)
        else:
            handle = await volume.open(entry.ino, 0)
            content = bytes(await volume.read(handle, 0, attributes.size))
            await volume.release(handle)
            assert len(content) == attributes.size
            found[entry.name] = (entry.ino, attributes.links, content)
    return found


def _links(found: dict[bytes, Any]) -> list[tuple[int, int]]:
    """Number and links of every name of a file."""
    names: list[tuple[int, int]] = []
    for item in found.values():
        names += _links(item) if isinstance(item, dict) else [item[:2]]
    return names


def _trouble(store: MemoryStore, dice: random.Random) -> None:
    def refuse(message: Record) -> Fault | None:
        luck = dice.random()
        if luck < 0.03:
            return Fault(Kind.NOT_LEADER, "not me")
        return Fault(Kind.BUSY, "later") if luck < 0.05 else None

    def tamper(message: Record, answer: Record) -> Record:
        if dice.random() < 0.03:
            raise Fault(Kind.UNREACHABLE, "the answer was lost")
        return answer

    store.refuse, store.tamper = refuse, tamper


@pytest.mark.parametrize("seed", range(12))
def test_concurrent_programs_leave_a_whole_tree(seed: int) -> None:
    async def play() -> None:
        store = MemoryStore(delay=shaky(seed))
        if seed % 2:
            _trouble(store, random.Random(seed))
        volumes = [client(store, name, patience_s=20.0) for name in ("one", "two")]
        for volume in volumes:
            await volume.start()
        programs = [
            _program(Player(volume), random.Random(seed * 100 + number), 30)
            for number, volume in enumerate(volumes * 2)
        ]
        await asyncio.gather(*programs)
        for volume in volumes:
            await volume.flushes.close()
            await volume.sync()
        views = [await _walk(volume) for volume in volumes]
        for volume in volumes:
            assert volume.core.engine.budget.held == 0
            assert volume.core.engine.leftovers.held == 0
            assert not any(node.changed for node in volume.core.nodes)
            await volume.close()
        fresh = client(store, "fresh")
        await fresh.start()
        assert views == [await _walk(fresh)] * 2
        names = _links(views[0])
        for ino, links in names:
            assert [other for other, _ in names].count(ino) == links
        await fresh.close()

    asyncio.run(play())
