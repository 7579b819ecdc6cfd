"""Who belongs, and who of them keeps this domain: joining, and the group following the members.

A node that joined becomes a learner at once and a voter when its log and its blobs are complete, up
to `VOTERS_MAX`; it may lack as many blobs as the leader does, for those may be nowhere. One step at
a time, by the leader.

A node that is removed leaves the group *before* its belonging is withdrawn: who does not belong is
refused by every link at once, and a voter that nobody may hear could leave the others without a
quorum for good. If the leader changes in between, the node is taken in again as a learner, and the
owner's question is asked again.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable

from blocktree.actors import Call
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, MemberKind, check_chain, judge_ticket, member_of
from blocktree.names import Address, PrincipalId, leaf
from blocktree.raft import ChangeKind, NodeId
from blocktree.sectors.transaction import Join as JoinCommand
from blocktree.sectors.transaction import Remove as RemoveCommand
from blocktree.store.commits import Commits
from blocktree.store.messages import (
    STORE_ACTOR,
    GetStatus,
    Join,
    Joined,
    Remove,
    Removed,
    Status,
)
from blocktree.store.replica import Replica
from blocktree.store.roster import Roster, node_id
from blocktree.wire import encode

log = logging.getLogger(__name__)

VOTERS_MAX = 5
_GAP_MAX = 64  # entries a learner may lack to be promoted
_STATUS_SECONDS = 2.0
_SOON_SECONDS = 0.1
_SELDOM_SECONDS = 5.0
_LEAVE_SECONDS = 10.0


def admit(roster: Roster, now: Callable[[], float]) -> Callable[[Identity], None]:
    """What a link asks about each peer: a member, or somebody with a good ticket who comes to join.

    Somebody with a ticket can do nothing but join: every other message asks again whether it
    belongs. A node that has no members yet hears whoever has a chain of the tree.
    """

    def check(identity: Identity) -> None:
        if not len(roster) or roster.belongs(identity):
            return
        if identity.ticket is not None and identity.principal not in roster.everybody():
            judge_ticket(identity, int(now()))
            return
        roster.check(identity)

    return check


class MemberDesk:
    """Records who joins and who is removed."""

    def __init__(
        self, myself: Identity, replica: Replica, commits: Commits, keeper: "GroupKeeper"
    ) -> None:
        self._myself = myself
        self._replica = replica
        self._commits = commits
        self._keeper = keeper

    async def join(self, message: Join, call: Call) -> Joined:
        """Admit a node; a follower passes the question on."""
        replica = self._replica
        roster = replica.tree.roster
        identity = self._identity(message, call)
        if not replica.driver.leads:
            leader = replica.path_of(replica.driver.raft.leader)
            if leader is None or call.sender.process == leader:
                raise replica.not_leader()
            return await replica.runtime.ask(Address(leader, STORE_ACTOR), message, Joined)
        if replica.me not in roster.nodes_beside(replica.runtime.here):  # who joins must know us
            raise Fault(Kind.BUSY, "the tree has just begun", next_step="try again")
        if not roster.belongs(identity):
            judge_ticket(identity, int(replica.host.now()))
        member, index = member_of(identity, message.addresses), replica.driver.applied
        if member not in roster.members():  # who asks again is answered without an entry
            command = JoinCommand(encode(member), replica.host.now_ns())
            outcome = await self._commits.propose(command)
            if (fault := outcome.fault()) is not None:
                if fault.kind is Kind.EXISTS:
                    fault.next_step = f"remove the other first: bt node remove {leaf(member.path)}"
                raise fault
            index = outcome.index
        members = tuple(encode(each) for each in roster.members())
        return Joined(members, index)

    async def remove(self, message: Remove, identity: Identity) -> Removed:
        """Withdraw a belonging, for the owner. A node leaves the group first.

        Who removes by a list of members that is old may mean another who has the path by now.
        """
        replica = self._replica
        if not identity.is_owner:
            raise Fault(Kind.DENIED, "only the owner removes members", path=identity.path)
        if not replica.driver.leads:
            raise replica.not_leader()
        principal = PrincipalId(message.principal)
        async with self._keeper.leaving(node_id(principal)):
            outcome = await self._commits.propose(RemoveCommand(principal, replica.host.now_ns()))
        if (fault := outcome.fault()) is not None:
            raise fault
        roster = replica.tree.roster
        path = roster.everybody()[principal].member.path
        if any(member.path == path for member in roster.members()):
            raise Fault(
                Kind.CONFLICT,
                "it was removed, and another has its name now",
                path=path,
                next_step="see which: bt node ls",
            )
        return Removed(outcome.index)

    async def clear(self, node: NodeId) -> int:
        """Take a node whose log is damaged out of the group; the entry since which it is.

        The keeper takes it in again as a learner of whom nothing is known.

        Raises:
            Fault: NOT_LEADER, NO_QUORUM, USAGE for the last voter.
        """
        driver = self._replica.driver
        if not driver.leads:
            raise self._replica.not_leader()
        log.warning("%s is repaired: its log is damaged", self._replica.path_of(node))
        term = driver.raft.term
        async with self._keeper.leaving(node):
            index = driver.raft.last_index
            while driver.raft.commit < index:
                if not driver.leads or driver.raft.term != term:
                    raise self._replica.not_leader()
                await asyncio.sleep(_SOON_SECONDS / 4)
        self._keeper.wake()
        return index

    def _identity(self, message: Join, call: Call) -> Identity:
        """Who wants to join: the sender itself, or one that a node or the owner speaks for."""
        replica = self._replica
        peer = call.peer
        if peer is None:  # this node itself, which leads and has not read its log yet
            peer = self._myself
        if tuple(message.chain) == peer.chain:
            return peer
        speaks = peer.kind is MemberKind.NODE or peer.is_owner
        if not speaks or not replica.tree.roster.belongs(peer):
            raise Fault(Kind.DENIED, "the chain is not that of the sender")
        return check_chain(message.chain, peer.tree, int(replica.host.now()))


class GroupKeeper:
    """Lets the group follow the members, one step at a time, while this node leads.

    Args:
        replica: its copy of the tree.
        lacking: how many blobs this node is looking for.
    """

    def __init__(self, replica: Replica, lacking: Callable[[], int]) -> None:
        self._replica = replica
        self._lacking = lacking
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._leaving: Counter[NodeId] = Counter()

    def start(self) -> None:
        """Begin to watch."""
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """End."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def wake(self) -> None:
        """The members, the group or the leader changed."""
        self._news.set()

    @contextlib.asynccontextmanager
    async def leaving(self, node: NodeId) -> AsyncIterator[None]:
        """Inside, that node is not of the group, and is not taken in again.

        Raises:
            Fault: USAGE for the last voter; NOT_LEADER; NO_QUORUM if that took too long.
        """
        driver = self._replica.driver
        if driver.membership.voters == (node,):
            raise Fault(Kind.USAGE, "it is the only voter: without it there is no tree")
        self._leaving[node] += 1
        try:
            self.wake()
            async with asyncio.timeout(_LEAVE_SECONDS):
                while node in (*driver.membership.voters, *driver.membership.learners):
                    if not driver.leads:
                        raise self._replica.not_leader()
                    await asyncio.sleep(_SOON_SECONDS / 4)
            yield
        except TimeoutError:
            raise Fault(Kind.NO_QUORUM, "too few voters answer to remove it") from None
        finally:
            self._leaving[node] -= 1
            self._leaving += Counter()  # forgets those that count nothing

    async def _run(self) -> None:
        while True:
            self._news.clear()
            soon = self._replica.driver.leads and await self._try()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_SOON_SECONDS if soon else _SELDOM_SECONDS):
                    await self._news.wait()

    async def _try(self) -> bool:
        """Whether to look again soon."""
        try:
            return await self._step()
        except Fault as fault:
            if fault.kind not in (Kind.BUSY, Kind.NOT_LEADER, Kind.UNREACHABLE):
                log.warning("membership: %s", fault)
            return True
        except Exception:
            log.exception("membership")
            return True

    async def _step(self) -> bool:
        driver, roster = self._replica.driver, self._replica.tree.roster
        if not self._replica.knows_term:  # the roster may lack members that the group has already
            return True
        members = driver.membership
        wanted = roster.nodes_beside(self._replica.runtime.here)
        for node in self._leaving:
            wanted.pop(node, None)
        for node in (*members.voters, *members.learners):
            if node not in wanted:
                self._take_out(node)
                return True
        for node in wanted:
            if node not in members.voters and node not in members.learners:
                log.info("%s becomes a learner", roster.path_of(node))
                driver.change(ChangeKind.ADD, node)
                return True
        if len(members.voters) >= VOTERS_MAX:
            return False
        for node in members.learners:
            if await self._is_complete(node):
                log.info("%s becomes a voter", roster.path_of(node))
                driver.change(ChangeKind.PROMOTE, node)
                break
        return bool(members.learners)

    def _take_out(self, node: NodeId) -> None:
        driver = self._replica.driver
        if node != self._replica.me:
            log.info("a node that was removed leaves the group")
            driver.change(ChangeKind.REMOVE, node)
            return
        others = [voter for voter in driver.membership.voters if voter != node]
        if others:
            matches = driver.raft.matches()
            driver.transfer(max(others, key=lambda voter: matches.get(voter, 0)))

    async def _is_complete(self, node: NodeId) -> bool:
        driver, path = self._replica.driver, self._replica.path_of(node)
        matched = driver.raft.matches().get(node, 0)
        if path is None or not matched or matched + _GAP_MAX < driver.raft.commit:
            return False
        status = await self._replica.runtime.ask(
            Address(path, STORE_ACTOR), GetStatus(), Status, timeout=_STATUS_SECONDS
        )
        near = status.applied and status.applied + _GAP_MAX >= driver.raft.commit
        return bool(near) and 0 <= status.missing <= max(0, self._lacking())
