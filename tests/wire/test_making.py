"""What is made quickly is what its class makes."""

import pickle
from dataclasses import FrozenInstanceError, dataclass, fields

import pytest

from blocktree.keys import Member
from blocktree.sectors.header import Header
from blocktree.wire import maker
from blocktree.wire.record import _codecs


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 7


@dataclass(frozen=True, slots=True)
class Odd:
    cls: int
    made: int
    new: int


@dataclass(frozen=True)
class Loose:
    x: int


def test_what_is_made_is_of_its_class_and_frozen() -> None:
    point = maker(Point)(1, 2)
    assert type(point) is Point
    assert (point, hash(point), repr(point)) == (Point(1, 2), hash(Point(1, 2)), repr(Point(1, 2)))
    with pytest.raises(FrozenInstanceError):
        point.x = 3  # type: ignore[misc]
    with pytest.raises(TypeError):
        maker(Point)(1)
    assert pickle.loads(pickle.dumps(point)) == point


def test_a_field_may_be_called_as_the_maker_calls_things() -> None:
    assert maker(Odd) is not Odd
    assert maker(Odd)(1, 2, 3) == Odd(1, 2, 3)


def test_a_class_that_checks_what_it_is_given_or_has_no_slots_makes_itself() -> None:
    assert maker(Member) is Member
    assert maker(Loose) is Loose
    assert maker(Header) is not Header


def test_every_record_is_made_as_it_makes_itself() -> None:
    quick = [codec.cls for codec in _codecs.values() if maker(codec.cls) is not codec.cls]
    assert Header in quick
    for cls in quick:
        values = range(len(fields(cls)))
        assert maker(cls)(*values) == cls(*values)
