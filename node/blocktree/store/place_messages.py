"""What is said to actor `places` of a node: who answers at which path.

Two kinds of registration. An *offer* says that an actor answers at a path, beside others; the
leader remembers it from heartbeat to heartbeat. A *claim* makes one process the only one that acts
there; its change is an entry of the log, whose index is the epoch. Every request may be answered by
a `Fault`; NOT_LEADER names the leader's process path in `next_step`.
"""

from dataclasses import dataclass

from blocktree.names import FileId, Path
from blocktree.wire import Record, record

PLACES_ACTOR = "places"  # its name in every node
HEARTBEAT_S = 1.0  # between two `Renew` of one process
OFFER_S = 2 * HEARTBEAT_S  # an offer that was not renewed is gone after this
LEASE_S = 3 * HEARTBEAT_S  # a holder acts for this long after it *sent* what was answered
STAYS_MAX = 2048  # in one `Renew`
ADDRESSES_MAX = 8  # of one process
LISTED_MAX = 1024  # in one `Providers` or `Places`


@record(0x0B10)
@dataclass(frozen=True, slots=True)
class Register(Record):
    """Answer at a path, with the sender's `actor`; needs WRITE there.

    `sole`: alone. Faults: NOT_LEADER, NO_QUORUM, BUSY, DENIED, MALFORMED, CONFLICT (`sole`, and
    another holds it: try again when his lease may have ended).
    """

    session: bytes  # 16 random bytes that name this life of the process
    path: Path
    actor: str
    sole: bool = False
    addresses: tuple[str, ...] = ()  # "host:port" where the process listens


@record(0x0B11)
@dataclass(frozen=True, slots=True)
class Registered(Record):
    """The answer to `Register` and `Renew`: counted from when the request was *sent*."""

    leased_ms: int
    epoch: int = 0  # of a claim


@record(0x0B12)
@dataclass(frozen=True, slots=True)
class Stay(Record):
    """One thing that a process goes on with: an offer (epoch 0) or a claim."""

    path: Path
    actor: str
    epoch: int = 0


@record(0x0B13)
@dataclass(frozen=True, slots=True)
class Renew(Record):
    """The heartbeat of a process: all that it registered stays.

    `stays` is all of it, or empty if it is what `revision` told before. Faults: NOT_LEADER,
    NO_QUORUM, NOT_FOUND (this leader was not told that revision: send all), USAGE.
    """

    session: bytes
    revision: int  # goes up whenever `stays` changes
    stays: tuple[Stay, ...] = ()
    addresses: tuple[str, ...] = ()  # with `stays`


@record(0x0B14)
@dataclass(frozen=True, slots=True)
class Renewed(Record):
    """The answer to `Renew`; claims that are `lost` were given to another, or may be."""

    leased_ms: int
    lost: tuple[Path, ...] = ()


@record(0x0B15)
@dataclass(frozen=True, slots=True)
class Withdraw(Record):
    """The process answers there no more; a claim is free at once."""

    session: bytes
    path: Path


@record(0x0B16)
@dataclass(frozen=True, slots=True)
class Withdrawn(Record):
    """The answer to `Withdraw`; also if nothing was registered."""


@record(0x0B17)
@dataclass(frozen=True, slots=True)
class Provider(Record):
    """An actor that answers at a path."""

    path: Path
    process: Path
    actor: str
    epoch: int = 0  # of a claim
    addresses: tuple[str, ...] = ()  # where its process listens, as it said


@record(0x0B18)
@dataclass(frozen=True, slots=True)
class Resolve(Record):
    """Ask who answers at a path.

    With `name`, `path` is where the asker is, and the answer is from the nearest directory at or
    above it that has `name` (such as `services/printer`) with a live provider. Faults: NOT_LEADER,
    NO_QUORUM.
    """

    path: Path
    name: str = ""


@record(0x0B19)
@dataclass(frozen=True, slots=True)
class Providers(Record):
    """The answer to `Resolve` and `ListProviders`; who can be reached most nearly comes first."""

    providers: tuple[Provider, ...]
    index: int = 0  # the state of the tree that this includes
    expected: bool = False  # nobody answers there now, but an actor is to run there


@record(0x0B1A)
@dataclass(frozen=True, slots=True)
class ListProviders(Record):
    """Ask who answers anywhere at or below a path; by path, behind `after`, LISTED_MAX of them."""

    below: Path
    after: str = ""


@record(0x0B1B)
@dataclass(frozen=True, slots=True)
class PublishPlace(Record):
    """Say which directory a path means; needs WRITE in the directory above it."""

    path: Path
    directory: FileId


@record(0x0B1C)
@dataclass(frozen=True, slots=True)
class Published(Record):
    """The answer to `PublishPlace`."""

    index: int


@record(0x0B1D)
@dataclass(frozen=True, slots=True)
class GetAccess(Record):
    """Ask for the accesses that govern what answers at a path. Any node answers.

    With a sender: also for the file on whose behalf that actor is run, if it is one of the tree's.
    """

    path: Path
    process: str = ""
    actor: str = ""


@record(0x0B1E)
@dataclass(frozen=True, slots=True)
class AccessAt(Record):
    """The answer to `GetAccess`: encoded `caps.Access`, root first. Whoever asks verifies them."""

    accesses: tuple[bytes, ...]
    header: bytes = b""  # encoded, of the file that the sender is run for; its writer belongs


@record(0x0B1F)
@dataclass(frozen=True, slots=True)
class KeepState(Record):
    """Keep a small state at a path that the sender's process holds.

    Faults: NOT_LEADER, NO_QUORUM, CONFLICT (the epoch is over, or another state came first),
    DENIED (held by another), TOO_LARGE.
    """

    path: Path
    epoch: int
    serial: int
    state: bytes


@record(0x0B20)
@dataclass(frozen=True, slots=True)
class GetState(Record):
    """Read the state kept at a path; for its holder, and for who has WRITE there.

    Faults: NOT_LEADER, NO_QUORUM, DENIED.
    """

    path: Path


@record(0x0B21)
@dataclass(frozen=True, slots=True)
class KeptState(Record):
    """The answer to `KeepState` and `GetState`."""

    epoch: int
    serial: int
    state: bytes


@record(0x0B22)
@dataclass(frozen=True, slots=True)
class Volunteer(Record):
    """A node offers to run actors of the tree, every heartbeat; it reads from its own state which.

    Faults: NOT_LEADER, NO_QUORUM, DENIED (no node of this domain).
    """

    session: bytes


@record(0x0B23)
@dataclass(frozen=True, slots=True)
class Volunteered(Record):
    """The answer to `Volunteer`."""


@record(0x0B24)
@dataclass(frozen=True, slots=True)
class ListRunning(Record):
    """Ask which actors are to run, and where they do. Faults: NOT_LEADER, NO_QUORUM."""


@record(0x0B25)
@dataclass(frozen=True, slots=True)
class Run(Record):
    """An actor that is to run."""

    path: Path
    actor: str  # its class
    on: str  # the node that was asked for, "": any
    process: str = ""  # where it runs, "": nowhere now
    epoch: int = 0


@record(0x0B26)
@dataclass(frozen=True, slots=True)
class RunList(Record):
    """The answer to `ListRunning`; `fault` says what is wrong with those that no node can read."""

    runs: tuple[Run, ...]
    faults: tuple[str, ...] = ()


@record(0x0B27)
@dataclass(frozen=True, slots=True)
class Forget(Record):
    """Drop the state kept at a path that nobody is to hold; needs WRITE there.

    Answered when it is dropped. Faults: NOT_LEADER, NO_QUORUM, DENIED, CONFLICT (it is to run).
    """

    path: Path


@record(0x0B28)
@dataclass(frozen=True, slots=True)
class Forgotten(Record):
    """The answer to `Forget`."""
