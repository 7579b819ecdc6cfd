"""Timeouts of asks, many to one timer: an ask is usually answered long before its time is up.

A timer for each ask would cost more than the ask within a process. Deadlines are rounded up to
`TICK_S`; those of one tick share a timer, which finds most of them answered and gone.
"""

import asyncio
import math

from blocktree.fault import Fault, Kind
from blocktree.names import Address
from blocktree.wire import Record

TICK_S = 0.125
SHORT_TICK_S = 1 / 64  # for timeouts below a second

Bucket = dict[asyncio.Future[Record], Address]


class Deadlines:
    """Ends asks that wait too long."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buckets: dict[float, Bucket] = {}  # by the time at which they end

    def put(self, answer: asyncio.Future[Record], to: Address, timeout_s: float) -> Bucket:
        """End `answer` with UNREACHABLE in `timeout_s` seconds, unless it was taken out before."""
        tick = TICK_S if timeout_s >= 1 else SHORT_TICK_S
        when = math.ceil((self._loop.time() + timeout_s) / tick) * tick
        bucket = self._buckets.get(when)
        if bucket is None:
            bucket = self._buckets[when] = {}
            self._loop.call_at(when, self._ring, when)
        bucket[answer] = to
        return bucket

    def _ring(self, when: float) -> None:
        for answer, to in self._buckets.pop(when).items():
            if not answer.done():
                answer.set_exception(Fault(Kind.UNREACHABLE, "no answer in time", path=str(to)))
