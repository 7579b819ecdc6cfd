"""What an actor of the tree sends goes through its ward, on the node."""

import asyncio

from blocktree.actors import Actor, Call, Done, Runtime, receives
from blocktree.actors.places import Target
from blocktree.fault import Kind
from blocktree.link import Failure
from blocktree.names import Address, Path
from blocktree.services.frames import Answered, Begin, Pipe, Refused, Send
from blocktree.services.journal import Journal
from blocktree.services.ward import Errand, Ward
from blocktree.wire import Record, decode, encode
from services.town import Add
from store.world import in_loop, until

HERE, HEATER, LAMP = Path("/bt1home/pi-1"), Path("/bt1home/heater"), Path("/bt1home/lamp")


class Ear(Actor):
    def __init__(self) -> None:
        self.heard: list[tuple[Path | None, int]] = []

    @receives
    def add(self, message: Add, call: Call) -> None:
        self.heard.append((call.path, message.amount))


class SlowAtFirst:
    """Finds one actor at every path; the first look at the heater's is held up by `gate`."""

    def __init__(self, target: Address) -> None:
        self.gate = asyncio.Event()
        self.looks = 0
        self._target = target

    async def resolve(self, path: Path, /, *, timeout: float) -> Target:
        self.looks += path == HEATER
        if path == HEATER and self.looks == 1:
            await self.gate.wait()
        return Target(path, self._target)

    def forget(self, target: Target, /) -> None:
        pass


class Child(Pipe):
    """Takes note of what the child is told."""

    def __init__(self) -> None:
        self.frames: list[Record] = []

    def send(self, frame: Record) -> None:
        self.frames.append(frame)


async def begin() -> Begin:
    """No child is started."""
    await asyncio.Event().wait()
    raise AssertionError


async def keep(serial: int, state: bytes) -> None:
    raise AssertionError(serial, state)


class Street:
    """A ward without a process, and an actor that answers at two paths."""

    def __init__(self) -> None:
        self.runtime = Runtime(HERE)
        self.runtime.resolver = self.resolver = SlowAtFirst(Address(HERE, "ear"))
        self.ear, self.child, self.journal = Ear(), Child(), Journal()
        errand = Errand(Path("/bt1home/thermostat"), 1, lambda: True, begin, keep)
        self.ward = Ward(errand, self.journal)

    async def open(self) -> None:
        await self.runtime.spawn("ear", self.ear)
        await self.runtime.spawn("thermostat", self.ward)
        for path in (HEATER, LAMP):
            self.runtime.host(path, "ear")

    def says(self, to: Path, amount: int, *, number: int = 0, timeout_ms: int = 30_000) -> None:
        """As the child: tell, or with a number ask."""
        self.ward._hear(Send(number, to, "", encode(Add(amount)), timeout_ms), self.child)


@in_loop
async def test_what_is_told_to_one_path_keeps_its_order_when_a_look_up_takes_long() -> None:
    street = Street()
    await street.open()
    for amount in (1, 2, 3):
        street.says(HEATER, amount)
    street.says(HEATER, 4, number=7)
    street.says(LAMP, 5)
    await until(lambda: street.ear.heard)
    await asyncio.sleep(0.02)
    assert street.ear.heard == [(LAMP, 5)]  # it is not behind what is told elsewhere
    street.resolver.gate.set()
    await until(lambda: street.child.frames)
    assert street.ear.heard[1:] == [(HEATER, 1), (HEATER, 2), (HEATER, 3), (HEATER, 4)]
    assert street.child.frames == [Answered(7, encode(Done()))]
    await street.runtime.close()


@in_loop
async def test_what_cannot_go_out_in_time_is_refused_or_said_in_the_log() -> None:
    street = Street()
    await street.open()
    street.says(HEATER, 1)
    street.says(HEATER, 2, timeout_ms=10)
    street.says(HEATER, 3, number=7, timeout_ms=10)
    await until(lambda: street.child.frames)
    (refused,) = street.child.frames
    assert isinstance(refused, Refused)
    assert decode(refused.failure, Failure).fault().kind is Kind.BUSY
    (line,), _ = street.journal.after(0)
    assert "what was told there before has not gone out yet" in line
    street.resolver.gate.set()
    street.says(HEATER, 4)
    await until(lambda: len(street.ear.heard) == 2)
    assert street.ear.heard == [(HEATER, 1), (HEATER, 4)]
    await street.runtime.close()
