"""The door of the core: what it refuses, what it bounds, and what it makes of a broken disk."""

import random
from dataclasses import replace

import pytest

from blocktree.fault import Fault, Kind
from blocktree.raft import (
    NOBODY,
    Append,
    AppendReply,
    Config,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Membership,
    NodeId,
    Raft,
    Role,
    Saved,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.sim.disk import EMPTY_MARK, Platter, Snapshot, Write

A, B, C = (NodeId(name) for name in "abc")
TRIO = SnapshotMark(0, 0, Membership((A, B, C)))


def core(mark: SnapshotMark = TRIO, config: Config | None = None) -> tuple[Raft, Platter]:
    platter = Platter(Snapshot(mark, {}))
    saved = Saved(HardState(0, NOBODY), mark)
    return Raft(A, saved, platter, config or Config(), random.Random(1)), platter


def work(raft: Raft, platter: Platter) -> list[object]:
    """Do everything a Ready asks for, at once; the messages that left."""
    sent: list[object] = []
    while (ready := raft.ready()) is not None:
        platter.put(Write(None, ready.hard_state, ready.entries))
        sent += [message for _, message in ready.send]
        if ready.must_save:
            raft.saved(ready.number)
        if ready.apply:
            raft.applied(ready.apply[-1].index)
    return sent


def alone(config: Config | None = None) -> tuple[Raft, Platter]:
    raft, platter = core(SnapshotMark(0, 0, Membership((A,))), config)
    raft.tick()
    work(raft, platter)
    assert raft.role is Role.LEADER
    return raft, platter


def led(config: Config | None = None) -> tuple[Raft, Platter]:
    """A leads b and c in term 1, and nothing is acknowledged yet."""
    raft, platter = core(config=config)
    raft.campaign()
    work(raft, platter)
    raft.receive(B, VoteReply(1, granted=True, pre=True))
    work(raft, platter)
    raft.receive(B, VoteReply(1, granted=True, pre=False))
    assert raft.role is Role.LEADER
    work(raft, platter)
    return raft, platter


def test_only_the_leader_takes_proposals_reads_changes_and_transfers() -> None:
    raft, _ = core()
    raft.receive(B, Heartbeat(1, 0, 1))
    for ask in (
        lambda: raft.propose(b"x"),
        lambda: raft.read(1),
        lambda: raft.transfer(C),
    ):
        with pytest.raises(Fault) as refused:
            ask()
        assert refused.value.kind is Kind.NOT_LEADER
        assert refused.value.next_step == B


def test_an_entry_may_not_be_larger_than_its_limit() -> None:
    raft, _ = alone()
    with pytest.raises(Fault) as refused:
        raft.propose(bytes((1 << 20) + 1))
    assert refused.value.kind is Kind.TOO_LARGE


def test_what_waits_for_a_commit_is_bounded() -> None:
    raft, platter = led(replace(Config(), uncommitted_bytes_max=100))
    for _ in range(10):
        raft.propose(bytes(10))
    with pytest.raises(Fault) as refused:
        raft.propose(b"x")
    assert refused.value.kind is Kind.BUSY
    work(raft, platter)
    raft.receive(B, AppendReply(1, 11))
    raft.propose(b"x")


def test_reads_that_wait_are_bounded() -> None:
    raft, _ = led(replace(Config(), reads_max=2))
    raft.read(1)
    raft.read(2)
    with pytest.raises(Fault) as refused:
        raft.read(3)
    assert refused.value.kind is Kind.BUSY


def test_what_is_on_the_way_to_a_follower_is_bounded() -> None:
    config = replace(Config(), append_bytes_max=100, inflight_messages_max=4)
    raft, platter = led(config)
    raft.receive(B, AppendReply(1, 1))
    for _ in range(20):
        raft.propose(bytes(100))
    ready = raft.ready()
    assert ready is not None
    to_b = [message for to, message in ready.send if to == B and isinstance(message, Append)]
    assert len(to_b) == 4
    platter.put(Write(None, None, ready.entries))
    raft.receive(B, AppendReply(1, 3))
    assert sum(isinstance(message, Append) for message in work(raft, platter)) >= 2


def test_followers_at_the_same_place_get_the_same_message_object() -> None:
    raft, platter = led()
    for node in (B, C):
        raft.receive(node, AppendReply(1, 1))
    work(raft, platter)
    raft.propose(b"x")
    appends = [message for message in work(raft, platter) if isinstance(message, Append)]
    assert len(appends) == 2
    assert appends[0] is appends[1]


def test_entries_with_a_gap_are_against_the_contract() -> None:
    raft, _ = core()
    gap = (Entry(1, 1, EntryKind.NOOP, b""), Entry(1, 3, EntryKind.NOOP, b""))
    for entries in (gap, gap[1:]):
        with pytest.raises(Fault) as refused:
            raft.receive(B, Append(1, 0, 0, 0, entries))
        assert refused.value.kind is Kind.CONTRACT
    assert raft.last_index == 0


def test_an_acknowledgement_of_what_was_never_sent_is_against_the_contract() -> None:
    raft, _ = led()
    with pytest.raises(Fault) as refused:
        raft.receive(B, AppendReply(1, 99))
    assert refused.value.kind is Kind.CONTRACT


def test_strangers_do_not_count() -> None:
    raft, platter = led()
    stranger = NodeId("z")
    raft.receive(stranger, AppendReply(1, 1))
    raft.receive(stranger, HeartbeatReply(1, 1))
    work(raft, platter)
    assert raft.commit == 0


def test_a_state_that_does_not_meet_its_log_is_damage() -> None:
    mark = SnapshotMark(9, 2, Membership((A,)))
    with pytest.raises(Fault) as refused:
        core(mark)
    assert refused.value.kind is Kind.DAMAGED


def test_a_newcomer_waits_to_be_told() -> None:
    raft, platter = core(EMPTY_MARK)
    for _ in range(100):
        raft.tick()
    assert work(raft, platter) == []


def test_nothing_to_do_gives_nothing() -> None:
    raft, platter = alone()
    assert raft.ready() is None
    raft.propose(b"x")
    ready = raft.ready()
    assert ready is not None
    assert [entry.payload for entry in ready.entries] == [b"x"]
    assert ready.apply == ()
    platter.put(Write(None, None, ready.entries))
    assert raft.ready() is None
    raft.saved(ready.number)
    applied = raft.ready()
    assert applied is not None
    assert [entry.payload for entry in applied.apply] == [b"x"]


def test_a_candidate_on_a_slow_disk_is_patient() -> None:
    raft, platter = core()
    raft.receive(B, Heartbeat(1, 0, 1))
    ready = raft.ready()
    assert ready is not None
    for _ in range(20):
        raft.receive(B, Heartbeat(1, 0, 1))
        raft.tick()
    platter.put(Write(None, ready.hard_state, ready.entries))
    raft.saved(ready.number)
    raft.receive(C, Heartbeat(2, 0, 1))
    assert 12 <= _ticks_while(raft, Role.FOLLOWER) <= 24
    raft.receive(B, VoteReply(3, granted=True, pre=True))
    assert 12 + 40 <= _ticks_while(raft, Role.CANDIDATE) <= 24 + 40


def _ticks_while(raft: Raft, role: Role) -> int:
    ticks = 0
    while raft.role is role:
        raft.tick()
        ticks += 1
    return ticks


def test_a_stall_lets_what_arrived_be_read_first() -> None:
    raft, platter = core()
    raft.receive(B, Heartbeat(1, 0, 1))
    work(raft, platter)
    raft.tick(1000)
    assert raft.role is Role.FOLLOWER
    assert raft.now_tick == 1000


@pytest.mark.parametrize("late", [-1, 201])
def test_a_heartbeat_that_announces_too_long_a_silence_is_refused(late: int) -> None:
    raft, _ = core()
    raft.receive(B, Heartbeat(1, 0, 1))
    before = raft.quiet_ticks
    with pytest.raises(Fault) as caught:
        raft.receive(B, Heartbeat(1, 0, 2, late))
    assert caught.value.kind is Kind.CONTRACT
    assert raft.quiet_ticks == before


def test_a_calm_leader_that_nobody_hears_steps_down_before_its_next_heartbeat() -> None:
    raft, platter = led(replace(Config(), calm_after_ticks=0))
    raft.receive(B, HeartbeatReply(1, 1))
    for _ in range(Config().heartbeat_ticks):
        raft.tick()
    assert Heartbeat(1, 0, 2, late=18) in work(raft, platter)
    for _ in range(Config().election_ticks_min):
        raft.tick()
        assert raft.leader
    raft.tick()
    assert not raft.leader


def test_quiet_ticks_end_where_something_is_due() -> None:
    raft, _ = led(replace(Config(), heartbeat_ticks=3))
    raft.tick()
    while not raft.ready():
        raft.tick()
    assert raft.quiet_ticks == 2  # a heartbeat has just left
    raft.tick()
    raft.tick()
    assert raft.quiet_ticks == 0
    assert raft.ready() is None
    raft.tick()
    assert raft.ready() is not None
    follower, _ = core()
    follower.receive(B, Heartbeat(1, 0, 1))
    for _ in range(follower.quiet_ticks):
        follower.tick()
        assert follower.role is Role.FOLLOWER
    follower.tick()
    assert follower.role is Role.PRE_CANDIDATE
    assert follower.quiet_ticks == 0


def test_a_candidate_with_a_stale_log_is_told_its_term() -> None:
    raft, platter = led()
    raft.receive(C, VoteAsk(0, 0, 0, pre=False, transfer=False))
    assert VoteReply(1, granted=False, pre=False) in work(raft, platter)


def test_the_tail_in_memory_is_bounded() -> None:
    raft, platter = alone(replace(Config(), tail_bytes_max=1000))
    for _ in range(100):
        raft.propose(bytes(100))
        work(raft, platter)
    assert raft.commit == 101
    assert len(raft._state.log._entries) <= 13


def test_there_is_no_mark_for_a_state_that_is_being_replaced() -> None:
    raft, platter = core()
    raft.receive(B, Append(1, 0, 0, 1, (Entry(1, 1, EntryKind.NOOP, b""),)))
    work(raft, platter)
    assert raft.mark(1) == SnapshotMark(1, 1, TRIO.membership)
    snapshot = SnapshotMark(9, 1, Membership((A, B)))
    assert raft.snapshot_staged(snapshot)
    with pytest.raises(Fault) as refused:
        raft.mark(1)
    assert refused.value.kind is Kind.BUSY
    ready = raft.ready()
    assert ready is not None
    assert ready.restore == snapshot
    platter.put(Write(Snapshot(snapshot, {})))
    raft.saved(ready.number)
    assert raft.mark(9) == snapshot
    assert raft.membership == snapshot.membership


def test_a_heartbeat_beyond_the_log_shows_that_the_disk_forgot() -> None:
    raft, platter = core()
    with pytest.raises(Fault) as shown:
        raft.receive(B, Heartbeat(1, 3, 1))
    assert shown.value.kind is Kind.DAMAGED
    assert "called durable" in shown.value.what
    assert work(raft, platter) == []
    raft.receive(B, Heartbeat(1, 0, 1))
    assert len(work(raft, platter)) == 1
