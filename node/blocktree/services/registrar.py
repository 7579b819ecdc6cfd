"""Registers what this process answers to, keeps it registered, and stops acting in time.

Lease invariant: `holds(path)` is true only while the leader that answered last has promised to give
the path to nobody else. The promise is counted from the moment the request was *sent*, on a clock
that counts time asleep, so it ends here before it ends there.

Faults, before the happy path: a leader that moved or does not answer is asked again (`Renew` every
heartbeat); a claim that cannot be renewed in time is over, `lost` is called, and the path is not
answered from that moment; a claim that was given to another the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from blocktree.actors import Runtime
from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.link import beat
from blocktree.names import Path
from blocktree.store.place_messages import (
    HEARTBEAT_S,
    LEASE_S,
    Register,
    Registered,
    Renew,
    Renewed,
    Stay,
    Withdraw,
    Withdrawn,
)

log = logging.getLogger(__name__)

PATIENCE_S = 10.0  # for a leader, when something is registered
_AGAIN_S = 0.25  # between two tries for a path that another holds
_LEAVE_S = 1.0

Lost = Callable[[Path], None]


@dataclass(slots=True)
class _Entry:
    actor: str
    epoch: int
    until: float  # of a claim
    lost: Lost | None


class Registrar:
    """What this process answers to.

    Args:
        service: actor `places` of the nodes; its session names this life of the process.
        runtime: whose actors they are; they are hosted at their paths by this.
        addresses: where this process listens.
    """

    def __init__(
        self,
        service: SectorService,
        runtime: Runtime,
        addresses: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        self._service = service
        self._runtime = runtime
        self._addresses = addresses
        self._clock = service.clock
        self._entries: dict[Path, _Entry] = {}
        self._revision = 0
        self._told = -1  # the revision that the leader knows
        self._task: asyncio.Task[None] | None = None

    async def offer(self, path: Path, actor: str) -> None:
        """Answer at a path, beside others that may.

        Raises:
            Fault: DENIED without WRITE there, CONFLICT if somebody alone answers there; NO_QUORUM
                and UNREACHABLE without a leader.
        """
        await self._ask(path, actor, sole=False)
        self._add(path, _Entry(actor, 0, 0.0, None))
        self._runtime.host(path, actor)

    async def hold(
        self, path: Path, actor: str, lost: Lost | None = None, *, wait_s: float = 0.0
    ) -> int:
        """Be the only one that answers at a path; the epoch comes back.

        Args:
            path: where.
            actor: of this process.
            lost: called once, at the latest when the lease ends, if it is lost.
            wait_s: how long to try again while another holds it.

        Raises:
            Fault: as `offer`; CONFLICT if another holds it for that long.
        """
        end = self._clock() + wait_s
        while True:
            sent = self._clock()
            try:
                reply = await self._ask(path, actor, sole=True)
            except Fault as fault:
                if fault.kind is not Kind.CONFLICT or self._clock() >= end:
                    raise
                await asyncio.sleep(_AGAIN_S)
                continue
            until = sent + reply.leased_ms / 1000
            self._add(path, _Entry(actor, reply.epoch, until, lost))
            holds = partial(self.holds, path, reply.epoch)
            self._runtime.host(path, actor, epoch=reply.epoch, holds=holds)
            return reply.epoch

    async def adopt(self, path: Path, actor: str, epoch: int, lost: Lost | None = None) -> None:
        """Go on with a claim that this process was given, as `hold`.

        Raises:
            Fault: CONFLICT if it was given to another meanwhile; NO_QUORUM, UNREACHABLE.
        """
        entry = self._entries[path] = _Entry(actor, epoch, 0.0, None)
        self._revision += 1
        try:
            await self._beat()
            self._require(path, epoch)
        except BaseException:
            if self._entries.get(path) is entry:
                del self._entries[path]
                self._revision += 1
            raise
        entry.lost = lost
        self._add(path, entry)
        self._runtime.host(path, actor, epoch=epoch, holds=partial(self.holds, path, epoch))

    def holds(self, path: Path, epoch: int) -> bool:
        """Whether this process may act as the holder of a path under that epoch now."""
        entry = self._entries.get(path)
        return entry is not None and entry.epoch == epoch and self._clock() < entry.until

    async def withdraw(self, path: Path) -> None:
        """Answer at a path no more; others may at once, if the leader can be told."""
        self._runtime.unhost(path)
        if self._entries.pop(path, None) is None:
            return
        self._revision += 1
        with contextlib.suppress(Fault, TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await self._service.ask(Withdraw(self._service.session, path), Withdrawn)

    async def close(self) -> None:
        """Withdraw everything."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_S):
                await asyncio.gather(*(self.withdraw(path) for path in tuple(self._entries)))

    # inside

    def _require(self, path: Path, epoch: int) -> None:
        if not self.holds(path, epoch):
            raise Fault(Kind.CONFLICT, "it was given to another", path=path)

    async def _ask(self, path: Path, actor: str, *, sole: bool) -> Registered:
        message = Register(self._service.session, path, actor, sole, tuple(self._addresses()))
        return await self._service.ask(message, Registered, patience_s=PATIENCE_S)

    def _add(self, path: Path, entry: _Entry) -> None:
        self._entries[path] = entry
        self._revision += 1
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        if entry.epoch:
            self._watch(path, entry)

    async def _run(self) -> None:
        while True:
            await beat(HEARTBEAT_S)
            if not self._entries:
                continue
            try:
                await self._beat()
            except Fault as fault:
                log.info("the heartbeat is not answered: %s", fault)
            except Exception:
                log.exception("heartbeat")

    async def _beat(self) -> None:
        try:
            reply, sent, entries = await self._renew(all_of_it=self._told != self._revision)
        except Fault as fault:
            if fault.kind is not Kind.NOT_FOUND:
                raise
            reply, sent, entries = await self._renew(all_of_it=True)
        for path, entry in entries.items():
            if path in reply.lost:
                self._lose(path, entry)
            elif entry.epoch:
                entry.until = max(entry.until, sent + reply.leased_ms / 1000)

    async def _renew(self, *, all_of_it: bool) -> tuple[Renewed, float, dict[Path, _Entry]]:
        sent, revision, entries = self._clock(), self._revision, dict(self._entries)
        stays = [Stay(path, entry.actor, entry.epoch) for path, entry in entries.items()]
        message = Renew(self._service.session, revision)
        if all_of_it:
            addresses = tuple(self._addresses())
            message = Renew(self._service.session, revision, tuple(stays), addresses)
        reply = await self._service.ask(message, Renewed, patience_s=LEASE_S)
        self._told = revision
        return reply, sent, entries

    def _watch(self, path: Path, entry: _Entry) -> None:
        """Look at a claim when its lease would end."""
        if self._entries.get(path) is not entry:
            return
        left = entry.until - self._clock()
        if left <= 0:
            self._lose(path, entry)
            return
        asyncio.get_running_loop().call_later(left, self._watch, path, entry)

    def _lose(self, path: Path, entry: _Entry) -> None:
        if self._entries.get(path) is not entry:
            return
        del self._entries[path]
        self._revision += 1
        self._runtime.unhost(path)
        log.warning("%s is no longer held under epoch %d", path, entry.epoch)
        if entry.lost is not None:
            entry.lost(path)
