"""How messages of actors travel on a link, and the state kept for one link.

The head of a frame is a kind, a call number, a route (who to whom) and the message; the body is
the message's body. Routes repeat, so they are read once for each link and remembered. `SPEC.md`
states the bytes.
"""

import asyncio
import logging
import struct
from dataclasses import dataclass
from enum import IntEnum, unique

from blocktree.actors.actor import Call
from blocktree.actors.mailbox import Mailbox
from blocktree.fault import Fault, Kind
from blocktree.link import Failure, Link
from blocktree.names import Address, Path, parse_name, parse_path
from blocktree.wire import Body, Record, body_of, decode, decode_any, encode, record, with_body
from blocktree.wire.cbor import array_head

log = logging.getLogger(__name__)

ROUTES_MAX = 1024  # remembered for one link
ROUTE_BYTES_MAX = 1024
BACKLOG_MAX = 16 << 20  # bytes waiting on a link, above which further asks on it are refused
_HEAD = struct.Struct("!BIH")


@unique
class Form(IntEnum):
    """What a frame is."""

    TELL = 0
    ASK = 1
    ANSWER = 2
    REFUSAL = 3
    TELLS = 4  # several, of one route


@record(0x0802)
@dataclass(frozen=True, slots=True)
class Route(Record):
    """From one actor to another; the processes are those at the ends of the link."""

    to: str
    sender: str


@record(0x0B30)
@dataclass(frozen=True, slots=True)
class PathRoute(Record):
    """From an actor to whichever answers at a path of the tree."""

    path: str
    epoch: int  # of who answered there, as the sender knows; 0: one of several
    sender: str


@dataclass(frozen=True, slots=True)
class Way:
    """A route as it was read: to which actor, what the message is shown, to which epoch."""

    to: str
    call: Call
    epoch: int


def encode_route(to: str, sender: str, path: str = "", epoch: int = 0) -> bytes:
    """A route, ready for many messages: to an actor, or with `path` to what answers there."""
    return encode(PathRoute(path, epoch, sender) if path else Route(to, sender))


def encode_head(form: Form, number: int, route: bytes) -> bytes:
    """What goes before the encoded message in the head of a frame."""
    return _HEAD.pack(form, number, len(route)) + route


class Tells:
    """A route with the frames of what is told on it: a `link.Bundle`."""

    __slots__ = ("route",)

    def __init__(self, route: bytes) -> None:
        self.route = route

    def head(self, items: list[bytes]) -> bytes:
        """The head of one frame with these encoded messages."""
        if len(items) == 1:
            return encode_head(Form.TELL, 0, self.route) + items[0]
        return b"".join((encode_head(Form.TELLS, 0, self.route), array_head(len(items)), *items))


def encode_message(form: Form, number: int, route: bytes, message: Record) -> bytes:
    """The head of a frame."""
    return encode_head(form, number, route) + encode(message)


def split_head(head: bytes) -> tuple[int, int, bytes, bytes]:
    """Form, call number, route and encoded message of a frame.

    Raises:
        Fault: MALFORMED if it is too short.
    """
    try:
        form, number, size = _HEAD.unpack_from(head)
    except struct.error:
        raise Fault(Kind.MALFORMED, "a frame too short for a message") from None
    middle = _HEAD.size + size
    if size > ROUTE_BYTES_MAX or middle > len(head):
        raise Fault(Kind.MALFORMED, "a frame too short for its route")
    return form, number, head[_HEAD.size : middle], head[middle:]


def read_message(data: bytes, body: Body) -> Record:
    """The message of a frame with its body.

    Raises:
        Fault: MALFORMED.
    """
    message = decode_any(data)
    return with_body(message, body) if len(body) else message


class Wire:
    """What the runtime keeps for one link: routes read, and asks that wait for an answer."""

    __slots__ = ("_number", "_routes", "link", "waiting")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.waiting: dict[int, asyncio.Future[Record]] = {}
        self._routes: dict[bytes, Way] = {}
        self._number = 0

    def number(self) -> int:
        """A call number that no waiting ask has."""
        self._number = self._number % 0xFFFFFFFF + 1
        while self._number in self.waiting:
            self._number = self._number % 0xFFFFFFFF + 1
        return self._number

    def route(self, data: bytes) -> Way:
        """To which actor, and the `Call` it is shown.

        Raises:
            Fault: MALFORMED.
        """
        known = self._routes.get(data)
        if known is None:
            known = _read_way(data, self.link)
            if len(self._routes) >= ROUTES_MAX:
                self._routes.clear()
            self._routes[data] = known
        return known

    def lost(self, fault: Fault) -> None:
        """The link is gone: nobody will answer."""
        waiting, self.waiting = self.waiting, {}
        for answer in waiting.values():
            if not answer.done():
                answer.set_exception(
                    Fault(Kind.UNREACHABLE, fault.what, path=fault.path, next_step=fault.next_step)
                )


def _read_way(data: bytes, link: Link) -> Way:
    route = decode(data, Record)
    if not isinstance(route, Route | PathRoute):
        raise Fault(Kind.MALFORMED, f"a {type(route).__name__} is no route")
    sender = Address(link.peer.path, route.sender and parse_name(route.sender))
    if isinstance(route, Route):
        return Way(route.to, Call(sender, link.peer, link), 0)
    return Way("", Call(sender, link.peer, link, _canonical(route.path)), route.epoch)


def _canonical(path: str) -> Path:
    try:
        if parse_path(path) == path:
            return Path(path)
    except Fault as fault:
        raise Fault(Kind.MALFORMED, f"a route to no path: {fault.what}") from None
    raise Fault(Kind.MALFORMED, "a route to a path that is not in canonical form")


class Receipt:
    """The outcome of a told message that came on a link: it frees the link's inbound budget."""

    __slots__ = ("_link", "_size")

    def __init__(self, link: Link, size: int) -> None:
        self._link = link
        self._size = size

    def done(self) -> bool:
        """Whether the outcome was given."""
        return self._size < 0

    def set_result(self, _result: Record, /) -> None:
        """The message was worked off."""
        self._settle()

    def set_exception(self, exception: Fault, /) -> None:
        """The message was refused; who told it does not hear of it."""
        log.debug("a message on %r was refused: %s", self._link, exception)
        self._settle()

    def _settle(self) -> None:
        assert self._size >= 0, "two outcomes"
        self._link.release(self._size)
        self._size = -1


class _Unheard:
    """The outcome of a told message that was worked off as it came."""

    def done(self) -> bool:
        return False

    def set_result(self, _result: Record, /) -> None:
        pass

    def set_exception(self, exception: Fault, /) -> None:
        log.debug("a message was refused: %s", exception)


UNHEARD = _Unheard()


class RemoteAnswer(Receipt):
    """The outcome of an ask that came on a link; it is sent back on the same link."""

    __slots__ = ("_number", "mailbox")

    def __init__(self, link: Link, size: int, number: int) -> None:
        super().__init__(link, size)
        self._number = number
        self.mailbox: Mailbox | None = None  # that counts it until it is answered

    def set_result(self, result: Record, /) -> None:
        """Send the answer."""
        self._leave()
        self._send(Form.ANSWER, result)

    def set_exception(self, exception: Fault, /) -> None:
        """Send the refusal."""
        self._leave()
        self._send(Form.REFUSAL, Failure.of(exception))

    def _leave(self) -> None:
        self._settle()
        if self.mailbox is not None:
            self.mailbox.asked -= 1

    def _send(self, form: Form, outcome: Record) -> None:
        link = self._link
        if link.closed is not None:
            return
        try:
            link.send(encode_message(form, self._number, b"", outcome), body_of(outcome))
        except Fault as fault:
            if fault.kind is Kind.TOO_LARGE:
                self._send(Form.REFUSAL, Failure.of(fault))
            else:  # a peer that does not read its answers is cut off
                link.close(fault)
