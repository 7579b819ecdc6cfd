"""The contracts of the sector service: what its actors take, from whom, and what they answer.

Each of them has one state, because every question stands for itself: what a session, a lease or a
vote allows is decided by state that a quorum keeps, not by what one partner said before. `later`
says that questions do not wait for each other. A message that is in no contract is refused.
"""

from blocktree.contract import Branch, Contract, Role, State, answers, asks, hears, mirror, tells
from blocktree.store.between import (
    Clear,
    Cleared,
    GetRows,
    GetSnapshot,
    HoldBlobs,
    NeedBlobs,
    NeededBlobs,
    RaftMessages,
    Rows,
    SnapshotOffer,
    SnapshotPiece,
)
from blocktree.store.messages import (
    Alive,
    Blobs,
    Commit,
    Committed,
    GetBlobs,
    GetHeaders,
    GetHistory,
    GetLock,
    GetMembers,
    GetStatus,
    Headers,
    History,
    InTheWay,
    Join,
    Joined,
    KeepAlive,
    Lock,
    Locked,
    Members,
    PutBlobs,
    Recall,
    Recalled,
    Remove,
    Removed,
    Status,
    Stored,
    Unlock,
)
from blocktree.store.place_messages import (
    AccessAt,
    Forget,
    Forgotten,
    GetAccess,
    GetState,
    KeepState,
    KeptState,
    ListProviders,
    ListRunning,
    Providers,
    Published,
    PublishPlace,
    Register,
    Registered,
    Renew,
    Renewed,
    Resolve,
    RunList,
    Volunteer,
    Volunteered,
    Withdraw,
    Withdrawn,
)
from blocktree.store.scrub_messages import Scrub, Scrubbing

STORE = Contract(
    "store",
    1,
    Role(
        "node",
        State(
            "serving",
            answers(PutBlobs, Stored, later=True),
            answers(Commit, Committed, later=True),
            answers(GetHeaders, Headers, later=True),
            answers(GetBlobs, Blobs, later=True),
            answers(KeepAlive, Alive, later=True),
            answers(Lock, Locked, later=True),
            answers(Unlock, Locked, later=True),
            answers(GetLock, InTheWay, later=True),
            answers(GetHistory, History, later=True),
            answers(Join, Joined, later=True),
            answers(Remove, Removed, later=True),
            answers(GetMembers, Members, later=True),
            answers(GetStatus, Status, later=True),
            answers(Scrub, Scrubbing, later=True),
        ),
    ),
    mirror("client"),
)

LEASES = Contract(
    "leases",
    1,
    Role("holder", State("holding", answers(Recall, Recalled, later=True))),
    mirror("leader"),
)

CACHE = Contract(
    "cache",
    1,
    Role("peer", State("serving", answers(GetBlobs, Blobs, later=True))),
    mirror("asker"),
)

PLACES = Contract(
    "places",
    1,
    Role(
        "node",
        State(
            "serving",
            answers(Register, Registered, later=True),
            answers(Renew, Renewed, later=True),
            answers(Withdraw, Withdrawn, later=True),
            answers(Resolve, Providers, later=True),
            answers(ListProviders, Providers, later=True),
            answers(PublishPlace, Published, later=True),
            answers(GetAccess, AccessAt, later=True),
            answers(KeepState, KeptState, later=True),
            answers(GetState, KeptState, later=True),
            answers(Volunteer, Volunteered, later=True),
            answers(Forget, Forgotten, later=True),
            answers(ListRunning, RunList, later=True),
        ),
    ),
    mirror("process"),
)


def _between_nodes() -> tuple[Branch, ...]:
    """What a node takes from another; each of them says the same to each other."""
    return (
        hears(RaftMessages),
        hears(HoldBlobs),
        hears(SnapshotOffer),
        answers(NeedBlobs, NeededBlobs, later=True),
        answers(GetSnapshot, SnapshotPiece, later=True),
        answers(Clear, Cleared, later=True),
        answers(GetRows, Rows, later=True),
        tells(RaftMessages),
        tells(HoldBlobs),
        tells(SnapshotOffer),
        asks(NeedBlobs, NeededBlobs, meanwhile=True),
        asks(GetSnapshot, SnapshotPiece, meanwhile=True),
        asks(Clear, Cleared, meanwhile=True),
        asks(GetRows, Rows, meanwhile=True),
    )


GROUP = Contract("group", 1, Role("node", State("member", *_between_nodes())), mirror("other"))
