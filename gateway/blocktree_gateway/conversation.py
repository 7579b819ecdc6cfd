"""One live session with a device on a wire: messages out in order, messages in to a listener."""

import asyncio
import logging
from collections import deque
from typing import Protocol

from blocktree.fault import Fault
from blocktree.wire import Record, encode
from blocktree_gateway.decoding import decode_message
from blocktree_gateway.links.rate import Seldom
from blocktree_gateway.links.wire import Wire
from blocktree_gateway.messages import DEVICE_SAYS, MESSAGE_BYTES_MAX
from blocktree_gateway.session.session import Session

log = logging.getLogger(__name__)
_grumble = Seldom()

OUTBOX_MAX = 64


class Listener(Protocol):
    """Who a device speaks with."""

    @property
    def full(self) -> bool:
        """Whether no message can be taken now: the device will send it again."""

    def begin(self, conversation: "Conversation") -> None:
        """A session has begun; it takes the place of the one before."""

    def heard(self, conversation: "Conversation", message: Record) -> None:
        """A message came, in order, once."""

    def ended(self, conversation: "Conversation") -> None:
        """The session is over."""


class Conversation:
    """A session, its wire and its timer.

    Args:
        session: the gateway's end of it.
        wire: where the device was last heard from.
        device: its id, proved by the handshake.
        listener: takes what the device says.
        epoch: of the secrets that the handshake used; 0 if it used none.
    """

    def __init__(
        self, session: Session, wire: Wire, device: bytes, listener: Listener, epoch: int = 0
    ) -> None:
        self.epoch = epoch
        self.session = session
        self.wire = wire
        self.device = device
        self.drops = 0
        self.over = False
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self.begun_at = self.heard_at = self._loop.time()
        self._outbox: deque[bytes] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def receive(self, wire: Wire, packet: bytes) -> None:
        """A DATA packet came with this session's sid."""
        now = self._loop.time()
        opened = self.session.receive(packet, now, full=self._listener.full)
        if opened is None:
            self.drops += 1
            self._check(now)
            return
        self.heard_at = now
        if opened.newest:
            self.wire = wire
        if opened.message is not None:
            self._take(opened.message)
        if not self.over:
            self.pump(now)

    def post(self, message: Record) -> bool:
        """Send a message after those before it; False if too many wait."""
        if self.over or len(self._outbox) >= OUTBOX_MAX:
            return False
        encoded = encode(message)
        assert len(encoded) <= MESSAGE_BYTES_MAX, type(message).__name__
        self._outbox.append(encoded)
        self.pump(self._loop.time())
        return True

    @property
    def waiting(self) -> int:
        """How many messages wait to be sent."""
        return len(self._outbox)

    @property
    def idle(self) -> bool:
        """Whether the device has everything that was posted."""
        return not self._outbox and self.session.letters.idle

    def pump(self, now: float) -> None:
        """Send what can be sent, and wake again when something is due."""
        while self._outbox and self.session.room > 0:
            self.session.post(self._outbox.popleft())
        for packet in self.session.ready(now):
            self.wire.send(packet)
        self._check(now)

    def end(self) -> None:
        """Give the session up; nothing more comes of it."""
        if self.over:
            return
        self.over = True
        if self._timer is not None:
            self._timer.cancel()
        self._listener.ended(self)

    def _check(self, now: float) -> None:
        if self.over:
            return
        if self.session.over:
            self.end()
            return
        due = self.session.next_at()
        if due is None:
            return
        if self._timer is not None and not self._timer.cancelled():
            if now < self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(due, self._wake)

    def _wake(self) -> None:
        self._timer = None
        self.pump(self._loop.time())

    def _take(self, encoded: bytes) -> None:
        try:
            message = decode_message(encoded)
        except Fault as fault:
            self.drops += 1
            _grumble(log, "%s said something that is no message: %s", self.wire.where, fault)
            return
        if not isinstance(message, DEVICE_SAYS):
            self.drops += 1
            _grumble(log, "%s said %s, which is not its to say", self.wire.where, message)
            return
        self._listener.heard(self, message)
