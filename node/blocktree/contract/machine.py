"""What one role sees of one partner, as a table: which messages may come now, and what follows.

The states of a role are projected on the traffic with one partner and made deterministic by the
subset construction: what the role does by itself (a timeout, traffic with third roles) is invisible
to this partner, so a `Node` is the set of states the role may be in. A partner is blamed only for
what fits none of them. Computed once for each role; nothing here runs when messages flow.
"""

from dataclasses import dataclass, field

from blocktree.contract.branch import ASKED, RECEIVES, Branch, Message, Verb
from blocktree.contract.contract import Contract, Role
from blocktree.fault import Fault, Kind

NODES_MAX = 1024
Spot = tuple[str, str]  # partner, state
_Spots = frozenset[Spot]


@dataclass(eq=False, slots=True)
class Turn:
    """What follows a message. `after` of a class is the node once it was answered so.

    For a told message the only key is None.
    """

    after: dict[Message | None, "Node"]
    refused: "Node"
    branches: tuple[Branch, ...]

    @property
    def only(self) -> "Node | None":
        """The node that follows whatever the answer is, if there is one."""
        nodes = set(map(id, self.after.values()))
        return next(iter(self.after.values())) if len(nodes) == 1 else None


@dataclass(eq=False, slots=True)
class Node:
    """Where a conversation may be."""

    spots: _Spots
    takes: dict[Message, Turn] = field(default_factory=dict)
    sends: dict[Message, Turn] = field(default_factory=dict)
    lost: "Node | None" = None  # where the next conversation begins when the partner is gone
    over: bool = False  # the conversation has ended; the next message begins another

    @property
    def name(self) -> str:
        """The states, for people: `idle`, or `idle|busy` when it may be either."""
        return "|".join(sorted({state for _, state in self.spots}))

    @property
    def expected(self) -> tuple[str, ...]:
        """The names of the messages that may come."""
        return tuple(sorted(message.__name__ for message in self.takes))


def machine(contract: Contract, role: Role) -> Node:
    """The node where a conversation of `role` with any partner begins.

    The contract must have passed `check`.

    Raises:
        Fault: TOO_LARGE if there are more than `NODES_MAX` nodes.
    """
    return _Projection(contract, role).start


class _Projection:
    def __init__(self, contract: Contract, role: Role) -> None:
        self._contract = contract
        self._role = role
        self._nodes: dict[_Spots, Node] = {}
        self._unfilled: list[Node] = []
        partners = {p.name for _, branch in role.branches() if (p := self._partner(branch))}
        self.start = self._node({(name, role.start.name) for name in sorted(partners)})
        while self._unfilled:
            self._fill(self._unfilled.pop())

    def _partner(self, branch: Branch) -> Role | None:
        if branch.verb is Verb.AFTER:
            return None
        return self._contract.partner(self._role, branch)

    def _node(self, spots: set[Spot]) -> Node:
        closed = self._close(spots)
        node = self._nodes.get(closed)
        if node is None:
            if len(self._nodes) >= NODES_MAX:
                what = f"one partner can see more than {NODES_MAX} states"
                raise Fault(Kind.TOO_LARGE, what, path=str(self._role))
            node = self._nodes[closed] = Node(closed)
            self._unfilled.append(node)
        return node

    def _close(self, spots: set[Spot]) -> _Spots:
        """With all states that are reached without traffic with that partner."""
        closed, open_spots = set(spots), list(spots)
        while open_spots:
            partner, state = open_spots.pop()
            for branch in self._role.by_name[state].branches:
                if branch.verb is Verb.LOST or self._seen(branch, partner):
                    continue
                for spot in ((partner, name) for name in branch.targets(state)):
                    if spot not in closed:
                        closed.add(spot)
                        open_spots.append(spot)
        return frozenset(closed)

    def _seen(self, branch: Branch, partner: str) -> bool:
        other = self._partner(branch)
        return other is not None and other.name == partner

    def _fill(self, node: Node) -> None:
        states = [(spot, self._role.by_name[spot[1]]) for spot in sorted(node.spots)]
        node.over = bool(states) and all(state.final for _, state in states)
        takes: dict[Message, list[tuple[Spot, Branch]]] = {}
        sends: dict[Message, list[tuple[Spot, Branch]]] = {}
        lost: set[Spot] = set()
        for spot, state in states:
            for branch in state.branches:
                if not self._seen(branch, spot[0]):
                    continue
                if branch.verb is Verb.LOST:
                    lost.add((spot[0], branch.then or spot[1]))
                elif branch.message is not None:
                    into = takes if branch.verb in RECEIVES else sends
                    into.setdefault(branch.message, []).append((spot, branch))
        node.takes = {message: self._turn(some) for message, some in takes.items()}
        node.sends = {message: self._turn(some) for message, some in sends.items()}
        node.lost = self._node(lost) if lost else None

    def _turn(self, some: list[tuple[Spot, Branch]]) -> Turn:
        after: dict[Message | None, set[Spot]] = {}
        refused: set[Spot] = set()
        for (partner, state), branch in some:
            outcomes = branch.outcomes or ((None, branch.then),)
            for answer, then in outcomes:
                after.setdefault(answer, set()).add((partner, then or state))
            back = branch.refused if branch.verb in ASKED else ""
            refused.add((partner, back or state))
        return Turn(
            {answer: self._node(spots) for answer, spots in after.items()},
            self._node(refused),
            tuple(branch for _, branch in some),
        )
