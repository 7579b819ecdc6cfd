"""The contract of a session with a device: who it is comes first, then everything else.

It is held by `Monitor` in each conversation. What breaks it stops that conversation alone; the
device may begin another, and its neighbours notice nothing.
"""

from typing import Final

from blocktree.contract import Branch, Contract, Role, State, hears, machine, mirror, tells
from blocktree.wire import Record
from blocktree_gateway.messages import (
    Alive,
    Answer,
    AppState,
    Asleep,
    Bye,
    Checkpoint,
    Chunk,
    Command,
    Entry,
    Face,
    Gateways,
    Kept,
    Offer,
    Rekey,
    Rekeyed,
    Rename,
    Report,
    Taken,
    TimeAsk,
    TimeTold,
    Want,
)

_FROM_DEVICE: Final = (
    *(Face, Alive, Asleep, TimeAsk, Entry, Checkpoint, Answer, Want, Taken, AppState, Rekeyed),
)
_FROM_GATEWAY: Final = (Kept, Gateways, TimeTold, Command, Offer, Chunk, Rekey, Rename)


def _open() -> tuple[Branch, ...]:
    heard = [hears(message) for message in _FROM_DEVICE]
    told = [tells(message) for message in _FROM_GATEWAY]
    return (*heard, *told, hears(Bye), tells(Bye))


DEVICE_SESSION: Final = Contract(
    "device.session",
    1,
    Role(
        "gateway",
        State("greeting", hears(Report, then="open"), tells(Bye)),
        State("open", *_open()),  # a Bye ends the session, and with it the conversation
    ),
    mirror("device"),
)
_START: Final = machine(DEVICE_SESSION, DEVICE_SESSION.role("gateway"))


class Monitor:
    """Where one conversation is, as the gateway sees it."""

    def __init__(self) -> None:
        self._node = _START
        self.broken = ""

    def takes(self, message: Record) -> bool:
        """Whether the device may say this now; once it said what it may not, nothing is taken."""
        if self.broken:
            return False
        turn = self._node.takes.get(type(message))
        if turn is None:
            expected = ", ".join(self._node.expected) or "nothing"
            name = type(message).__name__
            self.broken = f"{name} may not come in state {self._node.name}, which takes {expected}"
            return False
        following = turn.only
        assert following is not None
        self._node = following
        return True
