"""Getting space back: live records are copied out of mostly dead segments, step by step.

A segment is condemned when nothing live is left in it, and its file removed after the next
checkpoint: only then does the durable index refer to the copies alone.
"""

from collections.abc import Callable, Iterator

from blocktree.disk.batch import Reclaimed
from blocktree.disk.ground import Ground
from blocktree.disk.log import DiskLog
from blocktree.disk.reading import read_blob
from blocktree.disk.scan import Bad, Found, walk
from blocktree.disk.segment import (
    HEAD_SIZE,
    NO_NAME,
    Head,
    Place,
    RecordKind,
    checksum,
    decode_deleted,
    encode_deleted,
    segment_of,
)
from blocktree.disk.stream import Piece, Stream
from blocktree.fault import Fault
from blocktree.names import Digest

_WRITE = 1 << 20  # copies gathered for one write
_UNDER_PRESSURE = 0.95  # worth copying when space is short
_READ_MIN = 4096  # what looking at one record costs at least
_AGAIN_SECONDS = 3600.0  # a device that failed may read it then; one that fails is slow, too


class Reclaimer:
    """Where the copying stands.

    Attributes:
        condemned: segments without a live record, to be removed after the next checkpoint.
    """

    def __init__(
        self, ground: Ground, log: DiskLog, stream: Stream, clock: Callable[[], float]
    ) -> None:
        self._catalogue = ground.catalogue
        self._usage = ground.usage
        self._shelf = ground.shelf
        self._key = ground.key
        self._limits = ground.limits
        self._log = log
        self._stream = stream
        self._clock = clock
        self.condemned: set[int] = set()
        self._unsound: dict[int, int] = {}  # live bytes that cannot be read: left for repair
        self._again = 0.0  # when to look at them again
        self._victim = 0
        self._walk: Iterator[Found | Bad] = iter(())
        self._copies: list[tuple[Piece, Callable[[Place], None]]] = []

    def step(self, budget: int, *, short: bool) -> Reclaimed:
        """Look at or copy about `budget` bytes; `short`: space is needed, take what there is.

        Raises:
            Fault: NO_SPACE if there is no room for the copies; FAILED.
        """
        scanned = moved = 0
        while scanned + moved < budget:
            if not self._victim and not self._choose(short=short):
                break
            try:
                item = next(self._walk, None)
            except OSError:  # what was not read may count: it stays, and its segment
                self._flush()
                self._leave()
                continue
            if item is None:
                self._flush()
                self._condemn()
                continue
            scanned += _READ_MIN
            if isinstance(item, Found):
                moved += self._consider(item)
        self._flush()
        return Reclaimed(moved, scanned, len(self.condemned), idle=not self._victim)

    def _choose(self, *, short: bool) -> bool:
        """Take the segment with the smallest share of live bytes, if that is worth it."""
        if self._unsound and self._clock() >= self._again:
            self._unsound.clear()
        most = _UNDER_PRESSURE if short else self._limits.reclaim_below
        # The newest with a record says what the log and the vote were: a rebuild needs one.
        newest = self._stream.number - (self._stream.end == 0)
        shares = {
            number: self._usage.live[number] / max(size, 1)
            for number, size in self._usage.sizes.items()
            if number < newest
            and number not in self.condemned
            and self._unsound.get(number) != self._usage.live[number]
        }
        best = min(shares, key=lambda number: shares[number], default=0)
        if not best or (self._usage.sizes[best] and shares[best] >= most):
            return False
        self._victim, self._walk = best, self._records(best)
        return True

    def _records(self, number: int) -> Iterator[Found | Bad]:
        """Raises OSError if the device does."""
        file, size = self._shelf.reader(number), self._usage.sizes[number]
        yield from walk(file, number, self._key, size=size)

    def _condemn(self) -> None:
        if self._usage.live[self._victim]:
            self._leave()
            return
        self.condemned.add(self._victim)
        self._unsound.pop(self._victim, None)
        self._victim = 0

    def _leave(self) -> None:
        """The victim stays until something else in it is given up, or for a while."""
        if not self._unsound:
            self._again = self._clock() + _AGAIN_SECONDS
        self._unsound[self._victim] = self._usage.live[self._victim]
        self._victim = 0

    def _consider(self, found: Found) -> int:
        """Copy a record if it is live; how many bytes that takes."""
        head = found.head
        match head.kind:
            case RecordKind.BLOB:
                return self._blob(head)
            case RecordKind.ENTRY | RecordKind.MOVED_ENTRY:
                if self._log.place(head.index) != head.place:
                    return 0
                kind, index = RecordKind.MOVED_ENTRY, head.index
                piece = (kind, head.extra, head.check, head.name, found.payload)
                return self._copy(piece, lambda where: self._log.moved(index, where))
            case RecordKind.DELETE:
                return self._deletions(found.payload)
            case _:
                return 0

    def _blob(self, head: Head) -> int:
        digest = Digest(head.name)
        if self._catalogue.find(digest) != head.place:
            return 0
        try:
            payload = read_blob(self._shelf, self._key, digest, head.place, verify=True)
        except (Fault, FileNotFoundError) as cause:
            self._catalogue.lost(digest, head.place, cause)
            return 0
        stamp = self._catalogue.stamp_of(digest)
        piece = (RecordKind.BLOB, int(stamp is None), stamp or 0, head.name, payload)
        before = head.place
        return self._copy(piece, lambda where: self._catalogue.put(digest, where, before))

    def _deletions(self, payload: bytes) -> int:
        """Deletions count as long as the record that they delete could be met in a rebuild."""
        deleted = [
            (digest, until)
            for digest, until in decode_deleted(payload)
            if segment_of(until) in self._usage.sizes and segment_of(until) != self._victim
        ]
        if not deleted:
            return 0
        copy = encode_deleted(deleted)
        check = checksum(copy, self._key)
        return self._copy((RecordKind.DELETE, 0, check, NO_NAME, copy), lambda _: None)

    def _copy(self, piece: Piece, then: Callable[[Place], None]) -> int:
        self._copies.append((piece, then))
        if sum(HEAD_SIZE + len(copy[4]) for copy, _ in self._copies) >= _WRITE:
            self._flush()
        return HEAD_SIZE + len(piece[4])

    def _flush(self) -> None:
        """Write the copies; only then do they count. What fails is copied by a later round."""
        copies, self._copies = self._copies, []
        if not copies:
            return
        try:
            places = self._stream.write([piece for piece, _ in copies])
        except Fault:
            self._victim = 0
            raise
        for (_, then), where in zip(copies, places, strict=True):
            then(where)

    def abandon(self) -> None:
        """Start over with another victim: what was found so far may not hold any more."""
        self._victim = 0
        self._copies = []
