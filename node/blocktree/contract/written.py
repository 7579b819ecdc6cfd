"""A contract as canonical records: what its hash is of, and what tools compare.

Lines and files are not part of it, nor how long a timeout is in which file; two contracts with the
same hash let the same things be said.
"""

import dataclasses
import enum
import hashlib
import types
import typing
from dataclasses import dataclass

from blocktree.contract.branch import Branch, Message, Verb
from blocktree.contract.contract import Contract, Role, State
from blocktree.names import Digest
from blocktree.wire import Record, encode, record
from blocktree.wire.record import carries_body

VERBS = (Verb.HEARS, Verb.TELLS, Verb.ANSWERS, Verb.ASKS, Verb.AFTER, Verb.LOST)


@record(0x0A10)
@dataclass(frozen=True, slots=True)
class WrittenField(Record):
    """A field of a message; `kind` is its type in words."""

    name: str
    kind: str
    optional: bool  # it has a default, so an old writer may leave it out


@record(0x0A11)
@dataclass(frozen=True, slots=True)
class WrittenMessage(Record):
    """A message class."""

    code: int
    name: str
    fields: tuple[WrittenField, ...]
    body: bool


@record(0x0A12)
@dataclass(frozen=True, slots=True)
class WrittenOutcome(Record):
    """An answer, and the state that follows it; "" to stay."""

    code: int
    then: str


@record(0x0A13)
@dataclass(frozen=True, slots=True)
class WrittenBranch(Record):
    """A branch; `code` is 0 for a timeout and for a loss."""

    verb: int  # an index into VERBS
    code: int
    partner: str
    then: str
    outcomes: tuple[WrittenOutcome, ...]
    refused: str
    waits: bool
    optional: bool
    milliseconds: int


@record(0x0A14)
@dataclass(frozen=True, slots=True)
class WrittenState(Record):
    """A state."""

    name: str
    branches: tuple[WrittenBranch, ...]


@record(0x0A15)
@dataclass(frozen=True, slots=True)
class WrittenRole(Record):
    """A role; the first state is where it begins."""

    name: str
    states: tuple[WrittenState, ...]


@record(0x0A16)
@dataclass(frozen=True, slots=True)
class WrittenContract(Record):
    """A contract; messages by their codes."""

    name: str
    version: int
    messages: tuple[WrittenMessage, ...]
    roles: tuple[WrittenRole, ...]


def write(contract: Contract) -> WrittenContract:
    """The canonical form of a contract whose names are in order (`check_names`)."""
    messages = sorted(messages_of(contract), key=lambda message: message.record_code)
    return WrittenContract(
        contract.name,
        contract.version,
        tuple(write_message(message) for message in messages),
        tuple(_role(contract, role) for role in contract.roles),
    )


def contract_hash(contract: Contract) -> Digest:
    """SHA-256 of the canonical form."""
    return Digest(hashlib.sha256(encode(write(contract))).digest())


def contract_mark(contract: Contract) -> str:
    """The first eight bytes of the hash in hex: enough to tell versions apart, not to trust one."""
    return contract_hash(contract)[:8].hex()


def messages_of(contract: Contract) -> set[Message]:
    """Every message and answer of a contract."""
    branches = [branch for role in contract.roles for _, branch in role.branches()]
    found = {branch.message for branch in branches if branch.message is not None}
    return found | {answer for branch in branches for answer, _ in branch.outcomes}


def write_message(message: Message) -> WrittenMessage:
    """A message class with its fields, in their order."""
    hints = typing.get_type_hints(message)
    body = carries_body(message)
    fields = dataclasses.fields(typing.cast(typing.Any, message))
    plain = fields[:-1] if body else fields
    missing = dataclasses.MISSING
    return WrittenMessage(
        message.record_code,
        message.__name__,
        tuple(
            WrittenField(
                field.name,
                kind_of(hints[field.name]),
                optional=not field.default is field.default_factory is missing,
            )
            for field in plain
        ),
        body,
    )


def kind_of(hint: typing.Any) -> str:
    """A type in words that do not depend on where it is defined: `int`, `list of bytes`, `Role`."""
    while hasattr(hint, "__supertype__"):
        hint = hint.__supertype__
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return " or ".join(sorted("nothing" if a is types.NoneType else kind_of(a) for a in args))
    if origin is tuple:
        if len(args) == 2 and args[1] is Ellipsis:
            return f"list of {kind_of(args[0])}"
        return f"({', '.join(map(kind_of, args))})"
    if isinstance(hint, type) and issubclass(hint, enum.IntEnum):
        return f"one of {', '.join(str(int(member)) for member in hint)}"
    if isinstance(hint, type) and issubclass(hint, Record) and hint is not Record:
        return f"record {hint.record_code:#06x}"
    return str(getattr(hint, "__name__", hint))


def _role(contract: Contract, role: Role) -> WrittenRole:
    return WrittenRole(role.name, tuple(_state(contract, role, state) for state in role.states))


def _state(contract: Contract, role: Role, state: State) -> WrittenState:
    branches = tuple(_branch(contract, role, branch) for branch in state.branches)
    return WrittenState(state.name, branches)


def _branch(contract: Contract, role: Role, branch: Branch) -> WrittenBranch:
    partner = None if branch.verb is Verb.AFTER else contract.partner(role, branch)
    return WrittenBranch(
        VERBS.index(branch.verb),
        0 if branch.message is None else branch.message.record_code,
        "" if partner is None else partner.name,
        branch.then,
        tuple(WrittenOutcome(answer.record_code, then) for answer, then in branch.outcomes),
        branch.refused,
        branch.waits,
        branch.optional,
        round(branch.seconds * 1000),
    )
