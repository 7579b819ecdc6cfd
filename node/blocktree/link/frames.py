"""What one link says to the other end for itself: hello, good-bye with a reason, still here.

A frame with an empty head belongs to the link: without a body it says "still here", with a body it
is a good-bye and the body an encoded `Failure`. Every other frame belongs to whoever owns the link.
`SPEC.md` states the bytes and the order.
"""

from dataclasses import dataclass
from enum import IntEnum, unique
from typing import Protocol, Self

from blocktree.fault import Fault, Kind
from blocktree.wire import Record, record

VERSION = 2  # 1 named blobs by SHA-256
ALPN = "blocktree/1"
INSTANCE_BYTES = 8
SENTENCE_MAX = 1000  # characters of each text in a Failure


@unique
class Lane(IntEnum):
    """Two links may join two processes, so that small things never queue behind big ones."""

    CONTROL = 0
    BULK = 1


class Bundle(Protocol):
    """Says how items that leave together make up the head of one frame."""

    def head(self, items: list[bytes]) -> bytes:
        """The head of a frame with these items, at least one, in this order."""


@record(0x0701)
@dataclass(frozen=True, slots=True)
class Hello(Record):
    """The first frame each way.

    Args:
        version: of this protocol, `VERSION`.
        tree: the sender's tree id.
        path: the path the sender dialled, "" when it knows only an address; in the answer the
            sender's own path.
        lane: what the link will carry.
        instance: 8 random bytes that tell this run of the process from others under its path.
        chain: the sender's certificates (DER), leaf first, root last.
    """

    version: int
    tree: str
    path: str
    lane: Lane
    instance: bytes
    chain: tuple[bytes, ...]


@record(0x0702)
@dataclass(frozen=True, slots=True)
class Failure(Record):
    """A `Fault` on the wire. A kind that this version does not know arrives as FAILED."""

    kind: int
    what: str
    path: str = ""
    next_step: str = ""

    @classmethod
    def of(cls, fault: Fault) -> Self:
        """Put a fault into a record, its texts cut to 1,000 characters each."""
        texts = (fault.what, fault.path, fault.next_step)
        return cls(int(fault.kind), *(text[:SENTENCE_MAX] for text in texts))

    def fault(self) -> Fault:
        """The fault this record tells of."""
        known = self.kind in Kind._value2member_map_
        kind = Kind(self.kind) if known else Kind.FAILED
        what, path, next_step = map(_readable, (self.what, self.path, self.next_step))
        return Fault(kind, what, path=path, next_step=next_step)


def _readable(text: str) -> str:
    """A peer's words go to logs and terminals: no control characters, and not too many."""
    return "".join(
        c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text[:SENTENCE_MAX]
    )
