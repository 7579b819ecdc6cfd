"""What we write is what the library writes, for every value a record can hold."""

import dataclasses
import math
import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.wire import Record, decode, encode, record


class Size(IntEnum):
    SMALL = 1
    HUGE = 70_000


@record(0x7F11)
@dataclass(frozen=True, slots=True)
class Inner(Record):
    number: int


@record(0x7F12)
@dataclass(frozen=True, slots=True)
class Other(Record):
    text: str = "x"


@record(0x7F13)
@dataclass(frozen=True, slots=True)
class Everything(Record):
    number: int
    raw: bytes
    text: str
    flag: bool
    real: float
    size: Size
    numbers: tuple[int, ...]
    digests: tuple[bytes, ...]
    names: tuple[str, ...]
    pairs: tuple[tuple[int, str], ...]
    pair: tuple[Size, bytes | None]
    inner: Inner
    either: Inner | Other
    maybe: Inner | Other | None
    any: Record
    many: tuple[Inner, ...]


INTEGERS = st.integers(-(1 << 63), (1 << 64) - 1)
INNER = st.builds(Inner, INTEGERS)
OTHER = st.builds(Other, st.text(max_size=5))
EVERYTHING = st.builds(
    Everything,
    INTEGERS,
    st.binary(max_size=300),
    st.text(max_size=40),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(Size),
    st.lists(INTEGERS, max_size=12).map(tuple),
    st.lists(st.binary(max_size=40), max_size=12).map(tuple),
    st.lists(st.text(max_size=5), max_size=12).map(tuple),
    st.lists(st.tuples(INTEGERS, st.text(max_size=5)), max_size=3).map(tuple),
    st.tuples(st.sampled_from(Size), st.none() | st.binary(max_size=3)),
    INNER,
    INNER | OTHER,
    st.none() | INNER | OTHER,
    INNER | OTHER,
    st.lists(INNER, max_size=3).map(tuple),
)


def plain(value: Any) -> Any:
    if isinstance(value, Record):
        fields = dataclasses.fields(value)  # type: ignore[arg-type] # every record is one
        return [value.record_code, *(plain(getattr(value, field.name)) for field in fields)]
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, IntEnum) else value


@given(EVERYTHING)
def test_every_value_is_written_canonically_and_comes_back(value: Everything) -> None:
    data = encode(value)
    assert data == cbor2.dumps(plain(value))
    assert decode(data, Everything) == value


@pytest.mark.parametrize("real", [math.inf, -math.inf])
def test_the_infinities_are_eight_bytes_like_every_number(real: float) -> None:
    """The library would write two; one length for all is simpler to specify."""
    value = dataclasses.replace(EXAMPLE, real=real)
    assert b"\xfb" + struct.pack("!d", real) in encode(value)
    assert decode(encode(value), Everything) == value


@given(EVERYTHING, st.integers(0), st.integers(0, 255))
def test_a_changed_byte_gives_another_value_or_a_fault(
    value: Everything, place: int, byte: int
) -> None:
    data = bytearray(encode(value))
    data[place % len(data)] = byte
    try:
        other = decode(bytes(data), Everything)
    except Fault as fault:
        assert fault.kind is Kind.MALFORMED  # noqa: PT017
    else:
        assert encode(other) == data


@pytest.mark.parametrize("size", [0, 1, 23, 24, 255, 256, 65_535, 65_536])
def test_lengths_take_the_shortest_form(size: int) -> None:
    value = Other("a" * size)
    assert encode(value) == cbor2.dumps([0x7F12, "a" * size])
    many = dataclasses.replace(EXAMPLE, digests=(b"d",) * size)
    assert decode(encode(many), Everything) == many


@pytest.mark.parametrize("number", [0, 23, 24, 255, 256, 1 << 16, 1 << 32, (1 << 64) - 1])
def test_integers_take_the_shortest_form(number: int) -> None:
    for value in (number, -1 - number):
        if value >= -(1 << 63):
            assert encode(Inner(value)) == cbor2.dumps([0x7F11, value])


EXAMPLE = Everything(
    1, b"", "", True, 0.5, Size.HUGE, (), (), (), (), (Size.SMALL, None), Inner(1), Other(), None,  # noqa: FBT003
    Other(), (),
)  # fmt: skip


def test_a_real_number_has_one_form() -> None:
    for number in (0.0, -0.0, 1.5, math.inf, 1e300):
        value = dataclasses.replace(EXAMPLE, real=number)
        data = encode(value)
        assert b"\xfb" + struct.pack("!d", number) in data
        assert math.copysign(1, decode(data, Everything).real) == math.copysign(1, number)
    short = encode(EXAMPLE).replace(b"\xfb" + struct.pack("!d", 0.5), b"\xf9\x38\x00")
    with pytest.raises(Fault, match="not canonical"):
        decode(short, Everything)


def test_a_number_too_big_or_of_another_type_is_not_written() -> None:
    for wrong in (1 << 64, "one"):
        with pytest.raises((OverflowError, TypeError)):
            encode(Inner(wrong))  # type: ignore[arg-type]


def test_lists_of_the_wrong_things_are_refused() -> None:
    whole = plain(EXAMPLE)
    for place, wrong in ((7, [1, "x"]), (7, [1 << 70]), (7, 5), (8, ["text"]), (9, [b"bytes"])):
        changed = [*whole[:place], wrong, *whole[place + 1 :]]
        with pytest.raises(Fault) as caught:
            decode(cbor2.dumps(changed), Everything)
        assert caught.value.kind is Kind.MALFORMED
