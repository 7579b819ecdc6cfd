"""Keeps nodes up to date: when a newer header came, its keys, content and table are built on it."""

import os
from collections.abc import Awaitable, Callable
from dataclasses import replace

from blocktree.caps import KeyRing, load_access, open_read_cap, open_ring
from blocktree.fault import Fault, Kind
from blocktree.files.content import Content
from blocktree.files.engine import Engine
from blocktree.files.headers import HeaderCache
from blocktree.files.nodes import GONE, Node, Table, gone
from blocktree.keys import Key
from blocktree.names import ROOT_FILE
from blocktree.sectors.directory import Directory
from blocktree.sectors.header import Cipher, FileKind, Header, SignedHeader
from blocktree.sectors.inline import open_inline
from blocktree.sectors.sector import SectorCipher


class Opened:
    """Current headers of nodes.

    Args:
        headers: where they come from.
        key: opens read caps that are sealed to this client.
        engine: what contents are read and written with.
    """

    find_key: Callable[[Node, Header], Awaitable[None]]  # in its directory; set by `Rekeying`

    def __init__(self, headers: HeaderCache, key: Key, engine: Engine) -> None:
        self._headers = headers
        self._key = key
        self._engine = engine

    async def header(self, node: Node, *, exclusive: bool = False) -> Header:
        """The newest header of a node, without what is changed here and not committed.

        A file that lost its last name elsewhere while it is open here lives on as `gone`.

        Raises:
            Fault: CONFLICT if the file was deleted; as `HeaderCache.get`.
        """
        if node.own:
            if node.last is None:
                raise Fault(Kind.CONFLICT, GONE, path=node.file.hex())
            return node.last
        known = self._headers.fresh(node.file, exclusive=exclusive)
        if known is None:
            try:
                known = await self._headers.get(node.file, exclusive=exclusive)
            except Fault as fault:
                if fault.kind is Kind.NOT_FOUND:
                    return _left(node)
                raise
        header = known.header
        if header is not node.last:
            if self._lacks_key(node, header):
                await self.find_key(node, header)
                if node.epoch == header.epoch:
                    return await self.header(node, exclusive=exclusive)  # it may be newer by now
            self._refresh(node, header)
        if node.content is not None:
            node.content.peers = known.holders
        return header

    def signed(self, node: Node) -> SignedHeader:
        """The committed header that the node builds on, as the one a commit follows."""
        known = self._headers.peek(node.file)
        if known is None or known.header is not node.last:
            raise Fault(Kind.CONFLICT, "the file was changed meanwhile", path=node.file.hex())
        return known.signed

    async def content(self, node: Node, *, exclusive: bool = False) -> Content:
        """The node's content, on its newest version."""
        header = await self.header(node, exclusive=exclusive)
        if node.content is None:
            assert node.cipher is not None
            node.content = Content(header.sector_size, node.cipher, self._engine)
            node.content.load(header, node.cipher)
            if node.gone:
                node.content.leave()
            known = self._headers.peek(node.file)
            node.content.peers = known.holders if known is not None else ()
        return node.content

    async def table(self, node: Node) -> Table:
        """A directory's table on its newest version.

        Raises:
            Fault: NOT_DIRECTORY; NOT_FOUND for a directory that was removed.
        """
        header = await self.header(node)
        if node.gone:
            raise Fault(Kind.NOT_FOUND, "the directory was removed")
        if header.kind is not FileKind.DIRECTORY:
            raise Fault(Kind.NOT_DIRECTORY, "not a directory")
        if node.table is None:
            assert node.cipher is not None
            assert node.ring is not None
            inline = open_inline(node.cipher, header)
            # Names are hashed with the key of the first epoch, so a new key moves no entry.
            names = Directory(node.ring.key(1), header.size, inline)
            node.table = Table(header, node.cipher, names)
        return node.table

    def bear(self, node: Node, header: Header, ring: KeyRing) -> None:
        """A file begins its life here."""
        node.born = True
        node.last = header
        node.ring = ring
        node.cipher = new_cipher(header, ring)

    def settle(self, node: Node, header: Header) -> None:
        """Build the node on `header`, committed here, which changed no names of a directory."""
        if node.table is not None and node.table.header is node.last:
            node.table = replace(node.table, header=header)
        node.last = header

    def renewed(self, node: Node, ring: KeyRing) -> None:
        """The node was committed here under a new key."""
        assert node.last is not None
        node.key, node.epoch, node.ring = ring.current, ring.epoch, ring
        node.cipher, node.table = new_cipher(node.last, ring), None
        if node.content is not None:
            node.content.load(node.last, node.cipher)

    def _refresh(self, node: Node, header: Header) -> None:
        if header.kind is not node.kind:
            raise Fault(Kind.DAMAGED, "the file is of another kind", path=node.file.hex())
        if node.ring is None or node.ring.epoch != header.epoch:
            node.ring = self._open_ring(node, header)
        cipher = node.cipher
        if cipher is None or (cipher.epoch, cipher.cipher) != (header.epoch, header.cipher):
            cipher = node.cipher = new_cipher(header, node.ring)
        if node.content is not None:
            node.content.load(header, cipher)
        node.table = None
        node.last = header

    def _lacks_key(self, node: Node, header: Header) -> bool:
        """Whether the file was given a new key elsewhere, which only its directory has for us."""
        if node.ring is not None and node.ring.epoch == header.epoch:
            return False
        if node.key and node.epoch == header.epoch:
            return False
        public = header.cipher is Cipher.PLAIN and len(node.key) != 32
        return not public and header.file != ROOT_FILE and not self._has_cap(header)

    def _has_cap(self, header: Header) -> bool:
        readers = load_access(header.access).readers if header.access else ()
        return self._key.principal.id in readers

    def _open_ring(self, node: Node, header: Header) -> KeyRing:
        if header.cipher is Cipher.PLAIN and len(node.key) != 32:
            return KeyRing.start(os.urandom)
        stale = not node.key or node.epoch != header.epoch
        by_cap = not node.key or node.file == ROOT_FILE or self._has_cap(header)
        if stale and by_cap and header.access:
            access = load_access(header.access)
            node.key, node.epoch = open_read_cap(access, self._key), access.epoch
        if not node.key or node.epoch != header.epoch:
            where = "/" if node.file == ROOT_FILE else node.file.hex()
            raise Fault(Kind.DENIED, "its key was changed: look its name up again", path=where)
        return open_ring(node.key, node.epoch, header.past_keys, node.file)


def new_cipher(header: Header, ring: KeyRing) -> SectorCipher:
    """What seals and opens the content of a file."""
    return SectorCipher(header.file, header.cipher, ring)


def _left(node: Node) -> Header:
    """What is left of a file that the store has no more: its open handles, if there are any."""
    was_gone = node.gone
    gone(node)
    if node.last is None or not (node.opens or was_gone):
        raise Fault(Kind.CONFLICT, GONE, path=node.file.hex())
    return node.last
