"""Links are made on demand, shared, given up and found again."""

import asyncio
import random

import pytest

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.link import (
    Lane,
    Link,
    Links,
    Side,
    join_endpoint,
    listen,
    pool,
    split_endpoint,
)
from blocktree.link.pool import BACKOFF_MAX_S
from blocktree.names import Path
from link.tree import make_node
from link.world import Relay, hosts, in_loop, make_side, until


@in_loop
async def test_callers_at_once_share_one_link() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        links = await asyncio.gather(*(one.links.connect(two.path) for _ in range(10)))
        assert len(set(links)) == 1
        assert one.links.find(two.path) is links[0]
        assert one.links.find(two.path, Lane.BULK) is None
        assert (await one.links.connect(two.path, Lane.BULK)).lane is Lane.BULK
        assert len(one.links.open_links()) == 2
        assert [peer.path for peer in one.links.peers()] == [two.path]


@in_loop
async def test_who_was_dialled_uses_the_same_link() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        await one.links.connect(two.path)
        back = await two.links.connect(one.path)
        assert not back.dialled
        assert len(two.links.open_links()) == 1


@in_loop
async def test_both_may_dial_at_the_same_time() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        await asyncio.gather(one.links.connect(two.path), two.links.connect(one.path))
        heard: list[bytes] = []
        for host in (one, two):
            for link in host.links.open_links():
                link.on_frame = lambda _link, head, _body: heard.append(head)
        for number in range(10):
            (await one.links.connect(two.path)).send(b"%d" % number)
        await asyncio.sleep(0.05)
        assert heard == [b"%d" % number for number in range(10)]


@in_loop
async def test_a_peer_that_failed_rests_longer_each_time_and_is_refused_at_once() -> None:
    now = [0.0]
    peer = make_node("pi-2").path
    asked = 0

    def where(_: Path) -> list[str]:
        nonlocal asked
        asked += 1
        return ["127.0.0.1:1"]

    async with hosts("pi-1", clock=lambda: now[0]) as (one,):
        one.links.sources[:] = [where]
        rests: list[float] = []
        for attempt in range(1, 9):
            with pytest.raises(Fault, match="nothing listens"):
                await one.links.connect(peer)
            assert asked == attempt
            with pytest.raises(Fault, match="nothing listens"):
                await one.links.connect(peer)
            assert asked == attempt
            rests.append(one.links._resting[peer].until - now[0])
            now[0] += rests[-1]
        assert all(0.05 * 2**n <= rest <= 0.1 * 2**n for n, rest in enumerate(rests[:6]))
        assert rests[-1] <= BACKOFF_MAX_S
        refused = one.links.why_not(peer)
        assert refused is not None
        assert refused.path == peer
        one.links.refresh(peer)
        now[0] -= 1
        with pytest.raises(Fault):
            await one.links.connect(peer)
        assert asked == 9


@in_loop
async def test_without_an_address_the_fault_says_what_to_do() -> None:
    async with hosts("pi-1") as (one,):
        with pytest.raises(Fault, match="no network address is known") as caught:
            await one.links.connect(make_node("pi-9").path)
        assert caught.value.kind is Kind.UNREACHABLE
        assert "--addr" in caught.value.next_step


@in_loop
async def test_a_dead_address_before_the_good_one_costs_a_quarter_second_at_most() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        left = asyncio.Event()

        async def ignore(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()
            left.set()

        silent = await asyncio.start_server(ignore, "127.0.0.1", 0)
        dead = f"127.0.0.1:{silent.sockets[0].getsockname()[1]}"
        one.links.sources[:] = [lambda _: [dead, "127.0.0.1:1"], lambda _: [two.address]]
        loop = asyncio.get_running_loop()
        before = loop.time()
        await one.links.connect(two.path)
        assert loop.time() - before < 1
        await left.wait()
        silent.close()


@in_loop
async def test_a_refusal_is_told_rather_than_a_silence() -> None:
    async with hosts("pi-1", "pi-2", "pi-3") as (one, two, three):
        one.links.sources[:] = [lambda _: [three.address, "127.0.0.1:1"]]
        with pytest.raises(Fault, match=r"this is .*/pi-3") as caught:
            await one.links.connect(two.path)
        assert caught.value.kind is Kind.UNREACHABLE


@in_loop
async def test_a_process_that_comes_back_is_linked_again() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        first = await one.links.connect(two.path)
        closed: list[Link] = []
        one.links.on_close = lambda link, _: closed.append(link)
        await two.links.close()
        await two.listener.close()
        await until(lambda: bool(closed))
        assert closed == [first]
        with pytest.raises(Fault):
            await one.links.connect(two.path)
        side = make_side("pi-2")
        links = Links(side, dice=random.random)
        listener = await listen(side, links.adopt, "127.0.0.1", two.listener.port)
        one.links.refresh(two.path)
        again = await one.links.connect(two.path)
        assert again.instance != first.instance
        await links.close()
        await listener.close()


@in_loop
async def test_when_belonging_is_withdrawn_the_link_ends_with_the_reason() -> None:
    members = {make_node("pi-1").path, make_node("pi-2").path}

    def admit(identity: Identity) -> None:
        if identity.path not in members:
            raise Fault(Kind.DENIED, "it was removed from the tree", path=identity.path)

    async with hosts("pi-1", "pi-2") as (one, two):
        strict = Side(make_node("pi-3"), admit, now=one.side.now)
        three = Links(strict, sources=one.links.sources, dice=random.random)
        first, second = await three.connect(one.path), await three.connect(two.path)
        members.remove(two.path)
        three.recheck()
        assert first.closed is None
        assert second.closed is not None
        assert second.closed.kind is Kind.DENIED
        await until(lambda: not two.links.open_links())
        with pytest.raises(Fault, match="removed from the tree"):
            await three.connect(two.path)
        await three.close()


@in_loop
async def test_an_answer_reaches_the_very_process_that_asked() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        twins = [Links(make_side("pi-2"), dice=random.random) for _ in range(2)]
        for twin in twins:
            await twin.reach(one.address)
            await twin.reach(one.address, Lane.BULK)
        await until(lambda: len(one.links.open_links()) == 4)
        for link in one.links.open_links():
            for lane in Lane:
                other = one.links.beside(link, lane)
                assert (other.instance, other.lane) == (link.instance, lane)
        for twin in twins:
            await twin.close()
        assert two.path == twins[0].side.credential.path


@in_loop
async def test_links_are_bounded_and_a_refused_one_takes_no_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "LINKS_PER_PATH_MAX", 2)
    async with hosts("pi-1", "pi-2") as (one, two):
        open_links = [await one.links.reach(two.address) for _ in range(2)]
        for _ in range(8):
            with pytest.raises(Fault, match="too many links from one path") as caught:
                await one.links.reach(two.address)
            assert caught.value.kind is Kind.BUSY
        await until(lambda: not two.listener._openings)
        open_links[0].close()
        await until(lambda: len(two.links.open_links()) == 1)
        await one.links.reach(two.address)
        monkeypatch.setattr(pool, "LINKS_MAX", 0)
        with pytest.raises(Fault, match="too many links"):
            await one.links.reach(two.address)


@in_loop
async def test_a_machine_that_is_back_goes_before_its_former_life() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        before = await one.links.connect(two.path)
        reborn = Links(make_side("pi-2"), dice=random.random)
        await reborn.reach(one.address)
        await until(lambda: len(one.links.open_links()) == 2)
        after = one.links.find(two.path)
        assert after is not None
        assert after.instance == reborn.side.instance != before.instance
        await reborn.close()
        await until(lambda: one.links.find(two.path) is before)


@in_loop
async def test_a_process_does_not_link_to_itself() -> None:
    async with hosts("pi-1") as (one,):
        with pytest.raises(Fault, match="our own") as caught:
            await one.links.connect(one.path)
        assert caught.value.kind is Kind.USAGE


@in_loop
async def test_a_pool_that_is_closed_makes_no_more_links() -> None:
    async with hosts("pi-1", "pi-2") as (one, two):
        relay = Relay(two.address)
        one.links.sources[:] = [lambda _: [relay.address]]
        await relay.start()
        relay.freeze()
        waiting = asyncio.create_task(one.links.connect(two.path))
        await asyncio.sleep(0.01)
        await one.links.close()
        with pytest.raises((Fault, asyncio.CancelledError)):
            await waiting
        with pytest.raises(Fault, match="shutting down"):
            await one.links.connect(two.path)
        await relay.close()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("pi-1.local", "pi-1.local", 7401),
        ("10.0.0.1:80", "10.0.0.1", 80),
        ("[fe80::1%eth0]:7", "fe80::1%eth0", 7),
        ("[::1]", "::1", 7401),
        ("fe80::1", "fe80::1", 7401),
    ],
)
def test_endpoints_are_read_as_people_write_them(text: str, host: str, port: int) -> None:
    assert split_endpoint(text) == (host, port)
    assert split_endpoint(join_endpoint(host, port)) == (host, port)


@pytest.mark.parametrize("text", ["", ":1", "a:", "a:0", "a:65536", "a:x", "a b", "[::1", "a:1:2x"])
def test_what_is_no_endpoint_is_refused(text: str) -> None:
    with pytest.raises(Fault, match="not a network address"):
        split_endpoint(text)
