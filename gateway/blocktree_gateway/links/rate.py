"""Rates: a log line now and then, and so many of a thing in a second."""

import logging
import time
from collections.abc import Callable
from typing import Any

LINE_SECONDS = 10.0  # between two lines about the same kind of trouble


class Seldom:
    """Writes a warning at most every ten seconds, and says how many it kept to itself.

    Args:
        now: seconds on a clock that does not go back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._next = 0.0
        self._kept = 0

    def __call__(self, log: logging.Logger, text: str, *parts: Any) -> None:
        """Say it, or count it."""
        now = self._now()
        if now < self._next:
            self._kept += 1
            return
        more = f" ({self._kept} more like it)" if self._kept else ""
        log.warning(text + more, *parts)
        self._next, self._kept = now + LINE_SECONDS, 0


class Bucket:
    """A token bucket: `burst` at once, `rate` a second in the long run.

    Args:
        rate: tokens a second.
        burst: the most that gather.
        now: seconds on a clock that does not go back.
    """

    def __init__(
        self, rate: float, burst: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._tokens = burst
        self._at = now()

    def take(self) -> bool:
        """Whether there was one left."""
        now = self._now()
        self._tokens = min(self._burst, self._tokens + (now - self._at) * self._rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
