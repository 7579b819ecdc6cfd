"""Bytes that tell what they should be: a value, and whatever follows from it."""

import hashlib

HEAD = 16  # bytes that hold the value


def content_of(value: int, size: int) -> bytes:
    """`size` bytes that belong to this value and to no other."""
    return value.to_bytes(HEAD) + hashlib.shake_128(b"%d" % value).digest(size - HEAD)


def value_of(content: bytes, size: int) -> int | None:
    """The value whose content this is, every byte compared; 0 for nothing, None for wrong bytes."""
    if not content:
        return 0
    value = int.from_bytes(content[:HEAD])
    return value if content == content_of(value, size) else None
