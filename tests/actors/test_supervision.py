"""Children, crashes, watches and timers: what the runtime does when an actor goes."""

import asyncio
from dataclasses import dataclass

import pytest

from actors.cast import Add, Counter, Do, Total
from actors.test_remote import pair
from actors.test_runtime import HERE, runtime
from blocktree.actors import Actor, Address, Call, Down, Restarts, Timer, receives
from blocktree.actors.supervision import Supervision
from blocktree.fault import Fault, Kind
from blocktree.wire import Record, record
from link.world import in_loop, until


@record(0x7FA8)
@dataclass(frozen=True, slots=True)
class Tick(Record):
    number: int


class Widow(Actor):
    """Notes who went."""

    def __init__(self) -> None:
        self.downs: list[Down] = []

    @receives
    def down(self, message: Down, call: Call) -> None:
        self.downs.append(message)


class Parent(Actor):
    """Starts a child that it bears one crash of."""

    starts = 0

    async def started(self) -> None:
        Parent.starts += 1
        await self.runtime.spawn("child", Counter, parent=self.address, restarts=Restarts(1))

    @receives
    def add(self, message: Add, call: Call) -> Total:
        return Total(Parent.starts)


class Clock(Actor):
    def __init__(self) -> None:
        self.seen: list[int] = []
        self.timer: Timer | None = None

    async def started(self) -> None:
        self.after(0.02, Tick(1))
        self.timer = self.every(0.005, Tick(2))

    @receives
    def tick(self, message: Tick, call: Call) -> None:
        self.seen.append(message.number)
        if self.timer is not None and self.seen.count(2) == 3:
            self.timer.cancel()

    @receives
    def do(self, message: Do, call: Call) -> None:
        raise ValueError(message.what)


def test_pauses_grow_and_a_minute_without_a_crash_is_forgiven() -> None:
    forever = Supervision(Restarts())
    assert [forever.crashed(now) for now in (0, 1, 2, 3)] == [0.0, 0.1, 0.2, 0.4]
    assert forever.crashed(62.9) == 0.8
    assert forever.crashed(123) == 0.0
    assert max(forever.crashed(123 + n) or 0 for n in range(20)) == 10.0


def test_what_crashes_once_too_often_is_given_up() -> None:
    thrice = Supervision(Restarts(3, forgiven_s=10))
    assert [thrice.crashed(now) for now in (0, 1, 2)] == [0.0, 0.1, 0.2]
    assert thrice.crashed(3) is None
    calm = Supervision(Restarts(1, forgiven_s=10))
    assert [calm.crashed(now) for now in (0, 10, 20)] == [0.0, 0.0, 0.0]


@in_loop
async def test_who_watches_is_told_of_the_end_and_not_of_a_restart() -> None:
    async with runtime() as here:
        widow = Widow()
        watcher = await here.spawn("widow", widow)
        to = await here.spawn("counter", Counter)
        await here.watch(watcher, to)
        with pytest.raises(Fault):
            await here.ask(to, Do("crash"))
        assert (await here.ask(to, Add(1), Total)).total == 1
        assert widow.downs == []
        await here.stop("counter")
        await until(lambda: bool(widow.downs))
        assert widow.downs == [Down(str(to), "it was stopped")]
        await here.watch(watcher, to)
        await until(lambda: len(widow.downs) == 2)
        assert widow.downs[1].why == "no such actor runs there"


@in_loop
async def test_an_actor_that_is_given_up_lets_its_parent_crash() -> None:
    Parent.starts = 0
    async with runtime() as here:
        widow = Widow()
        watcher = await here.spawn("widow", widow)
        parent = await here.spawn("parent", Parent)
        child = Address(HERE, "child")
        await here.watch(watcher, child)
        for _ in range(2):
            with pytest.raises(Fault) as crash:
                await here.ask(child, Do("crash"))
            assert crash.value.kind is Kind.FAILED
        await until(lambda: Parent.starts == 2)
        await until(lambda: bool(widow.downs))
        assert "it crashed too often: ValueError" in widow.downs[0].why
        await until(lambda: "child" in here.names())
        assert (await here.ask(child, Add(1), Total)).total == 1  # a fresh one
        assert (await here.ask(parent, Add(1), Total)).total == 2
        await here.stop("parent")
        assert here.names() == ("widow",)


@in_loop
async def test_timers_are_messages_and_end_with_a_restart() -> None:
    async with runtime() as here:
        clocks: list[Clock] = []

        def make() -> Clock:
            clocks.append(Clock())
            return clocks[-1]

        to = await here.spawn("clock", make)
        await until(lambda: clocks[0].seen.count(2) == 3 and 1 in clocks[0].seen)
        await asyncio.sleep(0.02)
        assert clocks[0].seen.count(2) == 3  # cancelled
        with pytest.raises(Fault):
            await here.ask(to, Do("crash"))
        await until(lambda: len(clocks) == 2 and 1 in clocks[1].seen)
        assert clocks[0].seen.count(1) == 1
        await here.stop("clock")
        seen = list(clocks[1].seen)
        await asyncio.sleep(0.02)
        assert clocks[1].seen == seen


@in_loop
async def test_a_watch_reaches_over_a_link_and_ends_with_it() -> None:
    async with pair() as two:
        widow = Widow()
        watcher = await two.here.spawn("widow", widow)
        one, other = [await two.there.spawn(name, Counter) for name in ("one", "other")]
        nobody = Address(two.two.path, "nobody")
        for target in (one, other, nobody):
            await two.here.watch(watcher, target)
        await until(lambda: [down.address for down in widow.downs] == [str(nobody)])
        await two.there.stop("one")
        await until(lambda: len(widow.downs) == 2)
        assert widow.downs[1] == Down(str(one), "it was stopped")
        await two.two.links.close()
        await until(lambda: str(other) in [down.address for down in widow.downs])
