"""The actors of one process, and messages to those of others.

Promises: messages from one actor to another arrive in the order they were told, at most once, and
not at all if a link or process breaks. Only an answer proves that an ask was worked off; a fault
UNREACHABLE leaves it open. Every wait ends: by an answer, a fault or a timeout.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar, cast, overload

from blocktree.actors.actor import Actor, Call
from blocktree.actors.blames import Ledger
from blocktree.actors.cell import Cell
from blocktree.actors.conversations import Talk, process_of
from blocktree.actors.deadlines import Deadlines
from blocktree.actors.delivery import Delivery, RawAnswer, drained, lane_of
from blocktree.actors.household import Household
from blocktree.actors.mailbox import Answer, Mailbox
from blocktree.actors.places import Hosted, Places, Resolver, always
from blocktree.actors.seeking import Seeker, expected
from blocktree.actors.supervision import FOREVER, Restarts
from blocktree.actors.timers import Timers
from blocktree.fault import Fault, Kind
from blocktree.link import Lane, Link, Links
from blocktree.names import Address, Path, parse_name
from blocktree.wire import Opaque, Record, decode, encode

log = logging.getLogger(__name__)

CAPACITY = 1024  # messages in a mailbox
TELL_TIMEOUT_S = 30.0
ASK_TIMEOUT_S = 10.0
CALLS_MAX = 4096  # remembered
_R = TypeVar("_R", bound=Record)


class Runtime:
    """Runs actors. `here` is the path of this process; without `links` it is alone."""

    def __init__(self, here: Path, links: Links | None = None) -> None:
        self.here = here
        self.links = links
        self._loop = asyncio.get_running_loop()
        self.deadlines = Deadlines()
        self._cells: dict[str, Cell] = {}
        self._calls: dict[str, Call] = {}  # of actors of this process
        self.places = Places()
        self.ledger = Ledger(links.side if links is not None else None)
        self.resolver: Resolver | None = None  # set by who wires the process
        self.household = Household(self)
        self._seeker = Seeker(self)
        self._delivery = (
            None if links is None else Delivery(links, self._cell, self.places, self._gone)
        )
        if self._delivery is not None:
            self._delivery.on_lost = self.household.watches.lost
        # Calls what must not raise when all that came together is delivered, or in the next turn.
        self.soon = self._delivery.soon if self._delivery else self._loop.call_soon

    # ---- actors

    async def spawn(
        self,
        name: str,
        actor: Actor | Callable[[], Actor],
        *,
        capacity: int = CAPACITY,
        restarts: Restarts = FOREVER,
        parent: Address | None = None,
    ) -> Address:
        """Start an actor; when this returns, `started` has run and messages are taken.

        Args:
            name: unique in this process.
            actor: an instance goes on with the state it has after a crash; a class or another
                callable makes a fresh one then.
            capacity: messages that its mailbox holds.
            restarts: how many crashes are borne.
            parent: an actor of this process that it belongs to: it is stopped with its parent, and
                before its parent starts again; when it is given up, its parent crashes.

        Raises:
            Fault: EXISTS if the name is taken; whatever `started` raises.
        """
        parse_name(name)
        if name in self._cells:
            raise Fault(Kind.EXISTS, "an actor of that name runs here", path=f"{self.here}#{name}")
        make = None if isinstance(actor, Actor) else actor
        first = actor if isinstance(actor, Actor) else actor()
        first.runtime, first.address = self, Address(self.here, name)
        cell = Cell(first, make, Mailbox(capacity), self.household, restarts)
        self._cells[name] = cell  # messages queue up while it starts
        if parent is not None:
            self._cell(parent.actor)
            self.household.family.born(name, parent.actor)
        try:
            await first.started()
        except BaseException:
            del self._cells[name]
            self.household.family.died(name)
            await cell.stop()
            raise
        cell.start()
        return first.address

    async def stop(self, name: str, why: str = "it was stopped") -> None:
        """Stop an actor and its children; who waits for them gets STOPPED, who watches `Down`.

        Unknown names are nothing to do.
        """
        await self.household.before_restart(name)
        cell = self._cells.pop(name, None)
        if cell is not None:
            self.household.family.died(name)
            await cell.stop()
            for other in self._cells.values():
                other.lost(actor=Address(self.here, name))
            self.household.watches.gone(cell.actor.address, why)

    def timers(self, of: Address) -> Timers:
        """The timers of an actor of this process."""
        return self._cell(of.actor).timers

    async def watch(
        self, watcher: Address, target: Address, timeout: float = ASK_TIMEOUT_S
    ) -> None:
        """Have `Down` told to an actor of this process when another goes, here or elsewhere.

        If it is gone already, or cannot be reached, `Down` comes at once.
        """
        await self.household.watch(watcher, target, timeout)

    async def close(self) -> None:
        """Stop every actor, the youngest first."""
        await self.household.close()
        for name in reversed(list(self._cells)):
            await self.stop(name)
        await self.places.close()
        if self._delivery is not None:
            await self._delivery.close()

    def host(
        self, path: Path, name: str, *, epoch: int = 0, holds: Callable[[], bool] = always
    ) -> None:
        """Let an actor of this process answer at a path of the tree, too.

        Whoever sends there must have the right (`places.judge`). Registering the path with the
        sector service, so that others find it, is another matter (`services.Registrar`).

        Args:
            path: where it answers.
            name: of the actor.
            epoch: of a sole holder; messages for another epoch are refused with MOVED.
            holds: whether this process may still act there, asked at each message.
        """
        self.places.host(path, Hosted(name, epoch, holds))

    def unhost(self, path: Path) -> None:
        """Answer at a path no more."""
        self.places.unhost(path)

    def names(self) -> tuple[str, ...]:
        """The actors that run here."""
        return tuple(self._cells)

    # ---- messages

    async def tell(
        self,
        to: Address | Path,
        message: Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = TELL_TIMEOUT_S,
    ) -> None:
        """Send a message. Waits while the mailbox, or the link to it, is full.

        Args:
            to: the actor, or a path at which one answers, wherever it runs.
            message: a record; within this process the object itself is handed over.
            sender: the actor that sends, if one does.
            via: `call.link` of a message, to reach that very process.
            lane: BULK or CONTROL; by default BULK for classes that carry a body.
            timeout: seconds to wait for room or for a link.

        Raises:
            Fault: UNREACHABLE (also: no such actor runs there), BUSY, TOO_LARGE.
        """
        if isinstance(to, str):
            await self._seeker.tell(to, message, sender, lane, timeout)
            return
        if via is None and to.process == self.here:
            mailbox = self._cell(to.actor).mailbox
            if mailbox.full:
                await mailbox.room(timeout)
            self.says(sender, message, to)
            mailbox.put((message, self.call_of(sender), None))
            return
        delivery = self.outward()
        which = lane_of(message) if lane is None else lane
        link = delivery.ready(to.process, which, via)
        if link is None:
            link = await delivery.link(to.process, which, via, timeout)
            if link.congested:
                await drained(link, timeout)
        self.says(sender, message, to, link)
        delivery.tell(link, to, sender, message)

    def post(
        self,
        to: Address,
        message: Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
    ) -> bool:
        """Tell without waiting: False if it would have to wait, and the message is dropped.

        Where there is no link yet, one is begun, so that a later message finds it. For what is
        sent again anyway, such as heartbeats.
        """
        try:
            if via is None and to.process == self.here:
                mailbox = self._cell(to.actor).mailbox
                if mailbox.full:
                    return False
                self.says(sender, message, to)
                mailbox.put((message, self.call_of(sender), None))
                return True
            delivery = self.outward()
            link = delivery.open_link(to.process, lane_of(message) if lane is None else lane, via)
            if link is None or link.congested:
                return False
            self.says(sender, message, to, link)
            delivery.tell(link, to, sender, message)
        except Fault as fault:
            log.debug("not posted to %s: %s", to, fault)
            return False
        return True

    @overload
    async def ask(
        self,
        to: Address | Path,
        message: Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = ASK_TIMEOUT_S,
    ) -> Record: ...

    @overload
    async def ask(
        self,
        to: Address | Path,
        message: Record,
        expect: type[_R],
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = ASK_TIMEOUT_S,
    ) -> _R: ...

    async def ask(
        self,
        to: Address | Path,
        message: Record,
        expect: type[Record] = Record,
        *,
        sender: Address | None = None,
        via: Link | None = None,
        lane: Lane | None = None,
        timeout: float = ASK_TIMEOUT_S,
    ) -> Record:
        """Send a message and wait for the answer, which comes back on the same link.

        Raises:
            Fault: what the actor raised; FAILED (it crashed), UNREACHABLE (no link,
                no such actor, or no answer in `timeout` seconds: the outcome is unknown),
                BUSY, STOPPED, CONTRACT (it does not take this message, or answered with another
                class than `expect`).
        """
        if isinstance(to, str):
            raw = expect is Opaque
            found = await self._seeker.ask(to, message, sender, lane, timeout, raw=raw)
            return expected(found, expect, to)
        answer = RawAnswer(loop=self._loop) if expect is Opaque else self._loop.create_future()
        waiting = self.deadlines.put(answer, to, timeout)
        talk: Talk | None = None
        try:
            if via is None and to.process == self.here:
                mailbox = self._cell(to.actor).mailbox
                if mailbox.full:
                    await mailbox.room(timeout)
                talk = self.asks(sender, message, to)
                mailbox.put((message, self.call_of(sender), cast("Answer", answer)))
                record = await answer
            else:
                delivery = self.outward()
                which = lane_of(message) if lane is None else lane
                link = await delivery.link(to.process, which, via, timeout)
                talk = self.asks(sender, message, to, link)
                record = await delivery.ask(link, to, sender, message, answer)
        except Fault as fault:
            if talk is not None:
                talk.unsent(message, fault)
            raise fault.at(str(to)) from None
        finally:
            del waiting[answer]
            if not answer.cancel() and not answer.cancelled():
                answer.exception()  # seen, also when the wait ended for another reason
        record = expected(record, expect, to)
        if talk is not None:
            talk.sent(message, record)
        return record

    # ---- inside

    def mailbox_at(self, path: Path, epoch: int) -> Mailbox:
        """The mailbox of what answers here at a path.

        Raises:
            Fault: MOVED if nothing does, under that epoch.
        """
        return self._cell(self.places.at(path, epoch)).mailbox

    def fitting(self, message: Record, actor: str) -> Record:
        """A message as an actor of this process takes it: bytes, if it passes them on."""
        cell = self._cell(actor)
        if cell.actor.raw:
            return message if isinstance(message, Opaque) else Opaque(encode(message))
        return decode(message.data, Record) if isinstance(message, Opaque) else message

    def find(self, actor: str) -> Cell | None:
        """What runs an actor of this process; None if it does not run."""
        return self._cells.get(actor)

    def _cell(self, actor: str) -> Cell:
        cell = self._cells.get(actor)
        if cell is None:
            what = "no such actor runs there"
            # Not NOT_FOUND: to whoever asked for a file that would say that the file is missing.
            raise Fault(Kind.UNREACHABLE, what, path=f"{self.here}#{actor}")
        return cell

    def asks(
        self, sender: Address | None, message: Record, to: Address, link: Link | None = None
    ) -> Talk | None:
        """The conversation of an actor here that this belongs to; None if no contract is about it.

        Raises:
            Fault: CONTRACT if the contract does not let it say this now.
        """
        cell = None if sender is None else self._cells.get(sender.actor)
        if cell is None:
            return None
        return cell.saying(message, to, link)

    def says(
        self, sender: Address | None, message: Record, to: Address, link: Link | None = None
    ) -> None:
        """The same for what needs no answer: the conversation goes on."""
        if sender is not None and (talk := self.asks(sender, message, to, link)) is not None:
            talk.sent(message)

    def _gone(self, link: Link) -> None:
        """The last link to a process is lost."""
        for cell in self._cells.values():
            cell.lost(process=process_of(link))
            cell.actor.gone(link.peer)

    def call_of(self, sender: Address | None, path: Path | None = None) -> Call:
        """What a method learns of a message that an actor of this process sent."""
        name = sender.actor if sender else ""
        if path is not None:
            return Call(Address(self.here, name), path=path)
        call = self._calls.get(name)
        if call is None:
            if len(self._calls) >= CALLS_MAX:
                self._calls.clear()
            call = self._calls[name] = Call(Address(self.here, name))
        return call

    def outward(self) -> Delivery:
        """The way to other processes. Raises `Fault` UNREACHABLE if this one is alone."""
        if self._delivery is None:
            raise Fault(Kind.UNREACHABLE, "this process has no links to others")
        return self._delivery
