"""Directories as this client sees them: lookups and listings of the committed table, and edits.

An edit works on a fork of the table, so that a commit which fails leaves nothing behind and is
simply made again on the newer directory. Names that were made here and are not committed yet
(`Node.unborn`) are the business of `names`.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.files.commit import NewVersion
from blocktree.files.engine import Engine
from blocktree.files.nodes import Node, Table
from blocktree.files.opened import Opened
from blocktree.files.tree import SealedTree
from blocktree.files.upload import Batch
from blocktree.sectors.directory import Directory, DirEntry, entry_size
from blocktree.sectors.header import Header
from blocktree.sectors.inline import seal_inline
from blocktree.sectors.pages import HOLE, Tree
from blocktree.sectors.sector import NONCE_BYTES

LISTED_MAX = 4096  # entries in one answer


@dataclass(slots=True)
class Edit:
    """A directory being changed; its node's lock is held until this is committed or given up."""

    node: Node
    table: Table
    names: Directory  # a fork of the table's
    fields: dict[str, Any] = field(default_factory=dict)  # further header fields to set
    meta: Any = None  # the node's when the edit was prepared


class Directories:
    """Looks names up, lists, and edits.

    Args:
        engine: for fetching and sealing.
        opened: gives the current tables of nodes.
    """

    def __init__(self, engine: Engine, opened: Opened) -> None:
        self._engine = engine
        self._opened = opened

    async def lookup(self, node: Node, name: bytes) -> DirEntry | None:
        """What the committed directory says of a name."""
        table = await self._opened.table(node)
        await self._load(table, table.names, table.names.needed(name))
        return table.names.lookup(name)

    async def list(self, node: Node, cookie: int, count: int) -> list[tuple[int, DirEntry]]:
        """Up to `count` committed entries behind `cookie`, each with its own cookie."""
        table = await self._opened.table(node)
        found: list[tuple[int, DirEntry]] = []
        count = min(count, LISTED_MAX)
        while len(found) < count:
            sector = table.names.next_sector(cookie)
            if sector is None:
                break
            if table.names.count:
                await self._load(table, table.names, [sector])
            some, cookie = table.names.entries(cookie)
            found.extend(some)
        return found[:count]

    async def edit(self, node: Node) -> Edit:
        """Begin to change a directory whose lock is held."""
        table = await self._opened.table(node)
        return Edit(node, table, table.names.fork())

    @staticmethod
    def count_directory(edit: Edit, more: int) -> None:
        """The directory has so many more directories in it: each is a link to it, its `..`."""
        edit.fields["links"] = edit.fields.get("links", edit.table.header.links) + more

    async def find(self, edit: Edit, name: bytes) -> DirEntry | None:
        """What the directory being changed says of a name."""
        await self._load(edit.table, edit.names, edit.names.needed(name))
        return edit.names.lookup(name)

    async def add(self, edit: Edit, entry: DirEntry) -> None:
        """Add a name. Raises as `Directory.add`."""
        names, size = edit.names, entry_size(entry.name)
        await self._load(edit.table, names, names.needed(entry.name))
        await self._load(edit.table, names, names.needed(entry.name, size))
        names.add(entry)

    async def add_unless_taken(self, edit: Edit, entry: DirEntry) -> None:
        """Add a name that was not there a moment ago.

        Raises:
            Fault: CONFLICT if it is by now.
        """
        if await self.find(edit, entry.name) is not None:
            raise Fault(Kind.CONFLICT, "the name is taken by now")
        await self.add(edit, entry)

    async def remove(self, edit: Edit, name: bytes, node: Node) -> None:
        """Remove a name of `node`.

        Raises:
            Fault: CONFLICT if the name means another file by now.
        """
        names, size = edit.names, entry_size(name)
        await self._load(edit.table, names, names.needed(name))
        await self._load(edit.table, names, names.needed(name, -size))
        _require(names.lookup(name), node)
        names.remove(name)

    async def replace(self, edit: Edit, entry: DirEntry, node: Node) -> None:
        """Let a name of `node` mean another file. Raises as `remove`."""
        await self._load(edit.table, edit.names, edit.names.needed(entry.name))
        _require(edit.names.lookup(entry.name), node)
        edit.names.replace(entry)

    async def prepare(self, edit: Edit, now_ns: int | None) -> NewVersion:
        """The directory's part in a transaction, as of `now_ns`; None leaves its times alone.

        A directory that was made here has its name in the same transaction (`births`).

        Raises:
            Fault: CONFLICT if the edit is not of the newest version.
        """
        assert now_ns is None or not edit.node.born, "its name would not be in the transaction"
        old = None if edit.node.born else self._opened.signed(edit.node)
        if old is not None and old.header is not edit.table.header:
            raise Fault(Kind.CONFLICT, "the directory was changed meanwhile")
        edit.meta = edit.node.meta
        change, cipher = edit.names.change(), edit.table.cipher
        version = NewVersion(edit.node.file, old, None)
        tree, inline = Tree(), b""
        if change.count:
            contents = [(index, c) for index, c in change.sectors.items() if c is not None]
            batch = Batch(cipher, contents)
            batch.seal()
            version.batches, version.sectors = (batch,), batch.digests
            changes = {index: HOLE for index, c in change.sectors.items() if c is None}
            changes.update(zip(batch.indexes, batch.digests, strict=True))
            keep = min(edit.table.tree.count, change.count)
            update = await self._engine.trees.update(edit.table.tree, keep, changes, change.count)
            tree, version.pages = update.tree, update.made
        else:
            inline = seal_inline(cipher, change.inline, os.urandom(NONCE_BYTES))
        fields = {"size": change.load, "root": tree.root, "inline": inline, **edit.fields}
        if now_ns is not None:
            fields["mtime_ns"] = fields["ctime_ns"] = now_ns
        version.header = replace(edit.table.header, epoch=cipher.epoch, **fields)
        return version

    def settle(self, edit: Edit, header: Header) -> None:
        """The edit was committed as `header`.

        Times that the node had from before are over. What somebody set meanwhile is newer, though
        it may be a time long past: it is in another `meta`. A promise made meanwhile has a later
        time.
        """
        node = edit.node
        node.table = Table(header, edit.table.cipher, edit.names)
        node.last = header
        older = int(node.meta.get("mtime_ns", header.mtime_ns)) < header.mtime_ns
        if older and node.meta is edit.meta:
            del node.meta["mtime_ns"]
            node.meta.pop("ctime_ns", None)

    async def _load(self, table: Table, names: Directory, sectors: Sequence[int]) -> None:
        """Load sectors of the table's version into `names`, its own or a fork."""
        sealed = SealedTree(table.tree, table.cipher, table.header.sector_size)
        for sector in sectors:
            content = await self._engine.trees.sector(sealed, sector)
            names.load(sector, bytes(content))


def _require(entry: DirEntry | None, node: Node) -> None:
    """The directory may have changed between the lookup of a name and its edit."""
    if entry is None or entry.file != node.file:
        raise Fault(Kind.CONFLICT, "the name means another file by now")
