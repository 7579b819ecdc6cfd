"""What a node and the child process of one actor say to each other, over a pair of sockets.

Each frame is a length, u32 big-endian, and one record. The child has no key and no link: whatever
it sends to others goes through the node, which asks before each whether the actor may still act.
"""

import asyncio
from dataclasses import dataclass

from blocktree.contract.blame import Charge
from blocktree.fault import Fault, Kind
from blocktree.names import Path
from blocktree.wire import Record, decode, encode, record

FRAME_BYTES_MAX = 4 << 20
_LENGTH_BYTES = 4


@record(0x0B50)
@dataclass(frozen=True, slots=True)
class Begin(Record):
    """Node to child, first: be this actor."""

    process: Path  # of the node
    actor: str  # its name there
    path: Path  # at which it answers
    epoch: int
    source: bytes  # verified
    file: str  # what the source is called in tracebacks
    cls: str
    serial: int  # of the state kept last
    state: bytes


@record(0x0B51)
@dataclass(frozen=True, slots=True)
class Begun(Record):
    """Child to node: the actor takes messages."""


@record(0x0B52)
@dataclass(frozen=True, slots=True)
class Deliver(Record):
    """Node to child: a message, to be answered with `number` unless that is 0."""

    number: int
    process: Path  # of the sender
    sender: str
    path: str  # at which it was sent, "": to the actor itself
    message: bytes  # an encoded record


@record(0x0B53)
@dataclass(frozen=True, slots=True)
class Send(Record):
    """Child to node: send a message; the answer comes back with `number` unless that is 0."""

    number: int
    to: Path  # a path, or the process of `actor`
    actor: str
    message: bytes
    timeout_ms: int


@record(0x0B54)
@dataclass(frozen=True, slots=True)
class Save(Record):
    """Child to node: keep this state; answered like a message."""

    number: int
    serial: int
    state: bytes


@record(0x0B55)
@dataclass(frozen=True, slots=True)
class Answered(Record):
    """Either way: the answer to `number`, an encoded record."""

    number: int
    answer: bytes


@record(0x0B56)
@dataclass(frozen=True, slots=True)
class Refused(Record):
    """Either way: the refusal of `number`, an encoded `link.Failure`."""

    number: int
    failure: bytes


@record(0x0B57)
@dataclass(frozen=True, slots=True)
class End(Record):
    """Node to child: stop the actor and leave."""


@record(0x0B58)
@dataclass(frozen=True, slots=True)
class Blamed(Record):
    """Child to node: somebody broke the contract; the node knows who that proved to be."""

    process: Path
    sender: str
    charge: Charge


@record(0x0B59)
@dataclass(frozen=True, slots=True)
class Left(Record):
    """Node to child: a process that spoke to it is gone; conversations with it begin anew."""

    process: Path


class Pipe:
    """Frames over one socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, frame: Record) -> None:
        """Queue a frame.

        Raises:
            Fault: TOO_LARGE; BUSY if the other side does not read.
        """
        data = encode(frame)
        if len(data) > FRAME_BYTES_MAX:
            raise Fault(Kind.TOO_LARGE, f"a message of {len(data)} bytes")
        if self._writer.transport.get_write_buffer_size() > FRAME_BYTES_MAX:
            raise Fault(Kind.BUSY, "it does not read its messages")
        self._writer.write(len(data).to_bytes(_LENGTH_BYTES) + data)

    async def receive(self) -> Record | None:
        """The next frame; None when the other side has gone.

        Raises:
            Fault: MALFORMED, TOO_LARGE: the other side is broken.
        """
        try:
            size = int.from_bytes(await self._reader.readexactly(_LENGTH_BYTES))
            if size > FRAME_BYTES_MAX:
                raise Fault(Kind.TOO_LARGE, f"a frame of {size} bytes")
            return decode(await self._reader.readexactly(size), Record)
        except (asyncio.IncompleteReadError, ConnectionError):
            return None

    async def drained(self) -> None:
        """Wait until there is room again."""
        await self._writer.drain()

    def close(self) -> None:
        """Say no more."""
        self._writer.close()
