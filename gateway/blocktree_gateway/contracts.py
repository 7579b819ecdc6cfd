"""The contracts of devices: of a session with one, and of the actor that stands in for one.

In a session who the device is comes first, then everything else. That is held by `Monitor` in each
conversation. What breaks it stops that conversation alone; the device may begin another, and its
neighbours notice nothing. What is said to the stand-in is held to by the actors' runtime.
"""

import logging
from typing import Final

from blocktree.actors import Actor, Address, Call
from blocktree.contract import (
    Branch,
    Contract,
    Role,
    State,
    answers,
    hears,
    machine,
    mirror,
    tells,
)
from blocktree.contract.blame import Charge, charge
from blocktree.fault import Fault
from blocktree.keys.chain import read_chain
from blocktree.wire import Record
from blocktree_gateway.devicemessages import (
    DeviceState,
    GetDevice,
    GetTail,
    Perform,
    Performed,
    PushApp,
    Pushed,
    Tail,
    Yield,
    Yielded,
)
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

log = logging.getLogger(__name__)

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
DEVICE: Final = Contract(
    "device",
    1,
    Role(
        "device",
        State(
            "here",
            answers(GetDevice, DeviceState),
            answers(Perform, Performed, later=True),
            answers(GetTail, Tail, later=True),
            answers(PushApp, Pushed, later=True),
            answers(Yield, Yielded, later=True),
        ),
    ),
    mirror("asker"),
)
_GATEWAY: Final = DEVICE_SESSION.role("gateway")
_START: Final = machine(DEVICE_SESSION, _GATEWAY)


class Monitor:
    """Where one conversation is, as the gateway sees it."""

    def __init__(self) -> None:
        self._node = _START
        self.broken = ""
        self.charge: Charge | None = None  # of what broke it, for who signs blame

    def takes(self, message: Record) -> bool:
        """Whether the device may say this now; once it said what it may not, nothing is taken."""
        if self.broken:
            return False
        turn = self._node.takes.get(type(message))
        if turn is None:
            expected = ", ".join(self._node.expected) or "nothing"
            name = type(message).__name__
            self.broken = f"{name} may not come in state {self._node.name}, which takes {expected}"
            self.charge = charge((_GATEWAY,), self._node, message)
            return False
        following = turn.only
        assert following is not None
        self._node = following
        return True


def blame(actor: Actor, monitor: Monitor, chain: tuple[bytes, ...]) -> None:
    """Have the gateway sign what a device broke; one without a certificate cannot be named."""
    if monitor.charge is None or not chain:
        return
    try:
        device = read_chain(chain)
    except Fault as fault:
        log.info("the certificate of %s does not hold: %s", actor.address, fault)
        return
    call = Call(Address(device.path, ""), device)
    actor.runtime.ledger.note(actor.address, monitor.charge, call)
