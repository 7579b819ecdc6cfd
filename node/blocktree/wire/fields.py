"""How values of one type are written, and read from what CBOR gave: the leaves of records."""

import dataclasses
import enum
from collections.abc import Callable
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.wire import cbor
from blocktree.wire.cbor import Write

_INTEGER_MIN, _INTEGER_MAX = -(1 << 63), (1 << 64) - 1
Read = Callable[[Any], Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Field:
    """How a value of one type is written, and read from what CBOR gave.

    `quick` is an expression on `{0}` that is true for what needs no reading; "" if there is none.
    """

    write: Write
    read: Read
    quick: str = ""


def _read_scalar(kind: type) -> Read:
    def read(item: Any) -> Any:
        if type(item) is not kind:
            raise Fault(Kind.MALFORMED, f"expected {kind.__name__}, got {type(item).__name__}")
        return item

    return read


def _read_int(item: Any) -> Any:
    if type(item) is not int or not _INTEGER_MIN <= item <= _INTEGER_MAX:
        raise Fault(Kind.MALFORMED, "expected a 64-bit integer")
    return item


BYTES_FIELD = Field(cbor.write_bytes, _read_scalar(bytes), "type({0}) is bytes")
INT_FIELD = Field(
    cbor.write_int,
    _read_int,
    f"type({{0}}) is int and {_INTEGER_MIN} <= {{0}} <= {_INTEGER_MAX}",
)
SCALARS: dict[Any, Field] = {
    int: INT_FIELD,
    bytes: BYTES_FIELD,
    str: Field(cbor.write_text, _read_scalar(str), "type({0}) is str"),
    bool: Field(cbor.write_bool, _read_scalar(bool), "type({0}) is bool"),
    float: Field(cbor.write_float, _read_scalar(float), "type({0}) is float"),
}


def read_enum(kind: type[enum.IntEnum]) -> Read:
    """Reads a member of an enum from its number; other numbers are MALFORMED."""
    members = {int(member): member for member in kind}

    def read(item: Any) -> Any:
        if type(item) is not int or item not in members:
            raise Fault(Kind.MALFORMED, f"{item!r} is not a {kind.__name__}")
        return members[item]

    return read


def sequence(field: Field) -> Field:
    """A tuple of any length whose items are of `field`."""
    scalar = next((kind for kind in (int, bytes, str) if SCALARS[kind] is field), None)
    if scalar is not None:
        return Field(cbor.write_scalars(field.write), _read_scalars(scalar, field.read))
    read_one = field.read

    def read(item: Any) -> Any:
        if type(item) is not list:
            raise Fault(Kind.MALFORMED, "expected a list")
        return tuple([read_one(part) for part in item])

    return Field(cbor.write_sequence(field.write), read)


def _read_scalars(kind: type, read_one: Read) -> Read:
    """Lists of thousands of digests are looked over without a call for each."""

    def read(item: Any) -> Any:
        if type(item) is not list:
            raise Fault(Kind.MALFORMED, "expected a list")
        fits = set(map(type, item)) <= {kind}
        if fits and kind is int and item:
            fits = min(item) >= _INTEGER_MIN and max(item) <= _INTEGER_MAX
        return tuple(item) if fits else tuple([read_one(part) for part in item])

    return read
