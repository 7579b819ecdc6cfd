"""Actors of different processes, over real mutual-TLS links."""

import asyncio
import contextlib
import random
import struct
from collections.abc import AsyncIterator, Coroutine

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.cast import Add, Counter, Do, Parcel, Slow, Total, Unloved
from blocktree.actors import Actor, Address, Call, Done, Lane, Runtime, receives
from blocktree.actors.remote import Form, encode_message, encode_route, split_head
from blocktree.fault import Fault, Kind
from blocktree.link import Links
from blocktree.link import link as link_module
from blocktree.link.limits import Limits
from blocktree.wire import Record
from link.tree import make_node
from link.world import Host, hosts, in_loop, make_side, until


class Pair:
    """`pi-1` and `pi-2`, each with a runtime."""

    def __init__(self, one: Host, two: Host) -> None:
        self.one, self.two = one, two
        self.here = Runtime(one.path, one.links)
        self.there = Runtime(two.path, two.links)


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    async with hosts("pi-1", "pi-2") as (one, two):
        made = Pair(one, two)
        try:
            yield made
        finally:
            await made.here.close()
            await made.there.close()


@in_loop
async def test_an_ask_crosses_and_the_sender_is_proved() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        mine = Address(two.one.path, "asker")
        assert await two.here.ask(to, Add(3), Total, sender=mine) == Total(3)
        call = counter.calls[0]
        assert call.sender == mine
        assert call.peer is not None
        assert call.peer.principal == make_node("pi-1").principal
        assert await two.here.ask(to, Do("nothing")) == Done()


@in_loop
async def test_messages_with_a_body_take_the_bulk_lane_and_arrive_whole() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        for size in (0, 1, 70_000, 4 << 20):
            answer = await two.here.ask(to, Parcel(size, bytes(size)), Parcel)
            assert bytes(answer.body) == bytes(size)
        lanes = {call.link.lane for call in counter.calls if call.link}
        assert lanes == {Lane.BULK}
        await two.here.ask(to, Add(1), lane=Lane.BULK)
        assert two.here.links is not None
        assert two.here.links.find(two.two.path, Lane.CONTROL) is None


@in_loop
async def test_messages_told_arrive_in_order_whatever_their_number() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter, capacity=8)
        for number in range(20_000):
            await two.here.tell(to, Add(number))
        await two.here.ask(to, Do("nothing"))
        assert counter.seen == list(range(20_000))


@in_loop
async def test_faults_cross_with_kind_path_and_next_step() -> None:
    async with pair() as two:
        to = await two.there.spawn("counter", Counter())
        for ask, kind, words in (
            (Do("refuse"), Kind.NO_SPACE, "the shelf is full"),
            (Do("crash"), Kind.FAILED, "it crashed: ValueError"),
            (Unloved(), Kind.CONTRACT, "does not take Unloved"),
        ):
            with pytest.raises(Fault, match=words) as caught:
                await two.here.ask(to, ask)
            assert caught.value.kind is kind
        with pytest.raises(Fault, match="no such actor") as caught:
            await two.here.ask(Address(two.two.path, "nobody"), Add(1))
        assert caught.value.kind is Kind.UNREACHABLE
        await two.here.tell(Address(two.two.path, "nobody"), Add(1))
        assert (await two.here.ask(to, Add(1), Total)).total == 1


@in_loop
async def test_an_ask_to_a_lost_process_ends_at_once() -> None:
    async with pair() as two:
        slow = Slow()
        to = await two.there.spawn("slow", slow)
        asks = [asyncio.create_task(two.here.ask(to, Total(1), timeout=15)) for _ in range(3)]
        await until(lambda: bool(slow.calls))
        for link in two.two.links.open_links():
            link._transport.abort()
        for ask in asks:
            with pytest.raises(Fault, match="connection was lost") as caught:
                await ask
            assert caught.value.kind is Kind.UNREACHABLE
        assert two.here._delivery is not None
        assert two.here._delivery.wires == {}
        slow.gate.set()
        assert (await two.here.ask(to, Total(2), Total)).total == 2


@in_loop
async def test_a_process_that_is_not_there_is_unreachable_at_once() -> None:
    async with pair() as two:
        gone = Address(make_node("pi-9").path, "counter")
        with pytest.raises(Fault, match="no network address") as caught:
            await two.here.ask(gone, Add(1))
        assert caught.value.kind is Kind.UNREACHABLE
        with pytest.raises(Fault):
            await two.here.tell(gone, Add(1))
        assert not two.here.post(gone, Add(1))
        await asyncio.sleep(0.01)


@in_loop
async def test_an_ask_times_out_and_its_late_answer_disturbs_nobody() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        await two.here.ask(to, Do("nothing"))
        with pytest.raises(Fault, match="no answer in time"):
            await two.here.ask(to, Do("later"), timeout=0.05)
        await until(lambda: bool(counter.later))
        counter.later[0].set_result(Total(1))
        assert (await two.here.ask(to, Add(1), Total)).total == 1


@in_loop
async def test_posting_begins_a_link_and_drops_until_it_is_there() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        assert not two.here.post(to, Add(1))
        await until(lambda: two.here.post(to, Add(2)))
        await until(lambda: bool(counter.seen))
        assert counter.seen == [2]


@in_loop
async def test_an_answer_and_a_message_back_reach_the_very_process_that_asked() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        twins = []
        for amount in (1, 2):
            links = Links(make_side("pi-1"), sources=two.one.links.sources, dice=random.random)
            twin = Runtime(two.one.path, links)
            own = Counter()
            await twin.spawn("files", own)
            await twin.ask(to, Add(amount))
            twins.append((twin, links, own))
        for (_, _, own), call in zip(twins, counter.calls, strict=True):
            back = Address(call.sender.process, "files")
            assert (await two.there.ask(back, Add(5), Total, via=call.link)).total == 5
            await two.there.tell(back, Parcel(1, b"x"), via=call.link)
            await until(lambda o=own: len(o.calls) == 2)  # type: ignore[misc]
        for twin, links, _ in twins:
            await twin.close()
            await links.close()
        await until(lambda: counter.calls[0].link.closed is not None)  # type: ignore[union-attr]
        with pytest.raises(Fault) as caught:
            await two.there.ask(back, Add(1), via=counter.calls[0].link)
        assert caught.value.kind is Kind.UNREACHABLE


@in_loop
async def test_too_many_asks_of_one_actor_are_refused_and_it_works_on() -> None:
    async with pair() as two:
        slow = Slow()
        to = await two.there.spawn("slow", slow, capacity=8)
        asks = [asyncio.create_task(two.here.ask(to, Total(n))) for n in range(20)]
        done, _ = await asyncio.wait(asks, timeout=0.2)
        assert len(done) == 12
        for ask in done:
            fault = ask.exception()
            assert isinstance(fault, Fault)
            assert fault.kind is Kind.BUSY
        slow.gate.set()
        answers = await asyncio.gather(*asks, return_exceptions=True)
        assert sum(isinstance(answer, Total) for answer in answers) == 8
        assert (await two.here.ask(to, Total(1), Total)).total == 1


@in_loop
async def test_who_floods_a_stuck_actor_waits_and_memory_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = Limits(write_high=64 << 10, inbound_max=256 << 10)
    monkeypatch.setattr(link_module, "CONTROL_LIMITS", small)
    async with pair() as two:
        slow = Slow()
        to = await two.there.spawn("slow", slow)
        await two.here.tell(to, Total(0))
        told = 0

        async def flood() -> None:
            nonlocal told
            for _ in range(500_000):
                await two.here.tell(to, Do("x" * 1000))
                told += 1

        flooding = asyncio.create_task(flood())
        (link,) = two.one.links.open_links()
        (far,) = two.two.links.open_links()
        await until(lambda: link.congested and not far._reading)
        before = -1
        while told != before:  # the kernels' buffers fill too
            before = told
            await asyncio.sleep(0.2)
        assert told < 500_000
        waiting = sum(len(cell.mailbox.queue) for cell in two.there._cells.values())
        assert waiting * 1000 < 2 * small.inbound_max
        slow.gate.set()
        await until(lambda: told > before)
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)


class Mixed(Slow):
    """A plain `def` may return a coroutine, which runs to its end before the next message."""

    @receives
    def unloved(self, message: Unloved, call: Call) -> Coroutine[None, None, Total]:
        return self.count()

    async def count(self) -> Total:
        before = len(self.seen)
        await self.gate.wait()
        assert len(self.seen) == before
        return Total(before)


@in_loop
async def test_order_holds_between_plain_and_async_methods_and_crashes() -> None:
    async with pair() as two:
        mixed = Mixed()
        to = await two.there.spawn("mixed", mixed)
        await two.here.ask(to, Add(0))
        waiting = asyncio.create_task(two.here.ask(to, Unloved(), Total))
        rest: list[asyncio.Task[Record]] = []
        for number in (1, 2):
            await asyncio.sleep(0.01)
            await two.here.tell(to, Add(number))
            rest.append(asyncio.create_task(two.here.ask(to, Do("crash"))))
        await asyncio.sleep(0.05)
        assert mixed.seen == [0]
        mixed.gate.set()
        assert (await waiting).total == 1
        for crash in rest:
            with pytest.raises(Fault, match="it crashed: ValueError"):
                await crash
        await two.here.ask(to, Add(3))
        assert mixed.seen == [0, 1, 2, 3]


@in_loop
async def test_a_cancelled_ask_leaves_nothing_behind() -> None:
    async with pair() as two:
        slow = Slow()
        to = await two.there.spawn("slow", slow)
        ask = asyncio.create_task(two.here.ask(to, Total(1)))
        await until(lambda: bool(slow.calls))
        ask.cancel()
        with pytest.raises(asyncio.CancelledError):
            await ask
        assert two.here._delivery is not None
        assert not any(wire.waiting for wire in two.here._delivery.wires.values())
        assert not any(two.here.deadlines._buckets.values())
        slow.gate.set()
        assert (await two.here.ask(to, Total(2), Total)).total == 2


class Generous(Actor):
    @receives
    def give(self, message: Add, call: Call) -> Parcel:
        return Parcel(message.amount, bytes(message.amount))


@in_loop
async def test_an_answer_too_large_is_a_fault() -> None:
    async with pair() as two:
        to = await two.there.spawn("generous", Generous())
        for ask in (Parcel(1, bytes(9 << 20)), Add(9 << 20)):
            with pytest.raises(Fault, match="a frame of") as caught:
                await two.here.ask(to, ask)
            assert caught.value.kind is Kind.TOO_LARGE
        assert await two.here.ask(to, Add(5), Parcel) == Parcel(5, bytes(5))


@in_loop
async def test_a_message_that_cannot_be_read_is_refused_and_the_link_stays() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        link = await two.one.links.connect(two.two.path)
        assert two.here._delivery is not None
        wire = two.here._delivery.wire(link)
        route = encode_route("counter", "")
        for number, data in enumerate((b"\xff", b"\x81\x19\x7e\xee", b""), start=100):
            wire.waiting[number] = asyncio.get_running_loop().create_future()
            link.send(struct.pack("!BIH", Form.ASK, number, len(route)) + route + data)
            link.send(struct.pack("!BIH", Form.TELL, 0, len(route)) + route + data)
            with pytest.raises(Fault, match=r"no(t a)? record") as caught:
                await wire.waiting[number]
            assert caught.value.kind is Kind.MALFORMED
        assert (await two.here.ask(to, Add(1), Total)).total == 1
        assert link.closed is None


@in_loop
async def test_a_frame_that_is_no_message_closes_the_link() -> None:
    async with pair() as two:
        for head in (b"\0", b"\0" * 5 + b"\xff\xff", b"\x09" + bytes(6)):
            link = await two.one.links.connect(two.two.path)
            link.send(head)
            await until(lambda which=link: which.closed is not None)  # type: ignore[misc]
            assert link.closed is not None
            assert link.closed.kind is Kind.MALFORMED


@given(st.binary(max_size=64))
def test_no_head_gives_anything_but_its_parts_or_a_fault(head: bytes) -> None:
    try:
        form, number, route, data = split_head(head)
    except Fault as fault:
        assert fault.kind is Kind.MALFORMED  # noqa: PT017
    else:
        assert struct.pack("!BIH", form, number, len(route)) + route + data == head


def test_a_head_is_read_as_it_was_written() -> None:
    route = encode_route("store", "files")
    head = encode_message(Form.ASK, 7, route, Add(1))
    assert split_head(head)[:3] == (Form.ASK, 7, route)
