"""How a node comes to belong: it founds the tree, or asks any member to record it.

Afterwards it makes sure that the tree knows the addresses where it listens now.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Member, Ticket, member_of
from blocktree.link import Link, Links
from blocktree.names import Address, Path
from blocktree.sectors.transaction import Command, Genesis
from blocktree.sectors.transaction import Join as JoinCommand
from blocktree.store.messages import STORE_ACTOR, Join, Joined
from blocktree.store.roster import Belonging
from blocktree.store.service import SectorStore
from blocktree.wire import decode, encode

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 0.2
_PAUSE_MAX_SECONDS = 10.0
_FOUNDING_PAUSE_SECONDS = 0.05
_OF_THE_TREE = (Kind.SPENT, Kind.EXPIRED, Kind.EXISTS, Kind.DENIED)  # what a member says
_FINAL = (*_OF_THE_TREE, Kind.WRONG_TREE)


class Joining:
    """Brings one node into its tree.

    Args:
        doors: network addresses of likely members, asked for anew before each round.
        addresses: where this node listens.
    """

    def __init__(
        self,
        myself: Identity,
        store: SectorStore,
        links: Links,
        doors: Callable[[], Sequence[str]],
        addresses: tuple[str, ...],
    ) -> None:
        self._myself = myself
        self._store = store
        self._links = links
        self._doors = doors
        self._addresses = addresses
        self._open_doors: dict[str, Link] = {}  # used again, so that asking opens no more links

    async def run(self, ticket: Ticket | None) -> None:
        """Return when the tree has this node and its addresses on record, and this node knows it.

        Raises:
            Fault: SPENT, EXPIRED, EXISTS, DENIED or WRONG_TREE if the tree does not want it.
        """
        roster = self._store.replica.tree.roster
        if not roster.index and ticket is not None and ticket.genesis:
            await self._found(ticket)
        pause, asked = _PAUSE_SECONDS, False
        while not (self._recorded() and roster.index):
            try:
                await self._ask_around(ticket)
                asked = True
            except Fault as fault:
                log.warning("not recorded by the tree yet: %s", fault)
                if fault.kind in _FINAL and not asked:
                    raise
            await asyncio.sleep(pause)  # the members may be others by then
            pause = min(pause * 1.5, _PAUSE_MAX_SECONDS)

    def _recorded(self) -> bool:
        mine = self._store.replica.tree.roster.everybody().get(self._myself.principal)
        return mine is not None and not mine.removed and mine.member.addresses == self._addresses

    async def _found(self, ticket: Ticket) -> None:
        """Begin the tree, with this node as its first."""
        member = member_of(self._myself, self._addresses)
        await self._propose(decode(ticket.genesis, Genesis))
        await self._propose(JoinCommand(encode(member), self._store.replica.host.now_ns()))

    async def _propose(self, command: Command) -> None:
        while True:
            try:
                outcome = await self._store.commits.propose(command)
                break
            except Fault as fault:  # until this node has elected itself
                log.debug("the tree begins soon: %s", fault)
                await asyncio.sleep(_FOUNDING_PAUSE_SECONDS)
        if (refused := outcome.fault()) is not None:
            raise refused

    async def _ask_around(self, ticket: Ticket | None) -> None:
        message = Join(self._myself.chain, self._addresses)
        runtime = self._store.runtime
        doors = [*self._doors(), *(ticket.addresses if ticket is not None else ())]
        fault = Fault(
            Kind.UNREACHABLE, "no member of the tree answers", next_step="is one up? or give --addr"
        )
        for text in ("", *dict.fromkeys(doors)):
            try:
                to, link = await self._open(text)
                joined = await runtime.ask(to, message, Joined, via=link)
            except Fault as cause:
                if fault.kind not in _OF_THE_TREE:  # which nobody else can undo
                    fault = cause
            else:
                self._learn(joined)
                return
        raise fault

    async def _open(self, door: str) -> tuple[Address, Link | None]:
        """Somebody to ask: the leader if it is known ("" for a door), or who answers at a door."""
        if door:
            link = self._open_doors.get(door)
            if link is None or link.closed is not None:
                link = self._open_doors[door] = await self._links.reach(door)
            return Address(link.peer.path, STORE_ACTOR), link
        leader = self._store.replica.leader_path
        if not leader:
            raise Fault(Kind.UNREACHABLE, "no member of the tree is known", next_step="give --addr")
        return Address(Path(leader), STORE_ACTOR), None

    def _learn(self, joined: Joined) -> None:
        """Until the state is here, the members are those that the admitting member told.

        They stay expected while the log is read, which begins with the members of long ago.
        """
        roster = self._store.replica.tree.roster
        members = [decode(each, Member) for each in joined.members]
        if joined.index > roster.index:
            for each in members:
                roster.expect(each)
        if not roster.index:
            roster.replace((Belonging(each) for each in members), 0)
