"""The checker of histories, on histories small enough to judge by eye, and against brute force."""

from itertools import permutations

from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.sim.linear import NEVER, Operation, linearizable, unexplained_key


def write(value: int, called: int, returned: int | None) -> Operation:
    return Operation("k", write=True, value=value, called=called, returned=returned)


def read(value: int, called: int, returned: int) -> Operation:
    return Operation("k", write=False, value=value, called=called, returned=returned)


def test_a_read_sees_the_write_before_it() -> None:
    assert linearizable([write(1, 0, 1), read(1, 2, 3)])
    assert not linearizable([write(1, 0, 1), read(0, 2, 3)])


def test_a_read_during_a_write_may_see_either() -> None:
    assert linearizable([write(1, 0, 9), read(0, 2, 3), read(1, 4, 5)])
    assert not linearizable([write(1, 0, 9), read(1, 2, 3), read(0, 4, 5)])


def test_a_write_of_unknown_outcome_may_happen_late_or_never() -> None:
    assert linearizable([write(1, 0, None), read(0, 5, 6), read(1, 7, 8)])
    assert linearizable([write(1, 0, None), read(0, 5, 6)])
    assert not linearizable([write(1, 5, None), read(1, 0, 1)])


def test_a_value_that_nobody_wrote_is_not_explained() -> None:
    assert not linearizable([read(7, 0, 1)])


def test_two_writes_at_once_have_one_order_for_all() -> None:
    writes = [write(1, 0, 9), write(2, 0, 9)]
    assert linearizable([*writes, read(1, 10, 11), read(1, 12, 13)])
    assert not linearizable([*writes, read(1, 10, 11), read(2, 12, 13)])


def test_the_key_is_named() -> None:
    good = Operation("a", write=True, value=1, called=0, returned=1)
    bad = Operation("b", write=False, value=5, called=0, returned=1)
    assert unexplained_key([good]) is None
    assert unexplained_key([good, bad]) == "b"


def brute_force(operations: list[Operation]) -> bool:
    """Every order of every choice of unknown writes."""
    known = [op for op in operations if op.returned is not None]
    unknown = [op for op in operations if op.returned is None]
    for bits in range(1 << len(unknown)):
        chosen = known + [op for place, op in enumerate(unknown) if bits >> place & 1]
        if any(_explains(order) for order in permutations(chosen)):
            return True
    return False


def _explains(order: tuple[Operation, ...]) -> bool:
    value = moment = 0
    for op in order:
        moment = max(moment, op.called)
        if moment > (NEVER if op.returned is None else op.returned):
            return False
        if op.write:
            value = op.value
        elif op.value != value:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    operations = []
    for number in range(draw(st.integers(1, 5))):
        called = draw(st.integers(0, 8))
        ended = called + draw(st.integers(1, 6))
        if draw(st.booleans()):
            operations.append(write(number + 1, called, draw(st.sampled_from([ended, None]))))
        else:
            operations.append(read(draw(st.integers(0, 5)), called, ended))
    return operations


@settings(max_examples=300)
@given(histories())
def test_the_checker_agrees_with_trying_everything(operations: list[Operation]) -> None:
    assert linearizable(operations) == brute_force(operations)
