"""What a device and its gateway say to each other: `boards/runtime/bt/SPEC.md`, "Messages".

Times are milliseconds since 1970, `uptime_ms` counts since the device's boot. A time of None is not
known yet. Every message is at most 224 bytes.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Final

from blocktree.wire import Record, record

MESSAGE_BYTES_MAX: Final = 224
CHUNK_BYTES_MAX: Final = 192
SENTENCE_BYTES_MAX: Final = 120
APP_BYTES_MAX: Final = 48 << 10

Place = tuple[int, int]
"""(boot, seq): where an entry is in a device's chain. Ordered as pairs."""

NOWHERE: Final[Place] = (0, 0)


@unique
class OfferKind(IntEnum):
    """What is offered."""

    APP = 1
    CHAIN = 2


@unique
class AppStanding(IntEnum):
    """How an app does on its device."""

    ON_TRIAL = 1
    PROVEN = 2
    FALLEN_BACK = 3
    NONE = 4


@record(0x0C01)
@dataclass(frozen=True, slots=True)
class Report(Record):
    """The first message of a device in a session."""

    device: bytes
    boot: int
    oldest_boot: int  # of the entries that it still keeps
    oldest_seq: int
    next_seq: int
    runtime: str
    board: str
    app: str
    app_digest: bytes
    free_heap: int
    drops: int


@record(0x0C02)
@dataclass(frozen=True, slots=True)
class Face(Record):
    """What a device measures and what it can be told: `temperature °C -2`, `Led.set on:bool`."""

    columns: tuple[str, ...]
    commands: tuple[str, ...]


@record(0x0C03)
@dataclass(frozen=True, slots=True)
class Alive(Record):
    """Nothing new."""

    uptime_ms: int


@record(0x0C04)
@dataclass(frozen=True, slots=True)
class Asleep(Record):
    """The device will not listen for so long."""

    for_ms: int


@record(0x0C05)
@dataclass(frozen=True, slots=True)
class TimeAsk(Record):
    """A question for the time."""

    uptime_ms: int


@record(0x0C06)
@dataclass(frozen=True, slots=True)
class TimeTold(Record):
    """It is."""

    uptime_ms: int  # as asked with
    time_ms: int


@record(0x0C07)
@dataclass(frozen=True, slots=True)
class Gateways(Record):
    """Who else speaks for devices: `PATH HOST UDPPORT TLSPORT`, up to four."""

    gateways: tuple[str, ...]


@record(0x0C08)
@dataclass(frozen=True, slots=True)
class Bye(Record):
    """The session ends."""

    kind: int
    sentence: str


@record(0x0C10)
@dataclass(frozen=True, slots=True)
class Entry(Record):
    """One sealed link of a device's chain."""

    epoch: int
    boot: int
    seq: int
    prev: bytes
    sealed: bytes

    @property
    def place(self) -> Place:
        """Where it is in the chain."""
        return self.boot, self.seq


@record(0x0C11)
@dataclass(frozen=True, slots=True)
class Checkpoint(Record):
    """The device's signature over its chain up to an entry."""

    boot: int
    seq: int
    head: bytes  # the hash of that entry
    time_ms: int | None
    signature: bytes

    @property
    def place(self) -> Place:
        """Of the entry that it signs."""
        return self.boot, self.seq


@record(0x0C12)
@dataclass(frozen=True, slots=True)
class Kept(Record):
    """Everything up to this place is durable in the tree."""

    boot: int
    seq: int


@record(0x0C20)
@dataclass(frozen=True, slots=True)
class Command(Record):
    """Do something."""

    id: bytes
    name: str  # Message.verb
    arguments: bytes  # a CBOR array


@record(0x0C21)
@dataclass(frozen=True, slots=True)
class Answer(Record):
    """What came of a command."""

    id: bytes
    kind: int  # 0: done, else a `Fault` kind
    result: bytes  # a CBOR array; a fault: [sentence]
    uptime_ms: int
    time_ms: int | None


@record(0x0C30)
@dataclass(frozen=True, slots=True)
class Offer(Record):
    """A file for the device."""

    kind: OfferKind
    name: str
    size: int
    digest: bytes
    proof: bytes  # that who may read the device offers it (16 bytes); zeros for a chain


@record(0x0C31)
@dataclass(frozen=True, slots=True)
class Want(Record):
    """Send it, from here on."""

    digest: bytes
    offset: int


@record(0x0C32)
@dataclass(frozen=True, slots=True)
class Chunk(Record):
    """A piece of it."""

    offset: int
    content: bytes


@record(0x0C33)
@dataclass(frozen=True, slots=True)
class Taken(Record):
    """The device has it, or will not."""

    digest: bytes
    kind: int
    sentence: str


@record(0x0C34)
@dataclass(frozen=True, slots=True)
class AppState(Record):
    """How the app does."""

    app: str
    digest: bytes
    state: AppStanding
    crashes: int
    sentence: str


@record(0x0C40)
@dataclass(frozen=True, slots=True)
class Adopt(Record):
    """The device's new secrets; only ever sent in a session of pairing."""

    epoch: int
    link_secret: bytes
    reading_secret: bytes
    scalar: bytes


@record(0x0C41)
@dataclass(frozen=True, slots=True)
class Belong(Record):
    """Where the device belongs."""

    tree: bytes
    path: str


@record(0x0C42)
@dataclass(frozen=True, slots=True)
class Join(Record):
    """The Wi-Fi network to use."""

    name: str
    password: str


@record(0x0C43)
@dataclass(frozen=True, slots=True)
class Adopted(Record):
    """The device is ours."""

    device: bytes
    path: str


@record(0x0C44)
@dataclass(frozen=True, slots=True)
class Rekey(Record):
    """New secrets, sealed under the present reading secret."""

    epoch: int
    sealed: bytes


@record(0x0C45)
@dataclass(frozen=True, slots=True)
class Rekeyed(Record):
    """The device has them, or will not."""

    epoch: int
    kind: int
    sentence: str


@record(0x0C46)
@dataclass(frozen=True, slots=True)
class Rename(Record):
    """The device's new path."""

    path: str


@record(0x0C50)
@dataclass(frozen=True, slots=True)
class Start(Record):
    """The first entry of a boot, and of a new app."""

    app: str
    app_digest: bytes
    columns: tuple[str, ...]
    after_boot: int
    after_seq: int
    after_hash: bytes


@record(0x0C51)
@dataclass(frozen=True, slots=True)
class Reading(Record):
    """What was measured; a value for each column of the last `Start`."""

    uptime_ms: int
    time_ms: int | None
    values: tuple[int | None, ...]


@record(0x0C52)
@dataclass(frozen=True, slots=True)
class Clock(Record):
    """The clock was set: earlier readings of this boot have a time now."""

    uptime_ms: int
    time_ms: int


@record(0x0C53)
@dataclass(frozen=True, slots=True)
class Lost(Record):
    """The buffer was full: these entries were dropped unsent."""

    first_boot: int
    first_seq: int
    last_boot: int
    last_seq: int


@record(0x0C54)
@dataclass(frozen=True, slots=True)
class Note(Record):
    """Something for people."""

    uptime_ms: int
    time_ms: int | None
    level: int
    text: str


DEVICE_SAYS: Final = (
    *(Report, Face, Alive, Asleep, TimeAsk, Bye, Entry, Checkpoint, Answer, Want, Taken),
    *(AppState, Adopted, Rekeyed),
)
"""The messages that a gateway takes from a device; all others are dropped and counted."""
