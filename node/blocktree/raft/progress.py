"""What a leader knows of one follower: how far it is, and how much is on the way to it.

Invariants: match < next ≤ last_index + 1; only a probe waits.
"""

from collections import deque
from dataclasses import dataclass, field
from enum import IntEnum, unique


@unique
class Pace(IntEnum):
    """How entries are sent."""

    PROBE = 1  # the match is a guess: one message at a time
    REPLICATE = 2  # it accepts: send ahead without waiting
    SNAPSHOT = 3  # it needs entries that are gone: wait for its store to restore one


@dataclass(slots=True)
class Progress:
    """One follower."""

    next: int  # the next entry to send
    match: int = 0  # durable there and equal to ours
    pace: Pace = Pace.PROBE
    waiting: bool = False  # PROBE: one message is out
    nudge: bool = False  # send something even if there is nothing new: it may have lost messages
    latest: int = 0  # the newest heartbeat round sent to it
    asked: int = 0  # what `latest` was when entries were last sent
    round: int = 0  # the newest heartbeat round it answered
    inflight_bytes: int = 0
    inflight: deque[tuple[int, int]] = field(default_factory=deque)  # (last index, bytes) a message

    def probe(self, next_index: int) -> None:
        """Go back to asking where the logs agree."""
        self.pace = Pace.PROBE
        self.next = max(next_index, self.match + 1)
        self.waiting = False
        self._clear()

    def replicate(self) -> None:
        """The logs agree up to `match`: send ahead of what is already on the way."""
        self.pace = Pace.REPLICATE
        self.waiting = False
        self.next = (self.inflight[-1][0] if self.inflight else self.match) + 1

    def need_snapshot(self) -> None:
        """It needs entries that we no longer have."""
        self.pace = Pace.SNAPSHOT
        self.waiting = False
        self._clear()

    def sent(self, last: int, size: int) -> None:
        """A message with entries up to `last` left."""
        self.asked = self.latest
        if self.pace is Pace.REPLICATE:
            self.next = last + 1
        else:
            self._clear()
            self.waiting = True
        self.inflight.append((last, size))
        self.inflight_bytes += size

    def accepted(self, index: int) -> bool:
        """It holds everything up to `index`; whether that is news."""
        while self.inflight and self.inflight[0][0] <= index:
            self.inflight_bytes -= self.inflight.popleft()[1]
        self.next = max(self.next, index + 1)
        if index <= self.match:
            return False
        self.match = index
        return True

    def answered(self, turn: int, last_index: int) -> None:
        """It answered heartbeat round `turn`: what was sent before that round may have been lost.

        A lost message must not block it for ever, so a place becomes free, and a nudge finds out
        what it has. Rounds that began before the last message say nothing about it.
        """
        if turn <= self.asked:
            return
        self.waiting = False
        self.nudge = self.match < last_index
        if self.inflight:
            self.inflight_bytes -= self.inflight.popleft()[1]

    def _clear(self) -> None:
        self.inflight.clear()
        self.inflight_bytes = 0
