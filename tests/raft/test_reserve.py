"""Entries go to a quorum at once, to the others together and later, and to all if one is slow."""

import random
from dataclasses import dataclass, field

import pytest

from blocktree.raft import (
    NOBODY,
    Append,
    AppendReply,
    ChangeKind,
    Config,
    HardState,
    HeartbeatReply,
    Membership,
    NodeId,
    Raft,
    Role,
    Saved,
    SnapshotMark,
    VoteReply,
)
from blocktree.raft.messages import Heartbeat
from blocktree.raft.reserve import HOLD_TICKS, OPEN_DOUBLINGS_MAX
from blocktree.sim.disk import Platter, Snapshot, Write

CONFIG = Config(hold_bytes_max=1000)
ME, *OTHERS = (NodeId(name) for name in "abcde")


@dataclass
class Group:
    """A leader of so many voters, and what leaves for the others."""

    voters: int = 3
    learners: tuple[NodeId, ...] = ()
    config: Config = CONFIG
    sent: dict[NodeId, list[int]] = field(default_factory=dict)  # the entries, by index

    def __post_init__(self) -> None:
        self.others = OTHERS[: self.voters - 1]
        members = Membership((ME, *self.others), self.learners)
        mark = SnapshotMark(0, 0, members)
        self.platter = Platter(Snapshot(mark, {}))
        saved = Saved(HardState(0, NOBODY), mark)
        self.raft = Raft(ME, saved, self.platter, self.config, random.Random(1))
        self.raft.campaign()
        for pre in (True, False):
            self.work()
            for node in self.others:
                self.raft.receive(node, VoteReply(1, granted=True, pre=pre))
        assert self.raft.role is Role.LEADER
        self.work()
        self.acknowledge(*self.others, *self.learners)
        self.work()

    def work(self) -> dict[NodeId, list[int]]:
        """Do all there is to do; the entries that left, by their receiver."""
        sent: dict[NodeId, list[int]] = {}
        while (ready := self.raft.ready()) is not None:
            self.platter.put(Write(None, ready.hard_state, ready.entries))
            for to, message in ready.send:
                if isinstance(message, Append):
                    sent.setdefault(to, []).extend(entry.index for entry in message.entries)
                elif isinstance(message, Heartbeat):
                    self.round = message.round
            if ready.must_save:
                self.raft.saved(ready.number)
            if ready.apply:
                self.raft.applied(ready.apply[-1].index)
        return {to: entries for to, entries in sent.items() if entries}

    def propose(self, size: int = 10, beside: int = 0) -> int:
        return self.raft.propose(bytes(size), beside)

    def acknowledge(self, *nodes: NodeId) -> None:
        for node in nodes:
            self.raft.receive(node, AppendReply(1, self.raft.last_index))


def test_what_the_quorum_does_not_need_leaves_together_when_it_is_released() -> None:
    group = Group()
    b, c = group.others
    first = group.propose()
    assert group.work() == {b: [first]}
    assert group.raft.held_from == first
    group.acknowledge(b)
    assert group.raft.commit == first
    second = group.propose()
    assert group.work() == {b: [second]}
    group.acknowledge(b)
    group.raft.release()
    assert group.work() == {c: [first, second]}
    assert group.raft.held_from == 0
    third = group.propose()
    assert group.work() == {b: [third]}  # the quorum was quick: it stays the one that is asked


def test_when_the_quorum_is_late_others_take_its_place_and_all_get_everything_for_a_while() -> None:
    group = Group()
    b, c = group.others
    for late in range(1, 10):
        held = group.propose()
        (asked,) = group.work()
        assert asked == (b, c)[(late - 1) % 2]
        group.raft.release()
        (other,) = group.work()
        assert {asked, other} == {b, c}
        pause = 2 ** min(late - 1, OPEN_DOUBLINGS_MAX)
        for _ in range(pause):
            assert group.raft.held_from == 0
            held = group.propose()
            assert group.work() == {b: [held], c: [held]}
            group.raft.tick()
            group.work()
            for node in (b, c):
                group.raft.receive(node, HeartbeatReply(1, group.round))
            group.acknowledge(b, c)
            group.work()
    group.propose()
    group.work()
    assert group.raft.held_from == group.raft.last_index


def test_once_a_quorum_was_quick_again_the_next_pause_is_short() -> None:
    group = Group()
    for quick in (False, True, False):
        group.propose()
        (asked,) = group.work()
        if quick:
            group.acknowledge(asked)
        group.raft.release()
        group.work()
        group.acknowledge(*group.others)
        if not quick:  # one tick, each time
            group.propose()
            assert group.raft.held_from == 0
            group.raft.tick()
            group.work()
            group.acknowledge(*group.others)
    group.propose()
    assert group.raft.held_from == group.raft.last_index


@pytest.mark.parametrize(("size", "beside"), [(1000, 0), (10, 990)])
def test_what_is_large_goes_to_all_at_once_with_what_was_held_back(size: int, beside: int) -> None:
    group = Group()
    b, c = group.others
    small = group.propose()
    group.work()
    large = group.propose(size, beside)
    assert group.work() == {b: [large], c: [small, large]}


def test_a_change_of_members_goes_to_all_at_once() -> None:
    group = Group()
    index = group.raft.change(ChangeKind.ADD, NodeId("x"))
    sent = group.work()
    assert all(sent[node] == [index] for node in group.others)


def test_a_transfer_brings_its_target_up_to_date() -> None:
    group = Group()
    b, c = group.others
    for _ in range(CONFIG.heartbeat_ticks):
        group.raft.tick()
    group.work()
    group.raft.receive(b, HeartbeatReply(1, group.round))  # a lease, which has to end first
    small = group.propose()
    assert group.work() == {b: [small]}
    group.raft.transfer(c)
    assert group.work() == {c: [small]}
    later = group.propose()
    assert group.work() == {b: [later], c: [later]}


def test_without_a_driver_that_releases_ticks_do() -> None:
    group = Group()
    _, c = group.others
    small = group.propose()
    group.work()
    group.acknowledge(group.others[0])
    assert group.raft.quiet_ticks < HOLD_TICKS
    for _ in range(HOLD_TICKS - 1):
        group.raft.tick()
        assert c not in group.work()
    group.raft.tick()
    assert group.work() == {c: [small]}


def test_of_five_voters_two_are_asked_and_learners_wait_with_the_rest() -> None:
    learner = NodeId("x")
    group = Group(5, (learner,))
    b, c, d, e = group.others
    small = group.propose()
    assert group.work() == {b: [small], c: [small]}
    group.raft.release()
    assert group.work() == {d: [small], e: [small], learner: [small]}


@pytest.mark.parametrize("voters", [1, 2])
def test_where_everybody_is_needed_nothing_is_held_back(voters: int) -> None:
    group = Group(voters)
    small = group.propose()
    assert group.work() == {node: [small] for node in group.others}
    assert group.raft.held_from == 0


def test_a_group_may_hold_nothing_back() -> None:
    group = Group(config=Config())
    group.raft.propose(b"")
    assert group.raft.held_from == 0


def asked(group: Group) -> set[NodeId]:
    """Who gets a small entry at once; everybody acknowledges it, and all is released."""
    group.propose()
    nodes = set(group.work())
    group.acknowledge(*nodes)
    group.raft.release()
    group.work()
    group.acknowledge(*group.others)
    group.work()
    return nodes


def test_a_follower_that_answers_much_sooner_is_asked_first() -> None:
    group = Group()
    slow, quick = group.others
    group.raft.prefer({slow: 0.010, quick: 0.006})  # a little sooner is not enough
    assert asked(group) == {slow}
    group.raft.prefer({slow: 0.010})  # nothing is known of the other one
    assert asked(group) == {slow}
    group.raft.prefer({slow: 0.010, quick: 0.002})
    assert asked(group) == {quick}
    group.raft.prefer({slow: 0.010, quick: 0.002})
    assert asked(group) == {quick}


def test_who_is_asked_from_now_on_gets_what_was_held_back_from_it() -> None:
    group = Group()
    slow, quick = group.others
    first = group.propose()
    assert group.work() == {slow: [first]}
    group.raft.prefer({slow: 0.010, quick: 0.002})
    second = group.propose()
    assert group.work() == {quick: [first, second]}


def test_of_five_voters_the_slowest_that_is_asked_makes_room_for_the_quickest() -> None:
    group = Group(5)
    first, second, third, fourth = group.others
    assert asked(group) == {first, second}
    group.raft.prefer({first: 0.020, second: 0.004, third: 0.009, fourth: 0.003})
    assert asked(group) == {second, fourth}
