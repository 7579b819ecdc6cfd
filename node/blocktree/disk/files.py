"""How the disk reaches files: a small interface, and the real one over the operating system."""

import contextlib
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from blocktree.fault import Fault, Kind
from blocktree.names import Buffer

_IOVECS_MAX = 1024  # POSIX guarantees 16, Linux takes 1,024
_MODE = 0o600
_PIECE = 1 << 20  # read and written again at once
_sync_contents = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


class File(Protocol):
    """One open file, only ever appended to by one object at a time. All calls raise OSError.

    It is given back when the last reference goes, so a reader in another thread never sees its
    number reused.
    """

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write all buffers at the end; on an error, part of them may be there."""

    def fill(self, offset: int, size: int) -> None:
        """Put zeros behind the end, where the next appends go: their syncs need no new size.

        A crash may leave them, or a part, until `truncate` has taken them away for good.
        """

    def read(self, offset: int, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end. Callable from any thread."""

    def sync(self) -> None:
        """Make everything appended so far durable (fdatasync).

        What a sync failed to write, no later one writes, though it can be read: see `rewrite`.
        """

    def rewrite(self, offset: int, size: int) -> None:
        """Write again what is there, so that a sync after one that failed has it to write."""

    def forget(self, offset: int, size: int) -> None:
        """These bytes are durable, and not likely to be read soon: they need not be in memory."""

    def truncate(self, size: int) -> None:
        """Cut the file, and what `fill` put behind its end; durable after `sync`."""

    def size(self) -> int:
        """The bytes that were in it when it was opened, and what was appended since."""


class Files(Protocol):
    """The flat directory that holds the segments. All calls raise OSError."""

    def create(self, name: str) -> File:
        """A new, empty file; durable after `sync_directory`."""

    def open(self, name: str) -> File:
        """An existing file, for reading and appending."""

    def rename(self, old: str, new: str) -> None:
        """Replace `new` by `old` at once; durable after `sync_directory`."""

    def remove(self, name: str) -> None:
        """Durable after `sync_directory`; open files stay readable."""

    def size(self, name: str) -> int:
        """The bytes of an existing file."""

    def names(self) -> list[str]:
        """All files, sorted."""

    def sync_directory(self) -> None:
        """Make creations, renames and removals durable."""

    def free(self) -> int:
        """Bytes that could still be written."""

    def close(self) -> None:
        """Give up the lock on the directory."""


class OsFile:
    """A file of the operating system."""

    def __init__(self, number: int) -> None:
        self._fd = number
        self._end = os.fstat(number).st_size

    def fileno(self) -> int:
        """The descriptor, while this object lives."""
        return self._fd

    def again(self) -> "OsFile | None":
        """The same file by an open file description of its own; None if that cannot be had.

        Linux tells of a write-back error once for each description, in the first sync that asks.
        Of two that sync through one, the other would be told that all is well; through two, both
        are told, whoever of them or of other processes asks first. One that is opened later is
        told only of what nobody was told of before: so open it before anything is written.
        """
        try:
            return OsFile(os.open(f"/proc/self/fd/{self._fd}", os.O_RDONLY | os.O_CLOEXEC))
        except OSError:
            return None

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Hand the buffers over as they are: nothing is joined or copied here."""
        for start in range(0, len(buffers), _IOVECS_MAX):
            self._write(list(buffers[start : start + _IOVECS_MAX]))

    def _write(self, rest: list[Buffer]) -> None:
        written = self._write_some(rest)
        while rest:
            while rest and written >= len(rest[0]):
                written -= len(rest.pop(0))
            if rest:  # the kernel took a part: a signal, or the disk is getting full
                rest[0] = memoryview(rest[0])[written:]
                written = self._write_some(rest)

    def _write_some(self, rest: list[Buffer]) -> int:
        written = os.pwritev(self._fd, rest, self._end)
        self._end += written
        return written

    def fill(self, offset: int, size: int) -> None:
        """Zeros; fewer if the disk gets full."""
        assert offset >= self._end
        os.pwrite(self._fd, bytes(size), offset)

    def read(self, offset: int, size: int) -> bytes:
        """One pread, more only if the kernel returns less."""
        found = os.pread(self._fd, size, offset)
        if len(found) == size or not found:
            return found
        parts = [found]
        while found := os.pread(
            self._fd, size - sum(map(len, parts)), offset + sum(map(len, parts))
        ):
            parts.append(found)
        return b"".join(parts)

    def sync(self) -> None:
        """Contents and, where it changed, the size; no times."""
        _sync_contents(self._fd)

    def rewrite(self, offset: int, size: int) -> None:
        """What was read is what is written, even if the kernel drops it from its cache between."""
        until = offset + size
        while offset < until and (rest := self.read(offset, min(_PIECE, until - offset))):
            while rest:
                written = os.pwrite(self._fd, rest, offset)
                offset += written
                rest = rest[written:]

    def forget(self, offset: int, size: int) -> None:
        """Advice, which a file system may not take."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, offset, size, os.POSIX_FADV_DONTNEED)

    def truncate(self, size: int) -> None:
        """Cut the file."""
        os.ftruncate(self._fd, size)
        self._end = size

    def size(self) -> int:
        """Up to where the next append goes."""
        return self._end

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # nothing waits in it: what matters was synced
            os.close(self._fd)


def make_directory(path: Path) -> None:
    """Make a directory, and its name durable, if it is not there."""
    if not path.is_dir():
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_names(path.parent)


def sync_names(path: Path) -> None:
    """Make the names in a directory durable."""
    number = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


class OsFiles:
    """A real directory, made if it is not there, locked against a second process.

    Raises:
        Fault: BUSY if another process has it open.
    """

    def __init__(self, directory: str | Path) -> None:
        self._path = Path(directory)
        self._fd = -1
        make_directory(self._path)
        self._fd = os.open(self._path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.close()
            raise Fault(
                Kind.BUSY,
                "another process is using this state directory",
                path=str(self._path),
                next_step="stop it first, or choose another directory",
            ) from None

    def create(self, name: str) -> OsFile:
        """A new, empty file, readable only by its owner."""
        return self._open(name, os.O_CREAT | os.O_EXCL)

    def open(self, name: str) -> OsFile:
        """An existing file."""
        return self._open(name, 0)

    def _open(self, name: str, more: int) -> OsFile:
        flags = os.O_RDWR | os.O_CLOEXEC | more
        return OsFile(os.open(name, flags, _MODE, dir_fd=self._fd))

    def rename(self, old: str, new: str) -> None:
        """Replace `new` by `old` at once."""
        os.replace(old, new, src_dir_fd=self._fd, dst_dir_fd=self._fd)

    def remove(self, name: str) -> None:
        """Take the name away."""
        os.unlink(name, dir_fd=self._fd)

    def size(self, name: str) -> int:
        """The bytes of an existing file."""
        return os.stat(name, dir_fd=self._fd).st_size

    def names(self) -> list[str]:
        """All regular files, sorted."""
        return sorted(path.name for path in self._path.iterdir() if path.is_file())

    def sync_directory(self) -> None:
        """Make names durable."""
        os.fsync(self._fd)

    def free(self) -> int:
        """What an ordinary user may still write."""
        state = os.fstatvfs(self._fd)
        return state.f_bavail * state.f_frsize

    def close(self) -> None:
        """Give up the lock."""
        number, self._fd = self._fd, -1
        if number >= 0:
            os.close(number)

    def __del__(self) -> None:
        self.close()
