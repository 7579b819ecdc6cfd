"""When what a process does again and again is due: at common moments, so that it wakes once."""

import asyncio
from collections.abc import Callable


def until_beat(now: float, every: float) -> float:
    """Seconds until a multiple of `every` on this clock, at least a quarter of `every` away.

    A timer may ring a moment early; the beat that it rang for is not due again then.

    Args:
        now: seconds.
        every: seconds, more than 0.
    """
    left = every - now % every
    return left if left >= every / 4 else left + every


async def beat(every: float) -> None:
    """Sleep until the next beat of `every` seconds."""
    await asyncio.sleep(until_beat(asyncio.get_running_loop().time(), every))


class Beats:
    """Calls a function at every beat until it is stopped; made in a running loop."""

    def __init__(self, every: float, call: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._every = every
        self._call = call
        self._plan()

    def stop(self) -> None:
        """Call no more."""
        self._timer.cancel()

    def _plan(self) -> None:
        left = until_beat(self._loop.time(), self._every)
        self._timer = self._loop.call_later(left, self._ring)

    def _ring(self) -> None:
        self._plan()
        self._call()
