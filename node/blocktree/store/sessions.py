"""Sessions of clients at the leader: kept alive, with their leases and their locks."""

import asyncio
import itertools
from collections.abc import Callable

from blocktree.actors import Call
from blocktree.fault import Fault, Kind
from blocktree.store.driver import Driver
from blocktree.store.leadership import Leadership
from blocktree.store.locks import Waiter, Woken
from blocktree.store.messages import (
    SESSION_BYTES,
    Alive,
    GetLock,
    InTheWay,
    KeepAlive,
    Lock,
    Locked,
    Unlock,
)
from blocktree.store.reads import confirm, lease, leased_ms

WAIT_SECONDS = (
    8.0  # then the waiter is told BUSY and asks again: answers must not be long in coming
)


class Sessions:
    """Answers what concerns a session.

    A lock is granted only while nobody else can lead: two leaders never grant the same range, since
    the new one takes no new locks until the sessions of the old one had time to re-assert theirs.
    """

    def __init__(
        self, driver: Driver, leading: Callable[[], Leadership], clock: Callable[[], float]
    ) -> None:
        self._driver = driver
        self._leading = leading
        self._clock = clock
        self._numbers = itertools.count(1)

    async def keep_alive(self, message: KeepAlive, call: Call) -> Alive:
        """Extend a session and re-assert its locks, or end it."""
        leadership = await self._confirmed(message.session)
        now = self._clock()
        if message.leaving:
            leadership.leases.leave(message.session)
            wake(leadership, leadership.locks.drop(message.session, now))
            return Alive(0, leadership.term)
        leadership.locks.alive(message.session, now)
        if message.locks:
            leadership.locks.reassert(message.session, message.locks, now)
        granted = lease(self._driver, leadership, message.session, call, now)
        return Alive(
            leased_ms(granted, now),
            leadership.term,
            int(leadership.locks.grace(now) * 1000),
            granted.since if granted is not None else 0,
        )

    async def lock(self, message: Lock) -> Locked:
        """Take a lock, or wait a while for it."""
        leadership = await self._confirmed(message.session)
        table, file = leadership.locks, message.file
        if table.take(message.session, file, message.lock, self._clock()) is None:
            return Locked(leadership.term)
        if not message.wait:
            raise Fault(Kind.CONFLICT, "somebody else holds a lock there", path=file.hex())
        waiter = Waiter(next(self._numbers))
        table.wait(waiter, message.session, file, message.lock)
        future = leadership.waiting[waiter] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await future
        except TimeoutError:
            raise Fault(Kind.BUSY, "still waiting for the lock", path=file.hex()) from None
        finally:
            leadership.waiting.pop(waiter, None)
            table.give_up(waiter, file)
        return Locked(leadership.term)

    async def unlock(self, message: Unlock) -> Locked:
        """Free a range."""
        leadership = await self._confirmed(message.session)
        woken = leadership.locks.free(message.session, message.file, message.lock, self._clock())
        wake(leadership, woken)
        return Locked(leadership.term)

    async def probe(self, message: GetLock) -> InTheWay:
        """What stands in the way of a lock."""
        leadership = await self._confirmed(message.session)
        return InTheWay(leadership.locks.probe(message.session, message.file, message.lock))

    async def _confirmed(self, session: bytes) -> Leadership:
        if len(session) != SESSION_BYTES:
            raise Fault(Kind.USAGE, f"a session id has {SESSION_BYTES} bytes")
        leadership = self._leading()
        await confirm(self._driver)
        if self._leading() is not leadership:
            raise Fault(Kind.BUSY, "leadership has just moved")
        return leadership


def wake(leadership: Leadership, woken: Woken) -> None:
    """Tell those whose wait is over."""
    for waiter in woken.granted:
        future = leadership.waiting.get(waiter)
        if future is not None and not future.done():
            future.set_result(None)
    for waiter in woken.withdrawn:
        future = leadership.waiting.get(waiter)
        if future is not None and not future.done():
            future.set_exception(Fault(Kind.CANCELLED, "no longer waiting for the lock"))
