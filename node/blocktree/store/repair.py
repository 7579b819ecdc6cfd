"""The way of a node with a damaged log back into its group, as a machine without clock or messages.

Whoever drives it (`doubt` in a node, `sim.patient` in a simulated one) asks the group while the
stage is ASKING, has the disk forget the log at FORGETTING, and says what happened.

Invariants
- `deaf` until the log is forgotten: what the core would answer before counts as the word of the
  voter that this process was (`raft/SPEC.md`, "In doubt").
- From the group's answer to FORGETTING pass `wait_ticks`, so that every lease which a round of its
  old self may carry has ended.
- SOUND is reached only when the log has all that the group had committed when it cleared this node,
  and the disk has noted that it is repaired.
"""

from enum import IntEnum, unique


@unique
class Stage(IntEnum):
    """How far a node has come; a crash at any stage but SOUND begins again at ASKING."""

    ASKING = 1  # the leader shall take it out of the group
    WAITING = 2  # for leases to end
    FORGETTING = 3  # the disk drops the log behind the checkpoint
    CATCHING_UP = 4  # follows, as a learner of which nothing is known
    NOTING = 5  # the disk writes down that it is repaired
    SOUND = 6


class Repair:
    """One node's way.

    Attributes:
        stage: how far it is.
        index: the entry since which the group has been without it; 0 before.
    """

    def __init__(self, *, damaged: bool, wait_ticks: int) -> None:
        self.stage = Stage.ASKING if damaged else Stage.SOUND
        self.index = 0
        self._ticks_left = wait_ticks

    @property
    def deaf(self) -> bool:
        """Whether the core must hear nothing."""
        return self.stage < Stage.CATCHING_UP

    @property
    def active(self) -> bool:
        """Whether this node may not decide anything."""
        return self.stage is not Stage.SOUND

    def cleared(self, index: int) -> None:
        """The group has committed, at `index`, a membership without this node."""
        if self.stage is Stage.ASKING:
            self.stage, self.index = Stage.WAITING, index

    def tick(self, elapsed: int = 1) -> None:
        """Time passes."""
        if self.stage is Stage.WAITING:
            self._ticks_left -= elapsed
            if self._ticks_left <= 0:
                self.stage = Stage.FORGETTING

    def forgotten(self) -> None:
        """The log is gone, durably, and the core begins anew."""
        assert self.stage is Stage.FORGETTING, self.stage
        self.stage = Stage.CATCHING_UP

    def applied(self, index: int, *, restoring: bool) -> None:
        """The state is at `index`; `restoring`: but the table below it is still of another time."""
        if self.stage is Stage.CATCHING_UP and index >= self.index and not restoring:
            self.stage = Stage.NOTING

    def noted(self) -> None:
        """The disk says `repaired`, durably."""
        assert self.stage is Stage.NOTING, self.stage
        self.stage = Stage.SOUND
