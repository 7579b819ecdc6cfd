"""A directory as a copy sees it, with one face for this machine's and a tree's."""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from blocktree.files.volume import NodeKind
from blocktree.names import Buffer

CHUNK = 1 << 20  # bytes read at once


@dataclass(frozen=True, slots=True)
class Item:
    """What has a name in a folder."""

    kind: NodeKind | None  # None: a device, pipe or socket
    size: int
    mode: int  # permission bits
    mtime_ns: int
    ino: int

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.kind is NodeKind.DIRECTORY


class Source(Protocol):
    """A directory that is copied from. Faults name no path: the caller does."""

    def path(self, name: bytes) -> str:
        """The path of what is called `name` here, for people."""

    async def entries(self) -> Sequence[tuple[bytes, Item]]:
        """Everything in it, by name."""

    async def enter(self, name: bytes) -> "Source":
        """The directory of that name; also through a link."""

    def read(self, name: bytes) -> AsyncGenerator[Buffer, None]:
        """The content of a file, in order, in pieces of at most `CHUNK` bytes."""

    async def readlink(self, name: bytes) -> bytes:
        """The target of a symbolic link."""


class Folder(Source, Protocol):
    """A directory that can also be copied to."""

    async def look(self, name: bytes) -> Item | None:
        """What has that name; a link is looked at itself."""

    async def enter(self, name: bytes) -> "Folder":
        """The directory of that name; also through a link."""

    async def make(self, name: bytes) -> "Folder":
        """The same, made if it is not there."""

    async def write(
        self, name: bytes, content: AsyncGenerator[Buffer, None], item: Item, *, keep: bool
    ) -> None:
        """Make or overwrite a file; durable when it returns.

        An interrupted new file is removed. Permissions are those of `item` under this process's
        umask; with `keep` exactly those, and its modification time.
        """

    async def link(self, name: bytes, target: bytes) -> None:
        """Make a symbolic link, in place of a file or link of that name."""

    async def keep(self, name: bytes, item: Item) -> None:
        """Give what has that name the permissions and modification time of `item`."""

    async def remove(self, name: bytes) -> None:
        """Remove a file or link."""
