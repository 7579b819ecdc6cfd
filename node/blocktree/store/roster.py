"""Who belongs to the tree, as this node has applied it: by principal, by path, by node id.

Before a joining node has any state, the roster is what the member that admitted it said. Members
that are recorded but not applied here yet are expected: those of the log after a restart, those of
that member's answer, and those that others told of (`acquaintance`); the nodes of a group have to
find and admit each other before anything can be applied.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.keys import Identity, Member, MemberKind
from blocktree.names import Path, PrincipalId, parent
from blocktree.raft import NodeId

EXPECTED_MAX = 1024


def node_id(principal: PrincipalId) -> NodeId:
    """The name of a process in its Raft group: never its path, which a new machine may get."""
    return NodeId(principal.hex())


@dataclass(frozen=True, slots=True)
class Belonging:
    """A member, and whether its belonging was withdrawn."""

    member: Member
    removed: bool = False


class Roster:
    """The members.

    `me` is the principal of this node, once it is known.
    """

    me: PrincipalId | None = None

    def __init__(self) -> None:
        self._by_principal: dict[PrincipalId, Belonging] = {}
        self._paths: dict[NodeId, Path] = {}
        self._met: dict[NodeId, Path] = {}
        self._expected: dict[NodeId, Member] = {}
        self.index = 0  # of the entry that changed it last

    def replace(self, members: Iterable[Belonging], index: int) -> None:
        """These are the members now."""
        self._by_principal = {item.member.principal: item for item in members}
        self._paths = {
            node_id(item.member.principal): item.member.path
            for item in self._by_principal.values()
            if not item.removed
        }
        self.index = index

    def met(self, node: NodeId, path: Path) -> None:
        """A link has proved that this node is at this path."""
        if node not in self._met and len(self._met) < 1024:
            self._met[node] = path

    def expect(self, member: Member) -> bool:
        """The tree has this member on record, further on than this node; whether that is news."""
        node = node_id(member.principal)
        news = member.principal not in self._by_principal and node not in self._expected
        if node in self._expected or len(self._expected) < EXPECTED_MAX:
            self._expected[node] = member
        return news

    def path_of(self, node: NodeId) -> Path | None:
        """Where a node is."""
        known = self._paths.get(node) or self._met.get(node)
        if known is None and node in self._expected:
            return self._expected[node].path
        return known

    def members(self) -> tuple[Member, ...]:
        """All who belong."""
        return tuple(item.member for item in self._by_principal.values() if not item.removed)

    def everybody(self) -> Mapping[PrincipalId, Belonging]:
        """All who belong or once did."""
        return self._by_principal

    def nodes_beside(self, here: Path) -> dict[NodeId, Member]:
        """The storing processes located in the same directory: they keep the same domain."""
        home = parent(here)
        return {
            node_id(member.principal): member
            for member in self.members()
            if member.kind is MemberKind.NODE and parent(member.path) == home
        }

    def paths_beside(self, here: Path) -> list[Path]:
        """Where the other nodes of the domain are, also those expected or known by their links."""
        nodes = [each.path for each in self._expected.values() if each.kind is MemberKind.NODE]
        others = [path for path in (*nodes, *self._met.values()) if parent(path) == parent(here)]
        found = [member.path for member in self.nodes_beside(here).values()]
        return [path for path in dict.fromkeys((*found, *others)) if path != here]

    def addresses(self, path: Path) -> tuple[str, ...]:
        """Where a member said that it listens."""
        found: list[str] = []
        for member in (*self.members(), *self._expected.values()):
            if member.path == path:
                found += member.addresses
        return tuple(found)

    def __len__(self) -> int:
        return len(self._by_principal)

    def belongs(self, identity: Identity) -> bool:
        """Whether this principal is a member, or acts for a user who is."""
        mine = self._by_principal.get(identity.principal)
        if mine is not None:
            return not mine.removed
        if node_id(identity.principal) in self._expected:
            return True
        user = self._by_principal.get(identity.acts_for)
        return identity.acts_for != identity.principal and user is not None and not user.removed

    def belonging(self, principal: PrincipalId) -> bool:
        """Whether a principal is recorded as a member now."""
        known = self._by_principal.get(principal)
        return known is not None and not known.removed

    def check_read(self) -> None:
        """Judge nobody that is not found here while this node reads what was before it joined.

        Raises:
            Fault: BUSY until the entry that records this node is applied.
        """
        told = not self.index  # by who admitted this node: nothing is applied yet
        if self._by_principal and self.me and (told or self.me not in self._by_principal):
            what = "this node has just joined and reads what happened before"
            raise Fault(Kind.BUSY, what, next_step="try again, or another node")

    def check(self, identity: Identity) -> None:
        """Refuse who does not belong.

        Raises:
            Fault: DENIED; BUSY while this node cannot know that yet.
        """
        if self._by_principal and not self.belongs(identity):
            known = (identity.principal, identity.acts_for)
            removed = any(principal in self._by_principal for principal in known)
            if not removed:
                self.check_read()
            node = identity.kind is MemberKind.NODE
            invite = (
                "invite it: bt node invite" if node else "the owner lets people in: bt user add"
            )
            raise Fault(
                Kind.DENIED,
                "its belonging was withdrawn" if removed else "does not belong to the tree",
                path=identity.path,
                next_step="" if removed else invite,
            )
