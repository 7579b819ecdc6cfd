"""Two gateways hear one device, and the claims of a real sector service decide who speaks."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from blocktree.store.place_messages import LEASE_S
from blocktree_gateway.gateway import Gateway
from blocktree_gateway.messages import Entry
from blocktree_gateway.stream.proof import Proof
from blocktree_gateway.tree.devices import Device
from blocktree_gateway.tree.streamfile import StreamFile
from gateway.house import udp_device
from gateway.town import Town, town
from store.world import in_loop, until

ATTIC = (b"sensors", b"attic")
NAMES = ("one", "other")
SURVEY_S = 4.0  # at most between two looks for devices that nobody speaks for
BUSY_S = 3.0  # for a machine that does other things as well


class Watch:
    """Looks again and again at who may speak; more than one at a moment is never right."""

    def __init__(self, home: Town) -> None:
        self._home = home
        self._task = asyncio.ensure_future(self._look())
        self.both = 0
        self.looks = 0

    async def _look(self) -> None:
        while True:
            holders = [name for name in NAMES if self._home.holds(name, ATTIC)]
            self.both += len(holders) > 1
            self.looks += 1
            await asyncio.sleep(0.005)

    def end(self) -> None:
        self._task.cancel()


async def served(
    home: Town, gateways: Mapping[str, Gateway], micropython: str
) -> tuple[Device, str, str]:
    """A device that one gateway speaks for: it, the name of that gateway, and that of the other."""
    _, device = await udp_device(home, micropython, ATTIC)
    await home.until_here(ATTIC, "udp")
    await home.until_readings(ATTIC, 3)
    (first,) = [n for n in NAMES if device.device in gateways[n].speaking.held]
    (second,) = set(NAMES) - {first}
    return device, first, second


async def kept(home: Town) -> Counter[tuple[int, int]]:
    """How often each entry lies in the stream."""
    items = await StreamFile(home.devices.files, ATTIC).read_all()
    return Counter(item.place for item in items if isinstance(item, Entry))


async def lines(home: Town) -> list[bytes]:
    """The readings as people see them."""
    folder = (*ATTIC, b"readings")
    days = [
        await home.devices.files.read((*folder, n)) for n in await home.devices.files.names(folder)
    ]
    return [line for day in days for line in (day or b"").splitlines()[1:]]


async def nothing_lost_or_doubled(home: Town, proof: Proof) -> None:
    """Of what a reader finds: not in the stream, and not in what is published of it."""
    assert proof.holds
    assert proof.lost == []
    assert set((await kept(home)).values()) == {1}
    newest = proof.readings[-1].place[1]
    await home.until_published(ATTIC, newest)
    places = [tuple(map(int, line.split(b",")[1:3])) for line in await lines(home)]
    assert len(places) == len(set(places))
    assert {told.place for told in proof.readings} <= set(places)


@in_loop
async def test_one_of_two_gateways_speaks_and_when_it_dies_the_other_does(
    tmp_path: Path, micropython: str
) -> None:
    async with town(tmp_path) as home:
        gateways = {name: await home.gateway(name) for name in NAMES}
        watch = Watch(home)
        device, first, second = await served(home, gateways, micropython)
        assert home.holds(first, ATTIC)
        assert not home.holds(second, ATTIC)

        await home.kill(first)
        killed = time.monotonic()
        await until(lambda: device.device in gateways[second].speaking.held)
        assert time.monotonic() - killed < LEASE_S + SURVEY_S + BUSY_S
        assert not home.holds(first, ATTIC)
        await home.until_here(ATTIC, "udp", seconds=90)
        before = len((await home.proof(ATTIC)).readings)
        await nothing_lost_or_doubled(home, await home.until_readings(ATTIC, before + 5))
        watch.end()
        assert watch.looks > 100
        assert not watch.both


@in_loop
async def test_a_gateway_that_loses_its_claim_leaves_what_it_heard_to_the_next(
    tmp_path: Path, micropython: str
) -> None:
    """It lives and hears the device: what it did not commit yet, the device tells the other."""
    async with town(tmp_path) as home:
        gateways = {name: await home.gateway(name, commit_s=2.0) for name in NAMES}
        watch = Watch(home)
        device, first, second = await served(home, gateways, micropython)
        home.mute(first)
        await until(lambda: device.device in gateways[second].speaking.held)
        assert device.device not in gateways[first].speaking.held
        await home.until_here(ATTIC, "udp", seconds=60)
        before = len((await home.proof(ATTIC)).readings)
        await nothing_lost_or_doubled(home, await home.until_readings(ATTIC, before + 20))
        watch.end()
        assert not watch.both
