"""Records survive the round trip; anything but the canonical bytes is refused."""

from dataclasses import dataclass
from enum import IntEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.names import FileId
from blocktree.wire import Body, Record, body_field, decode, encode, record, with_body


class Colour(IntEnum):
    RED = 1
    BLUE = 2


@record(0x7F01)
@dataclass(frozen=True, slots=True)
class Leaf(Record):
    file: FileId
    colour: Colour = Colour.RED


@record(0x7F02)
@dataclass(frozen=True, slots=True)
class Twig(Record):
    count: int
    leaves: tuple[Leaf, ...]
    pair: tuple[int, str] = (0, "")
    best: Leaf | None = None
    thing: Record | None = None
    body: Body = body_field()


LEAF = Leaf(FileId(b"x" * 16), Colour.BLUE)
TWIG = Twig(7, (LEAF, LEAF), (1, "é"), LEAF, Leaf(FileId(b"y" * 16)))


def test_a_record_comes_back_equal() -> None:
    assert decode(encode(TWIG), Twig) == TWIG


def test_omitted_trailing_fields_take_their_defaults() -> None:
    assert decode(bytes.fromhex("83197f020780"), Twig) == Twig(7, ())


def test_the_body_travels_outside_the_record() -> None:
    twig = Twig(1, (), body=b"raw")
    assert encode(twig) == encode(Twig(1, ()))
    assert with_body(decode(encode(twig), Twig), b"raw") == twig


def test_a_body_on_a_record_without_one_is_refused() -> None:
    with pytest.raises(Fault) as caught:
        with_body(LEAF, b"raw")
    assert caught.value.kind is Kind.MALFORMED


@pytest.mark.parametrize(
    ("why", "data"),
    [
        ("empty", ""),
        ("not an array", "01"),
        ("unknown code", "81197eee"),
        ("too few fields", "82197f0207"),
        ("too many fields", "84197f01417800f6"),
        ("wrong type", "83197f026080"),
        ("trailing byte", "83197f02078000"),
        ("over-long integer", "83197f02180780"),
        ("indefinite array", "9f197f020780ff"),
        ("unknown enum member", "83197f01417809"),
        ("bignum", "83197f02c249ffffffffffffffffff80"),
        ("true is not an integer", "83197f02f580"),
    ],
)
def test_what_is_not_canonical_is_refused(why: str, data: str) -> None:
    with pytest.raises(Fault) as caught:
        decode(bytes.fromhex(data), Record)
    assert caught.value.kind is Kind.MALFORMED, why


def test_another_class_than_expected_is_refused() -> None:
    with pytest.raises(Fault, match="expected Twig, received Leaf"):
        decode(encode(LEAF), Twig)


@given(st.binary(max_size=200))
def test_no_bytes_give_anything_but_a_record_or_a_fault(data: bytes) -> None:
    try:
        value = decode(data, Record)
    except Fault as fault:
        assert fault.kind is Kind.MALFORMED  # noqa: PT017
    else:
        assert encode(value) == data


def test_another_encoding_is_refused_only_where_bytes_count() -> None:
    exact = encode(LEAF)
    assert exact.endswith(b"\x02")
    longer = exact[:-1] + b"\x18\x02"  # the same number in two bytes
    with pytest.raises(Fault, match="canonical"):
        decode(longer, Leaf)
    assert decode(longer, Leaf, exact=False) == LEAF


@given(st.binary(max_size=200))
def test_reading_without_comparing_gives_a_record_or_a_fault(data: bytes) -> None:
    try:
        decode(data, Record, exact=False)
    except Fault as fault:
        assert fault.kind is Kind.MALFORMED  # noqa: PT017
