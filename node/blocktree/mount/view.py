"""A volume as one mount shows it: owners, open files, and which cached pages still hold.

Invariants:
- `stamps[ino]` is there only while every page the kernel caches of `ino` is right: it is set when
  the kernel starts from an empty cache, follows our own writes, and goes with an invalidation.
- `files` has one entry per handle that the kernel has not released.
"""

import logging
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from blocktree.fault import Fault
from blocktree.files.volume import Attributes, Volume
from blocktree.mount.protocol import FOPEN_DIRECT_IO, FOPEN_KEEP_CACHE, FOPEN_STREAM
from blocktree.mount.replies import owned, pack_attributes, pack_entry, split_seconds
from blocktree.names import Buffer

log = logging.getLogger(__name__)
Reply = Buffer | None  # None: this opcode has no reply
Stamp = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Options:
    """How to mount.

    `uid` and `gid`: show everything as theirs (what an ordinary user mounts is the user's); None
    shows the owners the tree records. `allow_other`: other users of this machine may come in.
    `read_ahead`: bytes the kernel reads ahead, raised where we may.
    """

    uid: int | None = None
    gid: int | None = None
    allow_other: bool = False
    read_only: bool = False
    read_ahead: int = 1 << 20
    source: str = "blocktree"


class Request:
    """One request of the kernel.

    `body` lies in a buffer that is used again: read all of it before the first await. Only a write
    keeps its buffer until it is answered.
    """

    __slots__ = ("body", "gid", "node", "opcode", "pid", "uid", "unique")

    def __init__(  # noqa: PLR0917 - made for every request: keywords cost
        self, opcode: int, unique: int, node: int, uid: int, gid: int, pid: int, body: memoryview
    ) -> None:
        self.opcode = opcode
        self.unique = unique
        self.node = node
        self.uid = uid
        self.gid = gid
        self.pid = pid
        self.body = body


class View:
    """What serving a request needs beside the request."""

    def __init__(self, volume: Volume, options: Options) -> None:
        self.volume = volume
        self.options = options
        self.files: dict[int, tuple[int, int]] = {}  # handle: inode, flags of open(2)
        self.locked: set[int] = set()  # open inodes that saw a fcntl lock through this mount
        self.stamps: dict[int, Stamp] = {}
        self.on_stale: Callable[[int], None] | None = None

    def entry(self, directory: int, attributes: Attributes) -> bytes:
        """fuse_entry_out for a name in `directory`."""
        shown = owned(attributes, self.options.uid, self.options.gid)
        names_valid = split_seconds(self.volume.valid_s(directory))
        return pack_entry(shown, names_valid, split_seconds(self.volume.valid_s(shown.ino)))

    def attributes(self, attributes: Attributes) -> bytes:
        """fuse_attr_out."""
        shown = owned(attributes, self.options.uid, self.options.gid)
        return pack_attributes(shown, split_seconds(self.volume.valid_s(shown.ino)))

    def open_flags(self, attributes: Attributes) -> int:
        """How the kernel is to treat a file that was just opened, for fuse_open_out."""
        if self.volume.streamed(attributes.ino):
            return FOPEN_DIRECT_IO | FOPEN_STREAM
        return FOPEN_KEEP_CACHE if self._fresh(attributes) else 0

    def _fresh(self, attributes: Attributes) -> bool:
        """Whether cached pages still hold at this open; if not, the kernel now drops them."""
        stamp = (attributes.ctime_ns, attributes.size)
        kept = self.stamps.get(attributes.ino) == stamp
        self.stamps[attributes.ino] = stamp
        return kept

    async def restamp(self, ino: int) -> None:
        """Our own write changed the file; the cached pages have that write already."""
        if ino in self.stamps:
            attributes = await self.volume.getattr(ino)
            if ino in self.stamps:  # not invalidated meanwhile
                self.stamps[ino] = (attributes.ctime_ns, attributes.size)

    def drop_cache(self, ino: int) -> None:
        """What the kernel caches of this file is wrong, by our own doing: have it dropped."""
        self.stamps.pop(ino, None)
        if self.on_stale is not None:
            self.on_stale(ino)

    def forget(self, ino: int, count: int) -> None:
        """The kernel dropped `count` references."""
        self.stamps.pop(ino, None)
        self.volume.forget(ino, count)

    def opened(self, handle: int, ino: int, flags: int) -> None:
        """A handle went to the kernel."""
        self.files[handle] = (ino, flags)

    def released(self, handle: int) -> None:
        """The kernel gave a handle back; with an inode's last one its fcntl locks are gone."""
        ino, _ = self.files.pop(handle, (0, 0))
        if ino in self.locked and all(other != ino for other, _ in self.files.values()):
            self.locked.discard(ino)

    def writes(self, handle: int) -> bool:
        """Whether the handle may have written something."""
        return self.files.get(handle, (0, os.O_RDWR))[1] & os.O_ACCMODE != os.O_RDONLY

    def appends(self, handle: int) -> bool:
        """Whether the handle writes at the end whatever the offset."""
        return bool(self.files.get(handle, (0, 0))[1] & os.O_APPEND)

    async def close(self) -> None:
        """Release what the kernel never will, because the connection is gone."""
        for handle in list(self.files):
            del self.files[handle]
            try:
                await self.volume.release(handle)
            except Fault as fault:
                log.warning("a file left open could not be released: %s", fault)


Serve = Callable[[View, Request], Coroutine[Any, Any, Reply]]
