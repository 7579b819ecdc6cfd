"""What is said of a scrub: how far it is and what it found."""

from dataclasses import dataclass
from enum import IntEnum, unique

from blocktree.wire import Record, record


@unique
class Phase(IntEnum):
    """What a scrub reads just now; a round goes through them in this order."""

    IDLE = 0
    CONTENT = 1  # every blob and hash page, against its hash
    NAMES = 2  # every blob that the state names must be here
    LOG = 3  # every entry of the log, against its checksum
    STATE = 4  # the table (headers, members), against what other nodes have


@record(0x0929)
@dataclass(frozen=True, slots=True)
class Scrub(Record):
    """Ask a node how its scrub goes; with `begin`, have it done now, at full speed."""

    begin: bool = False


@record(0x092A)
@dataclass(frozen=True, slots=True)
class Scrubbing(Record):
    """The answer, of the round under way, or of the last one while none is.

    `found` places were damaged, of which `repaired` are sound again and `left` are not yet. The
    `findings` say what and where, newest last, a bounded number.
    """

    phase: Phase
    bytes_read: int
    bytes_all: int  # about
    blobs: int
    entries: int
    rows: int
    found: int
    repaired: int
    left: int
    began: int  # seconds since 1970; 0: never
    ended: int  # of the last complete round, seconds since 1970; 0: never
    findings: tuple[str, ...] = ()
