"""The last lines that an actor of the tree printed or logged, numbered."""

import time
from collections import deque
from collections.abc import Callable

LINES_MAX = 500
LINE_BYTES_MAX = 1024


class Journal:
    """A bounded log: the oldest lines make room.

    Invariant: lines are numbered from 1 without gaps, the last `len(lines)` of them are here.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lines: deque[str] = deque(maxlen=LINES_MAX)
        self.count = 0  # lines that ever were

    def add(self, text: str) -> None:
        """One line; what is over LINE_BYTES_MAX is cut."""
        self.count += 1
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self._now()))
        self._lines.append(f"{stamp} {text.rstrip()[:LINE_BYTES_MAX]}")

    def after(self, number: int) -> tuple[tuple[str, ...], int]:
        """The lines behind a number, and the number of the last."""
        first = self.count - len(self._lines)
        return tuple(self._lines)[max(0, number - first) :], self.count
