"""Takes every packet of every link: greets devices, makes sessions, hands letters to them.

What is not authenticated costs one MAC and no memory, is counted by its reason in `drops`, and is
spoken of in the log once in ten seconds at most.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from blocktree.fault import Kind
from blocktree_gateway.conversation import Conversation, Listener
from blocktree_gateway.links.rate import Bucket, Seldom
from blocktree_gateway.links.wire import Wire
from blocktree_gateway.roll import Known, Roll
from blocktree_gateway.session.door import Door
from blocktree_gateway.session.keys import NO_HINT, Purpose
from blocktree_gateway.session.packets import (
    DATA_HEAD_BYTES,
    Confirm,
    Hello,
    PacketType,
    encode_probe,
    encode_refuse,
    read_packet,
)
from blocktree_gateway.session.session import Session

log = logging.getLogger(__name__)

HELLOS_PER_S: Final = 100.0  # of one device: worked on, a MAC each
REFUSALS_PER_S: Final = 10.0
PROBES_PER_S: Final = 10.0
DENIALS_PER_S: Final = 20.0  # of devices that this gateway knows
Ready = Callable[[Known], Listener | None]
"""Who answers for a device now; None while this gateway does not speak for it (yet)."""


class Reception:
    """The front desk of a gateway.

    Args:
        roll: the devices of the tree.
        door: makes and checks handshakes.
        listener_of: who answers for a device.
        elsewhere: whether another gateway is known to speak for a device.
    """

    def __init__(
        self,
        roll: Roll,
        door: Door,
        listener_of: Ready,
        elsewhere: Callable[[Known], bool],
    ) -> None:
        self._roll = roll
        self._door = door
        self._listener_of = listener_of
        self._elsewhere = elsewhere
        self._loop = asyncio.get_running_loop()
        self._by_sid: dict[bytes, Conversation] = {}
        self._by_nonce: dict[bytes, tuple[Conversation, bytes]] = {}  # and its READY
        self.drops: Counter[str] = Counter()
        self._grumble = Seldom()
        self._hellos: dict[bytes, Bucket] = {}  # of each device: a flood in one name is its own
        self._refusals = Bucket(REFUSALS_PER_S, REFUSALS_PER_S)
        self._denials = Bucket(DENIALS_PER_S, DENIALS_PER_S)
        self._probes = Bucket(PROBES_PER_S, PROBES_PER_S)

    @property
    def conversations(self) -> tuple[Conversation, ...]:
        """The live sessions with keys of their own."""
        return tuple(self._by_sid.values())

    def heard(self, wire: Wire, packet: bytes) -> None:
        """A packet came."""
        if packet[:1] == bytes([PacketType.DATA]):
            self._data(wire, packet)
            return
        said = read_packet(packet)
        if isinstance(said, Hello):
            self._hello(wire, said)
        elif isinstance(said, Confirm):
            self._confirm(wire, said)
        else:
            self._drop("no packet for a gateway", wire)

    def gone(self, wire: Wire) -> None:
        """A wire ended: sessions on it are over, the devices may come back on another."""
        for conversation in self.conversations:
            if conversation.wire is wire:
                conversation.end()

    # inside

    def _data(self, wire: Wire, packet: bytes) -> None:
        conversation = self._by_sid.get(packet[1:DATA_HEAD_BYTES])
        if conversation is None:
            self._drop("a session that is over", wire)
            if self._probes.take():
                wire.send(encode_probe(Purpose.SERVE, NO_HINT))
            return
        before = conversation.drops
        conversation.receive(wire, packet)
        if conversation.drops > before:
            self._drop("forged, doubled or malformed", wire)

    def _hello(self, wire: Wire, hello: Hello) -> None:
        if hello.purpose is not Purpose.SERVE:
            self._drop("a device that wants to be paired", wire)
            return
        known = self._roll.by_hint.get(hello.hint)
        if known is None:
            self._drop("a device that the tree does not know", wire)
            self._refuse(wire, hello, Kind.NOT_FOUND, _STRANGER, None, self._refusals)
            return
        if not self._bucket(hello.hint).take():
            self._drop("too many hellos", wire)
            return
        secret = known.secrets.get(hello.epoch)
        if not known.device.record.belongs:
            self._refuse(wire, hello, Kind.DENIED, revoked_text(known), secret, self._denials)
        elif secret is None and hello.epoch in known.epochs:
            # Another gateway gives them on within seconds: its keys are not to blame.
            self._drop("a device whose secrets are not given on yet", wire)
        elif secret is None:
            self._refuse(wire, hello, Kind.NOT_FOUND, _OLD_KEYS, None, self._refusals)
        elif self._listener_of(known) is not None:
            wire.send(self._door.welcome(hello, wire.where, time.time()))
        elif self._elsewhere(known):
            # A refusal would keep the device from the other gateway as well.
            self._drop("a device that another gateway speaks for", wire)

    def _confirm(self, wire: Wire, confirm: Confirm) -> None:
        made = self._by_nonce.get(confirm.nonce_g)
        if made is not None:
            wire.send(made[1])
            return
        known = self._roll.by_hint.get(confirm.hint)
        secret = known.secrets.get(confirm.epoch) if known is not None else None
        if known is None or secret is None or not known.belongs or confirm.purpose:
            self._drop("a device that may not enter", wire)
            return
        listener = self._listener_of(known)
        entered = self._door.confirm(confirm, wire.where, time.time(), secret)
        if entered is None or listener is None:
            self._drop("a wrong or stale confirmation", wire)
            return
        session = Session(entered.keys, gateway=True, ordered=wire.kind == "serial")
        conversation = Conversation(session, wire, known.id, _Ending(self, listener), confirm.epoch)
        for other in self.conversations:
            if other.device == known.id:
                other.end()
        self._by_sid[session.sid] = conversation
        self._by_nonce[confirm.nonce_g] = conversation, entered.ready
        listener.begin(conversation)
        wire.send(entered.ready)

    def forget(self, conversation: Conversation) -> None:
        """A session is over."""
        self._by_sid.pop(conversation.session.sid, None)
        for nonce in [n for n, made in self._by_nonce.items() if made[0] is conversation]:
            del self._by_nonce[nonce]

    def _refuse(  # noqa: PLR0917 - what a refusal says, to whom, how often
        self,
        wire: Wire,
        hello: Hello,
        kind: Kind,
        sentence: str,
        secret: bytes | None,
        bucket: Bucket,
    ) -> None:
        if bucket.take():
            wire.send(encode_refuse(hello.nonce_d, kind, sentence, secret))

    def _bucket(self, hint: bytes) -> Bucket:
        if hint not in self._hellos:
            for old in self._hellos.keys() - self._roll.by_hint.keys():
                del self._hellos[old]
            self._hellos[hint] = Bucket(HELLOS_PER_S, HELLOS_PER_S)
        return self._hellos[hint]

    def _drop(self, why: str, wire: Wire) -> None:
        self.drops[why] += 1
        self._grumble(log, "dropped: %s, from %s", why, wire.where)


class _Ending:
    """Passes on what a conversation says, and has the reception forget it at its end."""

    def __init__(self, reception: Reception, listener: Listener) -> None:
        self._reception = reception
        self._listener = listener
        self.begin = listener.begin
        self.heard = listener.heard

    @property
    def full(self) -> bool:
        """Whether no message can be taken now."""
        return self._listener.full

    def ended(self, conversation: Conversation) -> None:
        """It is over."""
        self._reception.forget(conversation)
        self._listener.ended(conversation)


_STRANGER = "this tree does not know the device; pair it with: bt device pair"
_OLD_KEYS = "its keys are older than the tree's; pair it with: bt device pair"


def revoked_text(known: Known) -> str:
    """Why a revoked device is refused."""
    record = known.device.record
    day = time.strftime("%Y-%m-%d", time.gmtime(record.revoked_s))
    reason = f" ({record.reason})" if record.reason else ""
    return f"revoked on {day}{reason}; pair it again with: bt device pair"
