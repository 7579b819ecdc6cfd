"""Actors of one process: order, answers, back-pressure, crashes, the end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from actors.cast import Add, Counter, Do, Parcel, Slow, Total, Unloved
from blocktree.actors import Actor, Address, Call, Done, Runtime, receives, supervision
from blocktree.actors import cell as cell_module
from blocktree.actors.actor import dispatch_table
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree.wire import Record
from link.world import in_loop, until

HERE = Path("/bt1x/pi-1")


@contextlib.asynccontextmanager
async def runtime() -> AsyncIterator[Runtime]:
    made = Runtime(HERE)
    try:
        yield made
    finally:
        await made.close()


@in_loop
async def test_an_ask_is_answered_with_the_very_object() -> None:
    async with runtime() as here:
        to = await here.spawn("counter", Counter())
        assert to == Address(HERE, "counter")
        assert await here.ask(to, Add(2), Total) == Total(2)
        parcel = Parcel(1, bytearray(b"not copied"))
        assert await here.ask(to, parcel) is parcel


@in_loop
async def test_messages_told_are_worked_off_in_order() -> None:
    async with runtime() as here:
        counter = Counter()
        to = await here.spawn("counter", counter, capacity=16)
        for number in range(1000):
            await here.tell(to, Add(number))
        await here.ask(to, Do("nothing"))
        assert counter.seen == list(range(1000))


@in_loop
async def test_an_actor_learns_who_sent() -> None:
    async with runtime() as here:
        counter = Counter()
        to = await here.spawn("counter", counter)
        await here.ask(to, Add(1), sender=Address(HERE, "other"))
        await here.ask(to, Add(1))
        senders = [call.sender for call in counter.calls]
        assert senders == [Address(HERE, "other"), Address(HERE, "")]


@in_loop
async def test_nothing_returned_is_answered_with_done() -> None:
    async with runtime() as here:
        to = await here.spawn("counter", Counter())
        assert await here.ask(to, Do("nothing")) == Done()


@in_loop
async def test_an_answer_of_another_class_is_a_fault() -> None:
    async with runtime() as here:
        to = await here.spawn("counter", Counter())
        with pytest.raises(Fault, match="answered with Done") as caught:
            await here.ask(to, Do("nothing"), Total)
        assert caught.value.kind is Kind.CONTRACT


@in_loop
async def test_what_an_actor_refuses_reaches_who_asked() -> None:
    async with runtime() as here:
        to = await here.spawn("counter", Counter())
        with pytest.raises(Fault, match="the shelf is full") as caught:
            await here.ask(to, Do("refuse"))
        assert caught.value.kind is Kind.NO_SPACE
        assert caught.value.path == "/shelf"
        with pytest.raises(Fault, match="does not take Unloved") as caught:
            await here.ask(to, Unloved())
        assert caught.value.kind is Kind.CONTRACT
        assert (await here.ask(to, Add(1), Total)).total == 1


@in_loop
async def test_unknown_actors_and_processes_are_faults() -> None:
    async with runtime() as here:
        for ask in (here.ask, here.tell):
            with pytest.raises(Fault, match="no such actor") as caught:
                await ask(Address(HERE, "nobody"), Add(1))
            assert caught.value.kind is Kind.UNREACHABLE
            with pytest.raises(Fault, match="no links") as caught:
                await ask(Address(Path("/bt1x/pi-2"), "nobody"), Add(1))
            assert caught.value.kind is Kind.UNREACHABLE
        assert not here.post(Address(HERE, "nobody"), Add(1))


@in_loop
async def test_a_name_is_taken_once() -> None:
    async with runtime() as here:
        await here.spawn("counter", Counter())
        with pytest.raises(Fault, match="that name runs here") as caught:
            await here.spawn("counter", Counter())
        assert caught.value.kind is Kind.EXISTS
        assert here.names() == ("counter",)


@in_loop
async def test_who_tells_a_full_mailbox_waits() -> None:
    async with runtime() as here:
        slow = Slow()
        to = await here.spawn("slow", slow, capacity=4)
        for number in range(4):
            await here.tell(to, Total(number))
        assert not here.post(to, Total(9))
        tellers = [asyncio.create_task(here.tell(to, Add(number))) for number in range(20)]
        await asyncio.sleep(0.01)
        assert sum(task.done() for task in tellers) <= 1  # one message is being worked on
        slow.gate.set()
        await asyncio.gather(*tellers)
        await here.ask(to, Do("nothing"))
        assert slow.seen == list(range(20))


@in_loop
async def test_who_waits_too_long_for_room_hears_busy() -> None:
    async with runtime() as here:
        to = await here.spawn("slow", Slow(), capacity=1)
        await until(lambda: not here.post(to, Total(1)))
        with pytest.raises(Fault, match="mailbox is full") as caught:
            await here.tell(to, Total(2), timeout=0.02)
        assert caught.value.kind is Kind.BUSY
        with pytest.raises(Fault) as caught:
            await here.ask(to, Total(2), timeout=0.02)
        assert caught.value.kind in {Kind.BUSY, Kind.UNREACHABLE}


@in_loop
async def test_who_is_cancelled_while_waiting_gives_its_place_to_the_next() -> None:
    async with runtime() as here:
        slow = Slow()
        to = await here.spawn("slow", slow, capacity=1)
        await until(lambda: not here.post(to, Total(1)))
        first, second = (asyncio.create_task(here.tell(to, Add(n))) for n in (1, 2))
        await asyncio.sleep(0)
        slow.gate.set()
        await asyncio.sleep(0)
        first.cancel()
        await second
        await here.ask(to, Do("nothing"))
        assert slow.seen[-1] == 2


@in_loop
async def test_an_ask_ends_at_its_timeout() -> None:
    async with runtime() as here:
        slow = Slow()
        to = await here.spawn("slow", slow)
        with pytest.raises(Fault, match="no answer in time") as caught:
            await here.ask(to, Total(1), timeout=0.02)
        assert caught.value.kind is Kind.UNREACHABLE
        slow.gate.set()
        assert (await here.ask(to, Total(2), Total)).total == 2


@in_loop
async def test_an_async_method_runs_to_its_end_before_the_next_message() -> None:
    async with runtime() as here:
        slow = Slow()
        to = await here.spawn("slow", slow)
        waiting = asyncio.create_task(here.ask(to, Total(1)))
        await until(lambda: bool(slow.calls))
        await here.tell(to, Add(5))
        await asyncio.sleep(0.01)
        assert slow.seen == []
        slow.gate.set()
        assert await waiting == Total(1)


@in_loop
async def test_an_answer_for_later_holds_up_nobody() -> None:
    async with runtime() as here:
        counter = Counter()
        to = await here.spawn("counter", counter)
        asks = [asyncio.create_task(here.ask(to, Do("later"))) for _ in range(3)]
        assert (await here.ask(to, Add(1), Total)).total == 1
        await until(lambda: len(counter.later) == 3)
        counter.later[1].set_result(Total(7))
        counter.later[0].set_exception(Fault(Kind.CONFLICT, "somebody was faster"))
        counter.later[2].set_exception(ValueError("oops"))
        assert await asks[1] == Total(7)
        with pytest.raises(Fault, match="somebody was faster"):
            await asks[0]
        with pytest.raises(Fault, match="it crashed: ValueError"):
            await asks[2]


@in_loop
async def test_answers_for_later_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cell_module, "LATER_MAX", 2)
    async with runtime() as here:
        counter = Counter()
        to = await here.spawn("counter", counter)
        asks = [asyncio.create_task(here.ask(to, Do("later"))) for _ in range(5)]
        await asyncio.sleep(0.01)
        assert len(counter.later) == 3  # the third waits to be taken on
        for number in range(5):
            await until(lambda n=number: len(counter.later) > n)  # type: ignore[misc]
            counter.later[number].set_result(Total(number))
        assert await asyncio.gather(*asks) == [Total(n) for n in range(5)]


@in_loop
async def test_a_crash_is_told_without_its_words_and_the_actor_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with runtime() as here:
        counter = Counter()
        to = await here.spawn("counter", counter)
        await here.ask(to, Add(1))
        with pytest.raises(Fault, match="it crashed: ValueError") as caught:
            await here.ask(to, Do("crash"))
        assert caught.value.kind is Kind.FAILED
        assert "secret" not in str(caught.value)
        assert "a secret" in caplog.text
        assert (await here.ask(to, Add(1), Total)).total == 2
        with pytest.raises(Fault):
            await here.ask(to, Do("cancel"))
        assert (await here.ask(to, Add(1), Total)).total == 3
        assert counter.starts == 1


@in_loop
async def test_an_actor_given_as_a_class_starts_afresh_after_a_crash() -> None:
    async with runtime() as here:
        to = await here.spawn("counter", Counter)
        await here.ask(to, Add(1))
        with pytest.raises(Fault):
            await here.ask(to, Do("crash"))
        assert (await here.ask(to, Add(1), Total)).total == 1


@in_loop
async def test_crashes_again_and_again_make_the_pauses_longer_and_the_log_silent(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        pauses.append(seconds)
        await sleep(0)

    async with runtime() as here:
        to = await here.spawn("counter", Counter)
        monkeypatch.setattr(asyncio, "sleep", note)
        for _ in range(12):
            with pytest.raises(Fault):
                await here.ask(to, Do("crash"))
        await here.ask(to, Add(1))
    assert pauses[:4] == [0.0, 0.1, 0.2, 0.4]
    assert max(pauses) == supervision.RESTART_MAX_S
    assert caplog.text.count("Traceback") == cell_module.CRASHES_LOGGED
    assert "keeps crashing" in caplog.text


@in_loop
async def test_stopping_answers_everybody_who_waits() -> None:
    async with runtime() as here:
        slow = Slow()
        to = await here.spawn("slow", slow, capacity=2)
        later = asyncio.create_task(here.ask(to, Do("later")))
        await until(lambda: bool(slow.later))
        asks = [asyncio.create_task(here.ask(to, Total(n))) for n in range(5)]
        await asyncio.sleep(0.01)
        await here.stop("slow")
        for ask in [later, *asks]:
            with pytest.raises(Fault) as caught:
                await ask
            assert caught.value.kind is Kind.STOPPED
        assert slow.stops == 1
        with pytest.raises(Fault, match="no such actor"):
            await here.ask(to, Add(1))
        await here.stop("slow")
        assert await here.spawn("slow", Slow()) == to


@in_loop
async def test_an_actor_that_cannot_start_is_not_there() -> None:
    class Broken(Actor):
        async def started(self) -> None:
            raise Fault(Kind.NO_SPACE, "no room to start")

    async with runtime() as here:
        with pytest.raises(Fault, match="no room to start"):
            await here.spawn("broken", Broken())
        assert here.names() == ()


@in_loop
async def test_many_messages_to_one_actor_do_not_starve_others() -> None:
    class Endless(Actor):
        @receives
        def again(self, message: Add, call: Call) -> None:
            assert self.runtime.post(self.address, message, sender=call.sender)

    async with runtime() as here:
        to = await here.spawn("endless", Endless())
        await here.tell(to, Add(1))
        other = await here.spawn("counter", Counter())
        for _ in range(5):
            await here.ask(other, Add(1), timeout=2)


def test_a_dispatch_table_is_compiled_once_and_knows_unions_and_subclasses() -> None:
    class Both(Actor):
        @receives
        def either(self, message: Add | Total, call: Call) -> None: ...

    class Child(Both):
        extra: ClassVar[int] = 1

        @receives
        def also(self, message: Do, call: Call) -> None: ...

    assert set(dispatch_table(Both)) == {Add, Total}
    assert set(dispatch_table(Child)) == {Add, Total, Do}
    assert dispatch_table(Child) is dispatch_table(Child)


def test_wrong_annotations_are_named() -> None:
    class Twice(Actor):
        @receives
        def one(self, message: Add, call: Call) -> None: ...

        @receives
        def two(self, message: Add, call: Call) -> None: ...

    class Any1(Actor):
        @receives
        def one(self, message: Record, call: Call) -> None: ...

    class Alone(Actor):
        @receives
        def one(self, message: Add) -> None: ...

    for cls, words in ((Twice, "Add twice"), (Any1, "not a record"), (Alone, "must take")):
        with pytest.raises(TypeError, match=words):
            dispatch_table(cls)
