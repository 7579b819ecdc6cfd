"""What is wrong with a contract: a rule, a sentence, a line, and how it comes about."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, unique
from typing import NamedTuple

from blocktree.contract.place import Place
from blocktree.fault import Fault, Kind


@unique
class Rule(Enum):
    """The rules that `check` holds a contract to; the value is the name that people see."""

    NAMES = "names"  # no such state or role, or two of one name
    MESSAGE = "message"  # not a record, or two branches for one message in one state
    UNREACHABLE = "unreachable"  # a state that no branch leads to
    UNSENT = "unsent"  # a role takes a message that nobody sends
    UNHEARD = "unheard"  # a role sends a message that its partner never takes
    UNFIT = "unfit"  # both sides know the message, but not in the same way
    UNHANDLED = "unhandled"  # a message can arrive in a state that does not take it
    DEADLOCK = "deadlock"  # all wait, and nothing can come
    LIVELOCK = "livelock"  # it goes on for ever without getting anywhere
    TOO_LARGE = "too large"  # more states than can be explored
    METHODS = "methods"  # an actor class whose methods are not those of its role


class Step(NamedTuple):
    """One step of a conversation that goes wrong: who did what; `other` is who it concerns."""

    role: str
    what: str
    other: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with a contract.

    Args:
        rule: which rule it breaks.
        what: a sentence, lower case, without a full stop.
        place: the line to look at.
        trace: how it comes about, step by step, where that says more.
        roles: the columns of the trace.
    """

    rule: Rule
    what: str
    place: Place
    trace: Sequence[Step] = ()
    roles: Sequence[str] = ()

    def __str__(self) -> str:
        """`file:line: rule: sentence`."""
        return f"{self.place}: {self.rule.value}: {self.what}"


def raise_first(findings: Sequence[Finding]) -> None:
    """Turn findings into a fault, if there are any.

    Raises:
        Fault: CONTRACT with the first one, and how many more there are.
    """
    if findings:
        first = findings[0]
        more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
        what = f"{first.rule.value}: {first.what}{more}"
        step = f"bt contract check {first.place.file}" if first.place.file else ""
        raise Fault(Kind.CONTRACT, what, path=str(first.place), next_step=step)
