"""Quorums and steps of membership."""

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.raft import ChangeKind, Membership, NodeId, SnapshotMark
from blocktree.raft.membership import LEARNERS_MAX, VOTERS_MAX, History, agreed, changed, quorum

NAMES = [NodeId(letter) for letter in "abcdefghij"]


@given(st.lists(st.integers(0, 20), min_size=1, max_size=9))
def test_what_is_agreed_was_reached_by_a_quorum_and_nothing_greater_was(values: list[int]) -> None:
    index = agreed(values)
    needed = quorum(len(values))
    assert sum(value >= index for value in values) >= needed
    assert all(sum(value >= more for value in values) < needed for more in range(index + 1, 22))


def test_nobody_agrees_on_nothing() -> None:
    assert agreed([]) == 0


@given(st.sets(st.sampled_from(NAMES), min_size=1, max_size=6), st.sampled_from(NAMES))
def test_quorums_one_step_apart_overlap(voters: set[NodeId], node: NodeId) -> None:
    old = Membership(tuple(sorted(voters)), () if node in voters else (node,))
    kind = ChangeKind.DEMOTE if node in voters else ChangeKind.PROMOTE
    if voters == {node}:
        return
    new = changed(old, kind, node)
    for some in combinations(old.voters, quorum(len(old.voters))):
        for others in combinations(new.voters, quorum(len(new.voters))):
            assert set(some) & set(others)


def test_the_steps() -> None:
    start = Membership((NAMES[0],))
    added = changed(start, ChangeKind.ADD, NAMES[1])
    assert added == Membership((NAMES[0],), (NAMES[1],))
    promoted = changed(added, ChangeKind.PROMOTE, NAMES[1])
    assert promoted == Membership((NAMES[0], NAMES[1]))
    assert changed(promoted, ChangeKind.DEMOTE, NAMES[1]) == added
    assert changed(promoted, ChangeKind.REMOVE, NAMES[1]) == start
    assert changed(added, ChangeKind.REMOVE, NAMES[1]) == start


@pytest.mark.parametrize(
    ("kind", "node", "fault"),
    [
        (ChangeKind.ADD, "a", Kind.EXISTS),
        (ChangeKind.ADD, "b", Kind.EXISTS),
        (ChangeKind.PROMOTE, "a", Kind.NOT_FOUND),
        (ChangeKind.PROMOTE, "c", Kind.NOT_FOUND),
        (ChangeKind.DEMOTE, "b", Kind.NOT_FOUND),
        (ChangeKind.REMOVE, "c", Kind.NOT_FOUND),
        (ChangeKind.REMOVE, "a", Kind.USAGE),
        (ChangeKind.DEMOTE, "a", Kind.USAGE),
    ],
)
def test_steps_that_make_no_sense_are_refused(kind: ChangeKind, node: str, fault: Kind) -> None:
    members = Membership((NodeId("a"),), (NodeId("b"),))
    with pytest.raises(Fault) as refused:
        changed(members, kind, NodeId(node))
    assert refused.value.kind is fault


def test_a_group_stays_small() -> None:
    many = tuple(NodeId(f"n{number:03}") for number in range(LEARNERS_MAX))
    with pytest.raises(Fault, match="voters or"):
        changed(Membership((NodeId("a"),), many), ChangeKind.ADD, NodeId("b"))
    with pytest.raises(Fault, match="voters or"):
        changed(Membership(many[:VOTERS_MAX], (NodeId("b"),)), ChangeKind.PROMOTE, NodeId("b"))


def test_history_goes_back_when_entries_are_truncated() -> None:
    one, two, three = (Membership(tuple(NAMES[:count])) for count in (1, 2, 3))
    history = History(SnapshotMark(5, 1, one))
    history.append(7, two)
    history.append(9, three)
    assert [history.at(index) for index in (5, 6, 7, 8, 9, 99)] == [
        one,
        one,
        two,
        two,
        three,
        three,
    ]
    history.truncate(9)
    assert (history.latest, history.latest_index) == (two, 7)
    history.compact(8)
    assert history.at(8) == two
    history.truncate(8)
    assert history.latest == two
