"""Opening a disk: the last checkpoint, what the stream says since, and what cannot be read."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from blocktree.disk.batch import Damage, Keeper, Limits
from blocktree.disk.catalogue import Catalogue
from blocktree.disk.checkpoint import Checkpoint, load_checkpoint, load_log
from blocktree.disk.files import Files
from blocktree.disk.ground import Ground
from blocktree.disk.identity import load_identity
from blocktree.disk.index import Index, Space
from blocktree.disk.log import Row
from blocktree.disk.reading import read_entry
from blocktree.disk.replay import NO_VOTE, NOTHING, LogReplay, Replay
from blocktree.disk.scan import Bad, synced_until, walk
from blocktree.disk.segment import (
    Place,
    RecordKind,
    key_of,
    offset_of,
    segment_name,
    segment_number,
    segment_of,
)
from blocktree.disk.shelf import Shelf
from blocktree.disk.usage import Usage
from blocktree.fault import Fault, Kind
from blocktree.names import Digest

_ROWS_MAX = 20_000  # places held in memory while the index is made anew
_SEGMENTS_MAX = 1 << 30
_READS_MAX = 8  # of an entry, before an error of the device counts as damage
_JOIN_AGAIN = "remove this node from the tree and let it join again: the others have it all"


@dataclass(frozen=True, slots=True)
class Recovered:
    """What a disk starts from.

    Attributes:
        checkpoint: the index's; made up if `anew`, and then it is to be written.
        rows: the log.
        indexed: which of its entries the index has.
        number, end: of the active segment; 0 if there is none.
        replayed: bytes of the stream that the index does not know.
    """

    checkpoint: Checkpoint
    replay: Replay
    rows: list[Row]
    indexed: range
    damage: Damage | None
    number: int
    end: int
    replayed: int
    anew: bool


class Recovery:
    """One attempt to open a disk; no segment gets other bytes before all have been read."""

    def __init__(
        self,
        files: Files,
        index: Index,
        limits: Limits,
        keeper: Keeper,
        dice: Callable[[int], bytes],
    ) -> None:
        disk = load_identity(files, keeper, dice)
        numbers = map(segment_number, files.names())
        self._numbers = sorted(number for number in numbers if number is not None)
        self._damage: Damage | None = None
        self._committed = 0  # entries up to here are in the table
        shelf, usage = Shelf(files), Usage()
        catalogue, key = Catalogue(index, usage), key_of(disk)
        self.ground = Ground(files, index, limits, keeper, disk, key, shelf, usage, catalogue)

    def open(self, *, salvage: bool) -> Recovered:
        """Go on from the index's checkpoint.

        Raises:
            Fault: DAMAGED, unless salvaging.
        """
        checkpoint = load_checkpoint(self.ground.index)
        if checkpoint is None:
            return self.rebuild(salvage=salvage)
        if checkpoint.disk != self.ground.disk:
            raise Fault(
                Kind.DAMAGED,
                "the index belongs to another disk",
                next_step="remove the directory index/ and start again: it is made anew",
            )
        self._damage = checkpoint.damage
        self._committed = checkpoint.mark.index
        usage, index = self.ground.usage, self.ground.index
        usage.load(index.items(Space.SEGMENTS, b"", b"", _SEGMENTS_MAX))
        self._remove_leftovers(checkpoint.segment)
        self._check_segments(checkpoint)
        rows = load_log(index)
        first = checkpoint.start.index + 1
        log = LogReplay(usage, checkpoint.start, rows, checkpoint.start.index + len(rows))
        indexed = range(first, first + len(rows))
        replay = Replay(self.ground.catalogue, log, checkpoint.hard_state)
        end = self._scan(replay, (checkpoint.segment, checkpoint.offset))
        return self._finish(checkpoint, replay, indexed, end, salvage=salvage)

    def rebuild(self, *, salvage: bool) -> Recovered:
        """Begin with an empty index and the oldest segment."""
        ground = self.ground
        ground.index.commit({}, clear=list(Space))
        replay = Replay(ground.catalogue, LogReplay(ground.usage))
        end = self._scan(replay, (0, 0), anew=True)
        start = replay.log.start
        if start.index > 0:  # the table stood for a log that is gone
            ground.catalogue.keep_all()
            ground.index.commit({}, clear=[Space.STAGED])
            self._note(Damage(0, 0, certain=True, log_from=replay.log.last + 1))
            assert self._damage is not None
            self._damage = replace(self._damage, table_lost=True)
        checkpoint = Checkpoint(ground.disk, 0, 0, Space.TABLE, start, NO_VOTE, NOTHING)
        return self._finish(checkpoint, replay, range(0), end, salvage=salvage, anew=True)

    def _finish(
        self,
        checkpoint: Checkpoint,
        replay: Replay,
        indexed: range,
        end: int,
        *,
        salvage: bool,
        anew: bool = False,
    ) -> Recovered:
        rows, whole = self._rows(replay.log)
        last = replay.log.start.index + len(rows)
        if not whole:
            first = self._numbers[0] if self._numbers else 0
            self._note(Damage(first, 0, certain=True, log_from=last + 1))
        if self._damage is not None:
            log_from = min(self._damage.log_from, last + 1)
            self._damage = replace(self._damage, log_from=log_from)
            if not salvage:
                raise fault_of(self._damage)
        number, end = self._cut_tail(end, checkpoint.segment)
        sizes, known = self.ground.usage.sizes, checkpoint.segment
        replayed = sum(size for n, size in sizes.items() if n >= known) - checkpoint.offset
        return Recovered(
            checkpoint, replay, rows, indexed, self._damage, number, end, max(0, replayed), anew
        )

    def _rows(self, log: LogReplay) -> tuple[list[Row], bool]:
        """The log as far as it is whole and its segments are there."""
        rows, whole = log.finish()
        for at, (term, where) in enumerate(rows):
            index = log.start.index + 1 + at
            unread = index > self._committed and index not in log.changed
            here = segment_of(where) in self.ground.usage.sizes
            if not here or (unread and not self._holds(index, term, where)):
                number = segment_of(where) if here else min(self._numbers, default=0)
                self._note(Damage(number, offset_of(where), certain=True, log_from=index))
                log.cut(index - 1)
                return rows[:at], False
        return rows, whole

    def _holds(self, index: int, term: int, where: Place) -> bool:
        """Whether an entry that only the index knows of is where that says.

        Asked for those behind the mark, which the core reads at once; a scrub finds the others.
        """
        for _ in range(_READS_MAX):
            try:
                entry = read_entry(self.ground.shelf, self.ground.key, where)
            except FileNotFoundError:
                return False
            except Fault as fault:
                if isinstance(fault.__cause__, OSError):
                    continue  # a device that fails now and then has lost nothing yet
                return False
            return (entry.index, entry.term) == (index, term)
        return False

    def _check_segments(self, checkpoint: Checkpoint) -> None:
        """Every segment that the index knows, and all since, must be there."""
        usage = self.ground.usage
        here = set(self._numbers)
        newest = self._numbers[-1] if self._numbers else 0
        expected = {*usage.sizes, *range(max(1, checkpoint.segment), newest + 1)}
        for number in usage.sizes.keys() & here:
            size = self.ground.files.size(segment_name(number))
            if number < checkpoint.segment and size != usage.sizes[number]:
                self._check_size(number, size)
                usage.grow(number, size)  # noted once: the next start finds it as it is
        for number in sorted(expected - here):
            usage.forget(number)
            self._note(Damage(number, 0, certain=True, log_from=self._committed + 1))

    def _remove_leftovers(self, active: int) -> None:
        """Segments that a checkpoint gave up just before the process died."""
        sizes = self.ground.usage.sizes
        for number in [n for n in self._numbers if n < active and n not in sizes]:
            self.ground.files.remove(segment_name(number))
            self._numbers.remove(number)

    def _note(self, damage: Damage) -> None:
        if self._damage is None:
            self._damage = damage

    def _scan(self, replay: Replay, since: tuple[int, int], *, anew: bool = False) -> int:
        """Replay all segments from `since` on; where the last one ends."""
        end = 0
        catalogue = self.ground.catalogue
        for number in [number for number in self._numbers if number >= since[0]]:
            begin = since[1] if number == since[0] else 0
            end = self._segment(replay, number, begin)
            if anew and catalogue.pending > _ROWS_MAX:
                # Without a checkpoint nothing refers to these rows: a crash starts over.
                self.ground.index.commit(catalogue.freeze())
                catalogue.settle()
        return end

    def _segment(self, replay: Replay, number: int, begin: int) -> int:
        file, key = self.ground.shelf.reader(number), self.ground.key
        size = file.size()
        self.ground.usage.grow(number, size)
        if size < begin:
            self._note(Damage(number, size, certain=True, log_from=self._committed + 1))
            return size
        last = number == self._numbers[-1]
        synced = size  # only the last segment may hold unsynced bytes
        if last:
            synced = max(begin, synced_until(file, number, key, begin, size))
            # Or the kernel may have these bytes of a sync that failed, and never write them. Before
            # they are judged: until then it may also drop them, and read what the device has.
            file.rewrite(synced, size - synced)
        for item in walk(file, number, key, start=begin, size=size, verify=last):
            if not isinstance(item, Bad):
                replay.apply(item)
                if item.head.kind is RecordKind.SEGMENT and replay.previous:
                    self._check_size(number - 1, replay.previous)
            elif item.offset >= synced and item.torn:
                return item.offset
            else:
                self._bad(replay, number, item, certain=item.offset < synced)
        return size

    def _check_size(self, number: int, size: int) -> None:
        """A segment that was left is as long as it was then, or gone."""
        found = self.ground.usage.sizes.get(number, size)
        if found != size:
            self._note(Damage(number, min(found, size), certain=True, log_from=self._committed + 1))

    def _bad(self, replay: Replay, number: int, item: Bad, *, certain: bool) -> None:
        """Something that was acknowledged cannot be read. A blob alone can be had from peers.

        A record whose head is lost may have voided any entry that was not committed yet; what the
        checkpoint's mark covers was.
        """
        head, log = item.head, replay.log
        log_from = self._committed + 1
        cut_off = head is not None and head.end != item.until  # and whatever came behind it
        match None if head is None or cut_off else head.kind:
            case RecordKind.BLOB:
                assert head is not None
                digest = Digest(head.name)
                if replay.catalogue.find(digest) is None:
                    replay.catalogue.mark_damaged(digest)
                return
            case RecordKind.DELETE:
                return  # without it a blob that nobody asks for stays
            case RecordKind.ENTRY:
                assert head is not None
                log.cut(head.index - 1)
                log_from = head.index
            case RecordKind.MOVED_ENTRY:
                assert head is not None
                log_from = head.index
            case _:
                pass
        self._note(Damage(number, item.offset, certain, log_from))

    def _cut_tail(self, end: int, known: int) -> tuple[int, int]:
        """Take away what was never acknowledged, and make the rest durable."""
        files, shelf, usage = self.ground.files, self.ground.shelf, self.ground.usage
        number = self._numbers[-1] if self._numbers else 0
        if number < known:  # the checkpoint stands in one that is gone: it begins again
            files.create(segment_name(known))
            number, end = known, 0
        if number == 0:
            return 0, 0
        file = shelf.reader(number)
        if end < file.size():
            file.truncate(end)
        file.sync()
        files.sync_directory()
        usage.grow(number, end)
        return number, end


def fault_of(damage: Damage) -> Fault:
    """The fault that stands for a damage."""
    if damage.segment == 0:
        return Fault(
            Kind.DAMAGED,
            "the index is lost, and with it the table of a log that is not here any more",
            next_step=_JOIN_AGAIN,
        )
    doubt = "" if damage.certain else ", or a write was torn in an unusual way"
    return Fault(
        Kind.DAMAGED,
        f"acknowledged records at offset {damage.offset} cannot be read{doubt}: this node may not"
        f" vote until the group has repaired it from entry {damage.log_from} on",
        path=segment_name(damage.segment),
        next_step=_JOIN_AGAIN,
    )
