"""Commands to one device: sent in order, kept while it is away, each answered once."""

import asyncio
import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree_gateway.devicemessages import QUEUE_MAX, Perform, Performed
from blocktree_gateway.messages import Answer, Command

_ANSWERS_MAX = 32
COMMAND_BYTES_MAX = 190  # of name and arguments, so that a message holds them


@dataclass(slots=True)
class _Waiting:
    perform: Perform
    asked_at: float
    expires_at: float
    done: "asyncio.Future[Performed]"
    sent: bool = False


class Commands:
    """The queue of one device.

    Args:
        now: seconds on a clock that does not go back.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._waiting: OrderedDict[bytes, _Waiting] = OrderedDict()
        self._answered: OrderedDict[bytes, Performed] = OrderedDict()

    def __len__(self) -> int:
        return len(self._waiting)

    async def perform(self, perform: Perform, send: Callable[[], None]) -> Performed:
        """Queue a command, and wait for its answer for as long as it says.

        Raises:
            Fault: BUSY if too many wait, TOO_LARGE.
        """
        waiting = self._queue(perform)
        if isinstance(waiting, Performed):
            return waiting
        send()
        try:
            async with asyncio.timeout(perform.wait_ms / 1000):
                return await asyncio.shield(waiting.done)
        except TimeoutError:
            took = int((self._now() - waiting.asked_at) * 1000)
            return Performed(waiting.perform.id, Kind.BUSY, b"\x80", took, None)

    def to_send(self, *, again: bool = False) -> list[Command]:
        """The commands to send now; with `again` also those whose answer may have been lost."""
        now = self._now()
        for key in [key for key, each in self._waiting.items() if each.expires_at <= now]:
            self._finish(key, Performed(key, Kind.EXPIRED, b"\x80", 0, None))
        out = []
        for each in self._waiting.values():
            if not each.sent or again:
                each.sent = True
                perform = each.perform
                out.append(Command(perform.id, perform.name, perform.arguments))
        return out

    def answered(self, answer: Answer) -> None:
        """The device has answered."""
        waiting = self._waiting.get(answer.id)
        if waiting is None:
            return
        took = int((self._now() - waiting.asked_at) * 1000)
        done = Performed(answer.id, answer.kind, answer.result, took, answer.time_ms)
        self._finish(answer.id, done)

    def give_away(self) -> tuple[Perform, ...]:
        """Everything that waits, for another gateway; those who wait here are told."""
        given = tuple(each.perform for each in self._waiting.values())
        for key in list(self._waiting):
            self._finish(key, Performed(key, Kind.BUSY, b"\x80", 0, None))
        return given

    def take_over(self, performs: tuple[Perform, ...]) -> None:
        """Commands that waited at another gateway."""
        for perform in performs[:QUEUE_MAX]:
            if len(self._waiting) < QUEUE_MAX:
                self._queue(perform)

    def _queue(self, perform: Perform) -> _Waiting | Performed:
        if len(perform.name.encode()) + len(perform.arguments) > COMMAND_BYTES_MAX:
            raise Fault(Kind.TOO_LARGE, f"a command has at most {COMMAND_BYTES_MAX} bytes")
        if perform.id in self._answered:
            return self._answered[perform.id]
        known = self._waiting.get(perform.id)
        if known is not None:
            return known
        if len(self._waiting) >= QUEUE_MAX:
            raise Fault(
                Kind.BUSY,
                f"{QUEUE_MAX} commands wait for the device already",
                next_step="try again when it has woken",
            )
        key = perform.id if len(perform.id) == 8 else os.urandom(8)
        perform = Perform(perform.name, perform.arguments, perform.wait_ms, perform.keep_ms, key)
        now = self._now()
        done = asyncio.get_running_loop().create_future()
        waiting = _Waiting(perform, now, now + perform.keep_ms / 1000, done)
        self._waiting[key] = waiting
        return waiting

    def _finish(self, key: bytes, performed: Performed) -> None:
        waiting = self._waiting.pop(key)
        if not waiting.done.done():
            waiting.done.set_result(performed)
        self._answered[key] = performed
        if len(self._answered) > _ANSWERS_MAX:
            self._answered.popitem(last=False)
