"""Timers that are messages: what is due comes through the mailbox, in turn with everything else."""

import asyncio
from collections.abc import Callable

from blocktree.fault import Fault, Kind
from blocktree.wire import Record

TIMERS_MAX = 1024  # of one actor


class Timer:
    """One message that is to come, once or again and again; `cancel` it to have no more of it."""

    __slots__ = ("_every", "_put", "_ring", "_timers", "message")

    def __init__(
        self,
        timers: "Timers",
        message: Record,
        put: Callable[[Record], None],
        after_s: float,
        every_s: float | None,
    ) -> None:
        self.message = message
        self._timers = timers
        self._put = put
        self._every = every_s
        self._ring = timers.loop.call_later(after_s, self._rang)

    def cancel(self) -> None:
        """Send it no more."""
        self._ring.cancel()
        self._timers.running.discard(self)

    def _rang(self) -> None:
        if self._every is None:
            self._timers.running.discard(self)
        else:
            self._ring = self._timers.loop.call_later(self._every, self._rang)
        self._put(self.message)


class Timers:
    """The timers of one actor."""

    def __init__(self, put: Callable[[Record], None]) -> None:
        self.loop = asyncio.get_running_loop()
        self.running: set[Timer] = set()
        self._put = put

    def start(self, message: Record, after_s: float, every_s: float | None = None) -> Timer:
        """Send `message` after some time, and then every `every_s` seconds if that is given.

        Raises:
            Fault: BUSY if too many run already.
        """
        if len(self.running) >= TIMERS_MAX:
            raise Fault(Kind.BUSY, f"more than {TIMERS_MAX} timers of one actor")
        timer = Timer(self, message, self._put, after_s, every_s)
        self.running.add(timer)
        return timer

    def cancel(self) -> None:
        """Stop them all."""
        for timer in tuple(self.running):
            timer.cancel()
