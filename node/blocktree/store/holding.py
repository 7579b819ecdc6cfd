"""Releases what the core holds back from those whom no quorum needs, a few milliseconds later."""

import asyncio
from collections.abc import Callable

from blocktree.raft import Raft

HOLD_SECONDS = 0.02  # a quorum has committed by then, unless its disks are slow


class Holding:
    """The timer of one driver.

    Args:
        raft: the present core.
        released: told when there is something to send.
        later: plans a call, as `AbstractEventLoop.call_later`.
    """

    def __init__(
        self,
        raft: Callable[[], Raft],
        released: Callable[[], None],
        later: Callable[[float, Callable[[], None]], asyncio.TimerHandle],
    ) -> None:
        self._raft = raft
        self._released = released
        self._later = later
        self._held_from = 0
        self._timer: asyncio.TimerHandle | None = None

    def look(self) -> None:
        """Something happened: what is held back now has its time from now on."""
        held_from = self._raft().held_from
        if held_from == self._held_from:
            return
        self.stop()
        if held_from:
            self._held_from = held_from
            self._timer = self._later(HOLD_SECONDS, self._release)

    def stop(self) -> None:
        """Forget it."""
        if self._timer is not None:
            self._timer.cancel()
        self._held_from, self._timer = 0, None

    def _release(self) -> None:
        self._held_from, self._timer = 0, None
        self._raft().release()
        self._released()
