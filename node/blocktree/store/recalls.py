"""Calls leases back before a header changes, or waits them out.

A client that answers gives its leases back at once. One that is alive but busy (it may have to
commit what it promised in a directory it holds exclusively) gets five seconds. One that cannot be
reached is not extended any more, and its leases run out within the minimum election timeout.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Protocol

from blocktree.fault import Fault
from blocktree.link import Link
from blocktree.names import Address, FileId
from blocktree.store.leases import Leases, Outstanding
from blocktree.store.messages import FILES_ACTOR, Recall
from blocktree.wire import Record

ANSWER_SECONDS = 5.0


class Asks(Protocol):
    """The part of the actor runtime that is needed here."""

    async def ask(
        self, address: Address, message: Record, *, timeout: float, via: Link | None = None
    ) -> Record:
        """Send a message and wait for its answer."""


async def call_back(
    leases: Leases,
    files: Iterable[FileId],
    but: bytes,
    *,
    runtime: Asks,
    clock: Callable[[], float],
    exclusive: bool = False,
) -> None:
    """Return when no other session than `but` has a lease on these files.

    With `exclusive` only exclusive leases count. The caller has stopped new leases on the files
    (`Leases.begin`), or grants its own in the same step after the last of these rounds.
    """
    wanted = tuple(files)
    while standing := leases.outstanding(wanted, but, clock(), exclusive=exclusive):
        await asyncio.gather(*(_call(leases, item, runtime, clock) for item in standing))


async def _call(
    leases: Leases, item: Outstanding, runtime: Asks, clock: Callable[[], float]
) -> None:
    recall = Recall(item.session, item.files, item.grant)
    try:
        await runtime.ask(
            Address(item.process, FILES_ACTOR), recall, timeout=ANSWER_SECONDS, via=item.via
        )
    except Fault:
        await _wait_out(leases, item.session, clock)
    leases.returned(item.session, item.files, item.grant)


async def _wait_out(leases: Leases, session: bytes, clock: Callable[[], float]) -> None:
    until = leases.stall(session)
    try:
        await asyncio.sleep(max(0.0, until - clock()))
    finally:
        leases.unstall(session)
