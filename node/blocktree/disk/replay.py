"""What the records of the stream amount to, one after the other, beginning at a checkpoint."""

from dataclasses import dataclass, field

from blocktree.disk.catalogue import Catalogue
from blocktree.disk.log import Row
from blocktree.disk.scan import Found
from blocktree.disk.segment import (
    Head,
    Place,
    RecordKind,
    SegmentHead,
    decode_deleted,
)
from blocktree.disk.usage import Usage
from blocktree.names import Digest
from blocktree.raft import NOBODY, HardState, Membership, SnapshotMark
from blocktree.wire import decode

NOTHING = SnapshotMark(0, 0, Membership(()))
NO_VOTE = HardState(0, NOBODY)


@dataclass(slots=True)
class LogReplay:
    """The log while records are replayed; it may have gaps until its last record.

    Reclaiming copies live entries to the end of the stream and removes where they were, so without
    an index the copies are met later than younger entries. Each segment's head voids what the log
    did not have any more when the segment began, so no removed record is ever missed.
    """

    usage: Usage
    start: SnapshotMark = NOTHING
    rows: dict[int, Row] = field(default_factory=dict)
    last: int = 0
    changed: set[int] = field(default_factory=set)

    def entry(self, index: int, term: int, where: Place) -> None:
        """A new entry voids those from its index on."""
        self.cut(index - 1)
        self.put(index, term, where)

    def put(self, index: int, term: int, where: Place) -> None:
        """The entry lies here."""
        self._drop(index)
        self.rows[index] = term, where
        self.usage.use(where)
        self.last = max(self.last, index)
        self.changed.add(index)

    def cut(self, last: int) -> None:
        """Nothing above `last` counts."""
        if self.last - last <= len(self.rows):
            gone = list(range(last + 1, self.last + 1))
        else:
            gone = [index for index in self.rows if index > last]
        for index in gone:
            self._drop(index)
        self.last = min(self.last, last)

    def begin(self, mark: SnapshotMark, *, reset: bool) -> None:
        """The log begins after the mark; `reset`: with nothing in it."""
        if reset:
            self.cut(0)
        if mark.index - self.start.index <= len(self.rows):
            gone = list(range(self.start.index + 1, mark.index + 1))
        else:
            gone = [index for index in self.rows if index <= mark.index]
        for index in gone:
            self._drop(index)
        self.start = mark
        self.last = max(self.last, mark.index)

    def _drop(self, index: int) -> None:
        row = self.rows.pop(index, None)
        if row is not None:
            self.usage.free(row[1])

    def finish(self) -> tuple[list[Row], bool]:
        """The rows from start + 1 on without a gap, and whether that is all of them."""
        run: list[Row] = []
        while (row := self.rows.get(self.start.index + 1 + len(run))) is not None:
            run.append(row)
        whole = len(run) == len(self.rows) and self.start.index + len(run) == self.last
        self.cut(self.start.index + len(run))
        return run, whole


@dataclass(slots=True)
class Replay:
    """The state that the records lead to."""

    catalogue: Catalogue
    log: LogReplay
    hard_state: HardState = NO_VOTE
    previous: int = 0  # what the newest segment says of the size of the one before

    def apply(self, found: Found) -> None:
        """The next record.

        Raises:
            Fault: MALFORMED if a checked payload is not what its kind says: a newer format.
        """
        head, payload = found.head, found.payload
        match head.kind:
            case RecordKind.BLOB:
                self._blob(head)
            case RecordKind.ENTRY:
                self.log.entry(head.index, head.term, head.place)
            case RecordKind.MOVED_ENTRY:
                self.log.put(head.index, head.term, head.place)
            case RecordKind.HARD_STATE:
                self.hard_state = decode(payload, HardState)
            case RecordKind.START:
                self.log.begin(decode(payload, SnapshotMark), reset=head.extra == 1)
            case RecordKind.DELETE:
                self._delete(payload)
            case RecordKind.SEGMENT:
                opening = decode(payload, SegmentHead)
                self.hard_state = opening.hard_state
                self.previous = opening.previous
                self.log.cut(opening.last_index)
                self.log.begin(opening.start, reset=False)

    def _blob(self, head: Head) -> None:
        digest = Digest(head.name)
        before = self.catalogue.find(digest)
        self.catalogue.put(digest, head.place, before)
        if head.extra:
            self.catalogue.keep(digest)
        else:
            self.catalogue.stage(digest, head.check, here_before=before is not None)

    def _delete(self, payload: bytes) -> None:
        for digest, until in decode_deleted(payload):
            where = self.catalogue.find(Digest(digest))
            if where is not None and where >> 32 <= until >> 32:
                self.catalogue.drop(Digest(digest))
