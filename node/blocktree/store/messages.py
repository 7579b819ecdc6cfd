"""What is said to and by the sector service: every message record of actor `store`.

Records of other packages (transactions, headers, members) travel as their own encoded bytes, so
that they are decoded once, off the event loop, and a signature never covers a re-encoding.
Every request may be answered by a `Fault`; `SPEC.md` lists which. NOT_LEADER names the leader's
process path in `next_step` (empty while there is none), BUSY asks to try again later, and
UNREACHABLE to a `Commit` means that its outcome is unknown: send the same transaction again.
"""

from dataclasses import dataclass
from enum import IntEnum, unique

from blocktree.names import Digest, FileId, Path, PrincipalId
from blocktree.wire import Body, Record, body_field, record

STORE_ACTOR = "store"  # the name of the sector service in every node
FILES_ACTOR = "files"  # where a client receives `Recall`
GET_HEADERS_MAX = 1024  # files in one `GetHeaders`
GET_BLOBS_MAX = 4096  # digests in one `GetBlobs`
PUT_BLOBS_MAX = 1024  # blobs in one `PutBlobs`; their bytes are bounded by the frame's body


@record(0x0901)
@dataclass(frozen=True, slots=True)
class PutBlobs(Record):
    """Give blobs to the leader ahead of the `Commit` that refers to them.

    They are staged, forwarded to the followers and dropped again if no commit comes in ten
    minutes. Faults: NOT_LEADER, MALFORMED, BUSY (too much staged), NO_SPACE.
    """

    lengths: tuple[int, ...]  # of each blob, in the body one behind the other
    body: Body = body_field()


@record(0x0902)
@dataclass(frozen=True, slots=True)
class Stored(Record):
    """The answer to `PutBlobs`: the name of each blob, in their order."""

    digests: tuple[Digest, ...]


@record(0x0903)
@dataclass(frozen=True, slots=True)
class Commit(Record):
    """Change headers, all or nothing: an encoded `sectors.Transaction`.

    A transaction that was already applied is answered with `Committed` again, so an unknown
    outcome is resolved by sending the same bytes. Faults: NOT_LEADER, MALFORMED, DAMAGED (bad
    signature), DENIED, CONFLICT (`path` is the hex id of the file that changed), NOT_FOUND (a blob
    it introduces is not there), NO_SPACE, BUSY, NO_QUORUM, UNREACHABLE (outcome unknown).
    A few small blobs may ride along, staged as by `PutBlobs`: a small file is then one round trip.
    """

    transaction: bytes
    session: bytes = b""  # when given, the session is leased the headers it wrote
    lengths: tuple[int, ...] = ()  # of each blob that rides along
    body: Body = body_field()


@record(0x0904)
@dataclass(frozen=True, slots=True)
class Committed(Record):
    """The change is durable on a quorum, applied, and no lease on an older header is left.

    The headers that it wrote are leased as in `Headers`, those of new directories exclusively:
    whoever makes one is likely to make something in it.
    """

    index: int  # of the Raft entry
    leased_ms: int = 0
    grant: int = 0
    since: int = 0


@record(0x0905)
@dataclass(frozen=True, slots=True)
class GetHeaders(Record):
    """Read the newest headers, linearizably.

    With `exclusive` no other session has a lease on these files while this one's holds: the leases
    of others are recalled before the answer, and anyone else's `GetHeaders` of such a file (or a
    commit that changes it) recalls this one first. A client that holds a directory so may promise
    names in it (O_EXCL) and commit them later, at the latest before it answers the recall.
    Faults: NOT_LEADER, NO_QUORUM, BUSY, USAGE (more than GET_HEADERS_MAX files).
    """

    files: tuple[FileId, ...]
    known: tuple[int, ...] = ()  # versions the asker holds (0: none); empty or one for each file
    session: bytes = b""  # when given, the headers are leased to this session
    exclusive: bool = False


@record(0x0906)
@dataclass(frozen=True, slots=True)
class Headers(Record):
    """The answer to `GetHeaders`.

    The lease holds for `leased_ms` counted from when the request was *sent*, on a clock that
    counts time asleep (CLOCK_BOOTTIME); every later `KeepAlive` or leased answer of the same
    session extends all its leases that are still valid. A lease whose `grant` is smaller than the
    `since` of any later answer is void. A `Recall` whose `grant` is not smaller than this one's
    voids the lease even if it arrives first.
    """

    headers: tuple[bytes | None, ...]  # encoded; b"" = still the known version; None = no such file
    index: int  # the Raft index that this state includes
    leased_ms: int = 0  # 0: not leased, ask again before every use
    grant: int = 0
    holders: tuple[tuple[Path, ...], ...] = ()  # for each file, processes that likely cache it
    since: int = 0  # the oldest grant of this session that still counts


@record(0x0907)
@dataclass(frozen=True, slots=True)
class GetBlobs(Record):
    """Read blobs by name from any process that may hold them: `store` or a peer's `cache`."""

    digests: tuple[Digest, ...]


@record(0x0908)
@dataclass(frozen=True, slots=True)
class Blobs(Record):
    """The answer to `GetBlobs`: the first `len(lengths)` of the digests; ask again for the rest.

    Length 0 says that the blob is not here (no blob is empty). The asker checks every hash.
    """

    lengths: tuple[int, ...]
    body: Body = body_field()


@record(0x0909)
@dataclass(frozen=True, slots=True)
class Recall(Record):
    """The leader takes back leases: told to actor `files` of the process that holds them.

    Answer `Recalled` once no read can be served from these headers any more. Unanswered, the
    leader waits until the leases have run out.
    """

    session: bytes
    files: tuple[FileId, ...]
    grant: int  # every lease on these files with a grant up to this one is void


@record(0x090A)
@dataclass(frozen=True, slots=True)
class Recalled(Record):
    """The answer to `Recall`."""


@unique
class LockKind(IntEnum):
    """What a lock on a range of bytes allows others."""

    READ = 0  # others may read-lock too
    WRITE = 1  # nobody else may lock


@record(0x090B)
@dataclass(frozen=True, slots=True)
class LockRange(Record):
    """One flock (the whole file, its own name space) or fcntl range lock."""

    kind: LockKind
    start: int  # first byte
    end: int  # last byte, inclusive; 2**63 - 1 for "to the end"
    owner: int  # the kernel's lock owner, unique within the session
    pid: int
    flock: bool = False


@record(0x090C)
@dataclass(frozen=True, slots=True)
class HeldLock(Record):
    """A lock that a session says it holds, re-asserted after a change of leader."""

    file: FileId
    lock: LockRange


@record(0x090D)
@dataclass(frozen=True, slots=True)
class KeepAlive(Record):
    """Keep a session, its leases and its locks; `locks` are re-asserted when `Alive` asks.

    A session that is silent for 10 s loses its locks. The same fields can be sent at any time:
    asserting a lock that is already held changes nothing. Faults: NOT_LEADER, NO_QUORUM,
    CONFLICT (a lock could not be re-asserted; `path` is the hex id of its file), BUSY.
    """

    session: bytes
    locks: tuple[HeldLock, ...] = ()
    leaving: bool = False  # the session ends: its leases and locks are free at once


@record(0x090E)
@dataclass(frozen=True, slots=True)
class Alive(Record):
    """The answer to `KeepAlive`."""

    leased_ms: int  # all leases of the session hold for this long from when `KeepAlive` was sent
    epoch: int  # of the lock table (the leader's term); when it changes, re-assert every lock
    grace_ms: int = 0  # re-asserting is possible for this long, new locks are refused until then
    since: int = 0  # as in `Headers`


@record(0x090F)
@dataclass(frozen=True, slots=True)
class Lock(Record):
    """Take a lock, or with `wait` stand in line for it until it is granted or withdrawn.

    Faults: NOT_LEADER, CONFLICT (not `wait` and somebody holds it), CANCELLED (withdrawn while
    waiting), BUSY (grace period after a change of leader, or too many locks), NO_QUORUM.
    """

    session: bytes
    file: FileId
    lock: LockRange
    wait: bool = False


@record(0x0910)
@dataclass(frozen=True, slots=True)
class Locked(Record):
    """The lock is held (or, after `Unlock`, the range is free)."""

    epoch: int  # of the lock table


@record(0x0911)
@dataclass(frozen=True, slots=True)
class Unlock(Record):
    """Free the owner's locks in this range, and stop waiting for one there."""

    session: bytes
    file: FileId
    lock: LockRange  # the kind does not matter


@record(0x0912)
@dataclass(frozen=True, slots=True)
class GetLock(Record):
    """Ask what stands in the way of a lock (fcntl F_GETLK)."""

    session: bytes
    file: FileId
    lock: LockRange


@record(0x0913)
@dataclass(frozen=True, slots=True)
class InTheWay(Record):
    """The answer to `GetLock`: None when the lock could be taken now."""

    lock: LockRange | None


@record(0x0914)
@dataclass(frozen=True, slots=True)
class GetHistory(Record):
    """Read past headers of a file that retention still keeps, newest first."""

    file: FileId
    below: int = 0  # only versions smaller than this; 0: all
    count: int = 64


@record(0x0915)
@dataclass(frozen=True, slots=True)
class History(Record):
    """The answer to `GetHistory`."""

    headers: tuple[bytes, ...]


@record(0x0916)
@dataclass(frozen=True, slots=True)
class Join(Record):
    """Ask to belong: the sender's certificate chain, issued under a ticket, and where it listens.

    The chain must be that of the link it came on, or come from a member node that passes it on: a
    follower hands the question to the leader itself, since the one who joins knows no other node
    yet. A member may send it again to tell new addresses. Faults: NOT_LEADER, DENIED, SPENT,
    EXPIRED, EXISTS (another principal has that path), NO_QUORUM, BUSY.
    """

    chain: tuple[bytes, ...]  # DER, leaf first
    addresses: tuple[str, ...] = ()


@record(0x0917)
@dataclass(frozen=True, slots=True)
class Joined(Record):
    """The answer to `Join`: the tree recorded the new member."""

    members: tuple[bytes, ...]  # encoded `keys.Member`
    index: int


@record(0x0918)
@dataclass(frozen=True, slots=True)
class GetMembers(Record):
    """Read who belongs to the tree; any node answers from what it has applied."""

    known: int = 0  # the `index` of an earlier answer; unchanged members are not sent again


@record(0x0919)
@dataclass(frozen=True, slots=True)
class Members(Record):
    """The answer to `GetMembers`; `members` is empty when nothing changed since `known`."""

    members: tuple[bytes, ...]  # encoded `keys.Member`
    index: int  # of the last change of the members
    former: tuple[bytes, ...] = ()  # those whose belonging ended: what they wrote stays verifiable


@record(0x091A)
@dataclass(frozen=True, slots=True)
class Remove(Record):
    """Withdraw a principal's belonging; only the owner may.

    Faults: as `Commit`; CONFLICT if it was done, and another member has its path.
    """

    principal: PrincipalId


@record(0x091B)
@dataclass(frozen=True, slots=True)
class Removed(Record):
    """The answer to `Remove`."""

    index: int


@unique
class Role(IntEnum):
    """What a node is in its Raft group just now."""

    FOLLOWER = 0
    CANDIDATE = 1
    LEADER = 2
    LEARNER = 3


@record(0x091C)
@dataclass(frozen=True, slots=True)
class PeerStatus(Record):
    """A voter or learner as seen by the node that answers."""

    path: Path
    voter: bool
    matched: int  # last entry known durable there; 0 where only the leader knows
    heard_ms: int  # since the last word from it; -1: never


@record(0x091D)
@dataclass(frozen=True, slots=True)
class GetStatus(Record):
    """Ask a node how it is; it answers about itself, without a quorum."""


@record(0x091E)
@dataclass(frozen=True, slots=True)
class Status(Record):
    """The answer to `GetStatus`."""

    path: Path
    role: Role
    term: int
    leader: str  # path of the leader, "" when there is none
    committed: int
    applied: int
    first_index: int
    last_index: int
    peers: tuple[PeerStatus, ...]
    blobs: int  # about: counted as if all were of the default sector size
    bytes_used: int
    bytes_free: int
    bytes_total: int
    staged_bytes: int
    sessions: int
    sync_us: int  # a typical fdatasync lately
    resident_bytes: int
    faults: tuple[str, ...] = ()  # sentences about what is wrong, worst first
    missing: int = 0  # blobs that its state names and that it has yet to fetch; -1: not known yet
    scrubbed: int = 0  # when the last complete scrub ended, seconds since 1970; 0: never
    scrub_found: int = 0  # damaged places that the scrub under way, or the last one, found
    scrub_left: int = 0  # of them, those that are damaged still


STAGED_SECONDS = 600  # a blob that no commit refers to is dropped after this
SESSION_SECONDS = 10.0  # a silent session loses its locks after this
SESSION_BYTES = 16  # a session id is this many random bytes, chosen by the client
