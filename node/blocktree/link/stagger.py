"""Several ways to one thing, begun one after the other: the slow ones hold nobody up."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from blocktree.fault import Fault

_T = TypeVar("_T")


class AllFailedError(Exception):
    """No try succeeded; `faults` says why, in the order in which they failed."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__(faults)
        self.faults = faults


async def stagger(tries: Iterable[Callable[[], Coroutine[Any, Any, _T]]], pause_s: float) -> _T:
    """Begin each try `pause_s` after the one before, or at once when one has failed.

    The first that succeeds wins, and the others are cancelled.

    Raises:
        AllFailedError: if every try raised a `Fault`; anything else that one raises.
    """
    left = list(tries)
    running: set[asyncio.Task[_T]] = set()
    faults: list[Fault] = []
    try:
        while left or running:
            if left:
                running.add(asyncio.create_task(left.pop(0)()))
            done, running = await asyncio.wait(
                running,
                timeout=pause_s if left else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            faults += [cause for one in done if isinstance(cause := one.exception(), Fault)]
            for one in done:
                if not isinstance(one.exception(), Fault):
                    return one.result()
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
    raise AllFailedError(faults)
