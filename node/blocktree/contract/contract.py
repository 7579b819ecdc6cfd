"""A contract: who may say what next, declared in plain Python and kept as it was written.

Making one checks nothing, so that `check` can name everything that is wrong with it at once. A
conversation is between two instances of roles; it begins in the first state of each, and a state
without branches ends it.
"""

from collections.abc import Iterator
from functools import cached_property

from blocktree.contract.branch import DUAL, Branch, Verb
from blocktree.contract.place import Place, here
from blocktree.fault import Fault, Kind


class State:
    """What a role may do at one point of a conversation."""

    def __init__(self, name: str, *branches: Branch) -> None:
        self.name = name
        self.branches = branches
        self.place = here()

    @property
    def final(self) -> bool:
        """Whether the conversation is over."""
        return not self.branches


class Role:
    """One side of a contract: its states, the first of which is where it begins."""

    def __init__(self, name: str, *states: State) -> None:
        self.name = name
        self.states = states
        self.place = here()
        self.contract: Contract | None = None  # set by the contract it becomes a part of

    @property
    def start(self) -> State:
        """Where a conversation begins."""
        return self.states[0]

    @cached_property
    def by_name(self) -> dict[str, State]:
        """The states; of two with one name the first."""
        return {state.name: state for state in reversed(self.states)}

    def branches(self) -> Iterator[tuple[State, Branch]]:
        """Every branch with its state."""
        for state in self.states:
            for branch in state.branches:
                yield state, branch

    def __str__(self) -> str:
        """`contract.role`, for people."""
        return f"{self.contract.name}.{self.name}" if self.contract else self.name


class Mirror:
    """The role that fits the other one exactly; made by `mirror`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.place = here()


def mirror(name: str) -> Mirror:
    """A role that does the other half of everything its only partner does.

    What the partner hears it tells, what the partner asks it answers. When the partner is gone it
    begins anew. It cannot be used beside a role with `after`: what a clock decides on one side, the
    other side does not see.
    """
    return Mirror(name)


class Contract:
    """A protocol between roles, under a name and a version.

    Args:
        name: dotted or plain, in lower case: `thermostat`.
        version: counted up when what is said changes.
        roles: two or more; one of two may be a `mirror`.

    Raises:
        Fault: CONTRACT for a mirror that cannot be made.
    """

    def __init__(self, name: str, version: int, *roles: Role | Mirror) -> None:
        self.name = name
        self.version = version
        self.place: Place = here()
        real = [role for role in roles if isinstance(role, Role)]
        self.roles = tuple(
            role if isinstance(role, Role) else _reflect(role, real, len(roles)) for role in roles
        )
        for role in self.roles:
            role.contract = self

    def role(self, name: str) -> Role:
        """The role of that name.

        Raises:
            Fault: NOT_FOUND.
        """
        for role in self.roles:
            if role.name == name:
                return role
        names = ", ".join(role.name for role in self.roles)
        raise Fault(
            Kind.NOT_FOUND, f"has no role {name}", path=self.name, next_step=f"there is: {names}"
        )

    def partner(self, role: Role, branch: Branch) -> Role | None:
        """The role on the other side of a branch; None if it names none there is."""
        others = [other for other in self.roles if other is not role]
        if not branch.partner:
            return others[0] if len(others) == 1 else None
        return next((other for other in others if other.name == branch.partner), None)

    def __repr__(self) -> str:
        return f"Contract({self.name} {self.version})"


def _reflect(wanted: Mirror, real: list[Role], roles: int) -> Role:
    if roles != 2 or len(real) != 1:
        raise Fault(Kind.CONTRACT, "a mirror needs exactly one other role", path=str(wanted.place))
    role = Role(wanted.name, *[_reflect_state(state) for state in _without_loss(real[0])])
    role.place = wanted.place
    return role


def _without_loss(role: Role) -> list[State]:
    """The states that are reached while both sides live: who is left alone is no partner's half."""
    names, reached = [role.states[0].name] if role.states else [], set[str]()
    while names:
        name = names.pop()
        if name not in reached:
            reached.add(name)
            state = role.by_name.get(name, State(name))
            for branch in state.branches:
                names += [] if branch.verb is Verb.LOST else branch.targets(name)
    return [state for state in role.states if state.name in reached]


def _reflect_state(state: State) -> State:
    branches = [branch for branch in state.branches if branch.verb is not Verb.LOST]
    reflected = State(state.name, *[_reflect_branch(branch) for branch in branches])
    reflected.place = state.place
    return reflected


def _reflect_branch(branch: Branch) -> Branch:
    if branch.verb is Verb.AFTER:
        what = "a mirror cannot see what a clock decides on the other side: write this role out"
        raise Fault(Kind.CONTRACT, what, path=str(branch.place))
    return Branch(
        *(DUAL[branch.verb], branch.message, "", branch.then, branch.outcomes, branch.refused),
        waits=branch.waits,
        place=branch.place,
    )
