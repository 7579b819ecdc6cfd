"""A bounded queue of messages with one reader and waiting writers.

Invariants
  - Writers of this process find at most `capacity` messages: they wait, first come first served,
    and no longer than their timeout. Other processes have at most `capacity` asks under way here;
    what they tell is bounded by the inbound budget of their links.
  - Messages of one writer are read in the order they were put.
"""

import asyncio
from collections import deque
from typing import Protocol

from blocktree.actors.actor import Call
from blocktree.fault import Fault, Kind
from blocktree.link.link import again
from blocktree.wire import Record


class Answer(Protocol):
    """Where the outcome of a message goes; an `asyncio.Future` is one."""

    def done(self) -> bool:
        """Whether nobody waits for it any more."""

    def set_result(self, result: Record, /) -> None:
        """Answer with a record."""

    def set_exception(self, exception: Fault, /) -> None:
        """Answer with a fault."""


def refuse(answer: Answer | None, fault: Fault) -> None:
    """Answer with a fault, if anybody asked."""
    if answer is not None and not answer.done():
        answer.set_exception(again(fault))


Item = tuple[Record, Call, Answer | None]


class Mailbox:
    """The queue. The reader takes from `queue` itself, and calls `spare` when it has made room."""

    __slots__ = ("_granted", "_loop", "_reader", "asked", "capacity", "queue", "writers")

    def __init__(self, capacity: int) -> None:
        assert capacity > 0
        self.capacity = capacity
        self.queue: deque[Item] = deque()
        self.writers: deque[asyncio.Future[None]] = deque()  # waiting for room
        self.asked = 0  # by other processes, and not answered yet
        self._granted = 0  # writers let go on that have not put yet
        self._reader: asyncio.Future[None] | None = None
        self._loop = asyncio.get_running_loop()

    def put(self, item: Item) -> None:
        """Append, whatever the length, and wake the reader."""
        self.queue.append(item)
        reader = self._reader
        if reader is not None:
            self._reader = None
            if not reader.done():
                reader.set_result(None)

    @property
    def idle(self) -> bool:
        """Whether the reader waits, so that there is nothing to read."""
        return self._reader is not None

    @property
    def full(self) -> bool:
        """Whether a writer has to wait, also behind those who wait already."""
        return len(self.queue) + self._granted >= self.capacity or bool(self.writers)

    async def room(self, timeout_s: float) -> None:
        """Wait until there is room; the caller puts at once, without another await between.

        Raises:
            Fault: BUSY if there is none in time.
        """
        turn = self._loop.create_future()
        self.writers.append(turn)
        timer = self._loop.call_later(timeout_s, _give_up, turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled() and turn.exception() is None:  # granted, but not used
                self._granted -= 1
                self.spare()
            raise
        finally:
            timer.cancel()
        self._granted -= 1

    async def wait(self) -> None:
        """For the reader: return when there is something in the queue."""
        if not self.queue:
            self._reader = self._loop.create_future()
            await self._reader

    def spare(self) -> None:
        """For the reader: let waiting writers go on, as many as there is room for."""
        room = self.capacity - len(self.queue) - self._granted
        while room > 0 and self.writers:
            turn = self.writers.popleft()
            if not turn.done():
                turn.set_result(None)
                self._granted += 1
                room -= 1

    def refuse(self, fault: Fault) -> list[Item]:
        """Turn every waiting writer away and hand out what is still queued."""
        while self.writers:
            turn = self.writers.popleft()
            if not turn.done():
                turn.set_exception(fault)
        left = list(self.queue)
        self.queue.clear()
        return left


def _give_up(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_exception(Fault(Kind.BUSY, "its mailbox is full"))
