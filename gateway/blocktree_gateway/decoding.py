"""Reading a device's message strictly: its record, and the size of all that is in it."""

from dataclasses import fields
from typing import Any, Final

from blocktree.fault import Fault, Kind
from blocktree.wire import Record, decode
from blocktree_gateway.messages import (
    DEVICE_SAYS,
    MESSAGE_BYTES_MAX,
    Adopt,
    AppState,
    Belong,
    Chunk,
    Clock,
    Command,
    Gateways,
    Join,
    Kept,
    Lost,
    Note,
    Offer,
    Reading,
    Rekey,
    Rename,
    Start,
    TimeTold,
)

ITEMS_MAX: Final = 16


def decode_message(encoded: bytes) -> Record:
    """A message of this page, or the plaintext of an entry.

    Raises:
        Fault: MALFORMED, also for a number or a byte string of the wrong size.
    """
    if len(encoded) > MESSAGE_BYTES_MAX:
        raise Fault(Kind.MALFORMED, f"a message of {len(encoded)} bytes")
    message = decode(encoded, Record)
    for name, bits in _BITS.get(type(message), ()):
        value = getattr(message, name)
        if value is not None and not 0 <= value < 1 << bits:
            raise Fault(Kind.MALFORMED, f"{name} is out of range", path=type(message).__name__)
    for name in _TUPLES.get(type(message), ()):
        if len(getattr(message, name)) > ITEMS_MAX:
            what = f"{name} has more than {ITEMS_MAX} items"
            raise Fault(Kind.MALFORMED, what, path=type(message).__name__)
    for name, length in _LENGTHS.get(type(message), ()):
        if len(getattr(message, name)) != length:
            what = f"{name} has another length than {length}"
            raise Fault(Kind.MALFORMED, what, path=type(message).__name__)
    return message


_NUMBERS: Final = {
    **dict.fromkeys(("kind", "level", "state"), 8),
    "epoch": 16,
    **dict.fromkeys(("uptime_ms", "time_ms", "for_ms"), 64),
}
_BYTES: Final = {"id": 8, "app_digest": 8, "signature": 64} | dict.fromkeys(
    (
        *("device", "prev", "digest", "after_hash", "head", "tree"),
        *("link_secret", "reading_secret", "scalar"),
    ),
    32,
)
_TABLE: Final[tuple[Any, ...]] = (
    *(*DEVICE_SAYS, TimeTold, Gateways, Kept, Command, Offer, Chunk, Adopt, Belong, Join),
    *(Rekey, Rename, Start, Reading, Clock, Lost, Note),
)
_BITS: Final = {
    cls: [
        (field.name, _NUMBERS.get(field.name, 32))
        for field in fields(cls)
        if field.type in {int, int | None, "int", "int | None"}
    ]
    for cls in _TABLE
}
_TUPLES: Final = {
    cls: [field.name for field in fields(cls) if str(field.type).startswith("tuple")]
    for cls in _TABLE
}
_LENGTHS: Final = {
    cls: [(field.name, _BYTES[field.name]) for field in fields(cls) if field.name in _BYTES]
    for cls in _TABLE
} | {AppState: [("digest", 8)], Rekey: [("sealed", 104)]}
