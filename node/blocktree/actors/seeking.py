"""Messages to a path: find who answers there, follow it when it moved, give up in bounded time.

A message is sent again only where it certainly was not taken: no link could be made, or the process
there said MOVED. After anything else its outcome is open, and the sender is told so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar, cast

from blocktree.actors.conversations import Talk
from blocktree.actors.delivery import RawAnswer, drained, lane_of
from blocktree.actors.mailbox import Answer
from blocktree.actors.places import Resolver, Target
from blocktree.fault import Fault, Kind
from blocktree.link import Lane, Link
from blocktree.names import Address, Path
from blocktree.wire import Opaque, Record, decode, encode

if TYPE_CHECKING:
    from blocktree.actors.runtime import Runtime

_T = TypeVar("_T")
PAUSE_MIN_S, PAUSE_MAX_S = 0.02, 0.5


class NotSentError(Exception):
    """No link could be made, so nothing was sent; the argument says why."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


async def seek(
    resolver: Resolver | None,
    path: Path,
    attempt: Callable[[Target, float], Awaitable[_T]],
    timeout_s: float,
) -> _T:
    """Try `attempt` on who answers at `path`, until one took it or the time is over.

    Args:
        resolver: of this process.
        path: where the message is to go.
        timeout_s: for all of it.
        attempt: is given the target and the seconds that are left; raises `NotSentError`.

    Raises:
        Fault: UNREACHABLE; whatever else `attempt` or the resolver raise.
    """
    if resolver is None:
        what = "this process cannot look up paths"
        raise Fault(Kind.UNREACHABLE, what, path=path, next_step="say PATH#ACTOR")
    loop = asyncio.get_running_loop()
    end, pause = loop.time() + timeout_s, PAUSE_MIN_S
    while True:
        target = await resolver.resolve(path, timeout=max(end - loop.time(), 0.0))
        try:
            return await attempt(target, max(end - loop.time(), 0.0))
        except NotSentError as cause:
            fault = cause.fault
        except Fault as cause:
            if cause.kind is Kind.UNREACHABLE:
                resolver.forget(target)
            if cause.kind is not Kind.MOVED:
                raise
            fault = cause
        resolver.forget(target)
        if loop.time() + pause >= end:
            raise Fault(Kind.UNREACHABLE, f"nobody answers there: {fault.what}", path=path)
        await asyncio.sleep(pause)
        pause = min(2 * pause, PAUSE_MAX_S)


def as_asked(record: Record, *, raw: bool) -> Record:
    """An answer of this process: read, or not, as who asked wants it."""
    if raw:
        return record if isinstance(record, Opaque) else Opaque(encode(record))
    return decode(record.data, Record) if isinstance(record, Opaque) else record


def expected(record: Record, expect: type[Record], to: Address | Path) -> Record:
    """An answer, if it is of the class that who asked expects.

    Raises:
        Fault: CONTRACT.
    """
    if not isinstance(record, expect):
        raise Fault(Kind.CONTRACT, f"it answered with {type(record).__name__}", path=str(to))
    return record


class Seeker:
    """Tells and asks what answers at a path, for the actors of one process."""

    def __init__(self, runtime: "Runtime") -> None:
        self._runtime = runtime

    async def tell(
        self, path: Path, message: Record, sender: Address | None, lane: Lane | None, timeout: float
    ) -> None:
        """As `Runtime.tell`."""
        runtime = self._runtime

        async def attempt(target: Target, left: float) -> None:
            if target.address.process == runtime.here:
                mailbox = runtime.mailbox_at(path, target.epoch)
                if mailbox.full:
                    await mailbox.room(left)
                runtime.says(sender, message, target.address)
                actor = runtime.places.at(path, target.epoch)
                mailbox.put((runtime.fitting(message, actor), runtime.call_of(sender, path), None))
                return
            link = await self._link(target, message, lane, left)
            if link.congested:
                await drained(link, left)
            runtime.says(sender, message, target.address, link)
            runtime.outward().tell(link, target, sender, message)

        await seek(runtime.resolver, path, attempt, timeout)

    async def ask(
        self,
        path: Path,
        message: Record,
        sender: Address | None,
        lane: Lane | None,
        timeout: float,
        *,
        raw: bool = False,
    ) -> Record:
        """As `Runtime.ask`, whatever the class of the answer; `raw`: an `Opaque`."""
        runtime = self._runtime

        async def attempt(target: Target, left: float) -> Record:
            loop = asyncio.get_running_loop()
            answer = RawAnswer(loop=loop) if raw else loop.create_future()
            waiting = runtime.deadlines.put(answer, target.address, left)
            try:
                return await self._exchange(target, message, sender, lane, left, answer)
            finally:
                del waiting[answer]
                if not answer.cancel() and not answer.cancelled():
                    answer.exception()  # seen, also when the wait ended for another reason

        try:
            return await seek(runtime.resolver, path, attempt, timeout)
        except Fault as fault:
            raise fault.at(path) from None

    async def _exchange(  # noqa: PLR0917 - what one ask consists of
        self,
        target: Target,
        message: Record,
        sender: Address | None,
        lane: Lane | None,
        left: float,
        answer: asyncio.Future[Record],
    ) -> Record:
        runtime = self._runtime
        talk: Talk | None = None
        try:
            if target.address.process == runtime.here:
                mailbox = runtime.mailbox_at(target.path, target.epoch)
                if mailbox.full:
                    await mailbox.room(left)
                talk = runtime.asks(sender, message, target.address)
                call = runtime.call_of(sender, target.path)
                actor = runtime.places.at(target.path, target.epoch)
                mailbox.put((runtime.fitting(message, actor), call, cast("Answer", answer)))
                record = as_asked(await answer, raw=isinstance(answer, RawAnswer))
            else:
                link = await self._link(target, message, lane, left)
                talk = runtime.asks(sender, message, target.address, link)
                record = await runtime.outward().ask(link, target, sender, message, answer)
        except Fault as fault:
            if talk is not None:
                talk.unsent(message, fault)
            raise
        if talk is not None:
            talk.sent(message, record)
        return record

    async def _link(self, target: Target, message: Record, lane: Lane | None, left: float) -> Link:
        which = lane_of(message) if lane is None else lane
        try:
            return await self._runtime.outward().link(target.address.process, which, None, left)
        except Fault as fault:
            raise NotSentError(fault) from None
