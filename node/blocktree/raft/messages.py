"""The nouns of the group: entries, saved state, membership, and the messages between voters.

All are wire records (codes 0x03xx), so that disk, link and simulator speak of the same things.
`SPEC.md` has the tables. A message does not name its sender: the link has proved who that is, and
the driver says so when it calls `Raft.receive(sender, message)`.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import NewType

from blocktree.wire import Record, record

NodeId = NewType("NodeId", str)  # hex of the process's PrincipalId, 64 characters; "" = nobody
NOBODY = NodeId("")


@unique
class EntryKind(IntEnum):
    """What an entry's payload is."""

    NORMAL = 1  # the driver's own bytes
    MEMBERS = 2  # an encoded `Membership`, in force from the moment it is in the log
    NOOP = 3  # empty: the first entry of every leader


@record(0x0301)
@dataclass(frozen=True, slots=True)
class Entry(Record):
    """One place in the log. Indexes start at 1 and have no gaps."""

    term: int
    index: int
    kind: EntryKind
    payload: bytes


@record(0x0302)
@dataclass(frozen=True, slots=True)
class HardState(Record):
    """What a voter must never forget: its term and whom it voted for in it ("" = nobody)."""

    term: int
    vote: NodeId


@record(0x0303)
@dataclass(frozen=True, slots=True)
class Membership(Record):
    """Who decides (voters) and who only follows (learners); both sorted, without overlap."""

    voters: tuple[NodeId, ...]
    learners: tuple[NodeId, ...] = ()


@record(0x0304)
@dataclass(frozen=True, slots=True)
class SnapshotMark(Record):
    """The point of the log that a snapshot (or a checkpoint of the state) stands for."""

    index: int
    term: int
    membership: Membership


@record(0x0310)
@dataclass(frozen=True, slots=True)
class VoteAsk(Record):
    """A candidate asks for a vote in `term`; with `pre`, only whether it would be given.

    `transfer` says that the leader itself ordered this election: loyalty to it does not matter.
    """

    term: int
    last_index: int
    last_term: int
    pre: bool
    transfer: bool


@record(0x0311)
@dataclass(frozen=True, slots=True)
class VoteReply(Record):
    """The answer. A granted answer carries the term asked for, a refusal the voter's own."""

    term: int
    granted: bool
    pre: bool


@record(0x0312)
@dataclass(frozen=True, slots=True)
class Append(Record):
    """Entries that follow the one at (`previous_index`, `previous_term`) in the leader's log."""

    term: int
    previous_index: int
    previous_term: int
    commit: int
    entries: tuple[Entry, ...]


@record(0x0313)
@dataclass(frozen=True, slots=True)
class AppendReply(Record):
    """Accepted: durable and equal to the leader's log up to `index`.

    Rejected: there is no entry (`index`, its term) here; try at `hint_index`, `hint_term`.
    """

    term: int
    index: int
    rejected: bool = False
    hint_index: int = 0
    hint_term: int = 0


@record(0x0314)
@dataclass(frozen=True, slots=True)
class Heartbeat(Record):
    """The leader is alive. `round` numbers the quorum rounds that reads and leases wait for.

    The next one may come `late` ticks later than usual, for nobody asks anything of this group.
    """

    term: int
    commit: int
    round: int
    late: int = 0


@record(0x0315)
@dataclass(frozen=True, slots=True)
class HeartbeatReply(Record):
    """The sender still followed the leader of `term` when it saw `round`."""

    term: int
    round: int


@record(0x0316)
@dataclass(frozen=True, slots=True)
class CampaignNow(Record):
    """The leader asks a caught-up voter to take over at once."""

    term: int


Message = VoteAsk | VoteReply | Append | AppendReply | Heartbeat | HeartbeatReply | CampaignNow
