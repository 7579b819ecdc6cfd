"""Actors that play roles: what comes in order is taken, what does not stops one conversation."""

import asyncio
import logging

import pytest

from blocktree.actors import Actor, Address, Call, Lane, Runtime, plays, receives
from blocktree.actors.conversations import OF_ONE_PROCESS_MAX
from blocktree.contract import Contract, Role, State, answers, asks, hears, lost, mirror, tells
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree.wire import Record
from contract.words import Close, Get, Got, Open, Opened, Piece, Put, Ready, Refused, Seal
from link.world import hosts, in_loop

HERE = Path("/bt1test/here")
JO, KIM = Address(HERE, "jo"), Address(HERE, "kim")

BOX = Contract(
    "box",
    1,
    Role(
        "box",
        State("shut", answers(Open, {Opened: "open", Refused: ""})),
        State(
            "open",
            hears(Put),
            answers(Get, Got, later=True),
            answers(Close, then="shut"),
            answers(Seal, then="sealed", refused="shut"),
        ),
        State("sealed", answers(Get, Got, then="over", refused="open")),
        State("over"),
    ),
    mirror("user"),
)


@plays(BOX.role("box"))
class Box(Actor):
    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.later: asyncio.Future[Got] | None = None

    @receives
    def open(self, message: Open, call: Call) -> Opened | Refused:
        return Opened() if message.who == "jo" else Refused()

    @receives
    async def put(self, message: Put, call: Call) -> None:
        if message.number < 0:
            raise ZeroDivisionError
        self.numbers.append(message.number)

    @receives
    def get(self, message: Get, call: Call) -> "asyncio.Future[Got]":
        self.later = asyncio.get_running_loop().create_future()
        return self.later

    @receives
    def close(self, message: Close, call: Call) -> None:
        pass

    @receives
    async def seal(self, message: Seal, call: Call) -> None:
        if message.number < 0:
            raise Fault(Kind.USAGE, "no")


async def refused(runtime: Runtime, to: Address, message: Record, sender: Address = JO) -> Fault:
    with pytest.raises(Fault) as raised:
        await runtime.ask(to, message, sender=sender)
    return raised.value


def test_each_partner_has_a_conversation_of_its_own() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        box = await runtime.spawn("box", Box())
        await runtime.ask(box, Open(), Opened, sender=JO)
        fault = await refused(runtime, box, Put(1), KIM)
        assert fault.kind is Kind.CONTRACT
        assert fault.what == "Put may not come in state shut, which expects Open"
        await runtime.ask(box, Put(2), sender=JO)
        await runtime.ask(box, Close(), sender=JO)
        await runtime.ask(box, Open(), Opened, sender=JO)
        await runtime.close()

    asyncio.run(play())


def test_what_breaks_the_contract_stops_that_conversation_and_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        actor = Box()
        box = await runtime.spawn("box", actor)
        for who in (JO, KIM):
            await runtime.ask(box, Open(), Opened, sender=who)
        await refused(runtime, box, Open(), KIM)
        fault = await refused(runtime, box, Put(1), KIM)  # which would have been in order
        assert "stopped: Open may not come in state open" in fault.what
        await runtime.tell(box, Put(2), sender=KIM)
        await runtime.ask(box, Put(3), sender=JO)
        assert actor.numbers == [3]
        await runtime.close()

    with caplog.at_level(logging.WARNING):
        asyncio.run(play())
    said = [record for record in caplog.records if "broke the contract" in record.message]
    assert len(said) == 1, "once for a conversation"
    assert f"{KIM} broke the contract of {HERE}#box" in said[0].message


def test_the_answer_decides_what_follows() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        box = await runtime.spawn("box", Box())
        await runtime.ask(box, Open("kim"), Refused, sender=KIM)
        await runtime.ask(box, Open("jo"), Opened, sender=KIM)  # still shut, so this is in order
        await runtime.ask(box, Put(1), sender=KIM)
        await runtime.close()

    asyncio.run(play())


def test_a_refusal_changes_nothing_unless_the_contract_says_what() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        box = await runtime.spawn("box", Box())
        await runtime.ask(box, Open(), sender=JO)
        assert (await refused(runtime, box, Seal(-1))).kind is Kind.USAGE
        await runtime.ask(box, Open(), sender=JO)  # shut again
        await runtime.ask(box, Seal(1), sender=JO)
        assert "in state sealed" in (await refused(runtime, box, Put(1))).what
        await runtime.close()

    asyncio.run(play())


def test_while_an_answer_is_awaited_that_decides_nothing_may_come() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        actor = Box()
        box = await runtime.spawn("box", actor)
        await runtime.ask(box, Open(), sender=JO)
        await runtime.ask(box, Seal(1), sender=JO)
        asked = asyncio.ensure_future(runtime.ask(box, Get(), Got, sender=JO))
        await runtime.ask(box, Open("kim"), sender=KIM)  # so the question has arrived
        assert actor.later is not None
        actor.later.set_result(Got(7))
        assert await asked == Got(7)
        await runtime.ask(box, Open(), Opened, sender=JO)  # it was over: this begins another
        await runtime.close()

    asyncio.run(play())


def test_answers_that_come_later_do_not_hold_up_a_conversation_that_stays() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        actor = Box()
        box = await runtime.spawn("box", actor)
        await runtime.ask(box, Open(), sender=JO)
        asked = asyncio.ensure_future(runtime.ask(box, Get(), Got, sender=JO))
        await runtime.ask(box, Put(1), sender=JO)
        assert actor.later is not None
        actor.later.set_result(Got(1))
        assert await asked == Got(1)
        await runtime.close()

    asyncio.run(play())


def test_a_restarted_actor_blames_nobody_for_going_on(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        box = await runtime.spawn("box", Box)
        await runtime.ask(box, Open(), sender=JO)
        await refused(runtime, box, Put(-1))  # crash
        fault = await refused(runtime, box, Put(1))
        assert fault.what == "it has forgotten this conversation: begin it anew"
        await runtime.ask(box, Open(), sender=JO)
        await runtime.ask(box, Put(1), sender=JO)
        await runtime.close()

    asyncio.run(play())
    assert not [r for r in caplog.records if "broke the contract" in r.message]


DOOR = Contract(
    "door",
    1,
    Role(
        "door",
        State("new", tells(Ready, then="ready")),
        State("ready", hears(Put, then="busy"), lost(then="again")),
        State("busy", asks(Get, Got, then="ready"), lost(then="again")),
        State("again", tells(Ready, then="ready")),
    ),
    mirror("guest"),
)


@plays(DOOR.role("door"))
class Door(Actor):
    @receives
    def put(self, message: Put, call: Call) -> None:
        pass


class Guest(Actor):
    @receives
    def ready(self, message: Ready, call: Call) -> None:
        pass

    @receives
    def get(self, message: Get, call: Call) -> Got:
        return Got(1)


def test_what_an_actor_says_moves_its_conversation_and_must_be_allowed() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        door = await runtime.spawn("door", Door())
        guest = await runtime.spawn("guest", Guest())
        with pytest.raises(Fault, match="Get may not be said in state new"):
            await runtime.ask(guest, Get(), sender=door)
        await runtime.tell(guest, Ready(), sender=door)
        await runtime.ask(door, Put(1), sender=guest)
        assert await runtime.ask(guest, Get(), Got, sender=door) == Got(1)
        await runtime.ask(door, Put(1), sender=guest)
        with pytest.raises(Fault, match="Ready may not be said in state busy"):
            await runtime.tell(guest, Ready(), sender=door)
        await runtime.close()

    asyncio.run(play())


def test_when_the_partner_is_gone_the_contract_says_where_it_goes_on() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        door = await runtime.spawn("door", Door())
        guest = await runtime.spawn("guest", Guest())
        await runtime.tell(guest, Ready(), sender=door)
        await runtime.ask(door, Put(1), sender=guest)  # busy
        await runtime.stop("guest")
        guest = await runtime.spawn("guest", Guest())
        with pytest.raises(Fault, match="Get may not be said in state again"):
            await runtime.ask(guest, Get(), sender=door)
        await runtime.tell(guest, Ready(), sender=door)
        await runtime.ask(door, Put(1), sender=guest)
        await runtime.close()

    asyncio.run(play())


def test_a_class_that_does_not_fit_its_role_is_not_spawned() -> None:
    @plays(DOOR.role("door"))
    class Wrong(Actor):
        @receives
        def get(self, message: Get, call: Call) -> None:
            pass

    async def play() -> None:
        runtime = Runtime(HERE)
        with pytest.raises(Fault, match=r"Wrong has no method for Put.*and 1 more") as raised:
            await runtime.spawn("door", Wrong())
        assert raised.value.kind is Kind.CONTRACT
        assert raised.value.path.startswith(f"{__file__}:")
        await runtime.close()

    asyncio.run(play())


@plays(DOOR.role("door"))
class BusyDoor(Actor):
    """Asks back while it takes a message, and refuses what it does not like."""

    @receives
    async def put(self, message: Put, call: Call) -> None:
        if message.number < 0:
            raise Fault(Kind.USAGE, "no")
        await self.runtime.ask(call.sender, Get(), Got, sender=self.address)


def test_what_a_method_says_comes_after_the_message_that_it_takes() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        door = await runtime.spawn("door", BusyDoor())
        guest = await runtime.spawn("guest", Guest())
        await runtime.tell(guest, Ready(), sender=door)
        for number in range(3):  # ready, busy, and ready again, all within one method
            await runtime.ask(door, Put(number), sender=guest)
        assert (await refused(runtime, door, Put(-1), guest)).kind is Kind.USAGE
        await runtime.ask(door, Put(1), sender=guest)  # it was refused, so nothing had changed
        await runtime.close()

    asyncio.run(play())


@in_loop
async def test_when_the_last_link_to_a_process_is_lost_its_conversations_begin_anew() -> None:
    async with hosts("pi-1", "pi-2") as (one, other):
        here, there = Runtime(one.path, one.links), Runtime(other.path, other.links)
        box = await there.spawn("box", Box())
        jo = Address(here.here, "jo")
        await here.ask(box, Open(), Opened, sender=jo)
        await refused(here, box, Open(), jo)
        assert "stopped" in (await refused(here, box, Put(1), jo)).what
        link = one.links.find(there.here, Lane.CONTROL)
        assert link is not None
        link.close(Fault(Kind.UNREACHABLE, "pulled out"))
        await here.ask(box, Open(), Opened, sender=jo)
        await here.ask(box, Put(1), sender=jo)
        await here.close()
        await there.close()


@in_loop
async def test_one_process_cannot_take_all_conversations() -> None:
    async with hosts("pi-1", "pi-2") as (one, other):
        here, there = Runtime(one.path, one.links), Runtime(other.path, other.links)
        box = await there.spawn("box", Box())
        for number in range(OF_ONE_PROCESS_MAX):
            await here.ask(box, Open(), sender=Address(here.here, f"a{number}"))
        fault = await refused(here, box, Open(), Address(here.here, "one-more"))
        assert fault.kind is Kind.BUSY
        await there.ask(box, Open(), Opened, sender=Address(there.here, "neighbour"))
        await here.ask(box, Put(1), sender=Address(here.here, "a0"))
        await here.close()
        await there.close()


LAMP = Contract(
    "lamp",
    1,
    Role("lamp", State("off", hears(Ready, then="on")), State("on", hears(Piece, then="off"))),
    mirror("hand"),
)


@plays(BOX.role("box"), LAMP.role("lamp"))
class LitBox(Box):
    @receives
    def ready(self, message: Ready, call: Call) -> None:
        pass

    @receives
    def piece(self, message: Piece, call: Call) -> None:
        pass


def test_an_actor_plays_two_roles_side_by_side() -> None:
    async def play() -> None:
        runtime = Runtime(HERE)
        box = await runtime.spawn("box", LitBox())
        await runtime.ask(box, Ready(), sender=JO)
        await runtime.ask(box, Open(), Opened, sender=JO)
        await runtime.ask(box, Piece(), sender=JO)
        await runtime.ask(box, Put(1), sender=JO)  # the lamp does not move the box
        fault = await refused(runtime, box, Piece(), JO)
        assert fault.what == "Piece may not come in state off|open, which expects " + " or ".join(
            ("Close", "Get", "Put", "Ready", "Seal")
        )
        await runtime.close()

    asyncio.run(play())
