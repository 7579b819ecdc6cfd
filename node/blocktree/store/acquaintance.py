"""Gets to know members that joined behind this node's back, so that it can hear them.

A node that was away, or is still reading its log from the beginning, knows the members of the past.
If one who joined since leads, it would refuse the only process that can bring it up to date. So
while it knows no leader it asks those it does know who belongs now, and expects them. What it
applies later has the last word: who was removed is refused, whatever anybody said.
"""

import asyncio
import logging

from blocktree.fault import Fault
from blocktree.keys import Member
from blocktree.names import Address, Path
from blocktree.store.messages import STORE_ACTOR, GetMembers, Members
from blocktree.store.replica import Replica
from blocktree.wire import decode

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 2.0


class Acquaintance:
    """Asks around while no leader is known."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica

    async def run(self) -> None:
        """Look once."""
        replica = self._replica
        if replica.leader_path or replica.driver.leads:
            return
        paths = replica.tree.roster.paths_beside(replica.runtime.here)
        for answer in await asyncio.gather(*map(self._ask, paths)):
            if answer is not None:
                self._learn(answer)

    async def _ask(self, path: Path) -> Members | None:
        replica = self._replica
        message = GetMembers(replica.tree.roster.index)
        try:
            return await replica.runtime.ask(
                Address(path, STORE_ACTOR), message, Members, timeout=_ANSWER_SECONDS
            )
        except Fault as fault:
            log.debug("nothing new of the members: %s", fault)
            return None

    def _learn(self, answer: Members) -> None:
        roster = self._replica.tree.roster
        if answer.index <= roster.index:  # who answers is no further than we are
            return
        for each in answer.members:
            member = decode(each, Member)
            if roster.expect(member):
                log.info("%s joined while this node was behind", member.path)
