"""What is said to the actor that stands in for a device, at the device's path.

Every request may be answered by a `Fault`; UNREACHABLE if no gateway speaks for the device.
"""

from dataclasses import dataclass
from typing import Final

from blocktree.wire import Body, Record, body_field, record

QUEUE_MAX: Final = 32  # commands that wait for a device that is away
KEEP_COMMAND_S: Final = 24 * 3600  # how long one waits, unless it says otherwise


@record(0x0C90)
@dataclass(frozen=True, slots=True)
class GetDevice(Record):
    """Ask how a device is."""


@record(0x0C91)
@dataclass(frozen=True, slots=True)
class DeviceState(Record):
    """How a device is, as the gateway that speaks for it knows."""

    device: bytes
    gateway: str
    link: str  # "serial", "udp" or "mtls"; "" while it is away
    where: str
    heard_ms: int  # since it was last heard from; -1: never by this gateway
    asleep_ms: int  # until it will wake; 0: it is not asleep
    board: str
    runtime: str
    app: str
    app_state: int  # `AppStanding`
    app_crashes: int
    app_sentence: str
    free_heap: int
    drops: int
    columns: tuple[str, ...]
    commands: tuple[str, ...]
    boot: int
    kept_boot: int
    kept_seq: int
    queued: int
    trouble: str


@record(0x0C92)
@dataclass(frozen=True, slots=True)
class Perform(Record):
    """Have the device do something: `Led.set` with a CBOR array of arguments.

    The answer comes when the device has answered; if that takes longer than `wait_ms`, `Performed`
    says BUSY, and the command waits until `keep_ms` have passed.
    """

    name: str
    arguments: bytes
    wait_ms: int = 8000
    keep_ms: int = KEEP_COMMAND_S * 1000
    id: bytes = b""  # 8 bytes, to ask again for the same command; b"": a new one


@record(0x0C93)
@dataclass(frozen=True, slots=True)
class Performed(Record):
    """What came of it."""

    id: bytes
    kind: int  # 0: done; BUSY: still queued; else a `Fault` kind
    result: bytes  # a CBOR array; a fault: [sentence]
    took_ms: int  # from the request to the answer, at the gateway
    time_ms: int | None  # when the device did it


@record(0x0C94)
@dataclass(frozen=True, slots=True)
class GetTail(Record):
    """Ask for the newest entries behind a place; waits up to `wait_ms` for one."""

    boot: int
    seq: int
    wait_ms: int = 0


@record(0x0C95)
@dataclass(frozen=True, slots=True)
class Tail(Record):
    """Sealed entries, canonical bytes each, oldest first; up to 256 of the newest."""

    items: tuple[bytes, ...]
    link: str
    free_heap: int


@record(0x0C96)
@dataclass(frozen=True, slots=True)
class PushApp(Record):
    """Put an app on the device; `proof` is `pairing.vouch` of its content."""

    name: str
    proof: bytes
    content: Body = body_field()


@record(0x0C97)
@dataclass(frozen=True, slots=True)
class Pushed(Record):
    """The device runs it, or will not (a `Fault` kind and why)."""

    kind: int
    sentence: str
    took_ms: int


@record(0x0C98)
@dataclass(frozen=True, slots=True)
class Yield(Record):
    """Another gateway hears the device: let it speak for it, unless it is in session here."""

    device: bytes


@record(0x0C99)
@dataclass(frozen=True, slots=True)
class Yielded(Record):
    """The commands that wait, for the other gateway to carry on with."""

    commands: tuple[Perform, ...]
