"""What any actor says of itself when it is asked: the messages it takes, and how it is.

For people and scripts (`bt ask`, the mount), which know no classes: names and fields are enough to
write a message and to read an answer. The shapes come from the records themselves.
"""

import dataclasses
import typing
from dataclasses import dataclass

import cbor2

from blocktree.actors.actor import Actor, dispatch_table, played
from blocktree.contract.written import contract_mark, write
from blocktree.wire import Record, encode, record

SHAPES_MAX = 256
_KINDS = {"int": int, "text": str, "bytes": bytes, "bool": bool, "float": float}


@record(0x0B33)
@dataclass(frozen=True, slots=True)
class Describe(Record):
    """Ask an actor what it takes and how it is; every actor answers `Description`."""


@record(0x0B34)
@dataclass(frozen=True, slots=True)
class Field(Record):
    """One field of a message: `int`, `text`, `bytes`, `bool`, `float`, or `other`."""

    name: str
    kind: str
    required: bool = True
    default: bytes = b""  # CBOR, if it is plain data


@record(0x0B35)
@dataclass(frozen=True, slots=True)
class Shape(Record):
    """A class of messages: `[code, field, field, …]` in CBOR."""

    name: str
    code: int
    fields: tuple[Field, ...]
    taken: bool  # False: it is an answer
    about: str = ""


@record(0x0B36)
@dataclass(frozen=True, slots=True)
class Description(Record):
    """What an actor is."""

    actor: str  # its class
    about: str
    shapes: tuple[Shape, ...]
    condition: str  # one line
    latest: str  # the last thing worth knowing: a reading, a result; one line
    roles: tuple[str, ...] = ()  # of contracts: `thermostat.room`, a space, the contract's mark


@record(0x0A22)
@dataclass(frozen=True, slots=True)
class GetContracts(Record):
    """Ask an actor for the contracts that it plays roles of; every actor answers `Contracts`."""


@record(0x0A23)
@dataclass(frozen=True, slots=True)
class Contracts(Record):
    """The answer: encoded `contract.WrittenContract`s, in the order of the roles."""

    contracts: tuple[bytes, ...]


def contracts_of(actor: Actor) -> Contracts:
    """The contracts of an actor of this process."""
    roles, _ = played(type(actor))
    return Contracts(tuple(encode(write(role.contract)) for role in roles if role.contract))


def describe(actor: Actor) -> Description:
    """What an actor of this process is."""
    cls = type(actor)
    taken = dispatch_table(cls)
    shapes = [_shape(message, taken=True) for message in taken]
    answers = {each for method in taken.values() for each in _answers(method)} - set(taken)
    shapes += [_shape(each, taken=False) for each in sorted(answers, key=lambda one: one.__name__)]
    roles = tuple(f"{r} {contract_mark(r.contract)}" for r in played(cls)[0] if r.contract)
    return Description(
        cls.__name__,
        _first_line(cls),
        tuple(shapes[:SHAPES_MAX]),
        actor.condition,
        actor.latest,
        roles,
    )


def _shape(message: type, *, taken: bool) -> Shape:
    hints = typing.get_type_hints(message)
    fields = tuple(_field(each, hints[each.name]) for each in dataclasses.fields(message))
    assert issubclass(message, Record)
    return Shape(message.__name__, message.record_code, fields, taken, _first_line(message))


def _field(each: "dataclasses.Field[object]", hint: object) -> Field:
    default = each.default
    if default is dataclasses.MISSING:
        return Field(each.name, _kind(hint), each.default_factory is dataclasses.MISSING)
    plain = default is None or isinstance(default, int | str | bytes | float)
    value = cbor2.dumps(default) if plain else b""
    return Field(each.name, _kind(hint), required=False, default=value)


def _kind(hint: object) -> str:
    hint = getattr(hint, "__supertype__", hint)
    return next((name for name, kind in _KINDS.items() if hint is kind), "other")


def _answers(method: object) -> list[type]:
    try:
        hint = typing.get_type_hints(method).get("return")
    except NameError:  # an annotation that is only there for type checkers
        return []
    found: list[type] = []
    queue = [hint]
    while queue:
        one = queue.pop()
        queue += typing.get_args(one)
        if isinstance(one, type) and issubclass(one, Record) and one is not Record:
            found.append(one)
    return found


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").strip().partition("\n")[0]
