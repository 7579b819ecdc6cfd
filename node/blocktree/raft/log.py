"""The log as the core sees it: a tail in memory over what the driver keeps on disk.

Invariants, asserted where they could break:

1. `handed_apply` ≤ `commit` ≤ `last_index`, and `stable` ≤ `handed` ≤ `last_index`.
2. The tail holds the entries first … last_index without a gap; what is before it is durable.
3. Nothing up to `commit` is ever truncated.
4. `stable` counts an entry only when the save that carried *this* entry is reported. A truncation
   lowers every outstanding save below the cut, so a late report for an entry that was replaced
   meanwhile (even by an equal one, whose own write is still in flight) counts for nothing.
"""

from collections import deque
from collections.abc import Sequence

from blocktree.fault import Fault, Kind
from blocktree.raft.messages import Entry, SnapshotMark
from blocktree.raft.ready import Log

UNKNOWN = -1  # the term of an entry that is not here (compacted or beyond the end)


class Tail:
    """Log positions, and the newest entries. Indexes only; terms and votes live in `state`."""

    __slots__ = (
        "_bytes",
        "_entries",
        "_first",
        "_mark",
        "_outstanding",
        "_store",
        "applied",
        "commit",
        "handed",
        "handed_apply",
        "last_index",
        "stable",
    )

    def __init__(self, store: Log, applied: int) -> None:
        last = store.last_index
        if not store.first_index - 1 <= applied <= last:
            raise Fault(Kind.DAMAGED, f"state at {applied}, log {store.first_index} to {last}")
        self._store = store
        self._entries: list[Entry] = []
        self._first = last + 1
        self._bytes = 0
        self._mark: tuple[int, SnapshotMark] | None = None  # asked to be restored, not yet durable
        self._outstanding: deque[list[int]] = deque()  # [Ready number, last index it made durable]
        self.last_index = self.stable = self.handed = last
        self.commit = self.handed_apply = self.applied = applied

    @property
    def first_index(self) -> int:
        """The oldest entry that can still be sent."""
        return self._mark[1].index + 1 if self._mark else self._store.first_index

    @property
    def last_term(self) -> int:
        """The term of the newest entry, 0 in an empty log."""
        return self._entries[-1].term if self._entries else self.term(self.last_index)

    def term(self, index: int) -> int:
        """The term of the entry at `index`, or UNKNOWN."""
        offset = index - self._first
        if offset >= 0:
            return self._entries[offset].term if index <= self.last_index else UNKNOWN
        if self._mark is not None:
            return self._mark[1].term if index == self._mark[1].index else UNKNOWN
        return self._store.term(index) if index >= self._store.first_index - 1 else UNKNOWN

    def slice(self, low: int, high: int, bytes_max: int, entries_max: int) -> tuple[Entry, ...]:
        """Entries low ≤ index < high, at least one, within the limits."""
        assert self.first_index <= low < high <= self.last_index + 1, (low, high)
        if low < self._first:
            top = min(high, self._first, low + entries_max)
            return tuple(self._store.entries(low, top, bytes_max))
        start = low - self._first
        found = self._entries[start : start + min(high - low, entries_max)]
        return tuple(found[: _count_within(found, bytes_max)])

    def append(self, entry: Entry) -> None:
        """The leader's way: one more entry."""
        assert entry.index == self.last_index + 1, (entry.index, self.last_index)
        self._entries.append(entry)
        self._bytes += len(entry.payload)
        self.last_index = entry.index

    def fresh(self, previous: int, entries: Sequence[Entry]) -> Sequence[Entry]:
        """The part of a leader's entries that is not here yet; entries up to `previous` match."""
        if previous == self.last_index:
            return entries
        for offset, entry in enumerate(entries):
            if self.term(entry.index) != entry.term:
                return entries[offset:]
        return ()

    def extend(self, entries: Sequence[Entry]) -> None:
        """The follower's way: these replace whatever was here from entries[0].index on."""
        if entries[0].index <= self.last_index:
            self._truncate(entries[0].index)
        assert entries[0].index == self.last_index + 1, (entries[0].index, self.last_index)
        self._entries.extend(entries)
        self._bytes += sum([len(entry.payload) for entry in entries])
        self.last_index = entries[-1].index

    def _truncate(self, index: int) -> None:
        assert index > self.commit, f"committed entry {index} ≤ {self.commit} truncated"
        keep = max(index - self._first, 0)
        self._bytes -= sum([len(entry.payload) for entry in self._entries[keep:]])
        del self._entries[keep:]
        self._first = min(self._first, index)
        self.last_index = index - 1
        self.handed = min(self.handed, self.last_index)
        self.stable = min(self.stable, self.last_index)
        for save in self._outstanding:
            save[1] = min(save[1], self.last_index)

    def restore(self, mark: SnapshotMark, number: int) -> None:
        """Forget everything in favour of a snapshot that Ready `number` will make durable."""
        assert mark.index > self.commit, (mark.index, self.commit)
        self.stable = min(self.stable, self.commit)
        self._entries.clear()
        self._bytes = 0
        self._outstanding.clear()
        self._mark = (number, mark)
        self._first = mark.index + 1
        self.last_index = self.handed = self.commit = self.handed_apply = mark.index

    def take_unsaved(self, number: int) -> tuple[SnapshotMark | None, tuple[Entry, ...]]:
        """What Ready `number` has to make durable."""
        mark = self._mark[1] if self._mark and self._mark[0] == number else None
        entries = tuple(self._entries[self.handed + 1 - self._first :])
        if entries or mark:
            self.handed = self.last_index
            self._outstanding.append([number, self.last_index])
        return mark, entries

    def has_unsaved(self, number: int) -> bool:
        """Whether `take_unsaved` would hand out anything."""
        return self.handed < self.last_index or (self._mark is not None and self._mark[0] == number)

    def saved(self, number: int) -> None:
        """Every save up to Ready `number` is durable."""
        if self._mark and self._mark[0] <= number:
            self.stable = self._mark[1].index
            self.applied = max(self.applied, self.stable)
            self._mark = None
        while self._outstanding and self._outstanding[0][0] <= number:
            self.stable = max(self.stable, self._outstanding.popleft()[1])

    def has_apply(self) -> bool:
        """Whether `take_apply` would hand out anything."""
        return self.applied == self.handed_apply < min(self.commit, self.stable)

    def take_apply(self, bytes_max: int) -> tuple[Entry, ...]:
        """Committed and durable entries, one batch at a time: the next after `applied`."""
        high = min(self.commit, self.stable)
        if not self.applied == self.handed_apply < high:
            return ()
        found = self.slice(self.handed_apply + 1, high + 1, bytes_max, high)
        self.handed_apply = found[-1].index
        return found

    def trim(self, bytes_max: int) -> None:
        """Let go of the oldest entries in memory that are durable and handed out."""
        if self._bytes <= bytes_max + bytes_max // 4:
            return
        most = min(self.stable, self.handed_apply) + 1 - self._first
        count = 0
        while count < most and self._bytes > bytes_max:
            self._bytes -= len(self._entries[count].payload)
            count += 1
        del self._entries[:count]
        self._first += count

    def find(self, index: int, term: int) -> tuple[int, int]:
        """The newest place at or before `index` whose term is ≤ `term` (and its term).

        Two logs that disagree at a place of term t can agree again only before their runs of
        terms > min(t, t'), so one exchange skips a whole term (thesis section 3.5, end).
        """
        index = min(index, self.last_index)
        while index > self.commit and self.term(index) > term:
            index -= 1
        return index, max(self.term(index), 0)

    def check(self) -> None:
        """Assert the invariants that tie the positions together."""
        assert self.handed_apply <= self.commit <= self.last_index, self
        assert self.stable <= self.handed <= self.last_index, self
        assert self.last_index == self._first + len(self._entries) - 1, self
        assert self._mark is not None or self.handed_apply <= self.stable, self
        assert self._first <= self.stable + 1 or self._mark is not None, self

    def __repr__(self) -> str:
        names = ("applied", "handed_apply", "commit", "stable", "handed", "last_index", "_first")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


def _count_within(entries: Sequence[Entry], bytes_max: int) -> int:
    """How many entries fit, at least one."""
    room = bytes_max
    for count, entry in enumerate(entries):
        room -= len(entry.payload)
        if room < 0 and count:
            return count
    return len(entries)
