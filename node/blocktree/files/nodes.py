"""What this client keeps of each file that somebody here knows: the node and the table of nodes.

A node's number is taken from its file's id, so it is the same on every mount and after a restart
(git and rsync remember inode numbers); a clash, if it ever comes, moves to the next free number.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass

from blocktree.caps import KeyRing
from blocktree.fault import Fault, Kind
from blocktree.files.content import Content
from blocktree.files.volume import ROOT_INO
from blocktree.names import ROOT_FILE, FileId
from blocktree.sectors.directory import Directory, DirEntry
from blocktree.sectors.header import FileKind, Header
from blocktree.sectors.pages import Tree
from blocktree.sectors.sector import SectorCipher

GONE = "the file was deleted"  # a conflict that trying again does not resolve
_NUMBERS = (1 << 63) - 1


@dataclass(frozen=True, slots=True)
class Table:
    """The names of one version of a directory, as far as they were loaded."""

    header: Header
    cipher: SectorCipher
    names: Directory

    @property
    def tree(self) -> Tree:
        """The hash tree over its buckets."""
        return Tree(self.header.root, self.names.count)


class Node:
    """One file, directory or link.

    Invariants
    - `born` is true exactly while the node was made here and is not in the store: `place` is the
      directory and name it will have, and that directory lists it in `unborn`.
    - `gone` is true once the file has no name any more: nothing of it is ever committed again, but
      whoever has it open reads and writes on.
    - `lock` is held by whoever commits a new header of the file.
    """

    __slots__ = (
        "appended",
        "appending",
        "arriving",
        "atime_ns",
        "born",
        "cipher",
        "content",
        "epoch",
        "file",
        "gone",
        "ino",
        "key",
        "kind",
        "last",
        "lock",
        "lookups",
        "meta",
        "missed",
        "opens",
        "place",
        "ring",
        "table",
        "taken",
        "tasks",
        "told",
        "unborn",
    )

    def __init__(self, file: FileId, ino: int, kind: FileKind, key: bytes, epoch: int) -> None:
        self.file = file
        self.ino = ino
        self.kind = kind
        self.key = key  # the content key of `epoch`, from the directory's entry
        self.epoch = epoch
        self.last: Header | None = None  # what `content`, `cipher` and `table` build on
        self.cipher: SectorCipher | None = None
        self.content: Content | None = None
        self.ring: KeyRing | None = None
        self.table: Table | None = None
        self.born = False
        self.place: tuple[Node, bytes] | None = None
        self.unborn: dict[bytes, Node] = {}
        self.arriving: set[bytes] = set()  # names that an operation under way is about to make
        self.meta: dict[str, int | bytes] = {}  # header fields changed here, not yet committed
        self.taken: Mapping[str, int | bytes] = {}  # those that are being committed
        self.atime_ns: int | None = None
        self.told: dict[bytes, float] = {}  # names the kernel may remember, and until when
        self.missed = (0.0, 0)  # when a header was not at hand last, how many came along with it
        self.gone = False
        self.lookups = 0
        self.opens = 0
        self.appending = 0  # writes at the end that are under way
        self.appended = False  # before it was in the store: others may only append to all of it
        self.tasks = 0  # commits of it that run in the background
        self.lock = asyncio.Lock()

    @property
    def changed(self) -> bool:
        """Whether something of it is not committed, or not yet."""
        content = self.content is not None and self.content.changed
        return not self.gone and (self.born or bool(self.meta or self.taken) or content)

    @property
    def fields(self) -> Mapping[str, int | bytes]:
        """Header fields that were changed here and are not in `last`."""
        return {**self.taken, **self.meta} if self.taken else self.meta

    @property
    def version(self) -> int:
        """Of the header that was last looked at; 0: none."""
        return 0 if self.last is None else self.last.version

    @property
    def own(self) -> bool:
        """Whether the node lives here only, so that no header is to be asked for."""
        return self.born or self.gone

    @property
    def idle(self) -> bool:
        """Whether the node can be forgotten."""
        used = self.lookups or self.opens or self.tasks or self.lock.locked()
        return not used and not self.changed and not self.unborn


def entry_of(node: Node, name: bytes) -> DirEntry:
    """What a directory says of a node that is called `name` there."""
    return DirEntry(name, node.file, node.kind, node.key, node.epoch)


def gone(node: Node) -> None:
    """The file lost its last name; only those who have it open still use it."""
    if not node.gone and node.content is not None:
        node.content.leave()
    node.gone, node.born, node.place = True, False, None
    if not node.opens and node.content is not None:
        node.content.discard()


def closed(node: Node) -> None:
    """One user of an open file less; of a removed file's content nothing stays behind the last."""
    node.opens -= 1
    if node.gone and not node.opens and node.content is not None:
        node.content.discard()


class NodeTable:
    """All nodes, by number and by file."""

    def __init__(self) -> None:
        self._by_ino: dict[int, Node] = {}
        self._by_file: dict[FileId, Node] = {}

    def __iter__(self) -> Iterator[Node]:
        return iter(list(self._by_ino.values()))

    def __len__(self) -> int:
        return len(self._by_ino)

    def at(self, ino: int) -> Node:
        """The node with this number.

        Raises:
            Fault: CONFLICT (a stale number) if there is none.
        """
        node = self._by_ino.get(ino)
        if node is None:
            raise Fault(Kind.CONFLICT, "this file is no longer known here", path=str(ino))
        return node

    def get(self, ino: int) -> Node | None:
        """The node with this number, or None."""
        return self._by_ino.get(ino)

    def of(self, file: FileId) -> Node | None:
        """The node of a file, if somebody here knows it."""
        return self._by_file.get(file)

    def number(self, file: FileId) -> int:
        """The number a file has, or would have."""
        node = self._by_file.get(file)
        if node is not None:
            return node.ino
        if file == ROOT_FILE:
            return ROOT_INO
        ino = int.from_bytes(file[8:]) & _NUMBERS  # random bits all: few files share them
        while ino <= ROOT_INO or ino in self._by_ino:
            ino = (ino + 1) & _NUMBERS
        return ino

    def add(self, file: FileId, kind: FileKind, key: bytes, epoch: int) -> Node:
        """The node of a file, made if need be; the newest key is kept."""
        node = self._by_file.get(file)
        if node is None:
            node = Node(file, self.number(file), kind, key, epoch)
            self._by_ino[node.ino] = self._by_file[file] = node
        elif epoch > node.epoch:
            node.key, node.epoch, node.last = key, epoch, None
        return node

    def tidy(self, node: Node) -> None:
        """Forget the node if nobody needs it."""
        if node.idle and node.ino != ROOT_INO:
            self._by_ino.pop(node.ino, None)
            self._by_file.pop(node.file, None)


@contextmanager
def arriving(directory: Node, name: bytes) -> Iterator[None]:
    """Let nobody promise a name that the body, which holds the directory's lock, is making."""
    assert directory.lock.locked()
    directory.arriving.add(name)
    try:
        yield
    finally:
        directory.arriving.discard(name)


async def hold(stack: AsyncExitStack, nodes: Iterable[Node]) -> Sequence[Node]:
    """Take the locks of several nodes; always in one order, so nobody waits in a circle."""
    ordered = sorted({node.ino: node for node in nodes}.values(), key=lambda node: node.ino)
    for node in ordered:
        await stack.enter_async_context(node.lock)
    return ordered
