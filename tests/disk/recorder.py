"""A node process whose I/O is written down: `python -m disk.recorder STATE_DIR JOURNAL`.

Every operation on the segments' directory, and every commit of the index, with the moment at which
it began. What is synced is what was there when the sync began, and from when it ended.
"""

import pickle
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocktree import node
from blocktree.disk import Limits, LmdbIndex, OsFiles, SimulatedFiles
from blocktree.disk.files import OsFile
from blocktree.disk.simulated import SimulatedFile
from blocktree.names import Buffer
from blocktree.store import checkpoints, folder

LIMITS = Limits(segment=128 << 10, reserve=1 << 20)


@dataclass(frozen=True, slots=True)
class Operation:
    """One step towards the disk; `began` on the clock that all processes share."""

    began: int
    verb: str
    name: str = ""
    content: Any = None  # bytes that were appended, a size, a new name, or what was committed


class Journal:
    """Operations in the order in which they were begun."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("ab")  # noqa: SIM115 - as long as the process
        self._lock = threading.Lock()

    def write(self, verb: str, name: str = "", content: Any = None) -> None:
        with self._lock:
            pickle.dump((time.monotonic_ns(), verb, name, content), self._file)
            self._file.flush()


def read_journal(path: Path) -> list[Operation]:
    return list(_read(path))


def _read(path: Path) -> Iterator[Operation]:
    with path.open("rb") as file:
        while True:
            try:
                yield Operation(*pickle.load(file))
            except (EOFError, pickle.UnpicklingError):
                return


class RecordedFile:
    """One file of the real directory."""

    def __init__(self, journal: Journal, name: str, file: OsFile) -> None:
        self._journal = journal
        self._name = name
        self._file = file

    def append(self, buffers: Sequence[Buffer]) -> None:
        self._journal.write("append", self._name, b"".join(map(bytes, buffers)))
        self._file.append(buffers)

    def fill(self, offset: int, size: int) -> None:
        self._journal.write("fill", self._name, (offset, size))
        self._file.fill(offset, size)

    def read(self, offset: int, size: int) -> bytes:
        return self._file.read(offset, size)

    def sync(self) -> None:
        size = self._file.size()
        self._file.sync()
        self._journal.write("synced", self._name, size)

    def rewrite(self, offset: int, size: int) -> None:
        self._file.rewrite(offset, size)

    def forget(self, offset: int, size: int) -> None:
        self._file.forget(offset, size)

    def truncate(self, size: int) -> None:
        self._journal.write("truncate", self._name, size)
        self._file.truncate(size)

    def size(self) -> int:
        return self._file.size()


class RecordedFiles(OsFiles):
    """The real directory."""

    journal: Journal

    def create(self, name: str) -> Any:
        self.journal.write("create", name)
        return RecordedFile(self.journal, name, super().create(name))

    def open(self, name: str) -> Any:
        return RecordedFile(self.journal, name, super().open(name))

    def rename(self, old: str, new: str) -> None:
        self.journal.write("rename", old, new)
        super().rename(old, new)

    def remove(self, name: str) -> None:
        self.journal.write("remove", name)
        super().remove(name)

    def sync_directory(self) -> None:
        super().sync_directory()
        self.journal.write("names")


class RecordedIndex(LmdbIndex):
    """The real index; LMDB makes a commit happen wholly or not at all."""

    journal: Journal

    def commit(self, changes: Any, *, clear: Any = ()) -> None:
        plain = {int(space): dict(pairs) for space, pairs in changes.items()}
        super().commit(changes, clear=clear)
        self.journal.write("commit", "", (plain, [int(space) for space in clear]))


def replay(files: SimulatedFiles, operation: Operation) -> None:
    """Do to simulated files what was done to the real ones."""
    name, content = operation.name, operation.content
    match operation.verb:
        case "create":
            files.create(name)
        case "append":
            files.open(name).append([content])
        case "fill":
            files.open(name).fill(*content)
        case "synced":
            file: SimulatedFile = files.open(name)
            file.synced, file.cut = max(file.synced, content), b""
        case "truncate":
            files.open(name).truncate(content)
        case "rename":
            files.rename(name, content)
        case "remove":
            files.remove(name)
        case "names":
            files.sync_directory()
        case _:
            raise AssertionError(operation.verb)


def main(root: str, journal: str) -> int:
    RecordedFiles.journal = RecordedIndex.journal = Journal(journal)
    for module, name, value in (
        (folder, "OsFiles", RecordedFiles),
        (folder, "LmdbIndex", RecordedIndex),
        (node, "Limits", lambda: LIMITS),
        (checkpoints, "CHANGES_MAX", 40),
    ):
        setattr(module, name, value)
    return node.main([root])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
