"""The inode-level file system interface that front ends (mount, command line) stand on.

All calls are coroutines on the loop of the process, except those that only count or look at
memory. `ino` numbers are stable: the same file has the same number on every mount. Errors are
`Fault`; the mount turns kinds into errno in one table (NOT_FOUND, EXISTS, NOT_DIRECTORY,
IS_DIRECTORY, NOT_EMPTY, DENIED, NO_SPACE, TOO_LARGE, USAGE = EINVAL, UNSUPPORTED = EOPNOTSUPP,
CONFLICT = ESTALE, BUSY = EAGAIN, UNREACHABLE and NO_QUORUM = EIO after the retries of the volume,
DAMAGED = EIO, CANCELLED = EINTR; NOT_FOUND from an extended attribute is ENODATA).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Protocol

from blocktree.names import Buffer
from blocktree.sectors.header import SECTOR_BYTES, FileKind

ROOT_INO = 1
"""The inode number of the volume's root directory."""

Invalidate = Callable[[int, bytes | None], Awaitable[None]]
"""`await invalidate(ino, None)`: attributes and pages of `ino` are no longer valid;
`await invalidate(dir_ino, name)`: what `name` means in `dir_ino` is no longer known.
Awaited before the recall is acknowledged, so it must not call back into the volume."""


NodeKind = FileKind
"""What a node is."""


class RenameFlag(IntFlag):
    """How a rename treats an existing target; the numbers are those of renameat2(2)."""

    REPLACE = 0
    NOREPLACE = 1
    EXCHANGE = 2


class LockKind(IntEnum):
    """What a lock request asks for."""

    READ = 1
    WRITE = 2
    UNLOCK = 3


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat(2) says of a node. Times in nanoseconds since 1970, blocks of 512 bytes."""

    ino: int
    kind: NodeKind
    mode: int  # the twelve permission bits
    links: int
    uid: int
    gid: int
    size: int
    blocks: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int
    block_size: int = 65536  # preferred for input and output: the sector size


@dataclass(frozen=True, slots=True)
class Permissions:
    """What a new node starts with: permission bits (umask applied), owner, and sector size.

    A change of one byte writes a whole sector, so files that grow a line at a time have small ones.
    """

    mode: int
    uid: int
    gid: int
    sector_size: int = SECTOR_BYTES  # of a file; a power of two from 4 KiB to 1 MiB


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr changes; None leaves a thing as it is."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a listing; `attributes` only if the listing asked for them."""

    cookie: int  # where to continue after this entry; > 0, stable while the directory changes
    name: bytes
    ino: int
    kind: NodeKind
    attributes: Attributes | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """What statfs(2) says, in bytes and counts."""

    block_size: int
    bytes_total: int
    bytes_free: int
    files_total: int
    files_free: int
    name_bytes_max: int = 255


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as asked for or held: bytes `start`…`end` inclusive; `end` 2**63-1 is "to the end"."""

    kind: LockKind
    start: int
    end: int
    owner: int
    pid: int
    flock: bool = False  # flock(2): the whole file, owned by the open file


@dataclass(frozen=True, slots=True)
class Renaming:
    """One of several renames; no EXCHANGE."""

    directory: int
    name: bytes
    to: int
    new_name: bytes
    flags: RenameFlag


class Names(Protocol):
    """Operations on directories. Each one that hands out a node counts one lookup of it."""

    async def lookup(self, directory: int, name: bytes) -> Attributes:
        """The node called `name`; NOT_FOUND. `.` and `..` are understood."""

    async def readdir(
        self, directory: int, after: int, count: int, *, attributes: bool = False
    ) -> Sequence[Entry]:
        """Up to `count` entries after cookie `after` (0: from the start), without `.` and `..`.

        Counts no lookups: whoever hands the attributes on (readdirplus) calls `remember`.
        """

    async def create(
        self, directory: int, name: bytes, permissions: Permissions, flags: int
    ) -> tuple[Attributes, int]:
        """Make (or, without O_EXCL, open) a file; gives its attributes and an open handle."""

    async def mkdir(self, directory: int, name: bytes, permissions: Permissions) -> Attributes:
        """Make a directory."""

    async def symlink(
        self, directory: int, name: bytes, target: bytes, permissions: Permissions
    ) -> Attributes:
        """Make a symbolic link to `target` (1–4095 bytes)."""

    async def link(self, ino: int, directory: int, name: bytes) -> Attributes:
        """Give a file one more name."""

    async def unlink(self, directory: int, name: bytes) -> None:
        """Remove a name of a file or symbolic link; what is open stays readable and writable."""

    async def rmdir(self, directory: int, name: bytes) -> None:
        """Remove an empty directory."""

    async def rename(
        self, directory: int, name: bytes, new_directory: int, new_name: bytes, flags: RenameFlag
    ) -> None:
        """Move a name, atomically also across directories and over an existing target."""

    async def rename_together(self, renames: Sequence[Renaming]) -> None:
        """Move several names, each after the one before it: all of them or none."""


class Nodes(Protocol):
    """Operations on a node by its number."""

    async def getattr(self, ino: int) -> Attributes:
        """The node's attributes, with what is written here but not yet committed."""

    async def setattr(self, ino: int, changes: Changes, handle: int | None = None) -> Attributes:
        """Change attributes; `size` truncates or extends with zeros."""

    async def readlink(self, ino: int) -> bytes:
        """The target of a symbolic link."""

    async def getxattr(self, ino: int, name: bytes) -> bytes:
        """One extended attribute; NOT_FOUND if there is none of that name."""

    async def setxattr(self, ino: int, name: bytes, value: bytes, flags: int) -> None:
        """Set one; the flags of xattr(7): 1 = must be new (EXISTS), 2 = must exist (NOT_FOUND)."""

    async def listxattr(self, ino: int) -> Sequence[bytes]:
        """The names of all extended attributes."""

    async def removexattr(self, ino: int, name: bytes) -> None:
        """Remove one; NOT_FOUND if there is none of that name."""

    async def statfs(self) -> Space:
        """How much room there is."""

    def remember(self, ino: int, count: int = 1) -> None:
        """The kernel was told of `ino` `count` more times (readdirplus)."""

    def forget(self, ino: int, count: int) -> None:
        """The kernel dropped `count` of its lookups of `ino`."""

    def valid_s(self, ino: int) -> float:
        """Seconds for which what was just said of `ino` may be kept without asking again.

        For a directory this also covers its names and the absence of names. An invalidation may
        come earlier.
        """

    def streamed(self, ino: int) -> bool:
        """Whether an open file there is a stream, as a pipe is: nothing cached, no offset."""


class Handles(Protocol):
    """Operations on open files. `flags` are those of open(2)."""

    async def open(self, ino: int, flags: int) -> int:
        """Open a file; O_TRUNC empties it."""

    async def read(self, handle: int, offset: int, size: int) -> Buffer:
        """Up to `size` bytes from `offset`; fewer only at the end of the file."""

    async def write(self, handle: int, offset: int, data: Buffer) -> int:
        """Write all of `data` at `offset` (at the end with O_APPEND); gives its length.

        The bytes are copied before the call ends: the caller may then use its buffer again.
        """

    async def flush(self, handle: int) -> None:
        """close(2) of a descriptor: what was written is durable on a quorum.

        A volume may be opened so that this does not wait for new files (`Limits.fast_close`).
        """

    async def fsync(self, handle: int) -> None:
        """The same as `flush`, for fsync and fdatasync."""

    async def fsyncdir(self, directory: int) -> None:
        """Make every name created in `directory` durable."""

    async def release(self, handle: int) -> None:
        """The last descriptor is gone; drops the handle's flock."""


class Locks(Protocol):
    """Advisory locks, seen by every mount of the tree."""

    async def getlock(self, handle: int, lock: Lock) -> Lock | None:
        """A lock that stands in the way of `lock`, or None."""

    async def setlock(self, handle: int, lock: Lock, *, wait: bool) -> None:
        """Take or give back a lock; BUSY if it is held and `wait` is false.

        Cancelling the call stops the waiting.
        """


class Volume(Names, Nodes, Handles, Locks, Protocol):
    """A mounted tree, or a directory of it."""

    def on_invalidate(self, invalidate: Invalidate) -> None:
        """Have `invalidate` called before a recall of what was handed out is acknowledged."""

    async def sync(self) -> None:
        """Commit everything that is written but not committed."""

    async def close(self) -> None:
        """Commit everything, give back leases and locks, and stop."""
