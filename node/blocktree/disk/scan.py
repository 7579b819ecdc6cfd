"""Walking through a segment: sound records, and what lies between them.

A walk never stops at a bad place: it looks for the next valid head, since whether something valid
and synced comes after it is what tells damage from a torn tail (`SPEC.md`, section "recovery").
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from blocktree.disk.files import File
from blocktree.disk.segment import (
    HEAD_SIZE,
    MAGIC,
    Head,
    Key,
    RecordKind,
    checksum,
    parse_head,
)
from blocktree.names import digest_of

_BLOCK = 512  # what a device writes whole or not at all
_SEARCH = 1 << 20
_WINDOW = 4096
_WINDOW_VERIFY = 1 << 18


@dataclass(frozen=True, slots=True)
class Found:
    """A sound record; a blob's payload is there only if the walk verifies."""

    head: Head
    payload: bytes


@dataclass(frozen=True, slots=True)
class Bad:
    """Bytes that are no sound record.

    Attributes:
        head: the record's head if that much is sound.
        torn: whether it looks like a write that the device did not finish: bytes that are missing
            at the end, or a block that was never written and reads as zeros.
    """

    offset: int
    until: int
    head: Head | None
    torn: bool


class _Window:
    """Reads ahead a little, so that small records do not cost a call each."""

    def __init__(self, file: File, window: int) -> None:
        self._file = file
        self._window = window
        self._at = 0
        self._held = b""

    def take(self, offset: int, size: int) -> bytes:
        low = offset - self._at
        if low < 0 or low + size > len(self._held):
            if size > self._window:
                return self._file.read(offset, size)
            self._at, self._held, low = offset, self._file.read(offset, self._window), 0
        return self._held[low : low + size]


def walk(
    file: File, number: int, key: Key, *, start: int = 0, size: int, verify: bool = False
) -> Iterator[Found | Bad]:
    """Everything in the segment from `start` to `size`, without gaps.

    `verify` also hashes blobs; entries and the rest are always checked.
    """
    window = _Window(file, _WINDOW_VERIFY if verify else _WINDOW)
    offset = start
    while offset < size:
        head = parse_head(window.take(offset, HEAD_SIZE), key, number, offset)
        if head is None:
            until = _next_head(file, number, key, offset + 1, size)
            # A device that did not finish the head left one of its blocks out; a hole further on
            # belongs to somebody else and explains nothing.
            end_of_head = min(until, offset + HEAD_SIZE)
            torn = size - offset < HEAD_SIZE or _has_hole(file, offset, end_of_head)
            yield Bad(offset, until, None, torn)
            offset = until
            continue
        if head.end > size:
            yield Bad(offset, size, head, torn=True)
            return
        if head.kind is RecordKind.BLOB and not verify:
            yield Found(head, b"")
        else:
            payload = window.take(offset + HEAD_SIZE, head.length)
            if is_sound(head, payload, key):
                yield Found(head, payload)
            else:
                yield Bad(offset, head.end, head, _has_hole(file, offset, head.end))
        offset = head.end


def is_sound(head: Head, payload: bytes, key: Key) -> bool:
    """Whether a payload is what its head promises."""
    if len(payload) != head.length:
        return False
    if head.kind is RecordKind.BLOB:
        return digest_of(payload) == head.name
    return checksum(payload, key) == head.check


def synced_until(file: File, number: int, key: Key, start: int, size: int) -> int:
    """How far the segment was durable for certain, as its own records tell.

    Every head says what was durable when it was written: if one at the end says that an unreadable
    place before it was durable, that place was acknowledged and has been damaged since.
    """
    items = walk(file, number, key, start=start, size=size)
    return max((item.head.synced for item in items if item.head is not None), default=0)


def _next_head(file: File, number: int, key: Key, start: int, size: int) -> int:
    at = start
    while at < size:
        chunk = file.read(at, _SEARCH)
        hit = chunk.find(MAGIC)
        while hit >= 0:
            raw = file.read(at + hit, HEAD_SIZE)
            if parse_head(raw, key, number, at + hit) is not None:
                return at + hit
            hit = chunk.find(MAGIC, hit + 1)
        at += max(1, len(chunk) - len(MAGIC) + 1)  # a head may start in the last three bytes
    return size


def _has_hole(file: File, low: int, high: int) -> bool:
    """Whether one device block between `low` and `high` has nothing but zeros there."""
    while low < high:
        until = min(high, (low // _SEARCH + 1) * _SEARCH)
        data = file.read(low, until - low)
        first = _BLOCK - low % _BLOCK
        cuts = [0, *range(first, len(data), _BLOCK), len(data)]
        if any(not any(data[a:b]) for a, b in itertools.pairwise(cuts) if a < b):
            return True
        low = until
    return False
