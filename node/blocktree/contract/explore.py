"""Every moment the roles of a contract can come to, and what goes wrong in some of them.

Breadth first, so the way to a fault is the shortest. Each kind of fault is told once for each pair
of states it happens in. The number of moments is bounded: beyond it the contract is refused as too
large, for nobody could say that it is right.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from blocktree.contract.branch import name_of
from blocktree.contract.contract import Contract, Role
from blocktree.contract.cycles import bottoms
from blocktree.contract.finding import Finding, Rule, Step
from blocktree.contract.place import Place
from blocktree.contract.product import Act, Config, Move, Product

CONFIGS_MAX = 20_000
_FOUND_MAX = 16
_TALK = {"hears", "takes", "done", "refuses"}  # somebody got something


def explore(
    contract: Contract,
    others: Mapping[str, Role] | None = None,
    *,
    configs_max: int = CONFIGS_MAX,
) -> list[Finding]:
    """What goes wrong when the roles of a contract talk; nothing if it cannot.

    Args:
        contract: its names are in order (`check_names`).
        others: roles of another version in place of those of the same name.
        configs_max: moments to look at, at most.
    """
    search = _Search(contract, others)
    if not search.run(configs_max):
        what = f"more than {configs_max:,} moments: make it smaller, or split it in two contracts"
        return [*search.found, Finding(Rule.TOO_LARGE, what, contract.place)]
    return search.found or search.livelocks()


class _Edge(NamedTuple):
    to: int
    move: Move


class _Search:
    def __init__(self, contract: Contract, others: Mapping[str, Role] | None) -> None:
        self._contract = contract
        self._product = Product(contract, others)
        self._configs: list[Config] = [self._product.start]
        self._number = {self._product.start: 0}
        self._from: list[tuple[int, Step] | None] = [None]  # the first way to each
        self._edges: list[list[_Edge]] = []
        self._seen: set[tuple[object, ...]] = set()
        self.found: list[Finding] = []

    def run(self, configs_max: int) -> bool:
        """Look at everything; False if it is too much."""
        todo = deque([0])
        while todo:
            number = todo.popleft()
            edges = []
            for move in self._product.moves(self._configs[number]):
                known = self._number.get(move.to)
                if known is None:
                    if len(self._configs) >= configs_max:
                        return False
                    known = self._number[move.to] = len(self._configs)
                    self._configs.append(move.to)
                    self._from.append((number, move.step))
                    todo.append(known)
                if move.deed == "misfit":
                    self._misfit(number, move)
                edges.append(_Edge(known, move))
            assert len(self._edges) == number, "they are looked at in order"
            self._edges.append(edges)
            self._judge(number, edges)
            if len(self.found) >= _FOUND_MAX:
                return True
        return True

    # what goes wrong at one moment

    def _judge(self, number: int, edges: list[_Edge]) -> None:
        config = self._configs[number]
        for receiver, sender, message in self._product.stuck(config):
            state = self._product.state(config, receiver)
            role, other = self._product.roles[receiver], self._product.roles[sender].name
            where = "after it is over" if state.final else f"in state {state.name}"
            what = f"{name_of(message)} from {other} can arrive {where}, which does not take it"
            if state.final:
                what = (
                    f"{name_of(message)} from {other} can arrive at {role} {where} ({state.name})"
                )
            last = Step(role.name, f"cannot take {name_of(message)} in state {state.name}", other)
            key = (Rule.UNHANDLED, receiver, state.name, message)
            self._tell(Rule.UNHANDLED, key, what, state.place, number, last)
        if not self._alive(edges) and not self._over(config):
            self._deadlock(number, config)

    def _alive(self, edges: list[_Edge]) -> bool:
        return any(edge.move.deed != "lost" for edge in edges)

    def _over(self, config: Config) -> bool:
        roles = range(len(config.roles))
        return all(
            config.roles[role].act is Act.AT and self._product.state(config, role).final
            for role in roles
        )

    def _deadlock(self, number: int, config: Config) -> None:
        if any(True for _ in self._product.stuck(config)):
            return  # told already, and more exactly
        waiting = [
            f"{role.name} {self._doing(config, index)}"
            for index, role in enumerate(self._product.roles)
        ]
        what = f"nobody can go on: {', '.join(waiting)}"
        key = (Rule.DEADLOCK, *((control.state, control.act) for control in config.roles))
        self._tell(Rule.DEADLOCK, key, what, self._blocked_at(config), number)

    def _misfit(self, number: int, move: Move) -> None:
        what = f"{move.step.role} {move.step.what}, which {move.step.other} does not expect"
        place = self._contract.role(move.step.role).place
        self._tell(Rule.UNFIT, (Rule.UNFIT, what), what, place, number, move.step)

    def _doing(self, config: Config, role: int) -> str:
        control = config.roles[role]
        state = self._product.state(config, role)
        if control.act is Act.ASKS:
            return f"waits for the answer to {name_of(state.branches[control.branch].message)}"
        return "is done" if state.final else f"waits in state {state.name}"

    def _blocked_at(self, config: Config) -> Place:
        """A line to look at: a question without answer, else a state that waits."""
        for role, control in enumerate(config.roles):
            if control.act is Act.ASKS:
                return self._product.state(config, role).branches[control.branch].place
        states = [self._product.state(config, role) for role in range(len(config.roles))]
        return next((state.place for state in states if not state.final), states[0].place)

    # what goes wrong for ever

    def livelocks(self) -> list[Finding]:
        """Where it goes on without getting anywhere."""
        targets = [[e.to for e in edges if e.move.deed != "lost"] for edges in self._edges]
        for group in bottoms(targets):
            moving = [e.move for n in group for e in self._edges[n] if e.move.deed != "lost"]
            if moving:
                self._circle(min(group), group, moving)
        return self.found

    def _circle(self, number: int, group: list[int], moving: list[Move]) -> None:
        """Judge moments that lead only to each other; there is no way out of them."""
        config = self._configs[number]
        names = [role.name for role in self._product.roles]
        if not any(move.deed in _TALK for move in moving):
            acting = " and ".join(dict.fromkeys(names[move.role] for move in moving))
            what = f"only clocks go on: {acting} waits and waits, and nothing is ever taken"
            place = self._product.state(config, moving[0].role).place
            self._tell(Rule.LIVELOCK, (Rule.LIVELOCK, number), what, place, number)
            return
        for role in self._starved(group, moving):
            state = self._product.state(config, role)
            others = " and ".join(name for name in names if name != names[role])
            what = f"{names[role]} waits in state {state.name} for ever, while {others} goes on"
            key = (Rule.LIVELOCK, role, state.name)
            self._tell(Rule.LIVELOCK, key, what, state.place, number)
        if not self.found and self._endless(group):
            role = next(r for r in range(len(names)) if self._ends(r))
            state = self._product.state(config, role)
            what = f"{names[role]} can never come to an end any more from state {state.name}"
            key = (Rule.LIVELOCK, role, state.name)
            self._tell(Rule.LIVELOCK, key, what, state.place, number)

    def _starved(self, group: list[int], moving: list[Move]) -> Iterator[int]:
        """Roles that wait in a state, not where they begin or end, and never move any more."""
        for role, whole in enumerate(self._product.roles):
            controls = {self._configs[n].roles[role] for n in group}
            if len(controls) > 1 or any(move.role == role for move in moving):
                continue
            state = self._product.state(self._configs[group[0]], role)
            if not state.final and state is not whole.start:
                yield role

    def _ends(self, role: int) -> bool:
        return any(state.final for state in self._product.roles[role].states)

    def _endless(self, group: list[int]) -> bool:
        """Whether some role has an end and is at none of them in any of these moments."""
        ending = [role for role in range(len(self._product.roles)) if self._ends(role)]
        return bool(ending) and not any(
            self._product.state(self._configs[n], role).final for n in group for role in ending
        )

    # inside

    def _tell(  # noqa: PLR0917
        self,
        rule: Rule,
        key: tuple[object, ...],
        what: str,
        place: Place,
        number: int,
        last: Step | None = None,
    ) -> None:
        if key in self._seen:
            return
        self._seen.add(key)
        steps = [] if last is None else [last]
        at = self._from[number]
        while at is not None:
            steps.append(at[1])
            at = self._from[at[0]]
        names = tuple(role.name for role in self._product.roles)
        self.found.append(Finding(rule, what, place, tuple(reversed(steps)), names))
