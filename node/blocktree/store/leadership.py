"""What a leader knows for the length of its term, and nobody else: leases, locks, open proposals.

All of it is in memory and is dropped with the leadership. Leases need no successor (`leases` has
the proof), locks are re-asserted by their sessions, and whoever waits for a proposal is told that
its outcome is unknown.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.sectors.transaction import Outcome
from blocktree.store.holders import Holders
from blocktree.store.leases import Leases
from blocktree.store.locks import LockTable, Waiter
from blocktree.store.registry import Registry

Settle = Callable[[Outcome | Fault], None]


@dataclass(slots=True)
class _Proposal:
    """An entry whose fate is open."""

    files: tuple[FileId, ...]  # that nobody is leased until the fate is known
    settle: Settle | None  # None once whoever waited was answered
    since: float


class Leadership:
    """One term as the leader."""

    def __init__(self, term: int, now: float) -> None:
        self.term = term
        self.leases = Leases(term)
        self.locks = LockTable(term, now)
        self.holders = Holders()
        self.registry = Registry(now)
        self.waiting: dict[Waiter, asyncio.Future[None]] = {}
        self._proposals: dict[int, _Proposal] = {}

    @property
    def in_flight(self) -> int:
        """Entries proposed and not applied."""
        return len(self._proposals)

    def proposed(self, index: int, files: tuple[FileId, ...], settle: Settle, now: float) -> None:
        """Remember to `settle` the entry at `index` when its fate is known.

        Until then `files` are between `Leases.begin` and `end`.
        """
        assert index not in self._proposals
        self._proposals[index] = _Proposal(files, settle, now)

    def applied(self, index: int, term: int, outcome: Outcome | None) -> None:
        """The entry at `index` took effect. Our own entries have our own term."""
        proposal = self._proposals.pop(index, None)
        if proposal is None:
            return
        if proposal.files:
            self.leases.end(proposal.files)
        if proposal.settle is not None:
            ours = term == self.term and outcome is not None
            proposal.settle(outcome if ours and outcome is not None else _unknown())

    def late(self, before: float, fault: Callable[[], Fault]) -> None:
        """Answer those who have waited since `before`; their entries may still be committed."""
        for proposal in self._proposals.values():
            if proposal.since > before:
                return
            settle, proposal.settle = proposal.settle, None
            if settle is not None:
                settle(fault())

    def end(self, fault: Callable[[], Fault]) -> None:
        """Leadership is over: `fault` for who only waited, an unknown outcome for who proposed."""
        proposals, self._proposals = self._proposals, {}
        for proposal in proposals.values():
            if proposal.settle is not None:
                proposal.settle(_unknown())
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(fault())
        self.waiting.clear()


def _unknown() -> Fault:
    return Fault(
        Kind.UNREACHABLE,
        "leadership moved; whether the change was made is not known here",
        next_step="send the same change again",
    )
