"""Canonical CBOR (RFC 8949 section 4.2.1), narrowed to what messages are made of.

Integers of 64 bits, byte and text strings, booleans, nothing, and arrays of at most 16 items, four
deep. One value has one encoding: anything longer, indefinite, tagged or left over is refused.
"""

from bt.fault import MALFORMED, Fault

_DEPTH = 4
_ITEMS = 16
_SIMPLE = {0xF4: False, 0xF5: True, 0xF6: None}


def dumps(value):
    """The bytes of a value; tuples and lists are arrays."""
    parts = []
    _write(value, parts)
    return b"".join(parts)


def loads(data):
    """The value of all of `data`; arrays come as tuples.

    Raises:
        Fault: MALFORMED for anything that `dumps` would not have written.
    """
    try:
        value, end = _read(data, 0, 0)
    except (IndexError, ValueError):  # cut short, or text that is not UTF-8
        raise Fault(MALFORMED, "not CBOR: cut short, or text that is not UTF-8") from None
    if end != len(data):
        raise Fault(MALFORMED, "bytes after the value")
    return value


def _head(major, size):
    if size < 24:
        return bytes([major | size])
    if size < 0x100:
        return bytes([major | 24, size])
    if size < 0x10000:
        return bytes([major | 25]) + size.to_bytes(2, "big")
    if size < 0x100000000:
        return bytes([major | 26]) + size.to_bytes(4, "big")
    return bytes([major | 27]) + size.to_bytes(8, "big")


def _write(value, parts):
    if value is None:
        parts.append(b"\xf6")
    elif value is True or value is False:
        parts.append(b"\xf5" if value else b"\xf4")
    elif isinstance(value, int):
        parts.append(_head(0, value) if value >= 0 else _head(0x20, -1 - value))
    elif isinstance(value, str):
        encoded = value.encode()
        parts.append(_head(0x60, len(encoded)))
        parts.append(encoded)
    elif isinstance(value, (tuple, list)):
        parts.append(_head(0x80, len(value)))
        for item in value:
            _write(item, parts)
    else:
        parts.append(_head(0x40, len(value)))
        parts.append(bytes(value))


def _size(data, at):
    """The argument of the item at `at`, and where it ends; only its shortest form."""
    short = data[at] & 31
    if short < 24:
        return short, at + 1
    if short > 27:
        raise Fault(MALFORMED, "an indefinite length")
    width = 1 << (short - 24)
    end = at + 1 + width
    if end > len(data):
        raise Fault(MALFORMED, "cut short")
    size = int.from_bytes(data[at + 1 : end], "big")
    if size < 24 or (width > 1 and size < 1 << (4 * width)):
        raise Fault(MALFORMED, "a length that is longer than need be")
    return size, end


def _read(data, at, depth):
    first = data[at]
    if first in _SIMPLE:
        return _SIMPLE[first], at + 1
    major = first >> 5
    if major > 4:
        raise Fault(MALFORMED, "a kind of value that messages do not have")
    size, at = _size(data, at)
    if major == 0:
        return size, at
    if major == 1:
        if size >= 1 << 63:
            raise Fault(MALFORMED, "an integer below the smallest")
        return -1 - size, at
    if major == 4:
        return _read_array(data, at, depth, size)
    end = at + size
    if end > len(data):
        raise Fault(MALFORMED, "cut short")
    piece = bytes(data[at:end])
    return (piece if major == 2 else _text(piece)), end


def _text(piece):
    try:
        return piece.decode()
    except ValueError:  # UnicodeError is one, on boards and elsewhere
        raise Fault(MALFORMED, "text that is not UTF-8") from None


def _read_array(data, at, depth, size):
    if depth >= _DEPTH or size > _ITEMS:
        raise Fault(MALFORMED, "too deep, or too many items")
    items = []
    for _ in range(size):
        item, at = _read(data, at, depth + 1)
        items.append(item)
    return tuple(items), at
