"""The state machine's table frozen at a checkpoint, to be sent in pieces."""

from blocktree.disk.index import Items, Space, View
from blocktree.raft import SnapshotMark


class Snapshot:
    """A frozen table. Used by one thread at a time; close it, it holds disk space.

    Attributes:
        mark: the point of the log that it stands for.
    """

    def __init__(self, view: View, table: Space, mark: SnapshotMark) -> None:
        self.mark = mark
        self._view = view
        self._table = table

    def items(self, after: bytes = b"", limit: int = 1024) -> Items:
        """The pairs after the key `after` in key order; empty at the end.

        Raises:
            Fault: EXPIRED if the index had to grow meanwhile: take a new snapshot.
        """
        return self._view.items(self._table, b"", after, limit)

    def close(self) -> None:
        """Give it up."""
        self._view.close()
