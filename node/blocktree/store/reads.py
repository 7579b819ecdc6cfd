"""Linearizable reads of headers, and the leases that make most of them unnecessary.

A leader that a quorum heard lately answers from its own state: nobody else can have changed it
(`Raft.lease_ticks`). Otherwise one quorum round confirms all reads that wait together.
"""

import asyncio
from collections.abc import Callable, Sequence

from blocktree.actors import Call
from blocktree.fault import Fault, Kind
from blocktree.names import FileId, Path
from blocktree.store.driver import Driver
from blocktree.store.leadership import Leadership
from blocktree.store.leases import Granted
from blocktree.store.messages import GET_HEADERS_MAX, GetHeaders, Headers
from blocktree.store.recalls import Asks, call_back
from blocktree.store.tree import TreeState

QUORUM_SECONDS = 3.0  # a read that no quorum confirmed by then fails with NO_QUORUM
_LEASE_MARGIN = 0.9  # clocks of leader and client may differ by a tenth in rate


def no_quorum() -> Fault:
    """Too few voters answer."""
    return Fault(
        Kind.NO_QUORUM, "too few nodes answer to decide", next_step="see which are up: bt status"
    )


async def confirm(driver: Driver) -> None:
    """Return when the applied state is the newest there is.

    Raises:
        Fault: NOT_LEADER, BUSY, NO_QUORUM.
    """
    if driver.lease_seconds() > 0:
        return
    try:
        async with asyncio.timeout(QUORUM_SECONDS):
            await driver.read()
    except TimeoutError:
        raise no_quorum() from None


def lease(
    driver: Driver, leadership: Leadership, session: bytes, call: Call, now: float
) -> Granted | None:
    """Extend a session as far as the leader may promise now; None: not at all."""
    seconds = driver.lease_seconds() * _LEASE_MARGIN
    if not session or seconds <= 0:
        return None
    process = call.sender.process
    return leadership.leases.extend(session, process, call.link, now, now + seconds)


def leased_ms(granted: Granted | None, now: float) -> int:
    """What the client is told, from when it sent its request."""
    return max(0, int((granted.until - now) * 1000)) if granted is not None else 0


class Reads:
    """Answers `GetHeaders`.

    Args:
        leading: the present leadership; Fault NOT_LEADER when there is none.
    """

    def __init__(
        self,
        driver: Driver,
        tree: TreeState,
        runtime: Asks,
        leading: Callable[[], Leadership],
        clock: Callable[[], float],
    ) -> None:
        self._driver = driver
        self._tree = tree
        self._runtime = runtime
        self._leading = leading
        self._clock = clock

    async def headers(self, message: GetHeaders, call: Call) -> Headers:
        """Read, and lease what was read."""
        if not message.exclusive:
            return await self._read(message, call)
        with self._leading().leases.claim(message.files):
            return await self._read(message, call)

    # inside

    async def _read(self, message: GetHeaders, call: Call) -> Headers:
        files = message.files
        if len(files) > GET_HEADERS_MAX or len(message.known) not in (0, len(files)):
            raise Fault(Kind.USAGE, f"asks for more than {GET_HEADERS_MAX} headers at once")
        leadership = self._leading()
        leases = leadership.leases
        only_exclusive = not message.exclusive  # what stands in the way of this reader
        if message.exclusive or leases.any_exclusive:
            await call_back(
                leases,
                files,
                message.session,
                runtime=self._runtime,
                clock=self._clock,
                exclusive=only_exclusive,
            )
        await confirm(self._driver)
        # From here to the answer nothing else runs: what is read is what is leased.
        if self._leading() is not leadership:
            raise Fault(Kind.BUSY, "leadership has just moved")
        now = self._clock()
        standing = (message.exclusive or leases.any_exclusive) and leases.outstanding(
            files, message.session, now, exclusive=only_exclusive
        )
        if standing and only_exclusive:
            raise Fault(Kind.BUSY, "another client has taken it for itself meanwhile")
        granted = None
        if not standing:
            granted = lease(self._driver, leadership, message.session, call, now)
            common, alone = ((), files) if message.exclusive else (files, ())
            if granted and not leases.lease(message.session, common, alone):
                granted = None
        return self._answer(message, call.sender.process, leadership, granted, now)

    def _answer(
        self,
        message: GetHeaders,
        process: Path,
        leadership: Leadership,
        granted: Granted | None,
        now: float,
    ) -> Headers:
        holders = leadership.holders
        found = tuple(holders.of(file, but=process) for file in message.files)
        for file in message.files:
            holders.saw(file, process)
        return Headers(
            self._headers(message.files, message.known),
            self._driver.applied,
            leased_ms(granted, now),
            granted.grant if granted else 0,
            found if any(found) else (),
            granted.since if granted else 0,
        )

    def _headers(self, files: Sequence[FileId], known: Sequence[int]) -> tuple[bytes | None, ...]:
        answers: list[bytes | None] = []
        for number, file in enumerate(files):
            header = self._tree.header(file)
            if header is None:
                answers.append(None)
            elif known and known[number] == header.header.version:
                answers.append(b"")
            else:
                answers.append(header.encoded)
        return tuple(answers)
