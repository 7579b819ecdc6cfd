"""Operations on files and index that fail: counted, so that a test can choose which."""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from blocktree.disk import MemoryIndex, SimulatedFiles, Space
from blocktree.disk.simulated import BLOCK, FREE
from blocktree.fault import Fault, Kind

READS = {"read", "open"}


class Killed(BaseException):
    """The power fails, or the process is killed: no code sees it."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Operations from the `at`-th on that fail, and how.

    Attributes:
        at: counted from 1; 0: none.
        number: the errno.
        times: how many operations fail.
        part: how many blocks of an append are reached before it fails; only for ENOSPC.
        done: a commit of the index that fails happened all the same.
        cut: before this operation everything ends; 0: it does not.
        reads: whether reading counts, too.
    """

    at: int = 0
    number: int = errno.EIO
    times: int = 1
    part: int = 0
    done: bool = False
    cut: int = 0
    reads: bool = False


class Operations:
    """Counts what is done to files and index, and makes some of it fail."""

    def __init__(self, trouble: Trouble) -> None:
        self.trouble = trouble
        self.count = 0
        self.hit = ""
        self._files: SimulatedFiles | None = None
        self._index: Index | None = None

    def watch(self, files: SimulatedFiles, index: "Index") -> None:
        self._files, self._index, index.operations = files, index, self
        files.before, index.on_commit = self._before, self._commits

    def rest(self) -> None:
        assert self._files is not None
        assert self._index is not None
        self._files.before = self._index.on_commit = None
        self._files.capacity = FREE

    def _fails(self, verb: str) -> bool:
        trouble = self.trouble
        self.count += 1
        if self.count == trouble.cut:
            raise Killed
        fails = 0 < trouble.at <= self.count < trouble.at + trouble.times
        if fails:
            self.hit = self.hit or verb
        return fails

    def _before(self, verb: str, name: str) -> None:
        files = self._files
        assert files is not None
        files.capacity = FREE
        if (verb in READS and not self.trouble.reads) or not self._fails(verb):
            return
        if verb == "append" and self.trouble.part and self.trouble.number == errno.ENOSPC:
            end = len(files.contents(name))  # a write is cut short between blocks
            files.capacity = FREE - files.free() + self.trouble.part * BLOCK - end % BLOCK
            return
        raise OSError(self.trouble.number, f"{os.strerror(self.trouble.number)}: {verb} {name}")

    def _commits(self) -> None:
        if not self._fails("commit"):
            return
        if self.trouble.number == errno.ENOSPC:
            raise Fault(Kind.NO_SPACE, "the index has no room")
        raise Fault(Kind.FAILED, "the index failed")


class Index(MemoryIndex):
    """One whose commits may fail after they happened."""

    operations: Operations | None = None

    def commit(
        self,
        changes: Mapping[Space, Mapping[bytes, bytes | None]],
        *,
        clear: Sequence[Space] = (),
    ) -> None:
        try:
            super().commit(changes, clear=clear)
        except Fault as fault:
            watcher = self.operations
            if watcher is not None and watcher.trouble.done and fault.kind is Kind.FAILED:
                hook, self.on_commit = self.on_commit, None
                super().commit(changes, clear=clear)
                self.on_commit = hook
            raise
