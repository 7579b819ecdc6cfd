"""Two versions of a contract: what changed, and whether one role can be upgraded before the others.

A home is never upgraded all at once: a role of the new version talks to partners of the old one.
So each role of the new version is explored together with the old partners (`explore`); what goes
wrong then is what the change would break. Messages are the same if their codes are.
"""

import dataclasses
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from blocktree.contract.branch import DUAL, Branch, Message, Verb
from blocktree.contract.contract import Contract, Role, State
from blocktree.contract.explore import explore
from blocktree.contract.finding import Finding, Rule
from blocktree.contract.written import (
    WrittenContract,
    WrittenMessage,
    messages_of,
    write,
    write_message,
)
from blocktree.fault import Fault, Kind
from blocktree.wire import encode


@dataclass(frozen=True, slots=True)
class Change:
    """A branch, state or role that only one of the versions has, in words."""

    added: bool
    what: str


@dataclass(frozen=True, slots=True)
class Peer:
    """Somebody who runs now: its name, the role it plays, and its contract's mark."""

    name: str
    role: str
    mark: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What lies between two versions.

    Args:
        old: the one that runs.
        new: the one that is to follow.
        mark: the old one's (`contract_mark`).
        changes: what was added and removed.
        breaks: for each role of the new version, what goes wrong with old partners.
    """

    old: Contract
    new: Contract
    mark: str
    changes: tuple[Change, ...]
    breaks: dict[str, tuple[Finding, ...]]


def compare(old: Contract, new: Contract, *, written: WrittenContract | None = None) -> Comparison:
    """Hold a new version of a contract against the old one; both must have passed `check`.

    `written` is the old one as it was written, if its own message classes are not at hand.

    Raises:
        Fault: USAGE if they are not versions of one contract.
    """
    if old.name != new.name:
        what = f"{old.name} and {new.name} are two contracts, not two versions of one"
        raise Fault(Kind.USAGE, what)
    written = written or write(old)
    shapes = list(_shapes(written, new))
    before = _in_words_of(old, new)
    changes = tuple(_changes(before, new))
    breaks = {}
    for role in new.roles:
        others = {each.name: each for each in before.roles if each.name != role.name}
        found = explore(new, others)
        breaks[role.name] = (*_unreadable(shapes, role, before, new), *found)
    return Comparison(old, new, hashlib.sha256(encode(written)).digest()[:8].hex(), changes, breaks)


def gate(comparison: Comparison, role: str, peers: Sequence[Peer]) -> None:
    """Refuse to upgrade a role while somebody lives who would be broken by it.

    Raises:
        Fault: CONTRACT with the names of those who run the old version and would be broken.
    """
    findings = comparison.breaks.get(role, ())
    old = comparison.mark
    using = sorted(peer.name for peer in peers if peer.mark == old and peer.role != role)
    if findings and using:
        raise Fault(
            Kind.CONTRACT,
            f"{', '.join(using)} runs version {comparison.old.version}: {findings[0].what}",
            path=str(findings[0].place),
            next_step="upgrade it first, or keep the branch",
        )


def _in_words_of(old: Contract, new: Contract) -> Contract:
    """The old contract with the new one's classes for messages of the same codes."""
    classes = {message.record_code: message for message in messages_of(new)}
    roles = []
    for role in old.roles:
        states = []
        for state in role.states:
            branches = [_translate(branch, classes) for branch in state.branches]
            states.append(State(state.name, *branches))
            states[-1].place = state.place
        roles.append(Role(role.name, *states))
        roles[-1].place = role.place
    return Contract(old.name, old.version, *roles)


def _translate(branch: Branch, classes: dict[int, Message]) -> Branch:
    def same(message: Message) -> Message:
        return classes.get(message.record_code, message)

    message = None if branch.message is None else same(branch.message)
    outcomes = tuple((same(answer), then) for answer, then in branch.outcomes)
    return dataclasses.replace(branch, message=message, outcomes=outcomes)


def _changes(old: Contract, new: Contract) -> Iterator[Change]:
    before, after = set(_lines(old)), set(_lines(new))
    for line in dict.fromkeys([*_lines(old), *_lines(new)]):
        if line not in after:
            yield Change(added=False, what=line)
        elif line not in before:
            yield Change(added=True, what=line)


def _lines(contract: Contract) -> Iterator[str]:
    for role in contract.roles:
        for state, branch in role.branches():
            after = " or ".join(branch.targets(state.name))
            said = [answer.__name__ for answer, _ in branch.outcomes]
            answer = f" with {' or '.join(said)}" if said else ""
            yield f"{role.name} in {state.name}: {branch}{answer}, then {after}"


def _shapes(old: WrittenContract, new: Contract) -> Iterator[tuple[WrittenMessage, WrittenMessage]]:
    """The messages that both versions have, but not with the same fields."""
    before = {message.code: message for message in old.messages}
    for message in sorted(messages_of(new), key=lambda each: each.record_code):
        was, now = before.get(message.record_code), write_message(message)
        if was is not None and (was.fields, was.body) != (now.fields, now.body):
            yield was, now


def _unreadable(
    shapes: list[tuple[WrittenMessage, WrittenMessage]], role: Role, old: Contract, new: Contract
) -> Iterator[Finding]:
    """Messages that a new role and its old partners would not read of each other."""
    old_role = next((each for each in old.roles if each.name == role.name), None)
    for was, now in shapes:
        branch = next((b for _, b in role.branches() if _concerns(b, now.code)), None)
        if branch is None or old_role is None:
            continue
        sends = any(_is_sent(b, now.code) for _, b in role.branches())
        takes = any(_is_taken(b, now.code) for _, b in role.branches())
        for wanted, writer, reader, who in (
            (sends, now, was, "older partners cannot read"),
            (takes, was, now, f"{role} cannot read from older partners"),
        ):
            if wanted and not readable(writer, reader):
                what = f"the fields of {now.name} have changed: {who} it"
                yield Finding(Rule.UNFIT, what, branch.place)


def readable(writer: WrittenMessage, reader: WrittenMessage) -> bool:
    """Whether what one version writes is read by the other (`wire/SPEC.md`)."""
    kinds = [field.kind for field in writer.fields]
    first = reader.fields[: len(kinds)]
    rest = reader.fields[len(kinds) :]
    same = [field.kind for field in first] == kinds and writer.body == reader.body
    return same and all(field.optional for field in rest)


def _concerns(branch: Branch, code: int) -> bool:
    return _is_sent(branch, code) or _is_taken(branch, code)


def _is_sent(branch: Branch, code: int) -> bool:
    own = branch.verb in (Verb.TELLS, Verb.ASKS) and branch.message is not None
    answers = branch.verb is Verb.ANSWERS
    return bool(own and branch.message and branch.message.record_code == code) or (
        answers and any(answer.record_code == code for answer, _ in branch.outcomes)
    )


def _is_taken(branch: Branch, code: int) -> bool:
    if branch.verb not in DUAL:
        return False
    own = branch.verb in (Verb.HEARS, Verb.ANSWERS) and branch.message is not None
    asks = branch.verb is Verb.ASKS
    return bool(own and branch.message and branch.message.record_code == code) or (
        asks and any(answer.record_code == code for answer, _ in branch.outcomes)
    )
