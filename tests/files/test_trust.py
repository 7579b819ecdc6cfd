"""Who asks about members may come upon a node that is behind."""

import asyncio
from typing import Any, cast

import pytest

from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.files.trust import Trust
from blocktree.names import Path
from blocktree.store.messages import GetMembers, Members
from blocktree.wire import encode
from store.world import make_tree

TREE = make_tree()
ALL = tuple(encode(member) for member in TREE.members)
BEHIND, AWAY, NEWEST = Path("/bt1x/behind"), Path("/bt1x/away"), Path("/bt1x/newest")


class Nodes:
    """One has applied little, one does not answer, one knows all; the first is asked first."""

    def __init__(self, newest: Members) -> None:
        self.answers = {BEHIND: Members((), 1), NEWEST: newest}
        self.asked: list[Path] = []

    def nodes(self) -> list[Path]:
        return [BEHIND, AWAY, NEWEST]

    async def ask(self, message: GetMembers, _answer: type[Members]) -> Members:
        return await self.ask_node(BEHIND, message, Members, timeout=1)

    async def ask_node(
        self, node: Path, message: GetMembers, _answer: type[Members], *, timeout: float
    ) -> Members:
        assert timeout
        self.asked.append(node)
        if node not in self.answers:
            raise Fault(Kind.UNREACHABLE, "it is off", path=node)
        found = self.answers[node]
        return Members((), found.index) if message.known == found.index else found


def trust(nodes: Nodes) -> Trust:
    return Trust(cast("SectorService", cast("Any", nodes)), TREE.tree)


def test_a_member_that_one_node_does_not_know_yet_is_asked_for_at_all() -> None:
    nodes = Nodes(Members(ALL, 7))
    judge, user = trust(nodes), TREE.user.key.principal.id
    assert asyncio.run(judge.identity(user)).principal == user
    assert nodes.asked == [BEHIND, BEHIND, AWAY, NEWEST]
    assert asyncio.run(judge.identity(user)).principal == user
    assert len(nodes.asked) == 4  # known now


def test_whom_no_node_knows_never_belonged() -> None:
    nodes = Nodes(Members((), 7))
    with pytest.raises(Fault, match="not a member") as unknown:
        asyncio.run(trust(nodes).identity(TREE.user.key.principal.id))
    assert unknown.value.kind is Kind.DENIED
