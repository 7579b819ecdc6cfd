"""Attributes of nodes: what stat(2) says, changing it, and extended attributes."""

import os
from collections.abc import Sequence
from dataclasses import replace

from blocktree.fault import Fault, Kind
from blocktree.files.core import Core, until_agreed
from blocktree.files.flush import Flushes
from blocktree.files.nodes import GONE, Node, closed
from blocktree.files.volume import Attributes, Changes
from blocktree.sectors.header import FileKind, Header
from blocktree.sectors.inline import open_attributes, seal_attributes
from blocktree.sectors.sector import NONCE_BYTES

_CREATE, _REPLACE = 1, 2  # flags of setxattr(2)
_SIZE_MAX = (1 << 63) - 1


class NodeAttributes:
    """Reads and changes attributes."""

    def __init__(self, core: Core, flushes: Flushes) -> None:
        self._core = core
        self._flushes = flushes

    async def of(self, node: Node) -> Attributes:
        """The node's attributes, with what is changed here."""
        return describe(node, await self._core.opened.header(node))

    async def change(self, node: Node, changes: Changes, *, later: bool) -> Attributes:
        """Change attributes. With `later` they wait for the next flush of the node.

        Raises:
            Fault: IS_DIRECTORY for the size of a directory; as `Commits.commit`.
        """
        core = self._core
        await core.opened.header(node)
        if node.gone and not node.opens:
            raise Fault(Kind.CONFLICT, GONE)
        node.opens += 1
        try:
            if changes.size is not None:
                await self._truncate(node, changes.size)
            if changes.atime_ns is not None:
                node.atime_ns = changes.atime_ns
            fields = _fields(changes, core.now_ns())
            if fields:
                node.meta = {**node.meta, **fields}  # another one: see `Directories.settle`
                if not later and not node.own:
                    await self._flushes.flush(node)
        finally:
            closed(node)
        return await self.of(node)

    async def _truncate(self, node: Node, size: int) -> None:
        if node.kind is not FileKind.FILE:
            raise Fault(Kind.IS_DIRECTORY, "only files have a size to set")
        if size > _SIZE_MAX:
            raise Fault(Kind.TOO_LARGE, f"a file of {size} bytes")
        content = await self._core.opened.content(node)
        async with content.lock:
            await content.truncate(size)

    # extended attributes

    async def extended(self, node: Node) -> dict[bytes, bytes]:
        """All extended attributes."""
        header = await self._core.opened.header(node)
        assert node.ring is not None
        sealed = node.fields.get("attributes")
        if isinstance(sealed, bytes):
            header = replace(header, attributes=sealed)
        return open_attributes(header, node.ring)

    async def get(self, node: Node, name: bytes) -> bytes:
        """One extended attribute.

        Raises:
            Fault: NOT_FOUND if there is none of that name.
        """
        value = (await self.extended(node)).get(name)
        if value is None:
            raise Fault(Kind.NOT_FOUND, f"no attribute {name!r}")
        return value

    async def names(self, node: Node) -> Sequence[bytes]:
        """The names of all extended attributes."""
        return sorted(await self.extended(node))

    async def set(self, node: Node, name: bytes, value: bytes | None, flags: int) -> None:
        """Set an extended attribute, or remove it (None).

        Raises:
            Fault: EXISTS, NOT_FOUND by `flags`; TOO_LARGE over what a header holds.
        """

        async def attempt() -> None:
            async with node.lock:
                pairs = await self.extended(node)
                if flags & _CREATE and name in pairs:
                    raise Fault(Kind.EXISTS, f"the attribute {name!r} exists")
                if (flags & _REPLACE or value is None) and name not in pairs:
                    raise Fault(Kind.NOT_FOUND, f"no attribute {name!r}")
                if value is None:
                    del pairs[name]
                else:
                    pairs[name] = value
                header = await self._core.opened.header(node)
                assert node.ring is not None
                nonce = os.urandom(NONCE_BYTES)
                sealed = seal_attributes(node.file, header.cipher, node.ring, pairs, nonce)
                node.meta["ctime_ns"] = self._core.now_ns()
                if node.own:
                    node.meta["attributes"] = sealed
                    return
                part = await self._core.parts.prepare(node, header, attributes=sealed)
                await self._core.parts.commit([part], [])

        await until_agreed(attempt)


def _fields(changes: Changes, now_ns: int) -> dict[str, int]:
    """The header fields that change."""
    mode = None if changes.mode is None else changes.mode & 0o7777
    mtime = changes.mtime_ns
    if mtime is None and changes.size is not None:
        mtime = now_ns
    wanted = {"mode": mode, "uid": changes.uid, "gid": changes.gid, "mtime_ns": mtime}
    fields = {name: value for name, value in wanted.items() if value is not None}
    return {**fields, "ctime_ns": now_ns} if fields else {}


def _promised_directories(node: Node) -> int:
    """Each will be a link to the directory it is in; `find` counts them to know where to look."""
    return sum(one.kind is FileKind.DIRECTORY for one in node.unborn.values())


def describe(node: Node, header: Header) -> Attributes:
    """What stat(2) says of a node whose newest header is `header`."""
    meta = node.fields
    content = node.content
    size = header.size
    if content is not None and (node.own or content.changed):
        size = content.size
    mtime = int(meta.get("mtime_ns", header.mtime_ns))
    return Attributes(
        ino=node.ino,
        kind=header.kind,
        mode=int(meta.get("mode", header.mode)),
        links=0 if node.gone else header.links + _promised_directories(node),
        uid=int(meta.get("uid", header.uid)),
        gid=int(meta.get("gid", header.gid)),
        size=size,
        blocks=-(-size // 512),
        atime_ns=mtime if node.atime_ns is None else node.atime_ns,
        mtime_ns=mtime,
        ctime_ns=int(meta.get("ctime_ns", header.ctime_ns)),
        block_size=header.sector_size,
    )
