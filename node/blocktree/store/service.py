"""The sector service of one node: its parts wired together, and what happens when it leads."""

import asyncio
import logging
from collections.abc import Callable

from blocktree.actors import Call, Runtime
from blocktree.actors.blames import BLAMES_ACTOR, BlamesActor
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Principal
from blocktree.names import PrincipalId
from blocktree.raft import Entry, EntryKind, NodeId, Role
from blocktree.sectors.claims import Claim, Release
from blocktree.sectors.transaction import Outcome
from blocktree.store.between import RAFT_ACTOR
from blocktree.store.chores import Chores
from blocktree.store.commits import COMMIT_SECONDS, Commits
from blocktree.store.desk import StoreActor
from blocktree.store.entries import Prepared
from blocktree.store.group import GroupActor
from blocktree.store.host import Host
from blocktree.store.leadership import Leadership
from blocktree.store.membership import GroupKeeper, MemberDesk
from blocktree.store.messages import STORE_ACTOR, Status
from blocktree.store.place_messages import PLACES_ACTOR
from blocktree.store.places import PlacesActor
from blocktree.store.reads import Reads, no_quorum
from blocktree.store.replica import Replica
from blocktree.store.roster import node_id
from blocktree.store.sessions import Sessions, wake
from blocktree.store.status import status_of
from blocktree.store.steward import Steward

log = logging.getLogger(__name__)


class SectorStore:
    """One node's part of the sector service.

    Make it, `start` it, and `stop` it. `members_changed` is called after the members changed;
    `failed` is done when the node has to stop, with the reason.

    Args:
        myself: who this node is.
        runtime: where its two actors are spawned.
        host: disk, threads, clocks, dice.
    """

    def __init__(self, myself: Identity, runtime: Runtime, host: Host) -> None:
        self.myself = myself
        self.runtime = runtime
        self.replica = Replica(node_id(myself.principal), runtime, host, self)
        self.commits = Commits(self.replica, self.leading, self.writer_of)
        self.reads = Reads(
            self.replica.driver, self.replica.tree, runtime, self.leading, host.clock
        )
        self.sessions = Sessions(self.replica.driver, self.leading, host.clock)
        self.keeper = GroupKeeper(self.replica, lambda: self.chores.backfill.missing)
        self.members = MemberDesk(myself, self.replica, self.commits, self.keeper)
        self.steward = Steward(self.replica, self.commits, self.leading)
        self.replica.tree.roster.me = myself.principal
        self.chores = Chores(
            self.replica, self.commits, self._expire_sessions, self.steward.look_after
        )
        self.failed: asyncio.Future[Fault] = asyncio.get_running_loop().create_future()
        self.members_changed: Callable[[], None] = lambda: None
        self._leadership: Leadership | None = None
        self._writers: dict[PrincipalId, Principal] = {}  # of the members as they are now

    async def start(self) -> None:
        """Take part in the group and answer."""
        await self.runtime.spawn(RAFT_ACTOR, GroupActor(self.replica, self.members.clear))
        await self.runtime.spawn(STORE_ACTOR, StoreActor(self))
        await self.runtime.spawn(PLACES_ACTOR, PlacesActor(self))
        blames = BlamesActor(self.runtime.ledger, self.member)
        await self.runtime.spawn(BLAMES_ACTOR, blames)
        self.replica.start()
        self.chores.start()
        self.keeper.start()

    async def stop(self) -> None:
        """Stop answering and leave a checkpoint behind, so that the next start is quick."""
        await self.keeper.stop()
        await self.chores.stop()
        await self.runtime.stop(PLACES_ACTOR)
        await self.runtime.stop(BLAMES_ACTOR)
        await self.runtime.stop(STORE_ACTOR)
        await self.commits.stop()
        await self.runtime.stop(RAFT_ACTOR)
        await self.replica.stop()
        self._end_leadership()
        if self.replica.failed is None:
            try:
                await self.chores.checkpoints.write()
            except Fault as fault:
                log.warning("no checkpoint at the end: %s", fault)

    def leading(self) -> Leadership:
        """The present leadership.

        Raises:
            Fault: NOT_LEADER.
        """
        if self._leadership is None or not self.replica.driver.leads:
            raise self.replica.not_leader()
        return self._leadership

    def writer_of(self, identity: Identity) -> Principal:
        """Whose signatures a process may commit: its user's if it acts for one, else its own.

        Raises:
            Fault: DENIED if that user does not belong; BUSY while this node cannot know that yet.
        """
        if identity.acts_for == identity.principal:
            return identity.key
        writer = self._writers.get(identity.acts_for)
        if writer is None:
            try:
                writer = self.replica.tree.sectors.identify(identity.acts_for).key
            except Fault:
                roster = self.replica.tree.roster
                roster.check_read()
                if not self.replica.knows_term:
                    what = "this node still reads its log"
                elif not len(roster):
                    what = "the tree has just begun"
                else:
                    raise
                raise Fault(Kind.BUSY, what, next_step="try again") from None
            self._writers[identity.acts_for] = writer
        return writer

    def member(self, call: Call) -> Identity:
        """The sender of a message, if it belongs.

        Raises:
            Fault: DENIED.
        """
        identity = call.peer or self.myself
        roster = self.replica.tree.roster
        if call.peer is not None:
            roster.check(identity)
        elif len(roster) and not roster.belongs(identity):
            raise Fault(Kind.DENIED, "this node was removed from the tree")
        return identity

    def status(self) -> Status:
        """How this node is."""
        sessions = self._leadership.leases.sessions if self._leadership else 0
        missing = -1 if self.replica.doubt.active else self.chores.backfill.missing
        return status_of(self.replica, self.chores.scrubber, sessions=sessions, missing=missing)

    # what the replica tells

    def applied(self, entry: Entry, prepared: Prepared | None, outcome: Outcome | None) -> None:
        """An entry took effect."""
        if self._leadership is not None:
            self._leadership.applied(entry.index, entry.term, outcome)
            if prepared is not None and isinstance(prepared.command, Claim | Release):
                now = self.replica.host.clock()
                self._leadership.registry.decided(prepared.command.path, now)
        if outcome is not None and outcome.members_changed:
            self._writers.clear()
            self.members_changed()
            self.keeper.wake()
        elif entry.kind is EntryKind.MEMBERS:
            self.keeper.wake()

    def restored(self) -> None:
        """The state was replaced, the members with it."""
        self._writers.clear()
        self.members_changed()

    def led(self, term: int, role: Role, leader: NodeId) -> None:
        """Term, role or leader changed."""
        del leader
        if self._leadership is not None and (
            role is not Role.LEADER or term != self._leadership.term
        ):
            self._end_leadership()
        if role is Role.LEADER and self._leadership is None:
            self._leadership = Leadership(term, self.replica.host.clock())
            self.keeper.wake()

    def broken(self, fault: Fault) -> None:
        """The disk failed: nothing can be promised any more."""
        self._end_leadership()
        if not self.failed.done():
            self.failed.set_result(fault)

    # inside

    def _end_leadership(self) -> None:
        leadership, self._leadership = self._leadership, None
        if leadership is not None:
            leadership.end(self.replica.not_leader)

    async def _expire_sessions(self) -> None:
        leadership = self._leadership
        if leadership is not None:
            now = self.replica.host.clock()
            leadership.late(now - COMMIT_SECONDS, no_quorum)
            leadership.leases.expire(now)
            leadership.registry.expire(now)
            wake(leadership, leadership.locks.expire(now))
