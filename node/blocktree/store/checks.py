"""Judging transactions before they are proposed: their form and their signatures.

Checking a signature keeps the interpreter for itself (measured: two threads are no quicker than
one), so a thread would only add its own cost. Instead the loop is kept free: transactions are
checked as they come for up to four milliseconds in one turn of it, and the rest in later turns.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable

_TURN_SECONDS = 0.004
Job = Callable[[], None]


class Checks:
    """Runs what checks a transaction, now or in a later turn of the loop, in the order it came."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._spent = 0.0  # in this turn of the loop
        self._waiting: deque[Job] = deque()

    def __len__(self) -> int:
        """How many wait for a later turn."""
        return len(self._waiting)

    def run(self, job: Job) -> None:
        """Run a job, which must not raise: at once, if this turn of the loop has time for it."""
        if self._waiting or self._spent >= _TURN_SECONDS:
            self._waiting.append(job)
            return
        if not self._spent:
            self._loop.call_soon(self._turn_over)
        self._run(job)

    def _run(self, job: Job) -> None:
        before = time.perf_counter()
        job()
        self._spent += time.perf_counter() - before

    def _turn_over(self) -> None:
        """Let as many go on as fit into this turn."""
        self._spent = 0.0
        while self._waiting and self._spent < _TURN_SECONDS:
            self._run(self._waiting.popleft())
        if self._spent:
            self._loop.call_soon(self._turn_over)
