"""What can be seen without running a contract: its names, and whether its roles know each other."""

import difflib
from collections.abc import Iterable, Iterator

from blocktree.contract.branch import (
    DUAL,
    RECEIVES,
    SENDS,
    Branch,
    Verb,
    name_of,
)
from blocktree.contract.contract import Contract, Role, State
from blocktree.contract.finding import Finding, Rule
from blocktree.fault import Fault
from blocktree.names import parse_name
from blocktree.wire import Record


def check_names(contract: Contract) -> list[Finding]:
    """States, roles and messages that do not exist or exist twice: then nothing makes sense."""
    found = list(_contract_names(contract))
    for role in contract.roles:
        found += _state_names(role)
        for state in role.states:
            found += _once(state)
            for branch in state.branches:
                found += _branch_names(contract, role, branch)
                found += _messages(branch)
    return found


def check_roles(contract: Contract) -> list[Finding]:
    """States that nothing leads to, and messages that only one side knows or both know differently.

    The names must be in order.
    """
    found: list[Finding] = []
    for role in contract.roles:
        found += _unreachable(role)
        for _, branch in role.branches():
            if branch.verb in DUAL:
                found += _dual(contract, role, branch)
    return _distinct(found)


def _contract_names(contract: Contract) -> Iterator[Finding]:
    if len(contract.roles) < 2:
        yield Finding(Rule.NAMES, "a contract has at least two roles", contract.place)
    if contract.version < 1:
        yield Finding(Rule.NAMES, "versions count from 1", contract.place)
    yield from _proper(contract)
    yield from _proper_once(contract.roles, "roles")


def _state_names(role: Role) -> Iterator[Finding]:
    if not role.states:
        yield Finding(Rule.NAMES, f"{role} has no state to begin in", role.place)
    yield from _proper_once(role.states, f"states of {role}")


def _proper_once(named: Iterable[Role | State], what: str) -> Iterator[Finding]:
    seen: set[str] = set()
    for each in named:
        yield from _proper(each)
        if each.name in seen:
            yield Finding(Rule.NAMES, f"two {what} are called {each.name}", each.place)
        seen.add(each.name)


def _proper(each: Contract | Role | State) -> Iterator[Finding]:
    name: object = each.name
    try:
        proper = isinstance(name, str) and parse_name(name) == name
    except Fault:
        proper = False
    if not proper:
        yield Finding(Rule.NAMES, f"{name!r} cannot be a name", each.place)


def _branch_names(contract: Contract, role: Role, branch: Branch) -> Iterator[Finding]:
    states = [state.name for state in role.states]
    for name in dict.fromkeys(
        (branch.then, branch.refused, *(then for _, then in branch.outcomes))
    ):
        if name and name not in states:
            what = f"{role} has no state {name!r}{_near(name, states)}"
            yield Finding(Rule.NAMES, what, branch.place)
    if branch.verb is Verb.AFTER or contract.partner(role, branch) is not None:
        return
    others = [other.name for other in contract.roles if other is not role]
    if branch.partner:
        what = (
            f"{contract.name} has no other role {branch.partner!r}{_near(branch.partner, others)}"
        )
    else:
        side = "sender" if branch.verb in RECEIVES else "to" if branch.verb in SENDS else "partner"
        what = f"{branch} does not say with whom: {side}={' or '.join(map(repr, others))}"
    yield Finding(Rule.NAMES, what, branch.place)


def _messages(branch: Branch) -> Iterator[Finding]:
    if branch.verb is Verb.AFTER:
        if not branch.seconds > 0:
            yield Finding(Rule.MESSAGE, "a timeout is longer than nothing", branch.place)
        return
    if branch.verb is Verb.LOST:
        return
    for message in (branch.message, *(answer for answer, _ in branch.outcomes)):
        record = isinstance(message, type) and issubclass(message, Record)
        if not record or not hasattr(message, "record_code"):
            what = f"{name_of(message)} is not a record class (@record(code))"
            yield Finding(Rule.MESSAGE, what, branch.place)
    if not branch.waits and not branch.uniform:
        what = f"{branch} goes on before the answer is there, so no answer can decide what follows"
        yield Finding(Rule.MESSAGE, what, branch.place)


def _once(state: State) -> Iterator[Finding]:
    seen: set[tuple[object, ...]] = set()
    for branch in state.branches:
        direction = branch.verb in RECEIVES if branch.verb in DUAL else branch.verb
        key = (direction, branch.message, branch.partner)
        if key in seen:
            what = f"state {state.name} has two branches for the same: {branch}"
            yield Finding(Rule.MESSAGE, what, branch.place)
        seen.add(key)


def _unreachable(role: Role) -> Iterator[Finding]:
    reached, open_states = {role.start.name}, [role.start]
    while open_states:
        state = open_states.pop()
        for branch in state.branches:
            for name in branch.targets(state.name):
                if name not in reached:
                    reached.add(name)
                    open_states.append(role.by_name[name])
    for state in role.states:
        if state.name not in reached:
            what = f"no branch of {role} leads to state {state.name}"
            yield Finding(Rule.UNREACHABLE, what, state.place)


def _dual(contract: Contract, role: Role, branch: Branch) -> Iterator[Finding]:
    """Whether the partner ever does the other half of a branch."""
    partner = contract.partner(role, branch)
    assert partner is not None
    facing = [b for _, b in partner.branches() if _faces(contract, partner, b, role)]
    same = [b for b in facing if b.message is branch.message]
    name = name_of(branch.message)
    opposite = RECEIVES if branch.verb in SENDS else SENDS
    halves = [b for b in same if b.verb in opposite]
    if not halves and branch.verb in RECEIVES:
        who = [r.name for r in contract.roles if _sends(contract, r, branch, role)]
        from_whom = f"; {' and '.join(who)} does" if who else ""
        what = f"{role} {branch.verb.value} {name}, which {partner.name} never sends{from_whom}"
        yield Finding(Rule.UNSENT, what, branch.place)
    elif not halves:
        what = f"{role} {branch.verb.value} {name}, which {partner.name} never takes"
        yield Finding(Rule.UNHEARD, what, branch.place)
    elif not any(b.verb is DUAL[branch.verb] for b in halves):
        what = f"{role} {branch.verb.value} {name}, but {partner.name} {halves[0].verb.value} it"
        yield Finding(Rule.UNFIT, what, branch.place)
    elif branch.verb is Verb.ASKS:
        yield from _answers(role, partner, branch, halves)


def _answers(role: Role, partner: Role, branch: Branch, halves: list[Branch]) -> Iterator[Finding]:
    expected = {answer for answer, _ in branch.outcomes}
    given = {answer for half in halves for answer, _ in half.outcomes}
    name = name_of(branch.message)
    for answer in sorted(given - expected, key=name_of):
        what = (
            f"{partner.name} may answer {name} with {name_of(answer)}, which {role} does not expect"
        )
        yield Finding(Rule.UNFIT, what, branch.place)
    for answer in sorted(expected - given, key=name_of):
        what = f"{role} expects {name_of(answer)}, with which {partner.name} never answers {name}"
        yield Finding(Rule.UNSENT, what, branch.place)


def _sends(contract: Contract, sender: Role, branch: Branch, role: Role) -> bool:
    return sender is not role and any(
        b.verb in SENDS and b.message is branch.message and _faces(contract, sender, b, role)
        for _, b in sender.branches()
    )


def _faces(contract: Contract, role: Role, branch: Branch, other: Role) -> bool:
    return branch.verb in DUAL and contract.partner(role, branch) is other


def _near(name: object, names: list[str]) -> str:
    close = difflib.get_close_matches(str(name), names, 1)
    return f" (is it {close[0]!r}?)" if close else ""


def _distinct(found: list[Finding]) -> list[Finding]:
    """One message missing in many states is one thing wrong."""
    return list({finding.what: finding for finding in reversed(found)}.values())[::-1]
