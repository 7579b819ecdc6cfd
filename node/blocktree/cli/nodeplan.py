"""What becomes of the tree when a node leaves it: voters before and after, and losses to bear."""

from collections.abc import Sequence
from dataclasses import dataclass

from blocktree.cli.reports import Report
from blocktree.fault import Fault, Kind
from blocktree.names import Path, leaf
from blocktree.store.messages import Role, Status


@dataclass(frozen=True, slots=True)
class Voters:
    """How many decide, and how many of them answer."""

    all: int
    live: int

    @property
    def spare(self) -> int:
        """How many may fail before nothing can be written; negative: already so."""
        return self.live - (self.all // 2 + 1)

    def __str__(self) -> str:
        bears = f"{self.spare} may fail" if self.spare > 0 else "none may fail"
        bears = "NO QUORUM" if self.spare < 0 else bears
        return f"{self.live} of {self.all} voters answer, {bears}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The removal of one node."""

    path: Path
    shown: str  # the path as people write it
    role: str  # leader, follower, learner; away if it does not answer
    before: Voters
    after: Voters

    @property
    def alive(self) -> bool:
        """Whether the node answers."""
        return self.role != "away"

    @property
    def name(self) -> str:
        """What a person types to confirm."""
        return leaf(self.path)

    def rows(self) -> list[tuple[str, str]]:
        """The plan as a table."""
        return [
            ("removes", f"{self.shown} ({self.role})"),
            ("now", str(self.before)),
            ("then", str(self.after)),
        ]


def find_node(report: Report, given: str) -> Path:
    """The node that a person named by its name or its path.

    Raises:
        Fault: NOT_FOUND, with the nodes that there are.
    """
    paths = [path for path, _ in report.statuses]
    wanted = report.aliases.resolve(given) if given.startswith("/") else None
    for path in paths:
        if path == wanted or leaf(path) == given:
            return path
    known = ", ".join(report.aliases.display(path) for path in paths)
    raise Fault(Kind.NOT_FOUND, "no such node", path=given, next_step=f"there is: {known}")


def plan_removal(report: Report, path: Path) -> Plan:
    """What removing the node at `path` does.

    Raises:
        Fault: NO_QUORUM without a leader; USAGE for the only voter.
    """
    if report.leader is None:
        answering, every = report.voters
        raise Fault(
            Kind.NO_QUORUM,
            f"{answering} of {every} voters answer: the tree cannot decide on its members",
            path=report.tree,
            next_step="start the others: bt up, on their machines",
        )
    roles = _roles(report.leader, report.statuses)
    votes = _votes(report.leader)
    live = [voter for voter in votes if roles.get(voter, "away") != "away"]
    if votes == {path}:
        raise Fault(
            Kind.USAGE,
            "is the only voter: without it there is no tree",
            path=report.aliases.display(path),
            next_step=f"add another first: bt node invite {report.tree}/NAME",
        )
    before = Voters(len(votes), len(live))
    after = Voters(len(votes - {path}), len([voter for voter in live if voter != path]))
    return Plan(path, report.aliases.display(path), roles.get(path, "away"), before, after)


def check_plan(plan: Plan, *, force: bool) -> None:
    """Refuse what would leave the tree without a quorum.

    Raises:
        Fault: NO_QUORUM.
    """
    if plan.after.spare < 0 and not force:
        raise Fault(
            Kind.NO_QUORUM,
            f"without it {plan.after.live} of {plan.after.all} voters would answer, "
            "too few to write or read anything",
            path=plan.shown,
            next_step="remove the nodes that do not answer first, or start them; or --force",
        )


def _votes(leader: Status) -> set[Path]:
    return {peer.path for peer in leader.peers if peer.voter} | {leader.path}


def _roles(leader: Status, statuses: Sequence[tuple[Path, Status | Fault]]) -> dict[Path, str]:
    roles = {path: _role(status) for path, status in statuses}
    return {**roles, leader.path: Role.LEADER.name.lower()}


def _role(status: Status | Fault) -> str:
    return "away" if isinstance(status, Fault) else status.role.name.lower()
