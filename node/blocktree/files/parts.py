"""Parts of transactions: what one file has to be committed, taken, settled, or given back.

Invariant: whatever is taken for a commit (`freeze`, `meta`) is settled when it succeeded and given
back when it did not; nothing written is ever dropped because a commit failed.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree.files.commit import NewVersion
from blocktree.files.content import Content
from blocktree.files.engine import Engine
from blocktree.files.joint import Joint
from blocktree.files.nodes import Node
from blocktree.files.opened import Opened
from blocktree.files.version import Frozen
from blocktree.sectors.header import Header, SignedHeader
from blocktree.sectors.inline import seal_inline
from blocktree.sectors.sector import NONCE_BYTES


@dataclass(slots=True)
class Part:
    """One file's share of a commit under way."""

    node: Node
    version: NewVersion
    frozen: Frozen | None
    meta: Mapping[str, Any]


class Parts:
    """Makes parts, and commits them together.

    Args:
        engine: what contents are sealed with.
        opened: which versions nodes build on.
        commits: carries transactions out.
    """

    def __init__(self, engine: Engine, opened: Opened, commits: Joint) -> None:
        self._engine = engine
        self._opened = opened
        self._commits = commits

    async def prepare(self, node: Node, header: Header, **fields: Any) -> Part:
        """A file's part in a transaction, with all that is written to it; its lock is held.

        `fields` are further header fields to set. Prepared in a `gathering`, then committed.

        Raises:
            Fault: CONFLICT if `header` is not the newest, or the file is not in the store yet.
        """
        old = self._opened.signed(node)
        if old.header is not header:
            raise Fault(Kind.CONFLICT, "the file was changed meanwhile")
        return await self._part(node, old, header, fields)

    async def first(self, node: Node, header: Header, *, whole: bool) -> Part:
        """The same for a file that was made here; its name goes with it.

        Unless it has to be `whole`, a file whose content is still on its way is empty at first, and
        committed again when that has arrived: nobody else's names wait for it in their directory.
        """
        assert node.born
        content = node.content
        if content is None or whole or not content.travels:
            return await self._part(node, None, header, {})
        empty = seal_inline(content.cipher, b"", os.urandom(NONCE_BYTES))
        return self.without_content(
            node, NewVersion(node.file, None, replace(header, inline=empty))
        )

    def without_content(self, node: Node, version: NewVersion) -> Part:
        """The part of a node whose new version is made up already, with what else was set here."""
        meta = _take(node)
        assert version.header is not None
        version.header = replace(version.header, **meta)
        return Part(node, version, None, meta)

    async def _part(
        self, node: Node, old: SignedHeader | None, header: Header, fields: Mapping[str, Any]
    ) -> Part:
        meta = _take(node)
        part = Part(node, NewVersion(node.file, old, None), None, meta)
        try:
            parts: dict[str, Any] = {}
            content = node.content
            if content is not None and (content.changed or node.born):
                async with content.lock:
                    part.frozen = await content.freeze()
                parts = await self._content(content, part.frozen, part.version)
            part.version.header = replace(header, **{**parts, **meta, **fields})
        except BaseException:
            self.give_back(part)
            raise
        return part

    @contextmanager
    def gathering(self) -> Iterator[list[Part]]:
        """Parts of a transaction that are prepared in the body: given back if that fails."""
        parts: list[Part] = []
        try:
            yield parts
        except BaseException:
            for part in parts:
                self.give_back(part)
            raise

    def give_back(self, part: Part) -> None:
        """The part is not committed: all of it is still to be."""
        part.node.meta, part.node.taken = {**part.meta, **part.node.meta}, {}
        if part.frozen is not None and part.node.content is not None:
            part.node.content.thaw()

    async def commit(self, parts: Sequence[Part], others: Sequence[NewVersion]) -> list[Header]:
        """Commit parts of files together with other versions; the headers of those come back.

        Raises:
            Fault: as `Commits.commit`.
        """
        try:
            signed = await self._commits.commit([*(p.version for p in parts), *others])
        except BaseException:
            for part in parts:
                self.give_back(part)
            raise
        for part, one in zip(parts, signed, strict=False):
            if one is None:
                continue
            node = part.node
            if part.frozen is not None and node.content is not None and node.cipher is not None:
                node.content.settle(part.frozen, one.header, node.cipher)
            self._opened.settle(node, one.header)
            node.taken = {}
        return [one.header for one in signed[len(parts) :] if one is not None]

    async def _content(
        self, content: Content, frozen: Frozen, version: NewVersion
    ) -> dict[str, Any]:
        cipher, engine = content.cipher, self._engine
        fields: dict[str, Any] = {"size": frozen.size, "epoch": cipher.epoch}
        if frozen.inline is not None:
            sealed = seal_inline(cipher, frozen.inline, os.urandom(NONCE_BYTES))
            return {**fields, "root": b"", "inline": sealed}
        count = -(-frozen.size // content.sector_size)
        batches = list(dict.fromkeys(sent.batch for sent in frozen.sent.values()))
        await engine.uploads.sealed(batches)
        written = {index: sent.digest for index, sent in frozen.sent.items() if index < count}
        tree = content.base.tree
        keep = min(frozen.keep, tree.count)
        update = await engine.trees.update(tree, keep, written, count, content.peers)
        version.batches, version.sectors = batches, list(written.values())
        version.pages = update.made
        return {**fields, "root": update.tree.root, "inline": b""}


def _take(node: Node) -> dict[str, Any]:
    """The fields that were changed, for a commit; until it is settled they are the node's still."""
    node.taken, node.meta = node.meta, {}
    return dict(node.taken)
