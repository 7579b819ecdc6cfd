"""A contract from its canonical form: how a running actor's contract is held against a new one.

Messages are told apart by code alone. Those whose class is not at hand are stood in for.
"""

from collections.abc import Mapping
from typing import ClassVar

from blocktree.contract.branch import ASKED, DUAL, Branch, Message
from blocktree.contract.contract import Contract, Role, State
from blocktree.contract.written import VERBS, WrittenBranch, WrittenContract
from blocktree.fault import Fault, Kind
from blocktree.wire import Record
from blocktree.wire.record import carries_body


class Absent(Record):
    """Stands in for a message whose class is not here."""

    has_body: ClassVar[bool] = False


def has_body(message: Message) -> bool:
    """Whether a message carries a body, also if only its description is here."""
    return message.has_body if issubclass(message, Absent) else carries_body(message)


def read(written: WrittenContract, classes: Mapping[int, Message]) -> Contract:
    """The contract; its messages are those of `classes` where their codes are known there.

    Raises:
        Fault: MALFORMED if it speaks of messages or verbs that it does not have.
    """
    known = {
        m.code: classes.get(m.code) or _absent(m.code, m.name, m.body) for m in written.messages
    }
    try:
        roles = [
            Role(
                role.name,
                *[State(s.name, *[_branch(b, known) for b in s.branches]) for s in role.states],
            )
            for role in written.roles
        ]
    except (KeyError, IndexError) as cause:
        what = "a contract that speaks of what it does not have"
        raise Fault(Kind.MALFORMED, what, path=written.name) from cause
    return Contract(written.name, written.version, *roles)


def _absent(code: int, name: str, body: bool) -> Message:  # noqa: FBT001 - as it is written
    return type(name, (Absent,), {"record_code": code, "has_body": body})


def _branch(written: WrittenBranch, known: Mapping[int, Message]) -> Branch:
    if written.verb < 0:
        raise IndexError(written.verb)
    verb = VERBS[written.verb]
    return Branch(
        verb,
        known[written.code] if verb in DUAL else None,
        written.partner,
        written.then,
        tuple((known[o.code], o.then) for o in written.outcomes) if verb in ASKED else (),
        written.refused,
        waits=written.waits,
        optional=written.optional,
        seconds=written.milliseconds / 1000,
    )
