"""What must hold in every story, checked while it happens and at its end.

Election safety: at most one leader a term. State machine safety: nobody applies another entry at an
index than anybody else. Durability: what a leader commits is on the platters of a quorum at that
moment. Leases: nobody comes to power in a later term while a lease lasts. Reads: what was
acknowledged before a read was asked is applied where it is answered. Log matching: equal (index,
term) means equal logs up to there. What clients see as a whole is judged by `linear`.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from blocktree.raft import Entry, Membership, NodeId
from blocktree.raft.membership import quorum
from blocktree.sim.disk import Platter


class Violation(AssertionError):  # noqa: N818 - the field's word
    """The protocol broke a promise."""


class Judge:
    """Sees everything; the processes do not know of it."""

    def __init__(
        self,
        holds: Callable[[NodeId, int, int], bool],
        leases: Callable[[], Iterable[tuple[NodeId, int, int]]],
    ) -> None:
        self.leaders: dict[int, NodeId] = {}
        self.committed: dict[int, tuple[int, bytes]] = {}
        self.acknowledged = 0  # the newest entry that a client was told about
        self.seen: Counter[str] = Counter()  # how often what happened: coverage
        self._holds = holds  # (who, index, term): durably, or it did when it said so
        self._leases = leases

    def leads(self, node: NodeId, term: int) -> None:
        """A process believes itself leader of a term."""
        other = self.leaders.get(term)
        if other is None:
            self.leaders[term] = node
            self._no_lease_before(term)
        elif other != node:
            raise Violation(f"two leaders in term {term}: {other} and {node}")

    def _no_lease_before(self, term: int) -> None:
        for node, earlier, ticks in self._leases():
            if ticks > 0 and earlier < term:
                raise Violation(f"{node} has a lease from term {earlier} in term {term}")

    def applies(self, node: NodeId, entries: Sequence[Entry]) -> None:
        """A process applies entries."""
        for entry in entries:
            known = self.committed.setdefault(entry.index, (entry.term, entry.payload))
            if known != (entry.term, entry.payload):
                raise Violation(f"{node} applies {entry} where {known} was applied")

    def commits(self, membership: Membership, index: int, term: int) -> None:
        """A leader counts an entry as committed.

        A membership step that was started just after the count may have added or taken one copy,
        so with an even number of voters one less is accepted.
        """
        voters = membership.voters
        copies = sum(self._holds(voter, index, term) for voter in voters)
        if copies < quorum(len(voters)) - (len(voters) % 2 == 0):
            raise Violation(f"entry {index} committed with {copies} of {voters} durable")

    def reads(self, node: NodeId, applied: int, acknowledged: int) -> None:
        """A process answers a read that was asked when `acknowledged` was the newest answer."""
        if applied < acknowledged:
            raise Violation(f"{node} reads at {applied} what {acknowledged} may have changed")

    def logs_match(self, platters: Iterable[tuple[NodeId, Platter]]) -> None:
        """The logs agree wherever they may be compared."""
        known: dict[tuple[int, int], tuple[Entry, int]] = {}
        for node, platter in platters:
            before = platter.base_term
            for entry in platter.log:
                found = known.setdefault((entry.index, entry.term), (entry, before))
                if found[0] != entry or (before and found[1] and found[1] != before):
                    raise Violation(f"the log of {node} does not match at {entry}")
                before = entry.term
