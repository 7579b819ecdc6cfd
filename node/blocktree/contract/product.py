"""All roles of a contract at once: where each is, what lies in the queues, what can happen next.

The model is that of communicating finite-state machines (Brand and Zafiropulo 1983; for session
types Deniélou and Yoshida 2012), with the queues of the actor runtime: first in, first out for each
lane between two actors, and bounded, so that a full one holds up who sends. Who waits for an answer
takes nothing meanwhile, and who owes one neither, unless the branch says so.
"""

from collections.abc import Iterator, Mapping
from enum import IntEnum, unique
from typing import NamedTuple

from blocktree.contract.branch import DUAL, RECEIVES, Branch, Message, Verb, name_of
from blocktree.contract.contract import Contract, Role, State
from blocktree.contract.finding import Step
from blocktree.contract.reading import has_body
from blocktree.wire import Record

QUEUE_MAX = 2  # messages in one queue of the model
_Queued = tuple[Message, Verb, bool]  # how it was sent, and whether the sender waits for an answer
_Queue = tuple[_Queued, ...]
_Channel = tuple[int, int, bool]  # from, to, whether it carries a body


class Refusal(Record):
    """Stands for a `Fault` in place of an answer."""


@unique
class Act(IntEnum):
    """What a role is doing."""

    AT = 0  # in a state
    ASKS = 1  # waiting for an answer
    OWES = 2  # working on one


class Control(NamedTuple):
    """Where one role is. `branch` is an index into those of its state, when it asks or owes."""

    state: str
    act: Act = Act.AT
    branch: int = 0
    other: int = -1  # who is owed, or who took the question and will answer later
    other_state: str = ""  # of a question that was taken: where, …
    other_branch: int = 0  # … and by which branch


class Config(NamedTuple):
    """One moment: every role, every queue."""

    roles: tuple[Control, ...]
    queues: tuple[_Queue, ...]


class Move(NamedTuple):
    """One thing that can happen. `deed` is the verb; `role` whose it is."""

    role: int
    deed: str  # tells asks hears takes done refuses misfit after lost
    step: Step
    to: Config


class Product:
    """The moves of the roles together.

    Args:
        contract: its names are in order (`check_names`).
        others: roles to take in place of those of the same name, from another version.
    """

    def __init__(self, contract: Contract, others: Mapping[str, Role] | None = None) -> None:
        replaced = others or {}
        self.roles = tuple(replaced.get(role.name, role) for role in contract.roles)
        self._index = {role.name: i for i, role in enumerate(self.roles)}
        self._twins = self._find_twins()
        self._channels = self._find_channels()
        self._queue_of = {channel: i for i, channel in enumerate(self._channels)}
        roles = tuple(Control(role.start.name) for role in self.roles)
        self.start = Config(roles, ((),) * len(self._channels))
        self._deaths = any(b.verb is Verb.LOST for role in self.roles for _, b in role.branches())

    def state(self, config: Config, role: int) -> State:
        """The state a role is in."""
        return self.roles[role].by_name[config.roles[role].state]

    def partner(self, role: int, branch: Branch) -> int:
        """The index of the role on the other side; -1 if there is none (another version)."""
        if branch.partner:
            return self._index.get(branch.partner, -1)
        return 1 - role if len(self.roles) == 2 else -1

    def moves(self, config: Config) -> Iterator[Move]:
        """Everything that can happen at this moment."""
        for role, control in enumerate(config.roles):
            if control.act is Act.AT:
                for number, branch in enumerate(self.state(config, role).branches):
                    yield from self._take_branch(config, role, number, branch)
            elif control.act is Act.OWES:
                yield from self._settle(config, role)
            elif control.other >= 0:
                yield from self._answer_later(config, role)
        if self._deaths:
            for role in range(len(self.roles)):
                yield from self._die(config, role)

    def stuck(self, config: Config) -> Iterator[tuple[int, int, Message]]:
        """Messages that cannot be taken where they arrive: receiver, sender, message."""
        for queue, (sender, receiver, _) in zip(config.queues, self._channels, strict=True):
            if not queue or config.roles[receiver].act is not Act.AT:
                continue
            state = self.state(config, receiver)
            takes = [b for b in state.branches if b.verb in RECEIVES]
            if not any(self._fits(receiver, b, sender, queue[0]) for b in takes):
                yield receiver, sender, queue[0][0]

    # inside

    def _find_twins(self) -> set[Message]:
        """Messages that do in every state just what another one does: looking at one is enough."""
        seen: dict[tuple[object, ...], Message] = {}
        marks: dict[Message, list[object]] = {}
        for index, role in enumerate(self.roles):
            for state in role.states:
                for branch in state.branches:
                    if branch.message is not None:
                        mark = (index, state.name, branch.verb, self.partner(index, branch))
                        rest = (branch.then, branch.outcomes, branch.refused, branch.waits)
                        marks.setdefault(branch.message, []).append((*mark, *rest, branch.optional))
        return {
            message
            for message, mark in marks.items()
            if seen.setdefault(_like(mark, has_body(message)), message) is not message
        }

    def _find_channels(self) -> list[_Channel]:
        found: dict[_Channel, None] = {}
        for index, role in enumerate(self.roles):
            for _, branch in role.branches():
                if branch.message is not None and branch.verb in (Verb.TELLS, Verb.ASKS):
                    other = self.partner(index, branch)
                    if other >= 0:
                        found[index, other, has_body(branch.message)] = None
        return list(found)

    def _fits(self, role: int, branch: Branch, sender: int, head: _Queued) -> bool:
        same = branch.message is head[0] and branch.verb is DUAL[head[1]]
        return same and self.partner(role, branch) == sender

    def _take_branch(
        self, config: Config, role: int, number: int, branch: Branch
    ) -> Iterator[Move]:
        if branch.verb is Verb.AFTER:
            to = self._at(config, role, branch.then)
            yield self._move(role, "after", f"after {branch.seconds:g} s", to)
        elif branch.verb in RECEIVES:
            yield from self._receive(config, role, number, branch)
        elif branch.verb is not Verb.LOST:
            yield from self._send(config, role, number, branch)

    def _send(self, config: Config, role: int, number: int, branch: Branch) -> Iterator[Move]:
        assert branch.message is not None
        other = self.partner(role, branch)
        if other < 0 or (branch.optional and not self._known(other, branch.message)):
            return
        if branch.message in self._twins:
            return
        queue = self._queue_of[role, other, has_body(branch.message)]
        if len(config.queues[queue]) >= QUEUE_MAX:
            return
        asked = branch.verb is Verb.ASKS
        queues = list(config.queues)
        queues[queue] = (*queues[queue], (branch.message, branch.verb, asked and branch.waits))
        sent = Config(config.roles, tuple(queues))
        if asked and branch.waits:
            waiting = Control(config.roles[role].state, Act.ASKS, number)
            to = self._with(sent, role, waiting)
        else:
            then = branch.outcomes[0][1] if branch.outcomes else branch.then
            to = self._at(sent, role, then)
        yield self._move(role, branch.verb.value, str(branch), to, other)

    def _known(self, role: int, message: Message) -> bool:
        return any(
            b.verb in RECEIVES and b.message is message for _, b in self.roles[role].branches()
        )

    def _receive(self, config: Config, role: int, number: int, branch: Branch) -> Iterator[Move]:
        sender = self.partner(role, branch)
        for index, (source, target, _) in enumerate(self._channels):
            queue = config.queues[index]
            if (source, target) != (sender, role) or not queue:
                continue
            if not self._fits(role, branch, sender, queue[0]):
                continue
            queues = list(config.queues)
            queues[index] = queue[1:]
            taken = Config(config.roles, tuple(queues))
            if branch.verb is Verb.HEARS:
                to = self._at(taken, role, branch.then)
                yield self._move(role, "hears", str(branch), to, sender)
                continue
            asker = sender if queue[0][2] else -1
            yield from self._accept(taken, role, number, branch, asker)

    def _accept(
        self, config: Config, role: int, number: int, branch: Branch, asker: int
    ) -> Iterator[Move]:
        """Take a question; -1 for an asker that does not wait."""
        what, state = f"takes {name_of(branch.message)}", config.roles[role].state
        if branch.waits:
            owing = Control(state, Act.OWES, number, asker)
            yield self._move(role, "takes", what, self._with(config, role, owing))
            return
        if asker >= 0:
            waiting = config.roles[asker]
            taken = Control(waiting.state, Act.ASKS, waiting.branch, role, state, number)
            config = self._with(config, asker, taken)
        then = branch.outcomes[0][1] if branch.outcomes else branch.then
        yield self._move(role, "takes", what, self._at(config, role, then))

    def _settle(self, config: Config, role: int) -> Iterator[Move]:
        """Answer what is owed, with each possible answer, or refuse it."""
        control = config.roles[role]
        branch = self.state(config, role).branches[control.branch]
        for answer, then in self._outcomes(branch):
            to = self._at(config, role, then)
            yield from self._hand_over(to, role, control.other, branch, answer)

    def _answer_later(self, config: Config, asker: int) -> Iterator[Move]:
        control = config.roles[asker]
        answerer = self.roles[control.other]
        branch = answerer.by_name[control.other_state].branches[control.other_branch]
        for answer, _ in self._outcomes(branch):
            yield from self._hand_over(config, control.other, asker, branch, answer)

    def _outcomes(self, branch: Branch) -> Iterator[tuple[Message | None, str]]:
        """Each answer and what follows it; None says that it was done."""
        if branch.outcomes:
            yield from branch.outcomes
        else:
            yield None, branch.then
        yield Refusal, branch.refused

    def _hand_over(
        self, config: Config, role: int, asker: int, branch: Branch, answer: Message | None
    ) -> Iterator[Move]:
        """The answer reaches who asked, which moves on with it."""
        name = name_of(branch.message)
        if answer is Refusal:
            deed, what = "refuses", f"refuses {name}"
        elif answer is None:
            deed, what = "done", f"has done {name}"
        else:
            deed, what = "done", f"answers {name_of(answer)}"
        to = config
        if asker >= 0:
            waiting = config.roles[asker]
            asked = self.state(config, asker).branches[waiting.branch]
            outcomes = dict(self._outcomes(asked))
            if answer not in outcomes:  # only between versions
                deed = "misfit"
            to = self._at(config, asker, outcomes.get(answer, asked.refused))
        yield self._move(role, deed, what, to, asker)

    def _die(self, config: Config, role: int) -> Iterator[Move]:
        """The process of a role is gone and another one begins in its place."""
        if not any(self._mourns(config, other, role) for other in range(len(self.roles))):
            return
        queues = [
            () if role in channel[:2] else queue
            for channel, queue in zip(self._channels, config.queues, strict=True)
        ]
        to = Config(config.roles, tuple(queues))
        for other in range(len(self.roles)):
            if other != role:
                to = self._with(to, other, self._bereft(config, other, role))
        to = self._with(to, role, Control(self.roles[role].start.name))
        if to != config:
            yield self._move(role, "lost", "is gone, and begins anew", to)

    def _mourns(self, config: Config, role: int, dead: int) -> Branch | None:
        for branch in self.state(config, role).branches:
            if branch.verb is Verb.LOST and self.partner(role, branch) == dead:
                return branch
        return None

    def _bereft(self, config: Config, role: int, dead: int) -> Control:
        """Where a role goes when another is gone."""
        control = config.roles[role]
        branch = self._mourns(config, role, dead)
        if branch is not None:
            return Control(branch.then or control.state)
        if len(self.roles) == 2:
            return Control(self.roles[role].start.name)
        if control.act is Act.OWES and control.other == dead:
            return Control(control.state, Act.OWES, control.branch)
        if control.act is Act.ASKS:
            asked = self.state(config, role).branches[control.branch]
            if self.partner(role, asked) == dead:
                return Control(asked.refused or control.state)
        return control

    def _at(self, config: Config, role: int, state: str) -> Config:
        return self._with(config, role, Control(state or config.roles[role].state))

    def _with(self, config: Config, role: int, control: Control) -> Config:
        roles = list(config.roles)
        roles[role] = control
        return Config(tuple(roles), config.queues)

    def _move(self, role: int, deed: str, what: str, to: Config, other: int = -1) -> Move:
        name = self.roles[other].name if other >= 0 else ""
        return Move(role, deed, Step(self.roles[role].name, what, name), to)


def _like(marks: list[object], body: object) -> tuple[object, ...]:
    """The marks of a message with its answers numbered, for their names make no difference."""
    numbers: dict[object, int] = {}
    said = []
    for mark in marks:
        assert isinstance(mark, tuple)
        outcomes = [(numbers.setdefault(answer, len(numbers)), then) for answer, then in mark[5]]
        said.append((*mark[:5], tuple(outcomes), *mark[6:]))
    return (body, *said)
