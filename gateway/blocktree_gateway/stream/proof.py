"""Proving a stream: every entry is the device's, none is missing unaccounted for, order holds.

What may be missing without a gap: what a later `Lost` names (the device's buffer was full), and at
the end of a boot what lay behind the place that the next `Start` calls safe (it was in memory when
the power went). A place is missing once only, however often it is looked at.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from blocktree.fault import Fault, Kind
from blocktree_gateway.messages import (
    Checkpoint,
    Clock,
    Entry,
    Lost,
    Note,
    Place,
    Reading,
    Start,
)
from blocktree_gateway.stream.entries import FIRST_PREV, Content, Reader, entry_hash, place_text

GAPS_LISTED_MAX = 100


@dataclass(frozen=True, slots=True)
class Told:
    """One entry that was opened, with its time as far as it is known."""

    place: Place
    content: Content
    columns: tuple[str, ...]
    time_ms: int | None


@dataclass(slots=True)
class Proof:
    """What came of looking at a stream.

    Attributes:
        told: the entries, in order.
        gaps: runs of places that are missing without a reason, first and last.
        lost: runs that the device itself says it dropped.
        faults: what does not hold, DAMAGED each.
        signed_to: the newest place that the device signed.
    """

    told: list[Told] = field(default_factory=list)
    gaps: list[tuple[Place, Place]] = field(default_factory=list)
    lost: list[tuple[Place, Place]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    signed_to: Place | None = None
    missing: int = 0

    @property
    def readings(self) -> Sequence[Told]:
        """What was measured."""
        return [each for each in self.told if isinstance(each.content, Reading)]

    @property
    def holds(self) -> bool:
        """Whether nothing is damaged or missing."""
        return not self.faults and not self.gaps


def prove(items: Iterable[Entry | Checkpoint], reader: Reader, *, whole: bool = True) -> Proof:
    """Look at a stream, or at the end of one (`whole` false: its first entry follows others)."""
    return _Chain(reader, whole=whole).walk(items)


class _Chain:
    def __init__(self, reader: Reader, *, whole: bool) -> None:
        self._reader = reader
        self._whole = whole
        self._hashes: dict[Place, bytes] = {}
        self._checkpoints: list[Checkpoint] = []
        self._columns: tuple[str, ...] = ()
        self._last: Place | None = None
        self._altered: set[Place] = set()
        self._found: list[tuple[Place, Place]] = []  # holes, until it is known who made them
        self._shifts: dict[int, int] = {}  # by boot: time minus uptime
        self._told: list[tuple[Place, Content, tuple[str, ...]]] = []
        self._proof = Proof()

    def walk(self, items: Iterable[Entry | Checkpoint]) -> Proof:
        for item in items:
            if isinstance(item, Checkpoint):
                self._checkpoints.append(item)
            else:
                self._entry(item)
        for checkpoint in self._checkpoints:
            self._checkpoint(checkpoint)
        self._account()
        self._date()
        return self._proof

    def _entry(self, entry: Entry) -> None:
        place, digest = entry.place, entry_hash(entry)
        known = self._hashes.get(place)
        if known is not None:
            if known != digest:
                self._blame(place, "there are two different entries at one place")
            return
        if self._last is not None and place < self._last:
            self._blame(place, f"comes after {place_text(self._last)}: the order was changed")
            return
        self._hashes[place] = digest
        try:
            content = self._reader.open(entry)
        except Fault as fault:
            self._proof.faults.append(fault)
            self._altered.add(place)
            self._last = place
            return
        self._follow(entry, content)
        self._last = place
        self._learn(place, content)

    def _follow(self, entry: Entry, content: Content) -> None:
        """See that an entry follows what came before it, and note what is missing between."""
        place, last = entry.place, self._last
        if last is None:
            if self._whole and entry.seq:
                self._found.append(((entry.boot, 0), (entry.boot, entry.seq - 1)))
            return
        if last[0] == entry.boot:
            if last[1] + 1 < entry.seq:
                self._found.append(((entry.boot, last[1] + 1), (entry.boot, entry.seq - 1)))
            elif entry.prev != self._hashes[last] and last not in self._altered:
                self._blame(place, f"does not follow {place_text(last)}")
            return
        if entry.seq:
            self._found.append(((entry.boot, 0), (entry.boot, entry.seq - 1)))
        elif entry.prev != FIRST_PREV or not isinstance(content, Start):
            self._blame(place, "is not the start of a boot")
        else:
            self._after(last, place, content)

    def _after(self, last: Place, place: Place, start: Start) -> None:
        """The earlier boots end where the new one says that they were safe, or later."""
        safe = (start.after_boot, start.after_seq)
        known = self._hashes.get(safe)
        if known is not None and known != start.after_hash:
            self._blame(place, f"was made after another entry at {place_text(safe)}")
        elif safe > last:
            first = (last[0], last[1] + 1) if safe[0] == last[0] else (safe[0], 0)
            self._found.append((first, safe))

    def _learn(self, place: Place, content: Content) -> None:
        match content:
            case Start():
                self._columns = content.columns
            case Clock():
                self._shifts[place[0]] = content.time_ms - content.uptime_ms
            case Lost():
                first = (content.first_boot, content.first_seq)
                self._proof.lost.append((first, (content.last_boot, content.last_seq)))
            case Reading() | Note():
                pass
        self._told.append((place, content, self._columns))

    def _checkpoint(self, checkpoint: Checkpoint) -> None:
        try:
            self._reader.check_signature(checkpoint)
        except Fault as fault:
            self._proof.faults.append(fault)
            return
        known = self._hashes.get(checkpoint.place)
        if known is None:
            if self._last is not None and checkpoint.place > self._last:
                first = (checkpoint.boot, self._last[1] + 1)
                same = checkpoint.boot == self._last[0]
                self._found.append((first if same else (checkpoint.boot, 0), checkpoint.place))
        elif known != checkpoint.head and checkpoint.place not in self._altered:
            self._blame(checkpoint.place, "the device signed another entry: it was replaced")
        else:
            self._proof.signed_to = max(self._proof.signed_to or (0, 0), checkpoint.place)

    def _account(self) -> None:
        """Holes that the device owned up to are no gaps."""
        for first, last in self._found:
            rest = _without(first, last, self._proof.lost)
            for gap in rest:
                self._proof.missing += gap[1][1] - gap[0][1] + 1
                if len(self._proof.gaps) < GAPS_LISTED_MAX:
                    self._proof.gaps.append(gap)

    def _date(self) -> None:
        for place, content, columns in self._told:
            time_ms = getattr(content, "time_ms", None)
            uptime_ms = getattr(content, "uptime_ms", None)
            if time_ms is None and uptime_ms is not None and place[0] in self._shifts:
                time_ms = self._shifts[place[0]] + uptime_ms
            self._proof.told.append(Told(place, content, columns, time_ms))

    def _blame(self, place: Place, what: str) -> None:
        self._proof.faults.append(Fault(Kind.DAMAGED, what, path=place_text(place)))


def _without(
    first: Place, last: Place, excused: Iterable[tuple[Place, Place]]
) -> list[tuple[Place, Place]]:
    """What is left of a run of places in one boot once excused runs are taken out."""
    runs = [(first, last)]
    for from_, to in excused:
        left = []
        for a, b in runs:
            if b < from_ or a > to:
                left.append((a, b))
                continue
            if a < from_:
                left.append((a, (from_[0], from_[1] - 1)))
            if b > to:
                left.append(((to[0], to[1] + 1), b))
        runs = left
    return runs
