"""A session: letters sealed in packets, both ways, until it is lost or spent."""

from dataclasses import dataclass
from typing import Final

from blocktree_gateway.session.keys import WINDOW, Opener, Sealer, SessionKeys
from blocktree_gateway.session.letters import Letters
from blocktree_gateway.session.packets import DATA_HEAD_BYTES, PacketType

FAILURES_MAX: Final = 1 << 20
_DATA: Final = bytes([PacketType.DATA])


@dataclass(frozen=True, slots=True)
class Opened:
    """What a DATA packet brought."""

    message: bytes | None  # the next message in order, if it is one
    newest: bool  # its counter is the highest so far: it shows where the other side is


class Session:
    """One end of a session.

    Args:
        keys: of the handshake; None on a stream that is secure by itself (TLS).
        gateway: whether this is the gateway's end.
        ordered: whether the link keeps the order (serial), so late counters are none.
    """

    def __init__(self, keys: SessionKeys | None, *, gateway: bool, ordered: bool) -> None:
        self._keys = keys
        self.letters = Letters(resend=keys is not None)
        if keys is not None:
            mine, theirs = (keys.gateway, keys.device) if gateway else (keys.device, keys.gateway)
            self._sealer = Sealer(mine)
            self._opener = Opener(theirs, 0 if ordered else WINDOW)
            self._head = _DATA + keys.sid

    @property
    def sid(self) -> bytes:
        """What names the session in a packet; b"" on TLS."""
        return b"" if self._keys is None else self._keys.sid

    @property
    def over(self) -> bool:
        """Whether the other side is lost, or numbers or counters are used up."""
        if self.letters.lost or self.letters.spent:
            return True
        if self._keys is None:
            return False
        return self._opener.failures >= FAILURES_MAX or self._sealer.spent

    @property
    def room(self) -> int:
        """How many messages may be posted now."""
        return self.letters.room

    def post(self, message: bytes) -> None:
        """Send a message with the next `ready`."""
        self.letters.post(message)

    def receive(self, packet: bytes, now: float, *, full: bool = False) -> Opened | None:
        """Open a DATA packet; None if it is no good (forged, doubled, too old).

        `full`: no message can be taken now; it will come again.
        """
        if self._keys is None:
            if packet[:1] != _DATA:
                return None
            return Opened(self.letters.receive(packet[1:], now, full=full), newest=True)
        if packet[:DATA_HEAD_BYTES] != self._head:
            return None
        opened = self._opener.open(packet, DATA_HEAD_BYTES)
        if opened is None:
            return None
        letter, newest = opened
        return Opened(self.letters.receive(letter, now, full=full), newest)

    def ready(self, now: float) -> list[bytes]:
        """The packets to send now."""
        letters = self.letters.ready(now)
        if self._keys is None:
            return [_DATA + letter for letter in letters]
        return [self._sealer.seal(self._head, letter) for letter in letters]

    def next_at(self) -> float | None:
        """When `ready` has to be asked again, if nothing happens before."""
        return self.letters.next_at()
