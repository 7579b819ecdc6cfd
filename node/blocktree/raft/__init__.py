"""Consensus: a pure Raft core in the manner of a `Ready` machine (`SPEC.md`).

The driver (`store`, or the simulator) owns disk, network and clock. Ongaro's thesis (2014) is the
source; `tests/sim` and `tests/scenarios/raft` are the evidence.
"""

from blocktree.raft.core import Raft
from blocktree.raft.membership import ChangeKind
from blocktree.raft.messages import (
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
    Message,
    NodeId,
    SnapshotMark,
    VoteAsk,
    VoteReply,
)
from blocktree.raft.ready import Config, Dice, Log, Ready, Saved
from blocktree.raft.state import Role

__all__ = [
    "NOBODY",
    "Append",
    "AppendReply",
    "CampaignNow",
    "ChangeKind",
    "Config",
    "Dice",
    "Entry",
    "EntryKind",
    "HardState",
    "Heartbeat",
    "HeartbeatReply",
    "Log",
    "Membership",
    "Message",
    "NodeId",
    "Raft",
    "Ready",
    "Role",
    "Saved",
    "SnapshotMark",
    "VoteAsk",
    "VoteReply",
]
