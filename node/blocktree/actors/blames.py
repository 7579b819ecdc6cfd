"""Who broke a contract here: signed records, the newest ones kept, and the actor that shows them.

Bounded: `KEPT_MAX` records, one for each offender and message; and no more than `SIGNED_PER_MINUTE`
are signed, so that a storm of nonsense costs no more than counting it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from blocktree.actors.actor import Actor, Call, plays, receives
from blocktree.contract import Contract, Node, Role, State, answers, mirror
from blocktree.contract.blame import Blame, Charge, accuse, charge
from blocktree.link import Side
from blocktree.names import Address
from blocktree.wire import Record, encode, record

log = logging.getLogger(__name__)

BLAMES_ACTOR = "contracts"
KEPT_MAX = 64
SIGNED_PER_MINUTE = 30
_COUNTED_MAX = 1024


@record(0x0A20)
@dataclass(frozen=True, slots=True)
class GetBlames(Record):
    """Ask a process who broke contracts there."""


@record(0x0A21)
@dataclass(frozen=True, slots=True)
class Blames(Record):
    """The answer: encoded `Blame`s, oldest first, and how many violations there were in all."""

    blames: tuple[bytes, ...]
    count: int


BLAMES = Contract(
    "blames",
    1,
    Role("process", State("showing", answers(GetBlames, Blames))),
    mirror("reader"),
)


class Ledger:
    """The violations of one process; one without links logs and counts them, but cannot sign."""

    def __init__(self, side: Side | None) -> None:
        self._credential = None if side is None else side.credential
        self._now = time.time if side is None else side.now
        self._kept: deque[Blame] = deque(maxlen=KEPT_MAX)
        self._counts: dict[tuple[Address, bytes, str], int] = {}
        self._minute = (0, 0)  # which one, and how many were signed in it
        self.count = 0

    def report(
        self, actor: Address, roles: Sequence[Role], node: Node, message: Record, call: Call
    ) -> None:
        """Somebody said to an actor here what the contract does not allow at `node`."""
        self.note(actor, charge(roles, node, message), call)

    def note(self, actor: Address, what: Charge, call: Call) -> None:
        """The same, from who has it from the actor."""
        self.count += 1
        principal = b"" if call.peer is None else call.peer.principal
        key = (call.sender, principal, what.message)
        if len(self._counts) >= _COUNTED_MAX:
            self._counts.clear()
        self._counts[key] = self._counts.get(key, 0) + 1
        if self._counts[key] > 1 or not self._spare():
            return
        expected = " or ".join(what.expected) or "nothing"
        log.warning(
            *("%s broke the contract of %s: %s may not come in state %s, which expects %s",),
            *(call.sender, actor, what.message, what.state, expected),
        )
        if self._credential is not None:
            offender = (call.sender, call.peer or self._credential.identity)
            now = int(self._now())
            self._kept.append(accuse(self._credential, actor, offender, what, now=now))

    def shown(self) -> Blames:
        """What is kept."""
        return Blames(tuple(encode(blame) for blame in self._kept), self.count)

    def _spare(self) -> bool:
        minute = int(self._now()) // 60
        signed = self._minute[1] if self._minute[0] == minute else 0
        self._minute = (minute, signed + 1)
        return signed < SIGNED_PER_MINUTE


@plays(BLAMES.role("process"))
class BlamesActor(Actor):
    """Shows the ledger of its process to whom `judge` lets see it."""

    def __init__(self, ledger: Ledger, judge: Callable[[Call], object]) -> None:
        self._ledger = ledger
        self._judge = judge

    @receives
    def get(self, message: GetBlames, call: Call) -> Blames:
        """Who broke contracts here."""
        del message
        self._judge(call)
        return self._ledger.shown()
