"""Messages to and from the actors of other processes."""

import asyncio
import logging
from collections.abc import Callable

from blocktree.actors.cell import Cell
from blocktree.actors.conversations import process_of
from blocktree.actors.mailbox import Mailbox, refuse
from blocktree.actors.places import Places, Target
from blocktree.actors.remote import (
    BACKLOG_MAX,
    UNHEARD,
    Form,
    Receipt,
    RemoteAnswer,
    Tells,
    Way,
    Wire,
    encode_head,
    encode_message,
    encode_route,
    read_message,
    split_head,
)
from blocktree.fault import Fault, Kind
from blocktree.link import Failure, Lane, Link, Links
from blocktree.link.link import again
from blocktree.names import Address, Path
from blocktree.wire import Body, Opaque, Record, body_of, carries_body, decode, decode_each, encode

log = logging.getLogger(__name__)

WAITING_MAX = 65_536  # asks of one link that wait for answers
ROUTES_MAX = 4096
ITEM_MAX = 4096  # bytes of a told message that travels with others in one frame


class Delivery:
    """Sends over `links` and receives for the actors that `cell` finds by name.

    `cell` raises `Fault` UNREACHABLE for an actor that does not run here. `gone` is called when the
    last link to a process is lost that messages went over.
    """

    def __init__(
        self,
        links: Links,
        cell: Callable[[str], Cell],
        places: Places,
        gone: Callable[[Link], None],
    ) -> None:
        self.on_lost: Callable[[Link, str], None] = lambda _link, _why: None
        self._places = places
        self.wires: dict[Link, Wire] = {}
        self._links = links
        self._cell = cell
        self._gone = gone
        self._loop = asyncio.get_running_loop()
        self._routes: dict[tuple[str, str, str, int], Tells] = {}
        self._routed_to: Address | Target | None = None  # the last one of `_route`
        self._routed_from: Address | None = None
        self._routed = Tells(b"")
        self._connecting: dict[tuple[Path, Lane], asyncio.Task[None]] = {}
        self._delivering = False  # more frames that came together may follow
        self._after: list[Callable[[], None]] = []
        links.on_frame = self._received
        links.on_close = self._lost
        links.on_pause = self._paused

    async def close(self) -> None:
        """Stop making links."""
        tasks = list(self._connecting.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def soon(self, callback: Callable[[], None]) -> None:
        """Call it when all that came together is delivered, else in the next turn of the loop."""
        if self._delivering:
            self._after.append(callback)
        else:
            self._loop.call_soon(callback)

    # ---- out

    async def link(self, to: Path, lane: Lane, via: Link | None, timeout_s: float) -> Link:
        """An open link to the process `to`, or to the very process at the other end of `via`.

        Raises:
            Fault: UNREACHABLE and what else `Links.connect` raises.
        """
        if via is not None:
            link = self._links.beside(via, lane)
            if link.closed is not None:
                raise Fault(Kind.UNREACHABLE, link.closed.what, path=to)
            return link
        found = self._links.find(to, lane)
        if found is not None:
            return found
        try:
            async with asyncio.timeout(timeout_s):
                return await self._links.connect(to, lane)
        except TimeoutError:
            what = f"no link within {timeout_s:g} seconds"
            raise Fault(Kind.UNREACHABLE, what, path=to) from None

    def ready(self, to: Path, lane: Lane, via: Link | None) -> Link | None:
        """As `link`, if there is one that can be sent on now."""
        if via is not None:
            return None
        link = self._links.find(to, lane)
        return None if link is None or link.congested else link

    def open_link(self, to: Path, lane: Lane, via: Link | None) -> Link | None:
        """As `link` without waiting: None if there is none, and then one is begun."""
        if via is not None:
            link = self._links.beside(via, lane)
            return link if link.closed is None else None
        found = self._links.find(to, lane)
        key = (to, lane)
        if found is None and key not in self._connecting:
            self._connecting[key] = self._loop.create_task(self._connect(to, lane))
        return found

    def tell(
        self, link: Link, to: Address | Target, sender: Address | None, message: Record
    ) -> None:
        """Queue a message on a link.

        Raises:
            Fault: as `Link.send`.
        """
        body = body_of(message)
        encoded = encode(message)
        route = self._route(to, sender)
        if not len(body) and len(encoded) <= ITEM_MAX:
            link.gather(route, encoded)
        else:
            link.send(encode_head(Form.TELL, 0, route.route) + encoded, body)

    async def ask(
        self,
        link: Link,
        to: Address | Target,
        sender: Address | None,
        message: Record,
        answer: asyncio.Future[Record],
    ) -> Record:
        """Queue a message on a link and wait for the answer, or for what ends `answer` otherwise.

        Raises:
            Fault: as `Link.send`; BUSY; what the actor raised.
        """
        wire = self.wire(link)
        if len(wire.waiting) >= WAITING_MAX:
            raise Fault(Kind.BUSY, "too many asks wait for answers")
        number = wire.number()
        wire.waiting[number] = answer
        try:
            head = encode_message(Form.ASK, number, self._route(to, sender).route, message)
            link.send(head, body_of(message))
            return await answer
        finally:
            wire.waiting.pop(number, None)

    def wire(self, link: Link) -> Wire:
        """What is kept for a link."""
        wire = self.wires.get(link)
        if wire is None:
            wire = self.wires[link] = Wire(link)
        return wire

    async def _connect(self, to: Path, lane: Lane) -> None:
        try:
            await self._links.connect(to, lane)
        except Fault as fault:
            log.debug("no link: %s", fault)
        finally:
            del self._connecting[to, lane]

    def _route(self, to: Address | Target, sender: Address | None) -> Tells:
        if to is self._routed_to and sender is self._routed_from:  # many in a row are alike
            return self._routed
        name = sender.actor if sender else ""
        key = (to.actor, name, "", 0) if isinstance(to, Address) else ("", name, to.path, to.epoch)
        route = self._routes.get(key)
        if route is None:
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            route = self._routes[key] = Tells(encode_route(*key))
        self._routed_to, self._routed_from, self._routed = to, sender, route
        return route

    # ---- in

    def _received(self, link: Link, head: bytes, body: Body) -> None:
        """A frame came: for an actor, or for an ask that waits."""
        self._delivering = True
        form, number, route, data = split_head(head)
        size = len(head) + len(body)
        if form == Form.TELLS:
            self._told_several(link, route, data, size)
        elif form == Form.TELL:
            self._told(link, route, data, body, Receipt(link, size))
        elif form == Form.ASK:
            self._asked(link, route, data, body, RemoteAnswer(link, size, number))
        elif form == Form.ANSWER or form == Form.REFUSAL:
            link.release(size)
            waiting = self.wire(link).waiting.get(number)
            if waiting is not None and not waiting.done():  # else it came too late
                _settle(waiting, form, data, body)
        else:
            raise Fault(Kind.MALFORMED, f"no frame has the form {form}")

    def _paused(self) -> None:
        self._delivering = False
        after, self._after = self._after, []
        for callback in after:
            callback()

    def _told(self, link: Link, route: bytes, data: bytes, body: Body, answer: Receipt) -> None:
        try:
            way = self.wire(link).route(route)
            cell = self._cell(self._name(way))
            message = _read(cell, data, body)
            if way.call.path is None:
                cell.take(message, way.call, answer)
            else:
                self._admit(way, message, answer)
        except Fault as fault:
            refuse(answer, fault)

    def _told_several(self, link: Link, route: bytes, data: bytes, size: int) -> None:
        """Messages of one frame: each is worked off at once, or held for by itself."""
        try:
            way = self.wire(link).route(route)
            cell = self._cell(self._name(way))
            messages = decode_each(data, raw=cell.actor.raw)
            share = len(data) // max(1, len(messages))
            for message in messages:
                if isinstance(message, Fault):
                    UNHEARD.set_exception(message)
                elif way.call.path is not None:
                    link.hold(share)
                    self._admit(way, message, Receipt(link, share))
                elif not cell.take_now(message, way.call, UNHEARD):
                    link.hold(share)
                    cell.mailbox.put((message, way.call, Receipt(link, share)))
        except Fault as fault:
            UNHEARD.set_exception(fault)
        link.release(size)

    def _name(self, way: Way) -> str:
        path = way.call.path
        return way.to if path is None else self._places.at(path, way.epoch)

    def _asked(
        self, link: Link, route: bytes, data: bytes, body: Body, answer: RemoteAnswer
    ) -> None:
        try:
            way = self.wire(link).route(route)
            path = way.call.path
            cell = self._cell(self._name(way))
            _check_room(cell.mailbox, link)
            message = _read(cell, data, body)
            if path is not None:
                self._admit(way, message, answer, cell.mailbox)
                return
        except Fault as fault:
            refuse(answer, fault)
            return
        cell.mailbox.asked += 1
        answer.mailbox = cell.mailbox
        cell.take(message, way.call, answer)

    def _admit(
        self, way: Way, message: Record, answer: Receipt, asked: Mailbox | None = None
    ) -> None:
        """Give a message to what answers at its path, once its sender may send there."""
        path, peer = way.call.path, way.call.peer
        assert path is not None
        assert peer is not None, "what comes on a link has a peer"
        if asked is not None:
            asked.asked += 1
            assert isinstance(answer, RemoteAnswer)
            answer.mailbox = asked

        def deliver(fault: Fault | None) -> None:
            try:
                if fault is not None:
                    raise again(fault)
                self._cell(self._places.at(path, way.epoch)).take(message, way.call, answer)
            except Fault as refusal:
                refuse(answer, refusal)

        self._places.admit(path, peer, way.call.sender, deliver)

    def _lost(self, link: Link, fault: Fault) -> None:
        wire = self.wires.pop(link, None)
        self.on_lost(link, fault.what)
        if wire is None:
            return
        wire.lost(fault)
        if not any(process_of(other) == process_of(link) for other in self.wires):
            self._gone(link)


def lane_of(message: Record) -> Lane:
    """The lane for a message when nobody says: BULK for classes that carry a body."""
    return Lane.BULK if carries_body(message) else Lane.CONTROL


async def drained(link: Link, timeout_s: float) -> None:
    """Wait until the link has room.

    Raises:
        Fault: BUSY if it has none in time.
    """
    try:
        async with asyncio.timeout(timeout_s):
            await link.drain()
    except TimeoutError:
        raise Fault(Kind.BUSY, "the link is full", path=link.peer.path) from None


def _check_room(mailbox: Mailbox, link: Link) -> None:
    if mailbox.asked >= mailbox.capacity:
        raise Fault(Kind.BUSY, "too many ask it already")
    if link.congested and link.backlog > BACKLOG_MAX:
        raise Fault(Kind.BUSY, "too many answers wait to be read by who asks")


class RawAnswer(asyncio.Future[Record]):
    """Waits for an answer that is not to be read here: an `Opaque`."""


def _read(cell: Cell, data: bytes, body: Body) -> Record:
    """A message, read unless its actor takes it as it is."""
    if not cell.actor.raw:
        return read_message(data, body)
    if len(body):
        raise Fault(Kind.UNSUPPORTED, "it takes no messages with a body")
    return Opaque(bytes(data))


def _settle(waiting: asyncio.Future[Record], form: int, data: bytes, body: Body) -> None:
    try:
        if form == Form.ANSWER:
            raw = isinstance(waiting, RawAnswer)
            waiting.set_result(Opaque(bytes(data)) if raw else read_message(data, body))
        else:
            waiting.set_exception(decode(data, Failure).fault())
    except Fault as fault:
        waiting.set_exception(fault)
