"""Frames arrive whole and in order, buffers are bounded, and a dead peer is noticed."""

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.link import Failure, Hello, Lane, Link, dial
from blocktree.link import link as link_module
from blocktree.link.limits import Limits
from blocktree.wire import decode, encode
from link.tree import make_node
from link.world import Relay, ends, in_loop


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Limits:
    small = Limits(
        write_high=64 << 10, write_max=1 << 20, inbound_max=256 << 10, tick_s=0.02, silent_ticks=5
    )
    monkeypatch.setattr(link_module, "CONTROL_LIMITS", small)
    return small


@in_loop
async def test_frames_of_all_sizes_arrive_whole_and_in_order() -> None:
    sizes = [0, 1, 100, 65_536, 300_000, 5 << 20, 7, 262_144, 8 << 20, 3]
    async with ends() as two:
        link = await two.dial(lane=Lane.BULK)
        for number, size in enumerate(sizes):
            link.send(b"%d" % number, bytes([number]) * size)
            await link.drain()
        await two.far.until(lambda far: len(far.frames) == len(sizes))
        assert two.far.frames == [(b"%d" % n, bytes([n]) * s) for n, s in enumerate(sizes)]


@in_loop
async def test_both_directions_run_at_once() -> None:
    async with ends() as two:
        link = await two.dial(lane=Lane.BULK)
        await two.far.until(lambda far: bool(far.links))
        for _ in range(20):
            link.send(b"here", bytes(1 << 20))
            two.far.links[0].send(b"far", bytes(1 << 20))
        await two.far.until(lambda far: len(far.frames) == 20)
        await two.ear.until(lambda ear: len(ear.frames) == 20)


@in_loop
async def test_frames_of_one_turn_leave_together_but_for_an_answer_which_does_not_wait() -> None:
    async with ends() as two:
        link = await two.dial()
        writes: list[int] = []
        original = link._transport.write

        def write(data: Any) -> None:
            writes.append(len(data))
            original(data)

        link._transport.write = write  # type: ignore[method-assign]
        for _ in range(1000):
            link.send(b"small")
        await two.far.until(lambda far: len(far.frames) == 1000)
        assert writes == [13, 999 * 13]


class Joined:
    """A bundle whose frame is its items, one after the other."""

    def head(self, items: list[bytes]) -> bytes:
        return b"".join(items)


@in_loop
async def test_items_gathered_in_a_row_leave_in_one_frame_in_their_place() -> None:
    async with ends() as two:
        link = await two.dial()
        await two.far.until(lambda far: bool(far.links))
        link.send(b"first")
        one, other = Joined(), Joined()
        for item in (b"a", b"b", b"c"):
            link.gather(one, item)
        link.send(b"between")
        link.gather(one, b"d")
        for item in (b"e", b"f"):
            link.gather(other, item)
        link.gather(one, b"g")
        expected = [b"first", b"abc", b"between", b"d", b"ef", b"g"]
        await two.far.until(lambda far: len(far.frames) == len(expected))
        assert [head for head, _ in two.far.frames] == expected
        for _ in range(1000):
            link.gather(one, b"x")
        await two.far.until(lambda far: sum(len(head) for head, _ in far.frames[6:]) == 1000)
        assert max(len(head) for head, _ in two.far.frames[6:]) == 256
        link.gather(one, b"last words")
        link.close()
        await two.far.until(lambda far: far.frames[-1][0] == b"last words")


@in_loop
async def test_closing_says_why_after_what_was_sent() -> None:
    async with ends() as two:
        link = await two.dial()
        link.send(b"last")
        link.close(Fault(Kind.DENIED, "removed", next_step="ask the owner"))
        await two.far.until(lambda far: bool(far.closed))
        assert two.far.frames == [(b"last", b"")]
        heard = two.far.closed[0]
        assert (heard.kind, heard.what, heard.next_step) == (
            Kind.DENIED, "removed", "ask the owner",
        )  # fmt: skip
        assert heard.path == make_node("pi-1").path
        with pytest.raises(Fault, match="removed"):
            link.send(b"more")
        with pytest.raises(Fault, match="removed"):
            await link.drain()


@in_loop
async def test_a_frame_that_is_none_closes_the_link_with_a_reason() -> None:
    async with ends() as two:
        link = await two.dial()
        link._transport.write(b"\xff" * 8)
        await two.ear.until(lambda ear: bool(ear.closed))
        assert two.ear.closed[0].kind is Kind.MALFORMED
        assert two.far.closed[0].kind is Kind.MALFORMED


@in_loop
async def test_a_receiver_that_breaks_closes_its_link_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with ends() as two:
        first, second = await two.dial(), await two.dial()
        await two.far.until(lambda far: len(far.links) == 2)

        def broken(_link: Link, head: bytes, _body: object) -> None:
            raise ValueError(head)

        two.far.links[0].on_frame = broken
        first.send(b"x")
        await two.ear.until(lambda ear: bool(ear.closed))
        assert two.ear.closed[0].kind is Kind.FAILED
        second.send(b"y")
        await two.far.until(lambda far: bool(far.frames))
        assert "broke its receiver" in caplog.text


@in_loop
async def test_idle_links_stay(limits: Limits) -> None:
    async with ends() as two:
        link = await two.dial()
        await asyncio.sleep(limits.tick_s * limits.silent_ticks * 4)
        assert link.closed is None


@in_loop
async def test_a_frozen_peer_is_noticed_by_both(limits: Limits) -> None:
    async with ends() as two:
        relay = Relay(two.address)
        link = await dial(await relay.start(), two.here, two.ear.open)
        relay.freeze()
        loop = asyncio.get_running_loop()
        before = loop.time()
        await two.ear.until(lambda ear: bool(ear.closed))
        await two.far.until(lambda far: bool(far.closed))
        assert loop.time() - before < limits.tick_s * limits.silent_ticks * 10
        assert link.closed is not None
        assert link.closed.kind is Kind.UNREACHABLE
        assert "said nothing for" in link.closed.what
        await relay.close()


async def flood(link: Link) -> int:
    """Send until the link answers BUSY; how often it did not."""
    for number in range(10_000):
        try:
            link.send(b"x", bytes(100_000))
        except Fault as fault:
            assert fault.kind is Kind.BUSY  # noqa: PT017
            return number
        await asyncio.sleep(0)
    raise AssertionError("it took everything")


@in_loop
async def test_what_waits_to_be_sent_is_bounded(limits: Limits) -> None:
    async with ends() as two:
        link = await two.dial()
        await two.far.until(lambda far: bool(far.links))
        two.far.links[0]._transport.pause_reading()
        two.far.links[0]._reading = False
        sent = -1
        while sent:  # the kernels' buffers grow for a while
            sent = await flood(link)
            await asyncio.sleep(0.1)
        with pytest.raises(Fault, match="too much waits") as caught:
            link.send(b"one more")
        assert caught.value.kind is Kind.BUSY
        assert link.congested
        assert link.backlog < limits.write_max + (1 << 20)
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0.01)
        assert not draining.done()
        two.far.links[0]._reading = True
        two.far.links[0]._transport.resume_reading()
        await draining
        link.send(b"again")
        await two.far.until(lambda far: far.frames[-1][0] == b"again")


@in_loop
async def test_draining_ends_with_the_link(limits: Limits) -> None:
    async with ends() as two:
        link = await two.dial()
        await two.far.until(lambda far: bool(far.links))
        two.far.links[0]._transport.pause_reading()
        two.far.links[0]._reading = False
        while not link.congested:
            link.send(b"x", bytes(100_000))
            await asyncio.sleep(0)
        draining = asyncio.create_task(link.drain())
        await asyncio.sleep(0)
        two.far.links[0]._transport.abort()
        with pytest.raises(Fault) as caught:
            await draining
        assert caught.value.kind is Kind.UNREACHABLE


@in_loop
async def test_a_link_is_not_read_while_too_much_of_it_is_not_worked_off(limits: Limits) -> None:
    async with ends() as two:
        two.far.release = False
        link = await two.dial()
        for _ in range(50):
            link.send(b"x" * 10, bytes(20_000))
        await asyncio.sleep(0.2)  # also longer than the silence that is allowed
        held = len(two.far.frames)
        assert 10 <= held < 50
        assert link.closed is None
        for _ in range(held):
            two.far.links[0].release(20_010)
        two.far.release = True
        await two.far.until(lambda far: len(far.frames) == 50)
        assert limits.inbound_max > two.far.links[0]._inbound


@given(st.binary(max_size=200))
@settings(max_examples=200)
def test_no_bytes_decode_to_anything_but_a_hello_or_a_fault(data: bytes) -> None:
    for cls in (Hello, Failure):
        try:
            assert encode(decode(data, cls)) == data
        except Fault as fault:
            assert fault.kind is Kind.MALFORMED  # noqa: PT017


@given(st.data())
@settings(max_examples=100)
def test_a_damaged_hello_is_a_fault_or_another_hello(data: st.DataObject) -> None:
    chain = make_node("pi-1").chain
    whole = bytearray(encode(Hello(1, "bt1", "/bt1/a", Lane.BULK, bytes(8), chain)))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode(bytes(whole), Hello)
    except Fault as fault:
        assert fault.kind is Kind.MALFORMED  # noqa: PT017


def test_a_failure_of_a_later_version_is_told_as_failed() -> None:
    heard = Failure(4711, "something new", "/bt1/a", "update").fault()
    assert (heard.kind, heard.what, heard.path) == (Kind.FAILED, "something new", "/bt1/a")


def test_faults_on_the_wire_are_short() -> None:
    sent = Failure.of(Fault(Kind.FAILED, "x" * 5000, path="/" * 5000))
    assert len(encode(sent)) < 3100
