"""Writing canonical CBOR (RFC 8949 section 4.2.1): the few types that records are made of.

A library call for each value costs more than the value: these functions are put together once for
each record class and then only concatenate. Reading is the library's (`cbor2`), in one call.
"""

import struct
from collections.abc import Callable, Sequence
from typing import Any

import cbor2

Body = bytes | bytearray | memoryview
Write = Callable[[Any], bytes]

_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY = 0x00, 0x20, 0x40, 0x60, 0x80
_FALSE, _TRUE, NULL = b"\xf4", b"\xf5", b"\xf6"
_ONE = [bytes([first]) for first in range(256)]
SMALL = [_ONE[n] if n < 24 else bytes([24, n]) for n in range(256)]  # unsigned integers
SHORT = [bytes([0x40 | n]) if n < 24 else bytes([0x58, n]) for n in range(256)]  # before bytes
_FEW = 8
_FLOAT = struct.Struct("!d")


def head(major: int, size: int) -> bytes:
    """The first bytes of an item: major type (shifted) and the shortest argument."""
    if size < 24:
        return _ONE[major | size]
    if size < 1 << 8:
        return bytes((major | 24, size))
    if size < 1 << 16:
        return _ONE[major | 25] + size.to_bytes(2)
    if size < 1 << 32:
        return _ONE[major | 26] + size.to_bytes(4)
    return _ONE[major | 27] + size.to_bytes(8)


def write_int(value: int) -> bytes:
    """An integer of -2^63 … 2^64 - 1; also an enum's member."""
    if 0 <= value < 256:
        return SMALL[value]
    return head(_UNSIGNED, value) if value >= 0 else head(_NEGATIVE, -1 - value)


def write_bytes(value: Body) -> bytes:
    """A byte string."""
    return head(_BYTES, len(value)) + value


def write_text(value: str) -> bytes:
    """A text string."""
    encoded = value.encode()
    return head(_TEXT, len(encoded)) + encoded


def write_bool(value: bool) -> bytes:  # noqa: FBT001 - it writes one
    """True or false."""
    return _TRUE if value else _FALSE


def write_float(value: float) -> bytes:
    """A number as binary64, always."""
    return b"\xfb" + _FLOAT.pack(value)


def array_head(size: int) -> bytes:
    """What goes before `size` items of an array."""
    return head(_ARRAY, size)


def write_optional(write: Write) -> Write:
    """None or what `write` writes."""
    return lambda value: NULL if value is None else write(value)


def write_sequence(write: Write) -> Write:
    """An array of any length."""
    return lambda items: head(_ARRAY, len(items)) + b"".join([write(item) for item in items])


def write_scalars(write: Write) -> Write:
    """An array of integers, byte or text strings; long ones by one call of the library."""
    few = write_sequence(write)

    def write_items(items: Any) -> bytes:
        return few(items) if len(items) < _FEW else cbor2.dumps(items)

    return write_items


def write_fixed(writes: Sequence[Write]) -> Write:
    """An array with one writer for each item."""
    first = array_head(len(writes))

    def write(items: Any) -> bytes:
        parts = [one(item) for one, item in zip(writes, items, strict=True)]
        return first + b"".join(parts)

    return write
