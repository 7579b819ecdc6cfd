"""One line of a contract: what a role may do in a state, and which state follows.

Six verbs. Four are communication and come in pairs: what one role `tells` another `hears`, what
one `asks` another `answers`. Two happen by themselves: `after` some seconds, and `lost` when the
process of a partner is gone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, unique

from blocktree.contract.place import Place, here
from blocktree.wire import Record

Message = type[Record]
Answers = Message | tuple[Message, ...] | Mapping[Message, str]


@unique
class Verb(Enum):
    """What a branch does."""

    HEARS = "hears"
    TELLS = "tells"
    ANSWERS = "answers"
    ASKS = "asks"
    AFTER = "after"
    LOST = "lost"


DUAL = {
    Verb.HEARS: Verb.TELLS,
    Verb.TELLS: Verb.HEARS,
    Verb.ANSWERS: Verb.ASKS,
    Verb.ASKS: Verb.ANSWERS,
}
RECEIVES = {Verb.HEARS, Verb.ANSWERS}
SENDS = {Verb.TELLS, Verb.ASKS}
ASKED = {Verb.ASKS, Verb.ANSWERS}


@dataclass(frozen=True, slots=True)
class Branch:
    """What a role may do in a state; made by the functions below.

    Args:
        verb: what it does.
        message: what is told or asked; None for `after` and `lost`.
        partner: the role on the other side; "" if there is only one other.
        then: the state that follows; "" to stay.
        outcomes: for asks, each answer with the state that follows it ("" to stay).
        refused: the state after a refusal (a `Fault` instead of an answer); "" to stay.
        waits: whether who asks, or answers, takes no other message until the answer is there.
        optional: a send that goes only to partners whose contract has it too.
        seconds: of `after`.
        place: where it was written.
    """

    verb: Verb
    message: Message | None = None
    partner: str = ""
    then: str = ""
    outcomes: tuple[tuple[Message, str], ...] = ()
    refused: str = ""
    waits: bool = True
    optional: bool = False
    seconds: float = 0.0
    place: Place = field(default=Place(), compare=False)

    @property
    def uniform(self) -> bool:
        """Whether one state follows, whatever the answer."""
        return not self.outcomes or {then for _, then in self.outcomes} == {self.then}

    def targets(self, state: str) -> tuple[str, ...]:
        """The states that can follow when it is taken in `state`."""
        if self.verb in ASKED:
            names = [then for _, then in self.outcomes] or [self.then]
            names.append(self.refused)
        else:
            names = [self.then]
        return tuple(dict.fromkeys(name or state for name in names))

    def __str__(self) -> str:
        """The branch in words: `answers SetTarget`."""
        if self.verb is Verb.AFTER:
            return f"after {self.seconds:g} s"
        if self.verb is Verb.LOST:
            return f"lost {self.partner}".rstrip()
        return f"{self.verb.value} {name_of(self.message)}"


def hears(message: Message, *, sender: str = "", then: str = "") -> Branch:
    """Take a message that a partner tells."""
    return Branch(Verb.HEARS, message, sender, then, place=here())


def tells(message: Message, *, to: str = "", then: str = "", optional: bool = False) -> Branch:
    """Send a message and forget it."""
    return Branch(Verb.TELLS, message, to, then, optional=optional, place=here())


def answers(
    message: Message,
    answer: Answers = (),
    *,
    sender: str = "",
    then: str = "",
    refused: str = "",
    later: bool = False,
) -> Branch:
    """Take a message that a partner asks, and answer it, or refuse it with a `Fault`.

    Args:
        message: the question.
        answer: the answer's class, several, or several with the state that follows each. Without
            one, the answer says no more than that it was done.
        sender: the role that asks, if there are several others.
        then: the state that follows an answer.
        refused: the state that follows a refusal; as a rule a refused message changes nothing.
        later: further messages are taken before the answer is there.
    """
    said = (message, sender, then, _outcomes(answer, then), refused)
    return Branch(Verb.ANSWERS, *said, waits=not later, place=here())


def asks(
    message: Message,
    answer: Answers = (),
    *,
    to: str = "",
    then: str = "",
    refused: str = "",
    meanwhile: bool = False,
    optional: bool = False,
) -> Branch:
    """Send a question and wait for its answer.

    Args:
        message: the question.
        answer: as for `answers`: every class that may come.
        to: the role that is asked, if there are several others.
        then: the state that follows an answer.
        refused: the state that follows a refusal.
        meanwhile: messages are taken while the answer is outstanding.
        optional: as for `tells`.
    """
    said = (message, to, then, _outcomes(answer, then), refused)
    return Branch(Verb.ASKS, *said, waits=not meanwhile, optional=optional, place=here())


def after(seconds: float, *, then: str) -> Branch:
    """Go on by oneself when nothing came for so long."""
    return Branch(Verb.AFTER, then=then, seconds=seconds, place=here())


def lost(partner: str = "", *, then: str) -> Branch:
    """Go on when the process of the partner is gone; without this branch all begins anew."""
    return Branch(Verb.LOST, partner=partner, then=then, place=here())


def name_of(message: object) -> str:
    """The name of a message class, or of what was written in its place."""
    return message.__name__ if isinstance(message, type) else repr(message)


def _outcomes(answer: Answers, then: str) -> tuple[tuple[Message, str], ...]:
    if isinstance(answer, Mapping):
        return tuple(answer.items())
    several = answer if isinstance(answer, tuple) else (answer,)
    return tuple((one, then) for one in several)
