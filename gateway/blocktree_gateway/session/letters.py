"""Letters: messages in order, each once, over records that may be lost (SPEC.md, "Letters").

The same machine serves both ends. Time is seconds on any clock that does not go back.

Invariants
  - At most IN_FLIGHT letters are on the way; the driver looks at `room` before it posts.
  - A message is handed out only after all before it, and acknowledged only after it was handed out.
"""

from collections import deque
from dataclasses import dataclass
from typing import Final

IN_FLIGHT: Final = 4
NUMBER_MAX: Final = 0xFFFF
FIRST_WAIT_S: Final = 0.5
WAIT_MIN_S: Final = 0.15
WAIT_MAX_S: Final = 8.0
TRIES_MAX: Final = 7
ACKNOWLEDGE_S: Final = 0.02
STREAM_LOST_S: Final = 30.0
_HEAD_BYTES: Final = 4


@dataclass(slots=True)
class _Sent:
    number: int
    message: bytes
    at: float
    again: bool = False


class Letters:
    """One end of a session.

    Args:
        resend: whether records may be lost on the way; on a stream (TLS) nothing is sent twice.
    """

    def __init__(self, *, resend: bool) -> None:
        self._resend = resend
        self._waiting: deque[bytes] = deque()
        self._flying: deque[_Sent] = deque()
        self._number = 0  # of the last letter sent with a message
        self._taken = 0  # of the last letter taken
        self._acknowledge_at: float | None = None
        self._round_trip: float | None = None
        self._tries = 0
        self._progress_at = 0.0  # when an acknowledgement advanced, or the first letter left
        self.lost = False

    @property
    def room(self) -> int:
        """How many messages may be posted now."""
        return IN_FLIGHT - len(self._flying) - len(self._waiting)

    @property
    def idle(self) -> bool:
        """Whether everything posted has been acknowledged."""
        return not self._flying and not self._waiting

    @property
    def spent(self) -> bool:
        """Whether the session has to end because its numbers do."""
        return self._number >= NUMBER_MAX

    def post(self, message: bytes) -> None:
        """Send a message when `ready` is next asked."""
        assert self.room > 0
        self._waiting.append(message)

    def receive(self, letter: bytes, now: float, *, full: bool = False) -> bytes | None:
        """Take a letter; its message if it brings the next one.

        `full`: there is no room for a message now; it stays unacknowledged and will come again.
        """
        if len(letter) < _HEAD_BYTES:
            return None
        number, ack = int.from_bytes(letter[:2]), int.from_bytes(letter[2:4])
        self._acknowledged(ack, now)
        if number == 0:
            return None
        if number != self._taken + 1:
            self._acknowledge_at = now
            return None
        if full:
            return None
        self._taken = number
        if self._acknowledge_at is None:
            self._acknowledge_at = now + ACKNOWLEDGE_S
        return letter[_HEAD_BYTES:]

    def acknowledge(self, now: float) -> None:
        """Send an acknowledgement without delay: something is known to have arrived."""
        self._acknowledge_at = now

    def ready(self, now: float) -> list[bytes]:
        """The letters to send now; `lost` may become true."""
        out: list[bytes] = []
        if self._flying and now >= self._due():
            self._late(now, out)
        while self._waiting and not self.spent:
            if not self._flying:
                self._progress_at = now
            self._number += 1
            sent = _Sent(self._number, self._waiting.popleft(), now)
            self._flying.append(sent)
            out.append(self._letter(sent))
        if self._acknowledge_at is not None and (out or now >= self._acknowledge_at):
            if not out:
                out.append(bytes(2) + self._taken.to_bytes(2))
            self._acknowledge_at = None
        return out

    def next_at(self) -> float | None:
        """When `ready` has to be asked again, if nothing happens before."""
        times = [] if self._acknowledge_at is None else [self._acknowledge_at]
        if self._flying:
            times.append(self._due())
        return min(times, default=None)

    # inside

    def _letter(self, sent: _Sent) -> bytes:
        return sent.number.to_bytes(2) + self._taken.to_bytes(2) + sent.message

    def _wait(self) -> float:
        known = self._round_trip
        first = FIRST_WAIT_S if known is None else max(WAIT_MIN_S, 2 * known + 0.1)
        return min(WAIT_MAX_S, first * (1 << self._tries))

    def _due(self) -> float:
        if not self._resend:
            return self._progress_at + STREAM_LOST_S
        return self._flying[0].at + self._wait()

    def _late(self, now: float, out: list[bytes]) -> None:
        if not self._resend or self._tries >= TRIES_MAX:
            self.lost = True
            return
        self._tries += 1
        for sent in self._flying:
            sent.at, sent.again = now, True
            out.append(self._letter(sent))

    def _acknowledged(self, ack: int, now: float) -> None:
        if not self._flying or not self._flying[0].number <= ack <= self._number:
            return
        while self._flying and self._flying[0].number <= ack:
            sent = self._flying.popleft()
            if not sent.again:  # Karn's rule: a letter sent twice tells nothing
                took = now - sent.at
                known = self._round_trip
                self._round_trip = took if known is None else known + (took - known) / 8
        self._tries = 0
        self._progress_at = now
