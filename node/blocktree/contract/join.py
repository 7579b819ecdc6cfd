"""Several roles played by one actor: their machines side by side, each moved by its messages."""

from collections.abc import Sequence

from blocktree.contract.branch import Message
from blocktree.contract.contract import Role
from blocktree.contract.machine import NODES_MAX, Node, Turn, machine
from blocktree.fault import Fault, Kind

_Nodes = tuple[Node, ...]


def joined(roles: Sequence[Role]) -> Node:
    """The node where a conversation begins with an actor that plays all these roles.

    Raises:
        Fault: CONTRACT if two of the roles take, or send, the same message; TOO_LARGE.
    """
    assert all(role.contract is not None for role in roles), "a role outside of a contract"
    starts = [machine(role.contract, role) for role in roles if role.contract is not None]
    return starts[0] if len(starts) == 1 else _Join(roles, tuple(starts)).start


class _Join:
    def __init__(self, roles: Sequence[Role], starts: _Nodes) -> None:
        self._roles = roles
        self._starts = starts
        self._nodes: dict[_Nodes, Node] = {}
        self._unfilled: list[tuple[_Nodes, Node]] = []
        self.start = self._node(starts)
        while self._unfilled:
            self._fill(*self._unfilled.pop())

    def _node(self, parts: _Nodes) -> Node:
        begun = tuple(
            start if part.over else part for part, start in zip(parts, self._starts, strict=True)
        )
        node = self._nodes.get(begun)
        if node is None:
            if len(self._nodes) >= NODES_MAX:
                names = ", ".join(map(str, self._roles))
                what = f"played together they have more than {NODES_MAX} states"
                raise Fault(Kind.TOO_LARGE, what, path=names)
            node = self._nodes[begun] = Node(frozenset().union(*(part.spots for part in begun)))
            self._unfilled.append((begun, node))
        return node

    def _fill(self, parts: _Nodes, node: Node) -> None:
        for place, part in enumerate(parts):
            for message, turn in part.takes.items():
                self._add(node.takes, message, self._turn(turn, parts, place))
            for message, turn in part.sends.items():
                self._add(node.sends, message, self._turn(turn, parts, place))
        if any(part.lost for part in parts):
            pairs = zip(parts, self._starts, strict=True)
            node.lost = self._node(tuple(part.lost or start for part, start in pairs))

    def _add(self, turns: dict[Message, Turn], message: Message, turn: Turn) -> None:
        if message in turns:
            names = ", ".join(map(str, self._roles))
            what = f"two of these roles have {message.__name__}; one actor cannot play both"
            raise Fault(Kind.CONTRACT, what, path=names)
        turns[message] = turn

    def _turn(self, turn: Turn, parts: _Nodes, place: int) -> Turn:
        def moved(to: Node) -> Node:
            return self._node((*parts[:place], to, *parts[place + 1 :]))

        after = {answer: moved(node) for answer, node in turn.after.items()}
        return Turn(after, moved(turn.refused), turn.branches)
