"""A commit of the index under way: gathered on the disk's thread, written beside it."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from blocktree.disk.index import Changes, Index, Space
from blocktree.fault import Fault, Kind
from blocktree.raft import SnapshotMark


@dataclass(slots=True)
class IndexCommit:
    """Rows on their way into the index, and what is true once they are there.

    Attributes:
        mark: the point of the log that the table stands for then.
        written: how many bytes the stream had been given when the rows were gathered.
        condemned: segments that nothing refers to then.
        fault: why it failed, once `write` has returned.
    """

    index: Index
    rows: Changes
    clear: Sequence[Space]
    mark: SnapshotMark
    written: int
    condemned: frozenset[int]
    fault: Fault | None = None
    _tried: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def write(self) -> None:
        """Any thread. Write the rows, once: whoever comes second waits for the first."""
        with self._lock:
            if self._tried:
                return
            self._tried = True
            try:
                self.index.commit(self.rows, clear=self.clear)
            except Fault as fault:
                self.fault = fault
            except Exception as cause:  # told by whoever ends it; never taken for done
                self.fault = Fault(Kind.FAILED, f"the index: {cause}")
