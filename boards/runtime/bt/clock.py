"""Uptime that does not wrap, and the time of day once a gateway has told it."""

try:
    from time import ticks_diff, ticks_ms
except ImportError:
    from time import monotonic

    def ticks_ms():
        """Milliseconds of a clock that only goes forward."""
        return int(monotonic() * 1000)

    def ticks_diff(later, earlier):
        """Milliseconds between two of them."""
        return later - earlier


class Clock:
    """Milliseconds since the start. A board's ticks wrap after days: ask at least once a day."""

    def __init__(self):
        self._ticks = ticks_ms()
        self._uptime = 0
        self._offset = None

    def uptime(self):
        """Milliseconds since the clock was made."""
        ticks = ticks_ms()
        self._uptime += ticks_diff(ticks, self._ticks)
        self._ticks = ticks
        return self._uptime

    def set(self, asked, told):
        """Set the time of day by an answer to a question asked at uptime `asked`.

        True if it was unknown before, or was wrong by more than two seconds.
        """
        now = self.uptime()
        if not 0 <= now - asked <= 60000:
            return False
        offset = told + (now - asked) // 2 - now
        jumped = self._offset is None or abs(offset - self._offset) > 2000
        self._offset = offset
        return jumped

    def time(self):
        """Milliseconds since 1970, or None while unknown."""
        return None if self._offset is None else self.uptime() + self._offset
