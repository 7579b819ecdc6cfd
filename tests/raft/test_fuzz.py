"""Whatever a member sends, in whatever order: a fault or an effect, and the invariants hold."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.raft import (
    NOBODY,
    Append,
    AppendReply,
    CampaignNow,
    Config,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Membership,
    Message,
    NodeId,
    Raft,
    Saved,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.sim.disk import Platter, Snapshot, Write
from blocktree.wire import encode

EXPECTED = {Kind.DAMAGED, Kind.CONTRACT, Kind.NOT_LEADER, Kind.BUSY, Kind.NOT_FOUND, Kind.MALFORMED}
NAMES = [NodeId(name) for name in "abcd"]
MARK = SnapshotMark(0, 0, Membership(tuple(NAMES[:3])))
small = st.integers(-1, 5)
kinds = st.sampled_from(EntryKind)
payloads = st.sampled_from([b"", b"x", encode(MARK.membership), encode(Membership(()))])
entries = st.lists(st.builds(Entry, small, small, kinds, payloads), max_size=3).map(tuple)


@st.composite
def runs(draw: st.DrawFn) -> tuple[Entry, ...]:
    """Entries in order, as an honest leader would send them."""
    first, term = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    return tuple(
        Entry(term, first + more, EntryKind.NORMAL, b"x") for more in range(draw(st.integers(0, 3)))
    )


@st.composite
def honest_appends(draw: st.DrawFn) -> Append:
    run = draw(runs())
    previous = run[0].index - 1 if run else draw(st.integers(0, 4))
    return Append(draw(st.integers(1, 5)), previous, draw(st.integers(0, 3)), draw(small), run)


messages = st.one_of(
    st.builds(VoteAsk, small, small, small, st.booleans(), st.booleans()),
    st.builds(VoteReply, small, st.booleans(), st.booleans()),
    st.builds(Append, small, small, small, small, entries),
    honest_appends(),
    st.builds(AppendReply, small, small, st.booleans(), small, small),
    st.builds(Heartbeat, small, small, small),
    st.builds(HeartbeatReply, small, small),
    st.builds(CampaignNow, small),
)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(NAMES[1:]), messages),
        st.sampled_from(["tick", "stall", "campaign", "propose", "read", "transfer", "save"]),
    ),
    max_size=40,
)


@settings(max_examples=400)
@given(steps)
def test_no_message_breaks_the_core(story: list[str | tuple[NodeId, Message]]) -> None:
    platter = Platter(Snapshot(MARK, {}))
    saved = Saved(HardState(0, NOBODY), MARK)
    raft = Raft(NAMES[0], saved, platter, Config(), random.Random(0))
    number = 0
    kinds_seen: set[Kind] = set()
    for step in story:
        try:
            if isinstance(step, tuple):
                raft.receive(*step)
            else:
                _do(raft, step, number)
        except Fault as fault:
            kinds_seen.add(fault.kind)
        while (ready := raft.ready()) is not None:
            platter.put(Write(None, ready.hard_state, ready.entries))
            number = ready.number
            if ready.apply:
                raft.applied(ready.apply[-1].index)
        raft._state.check()
    assert kinds_seen <= EXPECTED, kinds_seen


def _do(raft: Raft, step: str, number: int) -> None:
    match step:
        case "tick":
            raft.tick()
        case "stall":
            raft.tick(30)
        case "campaign":
            raft.campaign()
        case "propose":
            raft.propose(b"x")
        case "read":
            raft.read(1)
        case "transfer":
            raft.transfer(NAMES[1])
        case _:
            raft.saved(number)
