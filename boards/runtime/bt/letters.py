"""Letters: numbered messages that arrive once and in order, over packets that may be lost.

A pure machine: time comes in with each call, and what is to be sent comes out of `due`. At most
four letters are on the way; the receiver keeps none that is out of order (go-back-N).
"""

WINDOW = 4
QUEUE = 8
NUMBER_MAX = 65535
_FIRST, _LEAST, _MOST = 500, 150, 8000
_ACK_DELAY = 20
_TRIES = 7


class Letters:
    """One side of one session. `reliable` (TLS): nothing is sent twice, 30 s of silence end it."""

    def __init__(self, now, *, reliable=False):
        self._reliable = reliable
        self._queue = []  # [number, message, sent at], the oldest unacknowledged first
        self._written = 0  # the last number given out
        self._flying = 0  # how many of the queue are on the way
        self._taken = 0  # the last number received
        self._ack_at = None  # when an acknowledgement is due
        self._round = 0  # smoothed round trip, 0: unknown
        self._tries = 0
        self._again_at = None
        self.heard_at = now
        self.lost = False

    def room(self):
        """How many more messages `send` takes."""
        return min(QUEUE - len(self._queue), NUMBER_MAX - self._written)

    def idle(self):
        """Whether everything that was sent has arrived."""
        return not self._queue

    def send(self, message):
        """Queue a message; there must be room."""
        self._written += 1
        self._queue.append([self._written, message, None])

    def acknowledge(self, now):
        """Answer at once, whatever came."""
        self._ack_at = now

    def receive(self, letter, now, take):
        """Read a letter; its message goes to `take`, which is False if it cannot have it now."""
        self.heard_at = now
        self._advance(int.from_bytes(letter[2:4], "big"), now)
        number = int.from_bytes(letter[:2], "big")
        if not number:
            return
        if number != self._taken + 1:
            self._ack_at = now
        elif take(letter[4:]):
            self._taken = number
            if self._ack_at is None:
                self._ack_at = now + _ACK_DELAY

    def due(self, now):
        """The letters to send now."""
        out = []
        if self._again_at is not None and now >= self._again_at:
            self._repeat(now)
        while self._flying < min(WINDOW, len(self._queue)) and not self.lost:
            if not self._flying:
                self._wait(now)
            entry = self._queue[self._flying]
            entry[2] = now if entry[2] is None else -1  # a repeated one measures nothing (Karn)
            self._flying += 1
            out.append(self._letter(entry[0], entry[1]))
        if not out and self._ack_at is not None and now >= self._ack_at:
            out.append(self._letter(0, b""))
        if out:
            self._ack_at = None
        return out

    def wake_at(self):
        """When `due` has something to do next, or None."""
        if self._again_at is None or (self._ack_at is not None and self._ack_at < self._again_at):
            return self._ack_at
        return self._again_at

    def spent(self):
        """Whether the numbers are used up and have arrived."""
        return self._written >= NUMBER_MAX and not self._queue

    def _letter(self, number, message):
        return number.to_bytes(2, "big") + self._taken.to_bytes(2, "big") + message

    def _advance(self, ack, now):
        if not self._queue or not self._queue[0][0] <= ack < self._queue[0][0] + self._flying:
            return
        sent_at = -1
        while self._queue and self._queue[0][0] <= ack:
            sent_at = self._queue.pop(0)[2]
            self._flying -= 1
        if sent_at >= 0:
            trip = max(now - sent_at, 1)
            self._round = trip if not self._round else (7 * self._round + trip) // 8
        self._tries = 0
        self._again_at = None
        if self._queue:
            self._wait(now)

    def _wait(self, now):
        if self._reliable:
            self._again_at = now + 30000
            return
        wait = max(2 * self._round + 100, _LEAST) if self._round else _FIRST
        self._again_at = now + min(wait << self._tries, _MOST)

    def _repeat(self, now):
        self._again_at = None
        if self._reliable or self._tries >= _TRIES:
            self.lost = True
            return
        self._tries += 1
        self._flying = 0
