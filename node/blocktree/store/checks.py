"""Judging transactions before they are proposed: their form and their signatures.

Checking a signature keeps the interpreter for itself (measured: two threads are no quicker than
one), so a thread would only add its own cost. Instead the loop is kept free: transactions are
checked as they come for up to four milliseconds in one turn of it, and the rest in later turns.
"""

import asyncio
import time
from collections import deque
from contextlib import suppress

from blocktree.keys import Principal
from blocktree.sectors.check import Checked, check_commit

_TURN_SECONDS = 0.004
_BATCH = 16  # of those that wait, let go on in one turn


class Checks:
    """Checks transactions, now or in a later turn of the loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._spent = 0.0  # in this turn of the loop
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def free(self) -> bool:
        """Whether this turn of the loop still has time for `now`."""
        return self._spent < _TURN_SECONDS and not self._waiting

    def now(self, encoded: bytes, writer: Principal) -> Checked:
        """Check at once, in the turn that `free` spoke of.

        Raises:
            Fault: as `check_commit`.
        """
        if not self._spent:
            self._loop.call_soon(self._turn_over)
        before = time.perf_counter()
        try:
            return check_commit(encoded, writer)
        finally:
            self._spent += time.perf_counter() - before

    async def check(self, encoded: bytes, writer: Principal) -> Checked:
        """Check in turn: first come, first served.

        Raises:
            Fault: as `check_commit`.
        """
        if not self.free:
            turn: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(turn)
            await turn
        return self.now(encoded, writer)

    def _turn_over(self) -> None:
        """Let as many go on as are likely to fit into this turn."""
        self._spent = 0.0
        with suppress(IndexError):
            for _ in range(_BATCH):
                turn = self._waiting.popleft()
                if not turn.done():
                    turn.set_result(None)
