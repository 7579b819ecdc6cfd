"""What the classes of `bt contract stub` speak through: the actor on the other side of a line.

A `State` can be left once: whoever keeps an old one and uses it again gets CONTRACT at once, before
anything is sent.
"""

import asyncio
from typing import Generic, Protocol, TypeVar

from blocktree.actors.actor import Actor, Call, Done, receives
from blocktree.actors.runtime import ASK_TIMEOUT_S
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path
from blocktree.wire import Opaque, Record, decode

_R = TypeVar("_R", bound=Record)
_HEARD_MAX = 256
Answer = asyncio.Future[Record | None]


class Line(Protocol):
    """Speaks with one partner."""

    async def tell(self, message: Record) -> None:
        """Send and forget."""

    async def ask(self, message: Record) -> Record:
        """Send and wait for the answer. Raises `Fault`."""

    async def hear(self) -> tuple[Record, Answer]:
        """Wait for what the partner says, and where the answer goes."""


class State:
    """Where a conversation is; the classes that are made inherit from it."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._left = False

    def _leave(self) -> None:
        if self._left:
            what = f"this {type(self).__name__} was left already: use the state that followed it"
            raise Fault(Kind.CONTRACT, what)
        self._left = True

    async def _tell(self, message: Record) -> None:
        self._leave()
        await self._line.tell(message)

    async def _do(self, message: Record, *, stays: bool) -> None:
        await self._ask(message, Done, stays=stays)

    async def _ask(
        self, message: Record, classes: "type[_R] | tuple[type[_R], ...]", *, stays: bool
    ) -> _R:
        self._leave()
        try:
            answer = await self._line.ask(message)
        except Fault:
            self._left = not stays
            raise
        if not isinstance(answer, classes):
            raise Fault(Kind.CONTRACT, f"{type(answer).__name__} is no answer here")
        return answer

    async def _hear(self, classes: "type[_R] | tuple[type[_R], ...]") -> tuple[_R, Answer]:
        self._leave()
        message, answer = await self._line.hear()
        if not isinstance(message, classes):
            fault = Fault(Kind.CONTRACT, f"{type(message).__name__} may not come here")
            answer.set_exception(fault)
            raise fault
        return message, answer

    def _heard(self, answer: Answer) -> None:
        """What was told needs no answer."""
        if not answer.done():
            answer.set_result(None)


class Question(Generic[_R]):
    """A question that was taken; it is answered or refused once."""

    def __init__(self, message: _R, answer: Answer, line: Line) -> None:
        self.message = message
        self._to = answer
        self._line = line

    def _answer(self, record: Record | None) -> None:
        if self._to.done():
            raise Fault(Kind.CONTRACT, "this question was answered already")
        self._to.set_result(record)

    def _refuse(self, fault: Fault) -> None:
        if self._to.done():
            raise Fault(Kind.CONTRACT, "this question was answered already")
        self._to.set_exception(fault)


class ActorLine(Actor):
    """A line from this process to an actor: an actor itself, so that the partner can speak to it.

    Spawn it; what the partner says waits until somebody hears it, at most `_HEARD_MAX` messages.
    """

    raw = True

    def __init__(self, to: Address | Path, timeout: float = ASK_TIMEOUT_S) -> None:
        self._to = to
        self._timeout = timeout
        self._heard: asyncio.Queue[tuple[Record, Answer]] = asyncio.Queue(_HEARD_MAX)

    @receives
    def take(self, message: Opaque, call: Call) -> Answer:
        """Something came."""
        del call
        answer: Answer = asyncio.get_running_loop().create_future()
        try:
            self._heard.put_nowait((decode(message.data, Record), answer))
        except asyncio.QueueFull:
            raise Fault(Kind.BUSY, "nobody hears it") from None
        return answer

    async def tell(self, message: Record) -> None:
        """Send and forget."""
        await self.runtime.tell(self._to, message, sender=self.address)

    async def ask(self, message: Record) -> Record:
        """Send and wait for the answer.

        Raises:
            Fault: as `Runtime.ask`.
        """
        return await self.runtime.ask(self._to, message, sender=self.address, timeout=self._timeout)

    async def hear(self) -> tuple[Record, Answer]:
        """Wait for what the partner says."""
        return await self._heard.get()
