"""The records of the group, pinned in `tests/vectors/raft`."""

from pathlib import Path

import pytest

from blocktree.raft import (
    NOBODY,
    Append,
    AppendReply,
    CampaignNow,
    Entry,
    EntryKind,
    HardState,
    Heartbeat,
    HeartbeatReply,
    Membership,
    NodeId,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.wire import Record, decode, encode
from vector import FOLDER, Vector, load, pin, verdict

A, B, C = (NodeId(letter * 64) for letter in "abc")
ENTRY = Entry(3, 18, EntryKind.NORMAL, b"payload")
RECORDS: dict[str, Record] = {
    "entry": ENTRY,
    "hard-state": HardState(7, B),
    "hard-state-no-vote": HardState(0, NOBODY),
    "membership": Membership((A, B), (C,)),
    "snapshot-mark": SnapshotMark(1 << 40, 12, Membership((A,))),
    "vote-ask": VoteAsk(8, 18, 3, pre=False, transfer=True),
    "vote-reply": VoteReply(8, granted=True, pre=True),
    "append": Append(3, 17, 2, 16, (ENTRY, Entry(3, 19, EntryKind.NOOP, b""))),
    "append-nothing": Append(3, 0, 0, 0, ()),
    "append-reply": AppendReply(3, 19),
    "append-reply-rejected": AppendReply(3, 17, rejected=True, hint_index=9, hint_term=1),
    "heartbeat": Heartbeat(3, 16, 1000),
    "heartbeat-of-a-calm-group": Heartbeat(3, 16, 1000, late=16),
    "heartbeat-reply": HeartbeatReply(3, 1000),
    "campaign-now": CampaignNow(3),
}
WRONG: dict[str, bytes] = {
    "entry-unknown-kind": encode(ENTRY).replace(b"\x12\x01", b"\x12\x09"),
    "append-with-a-vote": encode(RECORDS["append"]).replace(
        encode(ENTRY), encode(RECORDS["vote-reply"])
    ),
    "heartbeat-cut": encode(RECORDS["heartbeat"])[:-1],
    "vote-ask-short": encode(RECORDS["vote-ask"]).replace(b"\x86", b"\x85", 1)[:-1],
}


@pytest.mark.parametrize("name", RECORDS)
def test_vectors_are_what_we_write(name: str, rewrite: bool) -> None:
    pin("raft", name, Vector({"expect": "ok"}, [encode(RECORDS[name])]), rewrite=rewrite)


@pytest.mark.parametrize("name", WRONG)
def test_wrong_vectors_are_pinned(name: str, rewrite: bool) -> None:
    pin("raft", name, Vector({"expect": "malformed"}, [WRONG[name]]), rewrite=rewrite)


@pytest.mark.parametrize("path", sorted((FOLDER / "raft").glob("*.txt")), ids=lambda p: p.stem)
def test_vectors_are_read_as_they_expect(path: Path) -> None:
    vector = load(path)
    assert verdict(lambda: decode(vector.values[0], Record)) == vector.headers["expect"]
    if path.stem in RECORDS:
        assert decode(vector.values[0], Record) == RECORDS[path.stem]
