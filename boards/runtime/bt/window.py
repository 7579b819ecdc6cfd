"""Which counters were seen: rising, or within a window below the highest (RFC 4303, 3.4.3)."""


class Window:
    """`width` 0 takes only counters above the last one; 64 also late ones, each once."""

    def __init__(self, width):
        self._width = width
        self.highest = 0
        self._seen = 1  # bit n: highest - n was taken; counter 0 is the handshake's

    def fresh(self, counter):
        """Whether a record of this counter could still be new."""
        behind = self.highest - counter
        if behind < 0:
            return True
        return behind < self._width and not self._seen >> behind & 1

    def take(self, counter):
        """Remember a counter whose record has opened; True if it is the highest so far."""
        ahead = counter - self.highest
        if ahead <= 0:
            self._seen |= 1 << -ahead
            return False
        keep = (1 << self._width) - 1
        self._seen = ((self._seen << ahead) & keep | 1) if ahead < 64 else 1
        self.highest = counter
        return True
