"""A change of a device was made or was not, wherever it is cut off; gateways see it if it was."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from blocktree.fault import Fault, Kind
from blocktree.store.messages import Commit
from blocktree.wire import Record
from blocktree_gateway.tree.devices import INDEX, Device, Devices
from blocktree_gateway.tree.records import DeviceRecord, Standing, new_secrets
from blocktree_gateway.tree.smallfiles import Place, SmallFiles
from files.memory_store import MemoryStore, client

ATTIC = (b"sensors", b"attic")
LOFT = (b"house", b"upstairs", b"loft")
DEVICE = bytes(range(32))


class Cut:
    """Lets so many commits through, and nothing behind them: whoever renames is gone then."""

    def __init__(self, commits: int) -> None:
        self.left = commits
        self.refused = False

    def __call__(self, message: Record) -> Fault | None:
        if isinstance(message, Commit):
            self.left -= 1
            if self.left < 0:
                self.refused = True
                return Fault(Kind.DENIED, "cut off")
        return None


def _record(device: bytes) -> DeviceRecord:
    secrets = new_secrets(device, 1, (bytes(32), ()), (bytes(32), ()))
    return DeviceRecord(device, 1, Standing.PAIRED, "unix", b"", (), (secrets,), 0, "")


async def _with(store: MemoryStore, scene: Callable[[Devices], Awaitable[None]]) -> None:
    volume = client(store)
    await volume.start()
    try:
        await scene(Devices(SmallFiles(volume)))
    finally:
        await volume.close()


async def _begin(devices: Devices) -> None:
    await devices.save(Device(ATTIC, _record(DEVICE)))
    await devices.files.write((*ATTIC, b"stream", b"1"), b"readings")


async def _rename(devices: Devices) -> None:
    await devices.rename(await devices.require(ATTIC), LOFT)


async def _place(devices: Devices) -> Place:
    """Where the device is: by its id, its paths and its history alike."""
    found = await devices.find(DEVICE)
    assert found is not None
    assert (await devices.require(ATTIC)).place == found.place
    assert await devices.files.read((*found.place, b"stream", b"1")) == b"readings"
    assert DEVICE in await devices.marks()
    return found.place


def test_a_revocation_that_is_cut_off_anywhere_is_seen_by_gateways_if_it_was_made() -> None:
    async def play(commits: int) -> bool:
        store, cut = MemoryStore(), Cut(commits)
        before: dict[bytes, int] = {}

        async def begin(devices: Devices) -> None:
            await _begin(devices)
            before.update(await devices.marks())

        async def revoke(devices: Devices) -> None:
            await devices.revoke(await devices.require(ATTIC), "sold it", 1)

        async def look(devices: Devices) -> None:
            revoked = not (await devices.require(ATTIC)).record.belongs
            assert revoked == (await devices.marks() != before)
            assert revoked == (not cut.refused)

        await _with(store, begin)
        store.refuse = cut
        with contextlib.suppress(Fault):
            await _with(store, revoke)
        store.refuse = lambda _: None
        await _with(store, look)
        return cut.refused

    cut_at = 0
    while asyncio.run(play(cut_at)):
        cut_at += 1
    assert cut_at >= 2


def test_a_renaming_that_is_cut_off_anywhere_was_done_or_was_not() -> None:
    seen: list[Place] = []

    async def play(commits: int) -> bool:
        store, cut = MemoryStore(), Cut(commits)
        await _with(store, _begin)
        store.refuse = cut
        with contextlib.suppress(Fault):
            await _with(store, _rename)
        store.refuse = lambda _: None

        async def look(devices: Devices) -> None:
            seen.append(await _place(devices))
            if seen[-1] == ATTIC:
                assert await devices.files.find(LOFT) is None
                await _rename(devices)
            assert await _place(devices) == LOFT
            assert await devices.files.read_link(ATTIC) == b"../house/upstairs/loft"

        await _with(store, look)
        return cut.refused

    cut_at = 0
    while asyncio.run(play(cut_at)):
        cut_at += 1
    assert cut_at >= 3
    assert seen == [ATTIC] * cut_at + [LOFT]


def test_a_device_can_go_back_to_where_it_was_but_not_over_anything_else() -> None:
    async def scene(devices: Devices) -> None:
        await _begin(devices)
        await _rename(devices)
        await devices.rename(await devices.require(LOFT), ATTIC)
        assert await _place(devices) == ATTIC
        assert (await devices.require(LOFT)).place == ATTIC

        cellar = (b"sensors", b"cellar")
        await devices.save(Device(cellar, _record(bytes(32))))
        await devices.files.link((b"sensors", b"link"), b"cellar")
        await devices.files.write((b"sensors", b"file"), b"")
        for taken in (cellar, (b"sensors", b"link"), (b"sensors", b"file"), ATTIC):
            with pytest.raises(Fault) as caught:
                await devices.rename(await devices.require(ATTIC), taken)
            assert caught.value.kind is Kind.EXISTS
        assert await _place(devices) == ATTIC
        assert sorted(await devices.files.names(INDEX)) == [
            each.hex().encode() for each in (bytes(32), DEVICE)
        ]
        left = await devices.files.names((b"sensors",))
        assert left == [b"attic", b"cellar", b"file", b"link"]

    asyncio.run(_with(MemoryStore(), scene))
