"""Messages to a path: find who answers there, follow it when it moved, give up in bounded time.

A message is sent again only where it certainly was not taken: no link could be made, or the process
there said MOVED. After anything else its outcome is open, and the sender is told so.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from blocktree.actors.places import Resolver, Target
from blocktree.fault import Fault, Kind
from blocktree.names import Path

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
