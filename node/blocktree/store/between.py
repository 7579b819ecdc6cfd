"""What the nodes of one group say to each other: every message record of actor `raft`.

Codes go on where `messages` ends. None of these is answered to anybody but a node of the same
directory; `SPEC.md` says what each is for.
"""

from dataclasses import dataclass

from blocktree.names import Digest, Path
from blocktree.raft import NodeId
from blocktree.wire import Body, Record, body_field, record

RAFT_ACTOR = "raft"  # the actor's name in every node


@record(0x0920)
@dataclass(frozen=True, slots=True)
class RaftMessages(Record):
    """Raft messages (`raft.Message`) from one node to another, in order.

    `to` says whom they mean: a process that was set up anew under the same path is another voter,
    which never promised what its predecessor did.

    Small blobs that their entries introduce ride along, and are staged before the messages count.
    """

    to: NodeId
    messages: tuple[Record, ...]
    lengths: tuple[int, ...] = ()  # of each blob in the body
    body: Body = body_field()


@record(0x0921)
@dataclass(frozen=True, slots=True)
class HoldBlobs(Record):
    """Staged blobs on their way to all nodes; not answered, lost ones are fetched.

    Whoever receives them sends them on: to the first of `onward` that takes them, which sends them
    on to the rest. So a leader sends a stream once, however many nodes there are.
    """

    digests: tuple[Digest, ...]
    lengths: tuple[int, ...]
    onward: tuple[Path, ...] = ()
    body: Body = body_field()


@record(0x0925)
@dataclass(frozen=True, slots=True)
class NeedBlobs(Record):
    """A replica asks another for blobs, each of which the entry at its index names."""

    digests: tuple[Digest, ...]
    indices: tuple[int, ...]


@record(0x0926)
@dataclass(frozen=True, slots=True)
class NeededBlobs(Record):
    """The answer: the first `len(lengths)` of them.

    Length 0: not here (yet). Length -1: gone for good, because the answerer has applied the entry
    that names it, and no version of its state refers to it any more.
    """

    lengths: tuple[int, ...]
    body: Body = body_field()


@record(0x0922)
@dataclass(frozen=True, slots=True)
class SnapshotOffer(Record):
    """The leader tells a follower that it is too far behind for the log: fetch its table."""

    term: int


@record(0x0923)
@dataclass(frozen=True, slots=True)
class GetSnapshot(Record):
    """Fetch the table of the state machine, one piece after another; resumes at `after`.

    The answer may be of another snapshot than asked for, when that is no longer there: begin anew.
    """

    index: int  # of the snapshot that is being received; 0: whatever the node has
    after: bytes  # the last key received, b"" to begin


@record(0x0924)
@dataclass(frozen=True, slots=True)
class SnapshotPiece(Record):
    """Part of the table at `mark`, in key order. The last piece has `last` set."""

    mark: bytes  # encoded `raft.SnapshotMark`
    items: tuple[tuple[bytes, bytes], ...]
    last: bool


@record(0x0927)
@dataclass(frozen=True, slots=True)
class Clear(Record):
    """The sender's log is damaged: take it out of the group, and in again as a learner.

    Faults: NOT_LEADER, NO_QUORUM, USAGE (it is the only voter).
    """


@record(0x0928)
@dataclass(frozen=True, slots=True)
class Cleared(Record):
    """The answer: since the entry at `index`, which is committed, the asker has no vote."""

    index: int


@record(0x092B)
@dataclass(frozen=True, slots=True)
class GetRows(Record):
    """Compare rows of the table: those of `prefix` behind `after`, up to `until` (b"": all).

    `digest` is that of the asker's (`comparing.rows_digest`). Faults: BUSY.
    """

    prefix: bytes
    after: bytes
    until: bytes
    digest: bytes


@record(0x092C)
@dataclass(frozen=True, slots=True)
class Rows(Record):
    """The answer: the same, or the rows as they are here when `index` is applied.

    If not `complete` they are too many for one answer, and these are the first.
    """

    index: int
    same: bool
    rows: tuple[tuple[bytes, bytes], ...] = ()
    complete: bool = True
