"""Who decides: quorum arithmetic, single steps of membership, and the memberships in the log.

A membership is in force from the moment its entry is in the log (thesis section 4.1), so
truncating the log takes it back. Only one step may be uncommitted at a time, and two memberships
one step apart have no two disjoint quorums: that is the safety argument (section 4.1), together
with the rule that a leader commits an entry of its own term before it starts a change (Ongaro,
raft-dev 2015).
"""

from collections.abc import Iterable
from enum import IntEnum, unique

from blocktree.fault import Fault, Kind
from blocktree.raft.messages import Membership, NodeId, SnapshotMark

VOTERS_MAX = 7
LEARNERS_MAX = 64


@unique
class ChangeKind(IntEnum):
    """One step of membership. A new process is a learner first."""

    ADD = 1  # as a learner
    PROMOTE = 2  # a caught-up learner becomes a voter
    DEMOTE = 3  # a voter becomes a learner
    REMOVE = 4


def quorum(voters: int) -> int:
    """How many of so many voters decide."""
    return voters // 2 + 1


def agreed(values: Iterable[int]) -> int:
    """The greatest number that a quorum has reached, one value a voter; 0 without voters."""
    ranked = sorted(values)
    return ranked[(len(ranked) - 1) // 2] if ranked else 0


def changed(old: Membership, kind: ChangeKind, node: NodeId) -> Membership:
    """The membership after one step.

    Raises:
        Fault: EXISTS, NOT_FOUND or USAGE if the step makes no sense from here.
    """
    voters, learners = set(old.voters), set(old.learners)
    if kind is ChangeKind.ADD:
        if node in voters or node in learners:
            raise Fault(Kind.EXISTS, "is a member already", path=node)
        learners.add(node)
    elif kind is ChangeKind.PROMOTE:
        _need(node in learners, node, "is not a learner")
        learners.remove(node)
        voters.add(node)
    elif kind is ChangeKind.DEMOTE:
        _need(node in voters, node, "is not a voter")
        voters.remove(node)
        learners.add(node)
    else:
        _need(node in voters or node in learners, node, "is not a member")
        voters.discard(node)
        learners.discard(node)
    if not voters:
        raise Fault(Kind.USAGE, "the last voter must stay", path=node)
    if len(voters) > VOTERS_MAX or len(learners) > LEARNERS_MAX:
        raise Fault(Kind.USAGE, f"over {VOTERS_MAX} voters or {LEARNERS_MAX} learners", path=node)
    return Membership(tuple(sorted(voters)), tuple(sorted(learners)))


def _need(holds: bool, node: NodeId, what: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not holds:
        raise Fault(Kind.NOT_FOUND, what, path=node)


class History:
    """The memberships from the mark on, each with the index of its entry, oldest first."""

    __slots__ = ("_steps", "latest", "latest_index")

    def __init__(self, mark: SnapshotMark) -> None:
        self._steps = [(mark.index, mark.membership)]
        self.latest = mark.membership
        self.latest_index = mark.index

    def append(self, index: int, membership: Membership) -> None:
        """The entry at `index` brings this membership into force."""
        assert index > self.latest_index, (index, self.latest_index)
        self._steps.append((index, membership))
        self._refresh()

    def truncate(self, index: int) -> None:
        """The entries from `index` on are gone."""
        while self._steps[-1][0] >= index and len(self._steps) > 1:
            self._steps.pop()
        assert self._steps[-1][0] < index, (self._steps, index)
        self._refresh()

    @property
    def first_index(self) -> int:
        """The first index at which the membership is known."""
        return self._steps[0][0]

    def at(self, index: int) -> Membership:
        """The membership in force once the log up to `index` is known."""
        for since, membership in reversed(self._steps):
            if since <= index:
                return membership
        raise AssertionError(f"no membership known at {index}: {self._steps}")

    def compact(self, index: int) -> None:
        """Nobody will ask for a membership before `index` any more."""
        while len(self._steps) > 1 and self._steps[1][0] <= index:
            del self._steps[0]

    def _refresh(self) -> None:
        self.latest_index, self.latest = self._steps[-1]
