"""A node whose log is damaged: it decides nothing until the group has repaired it (`repair`).

It may have forgotten votes and entries that it promised, so it first has the leader take it out of
the group; from then on its promises are worth nothing (`raft/SPEC.md`, "In doubt"), and the group
takes it in again as a learner. Its log begins anew at its last checkpoint, or at nothing if the
table is lost, and all the rest comes from the others. It votes again when the group makes it a
voter, which needs all of the log and all blobs.

Invariants: those of `repair`, whose machine this drives; `active` ends only after the disk says
`repaired`; a crash before that begins from the start.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from blocktree.disk import Damage
from blocktree.fault import Fault, Kind
from blocktree.names import Address, Path
from blocktree.raft import Entry, SnapshotMark
from blocktree.store.between import RAFT_ACTOR, Clear, Cleared
from blocktree.store.repair import Repair, Stage
from blocktree.store.worker import run

if TYPE_CHECKING:
    from blocktree.store.replica import Replica

log = logging.getLogger(__name__)

CLEAR_SECONDS = 15.0  # the leader has this long to take a node out of the group
_AGAIN_SECONDS = 0.5
_ALONE_SECONDS = 5.0  # without a word from another node, which the damage may have made unknown
_POLL_SECONDS = 0.1
_HOPS_MAX = 4
_TICK_SECONDS = 0.05  # as the driver's


class NoLog:
    """What a core in doubt is shown in place of the damaged log: nothing behind the mark."""

    def __init__(self, mark: SnapshotMark) -> None:
        self.first_index = mark.index + 1
        self.last_index = mark.index
        self._term = mark.term

    def term(self, index: int) -> int:
        """The term at the mark."""
        assert index == self.last_index, index
        return self._term

    def entries(self, low: int, high: int, bytes_max: int) -> Sequence[Entry]:
        """There are none."""
        raise Fault(Kind.NOT_FOUND, f"no entries {low} to {high} ({bytes_max} bytes)")


class Doubt:
    """The way of one node back into its group.

    Attributes:
        damage: what the disk found; None in a sound node.
        why: a sentence on how far it has come.
    """

    def __init__(self, replica: "Replica") -> None:
        self._replica = replica
        self.damage: Damage | None = replica.host.disk.damage
        self._repair = Repair(
            damaged=self.damage is not None, wait_ticks=replica.host.config.election_ticks_min
        )
        self.why = "it asks the others to be repaired"
        self._since = replica.host.clock()
        self._task: asyncio.Task[None] | None = None

    @property
    def deaf(self) -> bool:
        """Whether the core must hear nothing yet."""
        return self._repair.deaf

    @property
    def active(self) -> bool:
        """Whether this node may not decide anything."""
        return self._repair.active

    @property
    def sentence(self) -> str:
        """What is wrong and what is done about it, "" for a sound node."""
        if self.damage is None:
            return ""
        place = f"segment {self.damage.segment} at offset {self.damage.offset}"
        lost = "with the index the table is lost" if self.damage.table_lost else place
        return f"the log is damaged ({lost}), this node does not vote: {self.why}"

    def fault(self) -> Fault | None:
        """Why this node refuses to serve, if nobody can repair it and so nobody else serves."""
        silent = self._replica.host.clock() - self._since > _ALONE_SECONDS
        if not (self.deaf and silent) or self._others():
            return None
        return Fault(
            Kind.DAMAGED,
            self.sentence,
            next_step="start the other nodes of the tree; a tree of one node has no other copy",
        )

    def start(self) -> None:
        """Begin, if there is anything to do."""
        if self.damage is not None:
            log.error("%s", self.sentence)
            self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Break off; the next start goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    # inside

    def _others(self) -> list[Path]:
        """The nodes that keep the same domain, as far as this one knows."""
        replica = self._replica
        return replica.tree.roster.paths_beside(replica.runtime.here)

    async def _run(self) -> None:
        replica, disk, repair = self._replica, self._replica.host.disk, self._repair
        repair.cleared(await self._cleared())
        while repair.stage is Stage.WAITING:
            await asyncio.sleep(_TICK_SECONDS)
            repair.tick()
        await run(replica.host.worker, disk.forget_log)
        replica.begin_anew()
        repair.forgotten()
        while repair.stage is Stage.CATCHING_UP:
            self.why = f"it has {replica.driver.applied} of {repair.index} entries"
            await asyncio.sleep(_POLL_SECONDS)
            repair.applied(replica.driver.applied, restoring=replica.driver.restoring)
        await run(replica.host.worker, disk.repaired)
        replica.driver.raft.trust()
        repair.noted()
        self.damage = None
        log.warning("the log was repaired by the group, up to entry %d", repair.index)

    async def _cleared(self) -> int:
        """Have the leader take this node out of the group; the entry that says so."""
        said = ""
        while True:
            others = self._others()
            self.why = "no other node of the tree is known" if not others else self.why
            for path in others:
                try:
                    return await self._ask(path)
                except Fault as fault:
                    self.why = f"not repaired yet by {path}: {fault.what}"
            if self.why != said:
                log.error("%s", self.sentence)
                said = self.why
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _ask(self, path: Path) -> int:
        """Ask a node, and whom it names as the leader."""
        for _ in range(_HOPS_MAX):
            to, ask = Address(path, RAFT_ACTOR), self._replica.runtime.ask
            try:
                return (await ask(to, Clear(), Cleared, timeout=CLEAR_SECONDS)).index
            except Fault as fault:
                if fault.kind is not Kind.NOT_LEADER or not fault.next_step.startswith("/"):
                    raise
                path = Path(fault.next_step)
        raise Fault(Kind.NOT_LEADER, "nobody leads just now")
