"""The end of the stream: where records are appended, synced, and rolled over to a new segment.

Invariants: only the last segment may hold unsynced bytes, or zeros behind its end; every segment
starts with a SEGMENT record; the active file has `end` bytes and such zeros, or the stream is
poisoned.
"""

import contextlib
import errno
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence

from blocktree.disk.files import File, OsFile
from blocktree.disk.ground import Ground
from blocktree.disk.segment import (
    HEAD_SIZE,
    NO_NAME,
    Key,
    Place,
    RecordKind,
    checksum,
    encode_head,
    place,
    segment_name,
)
from blocktree.fault import Fault, Kind
from blocktree.names import Buffer
from blocktree.raft import HardState

_JOIN_MAX = 1024  # payloads up to this are copied behind their head: cheaper than a buffer more
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LATENCIES = 1024
_HEADS = 64 << 10  # the most that the heads of "a few" records take
# A sync of bytes that lie where zeros were writes those alone: with ext4 one flush of the device
# instead of two, and a third of the bytes (`tools/measure_syncs.py`). Larger appends would write
# more in all, for every byte is written twice.
_FILL_FOR_MAX = 32 << 10
_FILL_TIMES = 32
_FILL_MAX = 256 << 10
_FORGET_BYTES_MIN = 1 << 20  # synced at once: they are of a stream, not of entries and small files

# kind, extra, check (stamp for blobs), name, payload
Piece = tuple[RecordKind, int, int, bytes, Buffer]


def checked(kind: RecordKind, payload: bytes, key: Key, extra: int = 0) -> Piece:
    """A record without a name whose payload is covered by a checksum."""
    return kind, extra, checksum(payload, key), NO_NAME, payload


class Stream:
    """The active segment and the clock that times its syncs."""

    def __init__(self, ground: Ground, hard_state: HardState, clock: Callable[[], float]) -> None:
        self._files = ground.files
        self._shelf = ground.shelf
        self._usage = ground.usage
        self._limits = ground.limits
        self._key = ground.key
        self._clock = clock
        self.hard_state = hard_state  # the last one written
        self.opening: Callable[[], bytes] = bytes  # makes the payload of the next SEGMENT record
        self.owed: Sequence[Piece] = ()  # what has to come before the next record
        self._file: File | None = None
        self._beside: OsFile | None = None  # the same file, for who syncs it beside `sync`
        self._begun = (0, 0, 0.0)  # segment, end and time of the sync that somebody else does
        self.number = 0
        self.end = 0
        self.previous = 0  # size of the segment before, 0 if there is none
        self.written = 0  # bytes, since the disk was opened
        self._synced = 0
        self._turn = threading.Lock()  # the next segment begins before or after `end_sync` looks
        self._filled = 0  # up to here there are zeros, unless it is below `end`
        self._new_name = False  # the directory has a file that it may forget
        self._poison: Fault | None = None
        self.latencies: deque[float] = deque(maxlen=_LATENCIES)
        self.syncs = 0

    def resume(self, number: int, end: int) -> None:
        """Go on in an existing segment, whose `end` bytes are durable."""
        self._file = self._shelf.reader(number)
        self._beside = _again(self._file)
        self.number, self.end, self._synced = number, end, end
        self.previous = self._usage.sizes.get(number - 1, 0)

    def guard(self) -> None:
        """Raise the fault that stopped this disk, if any did."""
        if self._poison is not None:
            raise self._poison

    def poison(self, what: str, cause: BaseException) -> Fault:
        """Refuse everything from now on: nobody knows what is on the disk."""
        self._poison = Fault(
            Kind.FAILED,
            f"{what}: {cause}",
            path=segment_name(self.number),
            next_step="restart the process; if it happens again, replace the disk",
        )
        return self._poison

    def write(self, pieces: Sequence[Piece]) -> list[Place]:
        """Append records, all or none, without a sync.

        Raises:
            Fault: TOO_LARGE, NO_SPACE, FAILED.
        """
        self.guard()
        size = sum([HEAD_SIZE + len(piece[4]) for piece in pieces])
        if size > self._limits.batch + HEAD_SIZE * len(pieces):
            raise Fault(Kind.TOO_LARGE, f"{size} bytes are more than a batch may have")
        if self._file is None or (self.end and self.end + size > self._limits.segment):
            self._roll()
        opening = [] if self.end else [checked(RecordKind.SEGMENT, self.opening(), self._key)]
        before = [*opening, *self.owed]
        buffers, places, end = self._encode([*before, *pieces])
        self._append(buffers, end - self.end)
        self.owed = ()
        self.written += end - self.end
        self.end = end
        self._usage.grow(self.number, end)
        return places[len(before) :]

    def _encode(self, pieces: Sequence[Piece]) -> tuple[list[Buffer], list[Place], int]:
        buffers: list[Buffer] = []
        places: list[Place] = []
        number, at, synced, key = self.number, self.end, self._synced, self._key
        for kind, extra, check, name, payload in pieces:
            length = len(payload)
            head = encode_head(key, kind, extra, length, check, number, at, synced, name)
            if length <= _JOIN_MAX:
                buffers.append(head + bytes(payload))
            else:
                buffers += (head, payload)
            places.append(place(number, at, length))
            at += HEAD_SIZE + length
        return buffers, places, at

    def _append(self, buffers: Sequence[Buffer], size: int) -> None:
        assert self._file is not None
        try:
            if size <= _FILL_FOR_MAX and self.end + size > self._filled:
                self._fill(self._file, size)
            self._file.append(buffers)
        except OSError as cause:
            try:  # synced, since a half-written record must not come back behind a later one
                self._file.truncate(self.end)
                self._file.sync()
            except OSError as again:
                raise self.poison("what a failed write left cannot be cut off", again) from cause
            self._synced = self._filled = self.end
            raise self._refusal("a write failed", cause) from cause

    def _fill(self, file: File, size: int) -> None:
        """Zeros for some appends like this one."""
        begin = max(self.end, self._filled)
        more = min(_FILL_TIMES * size, _FILL_MAX)
        file.fill(begin, more)
        self._filled = begin + more

    def _refusal(self, what: str, cause: OSError) -> Fault:
        if cause.errno in _FULL:
            return Fault(
                Kind.NO_SPACE,
                "the disk is full",
                path=segment_name(self.number),
                next_step="delete files, or give the node a larger disk",
            )
        return self.poison(what, cause)

    def _roll(self) -> None:
        """Start the next segment. The old one is made durable first: see the invariants."""
        self._finish()
        number = self.number + 1
        try:
            file = self._files.create(segment_name(number))
        except OSError as cause:
            raise self._refusal("a segment could not be created", cause) from cause
        self._shelf.add(number, file)
        self.previous = self.end
        with self._turn:
            self._file, self.number, self.end, self._synced, self._filled = file, number, 0, 0, 0
        self._beside = _again(file)
        self._new_name = True

    def _finish(self) -> None:
        """The active segment ends where its records do: the next one will say so."""
        if self._file is None:
            return
        try:
            self._file.truncate(self.end)
        except OSError as cause:
            raise self.poison("a segment could not be finished", cause) from cause
        self._sync(self._file)

    def has_room(self, size: int) -> bool:
        """Whether a few records of `size` bytes in all fit into this segment."""
        return self._file is not None and self.end + size + _HEADS < self._limits.segment

    @property
    def durable(self) -> bool:
        """Whether everything appended has been synced."""
        return not self.unsynced and not self._new_name

    @property
    def unsynced(self) -> int:
        """Bytes that were appended and not synced."""
        return self.end - self._synced

    def begin_sync(self) -> int | None:
        """For a sync that somebody else does: the descriptor, or None if `sync` has to be called.

        `end_sync` follows, with nothing appended in between but by other threads. They may also
        `sync` meanwhile: if the device fails, both are told, for each has a description of its own
        since before the first byte that counts (`OsFile.again`).
        """
        self.guard()
        if self.durable or self._new_name or self._beside is None:
            return None
        self._begun = self.number, self.end, self._clock()
        return self._beside.fileno()

    def end_sync(self, error: int) -> None:
        """The sync that began is over, with this errno or 0.

        Raises:
            Fault: FAILED, as `sync`.
        """
        number, end, begin = self._begun
        if error:
            cause = OSError(error, os.strerror(error))
            raise self.poison("a sync failed", cause) from cause
        self.guard()  # a flush of the device may have failed for another thread alone
        with self._turn:
            if number == self.number:  # else the segment was synced when the next one began
                self._settled(max(self._synced, end))
        self.latencies.append(self._clock() - begin)
        self.syncs += 1

    def sync(self) -> None:
        """Make everything appended durable.

        Raises:
            Fault: FAILED, and from then on always: after a failed fsync the kernel may have dropped
                the pages and would report success the next time (Rebello et al., ATC 2020).
        """
        self.guard()
        if not self.durable and self._file is not None:
            self._sync(self._file)

    def _sync(self, file: File) -> None:
        begin = self._clock()
        try:
            file.sync()
            if self._new_name:
                self._files.sync_directory()
        except OSError as cause:
            raise self.poison("a sync failed", cause) from cause
        self._settled(self.end)
        self._new_name = False
        self.latencies.append(self._clock() - begin)
        self.syncs += 1

    def _settled(self, end: int) -> None:
        """Everything up to here is durable. What came as a stream is not kept in memory.

        Who wrote it has it; and it would drive out of a small board's memory what is read often.
        """
        start, self._synced = self._synced, end
        if self._file is not None and end - start >= _FORGET_BYTES_MIN:
            with contextlib.suppress(OSError):
                self._file.forget(start, end - start)


def _again(file: File) -> OsFile | None:
    return file.again() if isinstance(file, OsFile) else None
