"""Messages told in a row share frames, and keep their order and their bounds."""

import asyncio

from actors.cast import Add, Counter, Do, Slow, Total
from actors.test_remote import pair
from blocktree.actors.remote import Tells, encode_route
from blocktree.wire import encode
from link.world import in_loop, until


@in_loop
async def test_one_of_several_that_cannot_be_read_is_dropped_by_itself() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        link = await two.one.links.connect(two.two.path)
        tells = Tells(encode_route("counter", ""))
        link.send(tells.head([encode(Add(1)), b"\x81\x19\x7e\xee", encode(Add(2))]))
        link.send(tells.head([b"\x80", b"\xf6"]))
        assert (await two.here.ask(to, Add(3), Total)).total == 6
        assert link.closed is None


@in_loop
async def test_what_is_told_keeps_its_place_among_asks_posts_and_large_messages() -> None:
    async with pair() as two:
        counter = Counter()
        to = await two.there.spawn("counter", counter)
        await two.here.ask(to, Add(0))
        asks = []
        for number in range(1, 100):
            if number % 7 == 0:
                asks.append(asyncio.ensure_future(two.here.ask(to, Add(number))))
                await asyncio.sleep(0)
            elif number % 5 == 0:
                assert two.here.post(to, Add(number))
            else:
                await two.here.tell(to, Add(number))
        await asyncio.gather(*asks)
        await two.here.ask(to, Add(100))
        assert counter.seen == list(range(101))


@in_loop
async def test_of_several_told_an_actor_at_work_the_rest_waits_in_order() -> None:
    async with pair() as two:
        slow = Slow()
        to = await two.there.spawn("slow", slow)
        link = await two.one.links.connect(two.two.path)
        await two.here.ask(to, Do("nothing"))
        far = two.two.links.find(two.one.path)
        assert far is not None
        held = far._inbound  # by the frames of the opening
        await two.here.tell(to, Total(0))  # waits at the gate
        for number in range(50):
            await two.here.tell(to, Add(number))
        await until(lambda: bool(two.there._cell("slow").mailbox.queue))
        assert slow.seen == []
        slow.gate.set()
        await two.here.ask(to, Add(50))
        assert slow.seen == list(range(51))
        assert far._inbound == held  # all that was held is released
        assert link.closed is None
