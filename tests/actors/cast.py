"""Messages and actors for tests."""

import asyncio
from dataclasses import dataclass

from blocktree.actors import Actor, Call, receives
from blocktree.fault import Fault, Kind
from blocktree.wire import Body, Record, body_field, record


@record(0x7FA1)
@dataclass(frozen=True, slots=True)
class Add(Record):
    amount: int


@record(0x7FA2)
@dataclass(frozen=True, slots=True)
class Total(Record):
    total: int


@record(0x7FA3)
@dataclass(frozen=True, slots=True)
class Do(Record):
    what: str


@record(0x7FA4)
@dataclass(frozen=True, slots=True)
class Parcel(Record):
    number: int
    body: Body = body_field()


@record(0x7FA5)
@dataclass(frozen=True, slots=True)
class Unloved(Record):
    """Nobody receives it."""


class Counter(Actor):
    """Adds up, and does what it is told."""

    def __init__(self) -> None:
        self.total = 0
        self.seen: list[int] = []
        self.calls: list[Call] = []
        self.gate = asyncio.Event()
        self.later: list[asyncio.Future[Record]] = []
        self.starts = 0
        self.stops = 0

    async def started(self) -> None:
        self.starts += 1

    async def stopped(self) -> None:
        self.stops += 1

    @receives
    def add(self, message: Add, call: Call) -> Total:
        self.total += message.amount
        self.seen.append(message.amount)
        self.calls.append(call)
        return Total(self.total)

    @receives
    async def carry(self, message: Parcel, call: Call) -> Parcel:
        self.calls.append(call)
        await asyncio.sleep(0)
        return message

    @receives
    def do(self, message: Do, call: Call) -> "Record | asyncio.Future[Record] | None":
        if message.what == "crash":
            raise ValueError("a secret")
        if message.what == "refuse":
            raise Fault(Kind.NO_SPACE, "the shelf is full", path="/shelf", next_step="tidy up")
        if message.what == "cancel":
            raise asyncio.CancelledError
        if message.what == "later":
            self.later.append(asyncio.get_running_loop().create_future())
            return self.later[-1]
        return None


class Slow(Counter):
    """Waits at its gate with every message."""

    @receives
    async def wait(self, message: Total, call: Call) -> Total:
        self.calls.append(call)
        await self.gate.wait()
        return message
