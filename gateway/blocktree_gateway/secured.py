"""Sessions inside TLS: who the device is comes from its certificate, and no packet is sealed twice.

The certificate has to be the very one that the device's record holds; OpenSSL has proved that the
device has its key.
"""

import logging

from blocktree.fault import Kind
from blocktree_gateway.conversation import Conversation, Listener
from blocktree_gateway.links.rate import Seldom
from blocktree_gateway.links.tls import TlsWire
from blocktree_gateway.messages import Bye
from blocktree_gateway.reception import Ready, revoked_text
from blocktree_gateway.roll import Known, Roll
from blocktree_gateway.session.session import Session

log = logging.getLogger(__name__)

_SENTENCE_MAX = 110


class SecureReception:
    """Takes the packets of TLS connections.

    Args:
        roll: the devices of the tree.
        listener_of: who answers for a device.
    """

    def __init__(self, roll: Roll, listener_of: Ready) -> None:
        self._roll = roll
        self._listener_of = listener_of
        self._by_wire: dict[TlsWire, Conversation] = {}
        self._grumble = Seldom()

    def heard(self, wire: TlsWire, packet: bytes) -> None:
        """A packet came."""
        conversation = self._by_wire.get(wire)
        if conversation is None:
            conversation = self._enter(wire)
            if conversation is None:
                wire.close()
                return
        conversation.receive(wire, packet)

    def gone(self, wire: TlsWire) -> None:
        """A connection has ended."""
        conversation = self._by_wire.pop(wire, None)
        if conversation is not None:
            conversation.end()

    def _enter(self, wire: TlsWire) -> Conversation | None:
        known = self._find(wire.certificate)
        if known is None:
            self._grumble(log, "%s shows a certificate of no device of this tree", wire.where)
            return None
        if not known.device.record.belongs:
            self._refuse(wire, known, Kind.DENIED, revoked_text(known))
            return None
        listener = self._listener_of(known)
        if listener is None:
            self._refuse(wire, known, Kind.BUSY, "not ready for it yet; try again")
            return None
        conversation = Conversation(self._session(), wire, known.id, _Closing(self, wire, listener))
        self._by_wire[wire] = conversation
        listener.begin(conversation)
        return conversation

    def _refuse(self, wire: TlsWire, known: Known, kind: Kind, why: str) -> None:
        farewell = Conversation(self._session(), wire, known.id, _NOBODY)
        farewell.post(Bye(kind, why[:_SENTENCE_MAX]))
        farewell.end()

    @staticmethod
    def _session() -> Session:
        return Session(None, gateway=True, ordered=True)

    def _find(self, certificate: bytes) -> Known | None:
        for known in self._roll.by_id.values():
            if known.device.record.chain[:1] == (certificate,):
                return known
        return None


class _Closing:
    """Passes on what a conversation says, and closes its connection at its end."""

    def __init__(self, reception: SecureReception, wire: TlsWire, listener: Listener) -> None:
        self._reception = reception
        self._wire = wire
        self._listener = listener
        self.begin = listener.begin
        self.heard = listener.heard

    @property
    def full(self) -> bool:
        """Whether no message can be taken now."""
        return self._listener.full

    def ended(self, conversation: Conversation) -> None:
        """It is over."""
        self._listener.ended(conversation)
        self._wire.close()


class _Nobody:
    full = True

    def begin(self, conversation: Conversation) -> None:
        """Nobody begins."""

    def heard(self, conversation: Conversation, message: object) -> None:
        """Nobody listens."""

    def ended(self, conversation: Conversation) -> None:
        """Nobody minds."""


_NOBODY = _Nobody()
