"""Notices that the tree does not want this node any more, although its own state knows nothing.

A node that was removed is refused by the others and gets no entry that tells it so. What they say
is believed when a majority of the other voters it knows refuse it: one of them alone may be behind,
and a tree in which a majority refuses a node works without that node.
"""

import asyncio
import contextlib
import logging

from blocktree.fault import Fault, Kind
from blocktree.link import Link, Links, beat
from blocktree.names import Path, PrincipalId
from blocktree.raft.membership import quorum
from blocktree.store.replica import Replica

log = logging.getLogger(__name__)

_ANSWER_SECONDS = 3.0  # a start waits no longer for those who do not answer
_LOOK_SECONDS = 2.0


def removed(here: Path, why: str) -> Fault:
    """What a node says that the tree does not want any more."""
    return Fault(
        Kind.DENIED,
        f"this node was removed from the tree: {why}",
        path=here,
        next_step="to use this machine again, remove the node's state directory and join with a "
        "new ticket: bt node invite",
    )


class Standing:
    """Asks the other voters by dialling them; an open link is an answer, too.

    Args:
        principal: of this node.
        replica: its copy of the tree, for who votes.
        links: to the others.
    """

    def __init__(self, principal: PrincipalId, replica: Replica, links: Links) -> None:
        self._principal = principal
        self._replica = replica
        self._links = links

    async def check(self) -> None:
        """Look once; who does not answer in time says nothing.

        Raises:
            Fault: DENIED if this node was removed.
        """
        mine = self._replica.tree.roster.everybody().get(self._principal)
        if mine is None:
            return  # about to join
        if mine.removed:
            raise removed(self._replica.runtime.here, "its own copy of the tree says so")
        others = self._replica.voter_paths()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ANSWER_SECONDS):
                await asyncio.gather(*map(self._call, others), return_exceptions=True)
        refusals = [fault for path in others if (fault := self._refusal(path)) is not None]
        if others and len(refusals) >= quorum(len(others)):
            why = f"{len(refusals)} of {len(others)} other voters refuse it"
            raise removed(self._replica.runtime.here, why)

    async def watch(self) -> Fault:
        """Look again and again; the fault, once this node was removed."""
        while True:
            await beat(_LOOK_SECONDS)
            try:
                await self.check()
            except Fault as fault:
                return fault

    def _call(self, path: Path) -> "asyncio.Task[Link]":
        return asyncio.ensure_future(self._links.connect(path))

    def _refusal(self, path: Path) -> Fault | None:
        fault = None if self._links.find(path) else self._links.why_not(path)
        return fault if fault is not None and fault.kind is Kind.DENIED else None
