"""What a node does by itself, once a second or more seldom; each chore is bounded.

A chore that fails is logged and tried again at its next turn; only the disk stops the node.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from blocktree.fault import Fault, Kind
from blocktree.link import beat
from blocktree.sectors.retention import SECONDS_MAX
from blocktree.sectors.transaction import Expire
from blocktree.store.acquaintance import Acquaintance
from blocktree.store.backfill import Backfill
from blocktree.store.checkpoints import Checkpoints
from blocktree.store.commits import Commits
from blocktree.store.replica import Replica
from blocktree.store.scrub import Scrubber
from blocktree.store.sweep import VERSIONS_MAX, Sweeper
from blocktree.store.worker import run

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
_RECLAIM_BYTES = 4 << 20
_RECLAIM_ROUNDS = 8  # on a full disk
_SWEEP_ROUNDS = 16  # so that sweeping keeps up with two hundred changes a second
_EXPIRE_ROUNDS = 16

Chore = Callable[[], Awaitable[object]]


class Chores:
    """Runs the chores of one node, one at a time, so that they never crowd out the service."""

    def __init__(
        self,
        replica: Replica,
        commits: Commits,
        expire_sessions: Chore,
        look_after_actors: Chore,
    ) -> None:
        self._replica = replica
        self._commits = commits
        self.checkpoints = Checkpoints(replica)
        self.backfill = Backfill(replica)
        self.scrubber = Scrubber(replica, self.backfill, self.checkpoints)
        host = replica.host
        self._sweeper = Sweeper(
            host.disk,
            host.worker,
            host.crew,
            replica.tree,
            replica.staging,
            missed=self.backfill.met,
        )
        self._plan: tuple[tuple[int, Chore], ...] = (
            (1, expire_sessions),
            (1, look_after_actors),
            (1, self._checkpoint),
            (2, self.backfill.run),
            (2, Acquaintance(replica).run),
            (5, self._measure),
            (5, self._relieve),
            (5, self._sweep),
            (10, self._reclaim),
            (30, replica.staging.expire),
            (600, self._retire),
        )
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.ensure_future(self._run())
        self.scrubber.start()

    async def stop(self) -> None:
        """End; the chore at hand is interrupted."""
        await self.scrubber.stop()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        turn = 0
        while True:
            await beat(TICK_SECONDS)
            turn += 1
            for every, chore in self._plan:
                if turn % every == 0:
                    await self._try(chore)

    async def _try(self, chore: Chore) -> None:
        try:
            await chore()
        except Fault as fault:
            if fault.kind not in (Kind.NOT_LEADER, Kind.BUSY, Kind.NO_QUORUM, Kind.UNREACHABLE):
                log.warning("%s: %s", getattr(chore, "__qualname__", chore), fault)
        except Exception:
            log.exception("%s failed", getattr(chore, "__qualname__", chore))

    async def _checkpoint(self) -> None:
        if self.checkpoints.due():
            await self.checkpoints.write()

    async def _measure(self) -> None:
        self._replica.staging.measure()
        if self.checkpoints.heavy():
            await self.checkpoints.write()

    async def _sweep(self) -> None:
        swept = 0
        for _ in range(_SWEEP_ROUNDS):
            some = await self._sweeper.sweep()
            swept += some
            if some < VERSIONS_MAX:
                break
        if swept:
            await self.checkpoints.write()
        await self._sweeper.purge()

    @property
    def _full(self) -> bool:
        """Whether content is refused for want of room."""
        return self._replica.staging.full

    async def _relieve(self) -> None:
        """On a full disk the past gives way, oldest first: what people remove has to make room."""
        if self._full and self._replica.driver.leads:
            outcome = await self._commits.propose(Expire(self._replica.host.now_ns()))
            if outcome.dropped:
                log.warning("the disk is full: %d past versions are given up", len(outcome.dropped))

    async def _reclaim(self) -> None:
        host = self._replica.host
        for _ in range(_RECLAIM_ROUNDS if self._full else 1):
            done = await run(host.worker, lambda: host.disk.reclaim(_RECLAIM_BYTES))
            if done.waiting:
                await self.checkpoints.write()
            if done.idle:
                break

    async def _retire(self) -> None:
        """Give up versions that are older than retention keeps; the leader decides for all."""
        if not self._replica.driver.leads:
            return
        before = self._replica.host.now_ns() - SECONDS_MAX * 1_000_000_000
        for _ in range(_EXPIRE_ROUNDS):
            outcome = await self._commits.propose(Expire(before))
            if not outcome.more:
                return
