"""Adopts one device over one link: handshake, new keys, its place in the tree, its certificate.

The device keeps what it was until the last step, so an interrupted pairing changes nothing.
"""

import asyncio
import contextlib
import hmac
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.wire import Record
from blocktree_gateway.conversation import Conversation
from blocktree_gateway.links.wire import Wire
from blocktree_gateway.messages import (
    Adopt,
    Adopted,
    Belong,
    Bye,
    Join,
    OfferKind,
    Taken,
    Want,
)
from blocktree_gateway.pushing import Push
from blocktree_gateway.session.door import Door
from blocktree_gateway.session.keys import BARE_SECRET, NO_HINT, Purpose, setup_hint
from blocktree_gateway.session.packets import Confirm, Hello, PacketType, encode_probe, read_packet
from blocktree_gateway.session.session import Session

PROBE_S = 1.0
FIND_S = 20.0
HANDSHAKE_S = 15.0
ADOPT_S = 60.0  # the smallest boards compute their id for seconds
STRANGERS_MAX = 3  # hellos with the hint of another code from where one device is
WRONG_MAX = 5  # confirmations that do not open, until the code is called wrong
_LEAVE_S = 0.5


@dataclass(frozen=True, slots=True)
class Adoption:
    """What a device is told.

    Args:
        epoch: of its secrets.
        link_secret: for gateways.
        reading_secret: for readers.
        scalar: its private key.
        device: the id of that key.
        tree: the tree's id, 32 bytes.
        path: where it will be.
        wifi: name and password, or two empty strings.
        chain: its certificates, leaf first.
    """

    epoch: int
    link_secret: bytes
    reading_secret: bytes
    scalar: bytes
    device: bytes
    tree: bytes
    path: str
    wifi: tuple[str, str]
    chain: tuple[bytes, ...]

    def chain_file(self) -> bytes:
        """The chain as a device keeps it."""
        return b"".join(len(each).to_bytes(2) + each for each in self.chain)


class Pairer:
    """The pairer's end of one link. Give `heard` every packet that comes.

    Args:
        setup_secret: from the label; None pairs by cable.
        alone: whoever answers is the device that is meant, so another code is a wrong one.
    """

    full = False

    def __init__(self, setup_secret: bytes | None, *, alone: bool = False) -> None:
        by_cable = setup_secret is None
        self._alone = alone
        self._purpose = Purpose.PAIR_BY_CABLE if by_cable else Purpose.PAIR_BY_CODE
        self._secret = BARE_SECRET if setup_secret is None else setup_secret
        self._hint = NO_HINT if setup_secret is None else setup_hint(setup_secret)
        self._door = Door(os.urandom(32))
        self._conversation: Conversation | None = None
        self._ready = b""
        self._wrong = 0
        self._strangers = 0
        self._event = asyncio.Event()
        self._said: list[Record] = []
        self._push: Push | None = None
        self._over: Fault | None = None
        self.board = ""

    def probes(self) -> Sequence[bytes]:
        """PROBEs: for the device to begin, and for others to show that they are others."""
        hints = dict.fromkeys((self._hint, NO_HINT))
        return [encode_probe(self._purpose, hint) for hint in hints]

    # what comes from the link

    def heard(self, wire: Wire, packet: bytes) -> None:
        """A packet came."""
        if packet[:1] == bytes([PacketType.DATA]):
            if self._conversation is not None:
                self._conversation.receive(wire, packet)
            return
        said = read_packet(packet)
        now = time.time()
        if isinstance(said, Hello):
            if self._is_meant(said):
                self.board = said.board
                wire.send(self._door.welcome(said, wire.where, now))
                self._event.set()
            elif said.purpose is self._purpose:
                self._strangers += 1
        elif isinstance(said, Confirm) and said.purpose is self._purpose:
            self._confirm(wire, said, now)

    def begin(self, conversation: Conversation) -> None:
        """The session has begun."""

    def heard_message(self, message: Record) -> None:
        """The device said something."""
        match message:
            case Want() if self._push is not None:
                self._push.wanted(message)
            case Taken() if self._push is not None:
                self._push.taken(message)
            case Bye():
                what = f"the device refused: {message.sentence}"
                self._over = Fault(Kind.DENIED, what)
            case _:
                self._said.append(message)
        self._event.set()

    def ended(self, conversation: Conversation) -> None:
        """The session is over."""
        del conversation
        if self._over is None:
            self._over = Fault(
                Kind.UNREACHABLE,
                "the device stopped answering half-way; it is what it was before",
                next_step="try again",
            )
        self._event.set()

    # what the pairer does

    async def adopt(self, adoption: Adoption, call: Callable[[bytes], object]) -> None:
        """Find the device, and make it ours.

        Args:
            adoption: what it is told.
            call: sends a PROBE to where the device is believed to be.

        Raises:
            Fault: UNREACHABLE if no device answers or it stops; DENIED for a wrong setup code, or
                what the device says.
        """
        conversation = await self._handshake(call)
        a = adoption
        conversation.post(Adopt(a.epoch, a.link_secret, a.reading_secret, a.scalar))
        conversation.post(Belong(a.tree, a.path))
        conversation.post(Join(*a.wifi))
        self._push = Push(OfferKind.CHAIN, "chain", a.chain_file())
        pushing = asyncio.get_running_loop().create_task(
            self._push.run(conversation.post, lambda: conversation.waiting)
        )
        try:
            adopted = await self._wait_adopted(pushing)
        finally:
            pushing.cancel()
            await asyncio.gather(pushing, return_exceptions=True)
        if not hmac.compare_digest(adopted.device, adoption.device):
            raise Fault(Kind.DAMAGED, "the device computed another id than we did")

    async def close(self) -> None:
        """Say good-bye."""
        if self._conversation is not None and not self._conversation.over:
            self._conversation.post(Bye(0, "paired"))
            await asyncio.sleep(_LEAVE_S)
            self._conversation.end()

    # inside

    def _is_meant(self, hello: Hello) -> bool:
        if hello.purpose is not self._purpose:
            return False
        return self._purpose is Purpose.PAIR_BY_CABLE or hello.hint == self._hint

    def _confirm(self, wire: Wire, confirm: Confirm, now: float) -> None:
        if self._conversation is not None:
            wire.send(self._ready)
            return
        entered = self._door.confirm(confirm, wire.where, now, self._secret)
        if entered is None:
            self._wrong += 1
            self._event.set()
            return
        session = Session(entered.keys, gateway=True, ordered=wire.kind == "serial")
        self._conversation = Conversation(session, wire, b"", _Ear(self))
        self._ready = entered.ready
        wire.send(entered.ready)
        self._event.set()

    async def _handshake(self, call: Callable[[bytes], object]) -> Conversation:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FIND_S
        while self._conversation is None:
            if self._wrong >= WRONG_MAX:
                raise Fault(
                    Kind.DENIED,
                    "the device does not accept this setup code",
                    next_step="read the code from the label of this very device",
                )
            if loop.time() > deadline or (self._alone and self._strangers >= STRANGERS_MAX):
                raise self._nobody()
            for probe in self.probes():
                call(probe)
            self._event.clear()
            try:
                async with asyncio.timeout(PROBE_S):
                    await self._event.wait()
            except TimeoutError:
                continue
        return self._conversation

    def _nobody(self) -> Fault:
        if self.board:
            return Fault(
                Kind.UNREACHABLE,
                "the device was heard, but did not finish the handshake",
                next_step="switch it off and on, and try again",
            )
        if self._strangers:
            who = "the device there" if self._alone else "a device that waits to be paired"
            return Fault(
                Kind.DENIED,
                f"{who} has another setup code",
                next_step="read the code from the label of this very device",
            )
        return Fault(
            Kind.UNREACHABLE,
            "no device answers",
            next_step="is the runtime on it (bt device flash PORT)? was it switched on in the last "
            "two minutes? is it on this network?",
        )

    async def _wait_adopted(self, pushing: "asyncio.Task[Taken]") -> Adopted:
        deadline = asyncio.get_running_loop().time() + ADOPT_S
        while asyncio.get_running_loop().time() < deadline:
            self._event.clear()
            for said in self._said:
                if isinstance(said, Adopted):
                    return said
            if self._over is not None:
                raise self._over
            if pushing.done():
                pushing.result()  # raises what went wrong
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PROBE_S):
                    await self._event.wait()
        raise Fault(Kind.UNREACHABLE, "the device did not confirm the pairing in a minute")


class _Ear:
    """Hears what the device says for a pairer."""

    full = False

    def __init__(self, pairer: Pairer) -> None:
        self._pairer = pairer
        self.ended = pairer.ended
        self.begin = pairer.begin

    def heard(self, conversation: Conversation, message: Record) -> None:
        """A message came."""
        del conversation
        self._pairer.heard_message(message)
