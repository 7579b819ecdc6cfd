"""The content of one file as this client sees it: the committed version under what is written here.

A sector is looked for in `dirty` (written, not sealed), then `sent` (sealed, on its way or waiting
for the commit), then in the committed tree unless it was cut off, and is zeros otherwise. Content
shorter than its sector stands for the same content followed by zeros.

Invariants
- `dirty` and `sent` have no index in common, and none at or past the end of the file.
- No content reaches past `size`; so growing the file shows zeros.
- A buffer in `sent` or in the cache is never written to; one in `dirty` belongs to it alone.
- What others commit shows in all bytes that were not written here, when this client commits: their
  sectors are put under the `edits` of those that are `stale`.
- `budget` counts exactly the bytes in `dirty` and `sent`; it is the volume's until the file is
  removed, so that what cannot be committed never keeps other writers waiting.
"""

import asyncio
from collections.abc import Sequence

from blocktree.files.cache import Held
from blocktree.files.edits import WHOLE, Edits
from blocktree.files.engine import Engine
from blocktree.files.tree import SealedTree
from blocktree.files.upload import BATCH_BYTES, Batch, Sent
from blocktree.files.version import Frozen, Version
from blocktree.names import Buffer, Digest, Path
from blocktree.sectors.header import INLINE_MAX, Header
from blocktree.sectors.inline import open_inline
from blocktree.sectors.pages import Tree
from blocktree.sectors.sector import SectorCipher


class Content:
    """Reads and writes of one file. `lock` is held by whoever changes it."""

    def __init__(self, sector_size: int, cipher: SectorCipher, engine: Engine) -> None:
        self.sector_size = sector_size
        self.cipher = cipher
        self.engine = engine
        self.budget = engine.budget
        self.base = Version()
        self.peers: Sequence[Path] = ()
        self.size = 0
        self.keep = 0  # sectors of the base (its inline content is one) that still show
        self.trim: int | None = None  # fewest sectors it was cut down to since base and freeze
        self.grown = 0  # the furthest end written or extended to since base and freeze
        self.flight: Frozen | None = None  # what a commit under way carries
        self.dirty: dict[int, Buffer] = {}
        self.sent: dict[int, Sent] = {}
        self.edits: dict[int, Edits] = {}  # of dirty and sent sectors, since the last freeze
        self.stale: set[int] = set()  # such sectors that an older base shows through
        self.lock = asyncio.Lock()

    # versions

    @property
    def per_batch(self) -> int:
        """Sectors that travel in one message."""
        return max(1, BATCH_BYTES // self.sector_size)

    @property
    def changed(self) -> bool:
        """Whether there is something to commit."""
        cut = self.trim is not None or self.flight is not None
        return bool(self.dirty or self.sent or cut or self.size != self.base.size)

    @property
    def travels(self) -> bool:
        """Whether so much was written that some of it is on its way ahead of its commit."""
        return any(sent.batch.task_puts and not sent.batch.stored for sent in self.sent.values())

    def load(self, header: Header, cipher: SectorCipher) -> None:
        """Build on another committed version; what is written here stays on top."""
        if not self.changed:  # it may have grown to the size that it had
            self.grown = 0
        trim, grown = self._pending()
        before = self.base
        self._build_on(header, cipher, trim)
        if self.base != before:
            self.stale.update(self.dirty, self.sent)
        if trim is None:
            self.size = max(header.size, grown)

    async def freeze(self) -> Frozen:
        """Take what is written now, for a commit; writing may go on. Followed by settle or thaw.

        Sectors that are not sealed yet begin to be, in batches; all but the last are put ahead.
        The caller holds `lock`.
        """
        await self._renew()
        frozen = Frozen(self.size, self.keep, self.trim, self.grown)
        if self.size <= INLINE_MAX:
            content = bytes(await self.read(0, self.size))
            frozen.inline = content
            if 0 in self.dirty:  # from now on a write makes a new buffer, so `settle` can tell
                self._set_dirty(0, memoryview(content))
                frozen.dirty = self.dirty[0]
        else:
            if self.base.inline and self.keep and 0 not in self.dirty and 0 not in self.sent:
                self._set_dirty(0, memoryview(self.base.inline))
                self.edits[0] = Edits()
            indexes, each = list(self.dirty), self.per_batch
            ahead = max(len(indexes) - 1, 0) // each * each
            self.send(indexes[:ahead], put=True)
            self.send(indexes[ahead:], put=False)  # these may ride along with the commit
        frozen.sent = dict(self.sent)
        frozen.edits, self.edits = self.edits, {}
        self.trim, self.grown, self.flight = None, 0, frozen
        return frozen

    def settle(self, frozen: Frozen, header: Header, cipher: SectorCipher) -> None:
        """`frozen` was committed as `header`: build on it."""
        for index, sent in frozen.sent.items():
            if self.sent.get(index) is sent:
                self._drop_sent(index)
        if frozen.dirty is not None and self.dirty.get(0) is frozen.dirty:
            self._drop_dirty(0)
        self.flight = None
        self._build_on(header, cipher, self.trim)

    def thaw(self) -> None:
        """What was frozen was not committed: it is still to be."""
        self.trim, self.grown = self._pending()
        frozen, self.flight = self.flight, None
        if frozen is not None:
            for index, edits in frozen.edits.items():
                if index in self.dirty or index in self.sent:
                    later, self.edits[index] = self.edits.get(index), edits
                    if later is not None:
                        edits.join(later)

    async def _renew(self) -> None:
        """Put what was written here on the newest version of what was not."""
        while self.stale:
            index, base = min(self.stale), self.base
            edits, here = self.edits.get(index, WHOLE), self._written(index)
            if here is not None and not edits.whole:
                under = await self._committed(index)
                if self.base is not base:
                    continue
                most = self.size - index * self.sector_size
                self._set_dirty(index, memoryview(edits.onto(under, here))[:most])
            self.stale.discard(index)

    def _pending(self) -> tuple[int | None, int]:
        """Trim and growth since the base, with what a commit under way carries."""
        if self.flight is None:
            return self.trim, self.grown
        trims = [trim for trim in (self.flight.trim, self.trim) if trim is not None]
        return min(trims, default=None), max(self.flight.grown, self.grown)

    def _build_on(self, header: Header, cipher: SectorCipher, trim: int | None) -> None:
        self.cipher = cipher
        inline = open_inline(cipher, header)[: header.size]
        sectors = -(-header.size // self.sector_size)
        self.base = Version(Tree(header.root, 0 if inline else sectors), header.size, inline)
        self.keep = sectors if trim is None else min(trim, sectors)

    # reading

    async def read(self, offset: int, size: int) -> Buffer:
        """Up to `size` bytes from `offset`, fewer only at the end.

        Raises:
            Fault: as `Fetcher.get`, and as `SectorCipher.open`.
        """
        end = min(offset + size, self.size)
        if offset >= end:
            return b""
        unit = self.sector_size
        first, last = offset // unit, (end - 1) // unit
        contents = self._local(first, last + 1) or await self.sectors(first, last + 1)
        if first == last:
            return _piece(contents[0], offset - first * unit, end - first * unit)
        parts = [_piece(contents[0], offset - first * unit, unit)]
        parts += [_piece(content, 0, unit) for content in contents[1:-1]]
        parts.append(_piece(contents[-1], 0, end - last * unit))
        return b"".join(parts)

    async def sectors(self, first: int, stop: int) -> list[Buffer]:
        """The contents of a range of sectors, each without its trailing zeros at most."""
        far = [index for index in range(first, stop) if self._here(index) is None]
        fetched: dict[int, Buffer] = {}
        if far:
            answers = await self._want(far[0], far[-1] + 1, set(far))
            for index, answer in answers.items():
                fetched[index] = await _arrived(answer)
        contents: list[Buffer] = []
        for index in range(first, stop):
            here = self._here(index)
            contents.append(self._clip(index, fetched.get(index, b"")) if here is None else here)
        return contents

    async def prefetch(self, first: int, stop: int) -> None:
        """Have a range of sectors on its way into the cache."""
        stop = min(stop, self.keep, self.base.tree.count)
        far = {index for index in range(first, stop) if self._here(index) is None}
        if far:
            await self._want(min(far), max(far) + 1, far)

    def _local(self, first: int, stop: int) -> list[Buffer] | None:
        """The contents, if all are at hand without a walk of the tree."""
        contents = []
        for index in range(first, stop):
            content = self._here(index)
            if content is None:
                return None
            contents.append(content)
        return contents

    def _here(self, index: int) -> Buffer | None:
        """The content of a sector, if it is at hand; None if it has to be looked for."""
        written = self._written(index)
        return self._at_hand(index) if written is None else written

    def _written(self, index: int) -> Buffer | None:
        """What was written here and is not committed."""
        content = self.dirty.get(index)
        if content is not None:
            return content
        sent = self.sent.get(index)
        return None if sent is None else sent.content(self.engine.uploads.cache)

    async def _committed(self, index: int) -> Buffer:
        """A sector of the base, as far as that still shows."""
        content = self._at_hand(index)
        if content is None:
            answers = await self._want(index, index + 1, {index})
            content = self._clip(index, await _arrived(answers[index]))
        return content

    def _at_hand(self, index: int) -> Buffer | None:
        """The same, if it need not be looked for."""
        if index >= self.keep:
            return b""
        if self.base.inline:
            return self.base.inline if index == 0 else b""
        if not self.base.tree.root or index >= self.base.tree.count:
            return b""
        if self.base.tree.count == 1:
            held = self.engine.fetcher.cache.get(Digest(self.base.tree.root))
            return None if held is None else self._clip(index, held.content)
        return None

    def _clip(self, index: int, content: Buffer) -> Buffer:
        """A committed sector without what its writer may have left behind the end."""
        most = self.base.size - index * self.sector_size
        return content if len(content) <= most else memoryview(content)[:most]

    async def _want(
        self, first: int, stop: int, far: set[int]
    ) -> dict[int, "Buffer | asyncio.Future[Held]"]:
        return await self.engine.trees.want(
            SealedTree(self.base.tree, self.cipher, self.sector_size),
            range(first, stop),
            far,
            self.peers,
        )

    # writing; the caller holds `lock`

    async def write(self, offset: int, data: Buffer) -> None:
        """Write `data` at `offset`; the buffer may be used again when this returns."""
        unit, end = self.sector_size, offset + len(data)
        if not len(data):
            return
        first, last = offset // unit, (end - 1) // unit
        edges: dict[int, Buffer] = {}
        for index in {first, last}:
            if self._partial(index, offset, end) and not isinstance(
                self.dirty.get(index), bytearray
            ):
                edges[index] = (await self.sectors(index, index + 1))[0]
        whole = memoryview(bytes(data)) if last - first > 1 or len(data) >= unit else data
        for index in range(first, last + 1):
            begin = index * unit
            start, stop = max(offset, begin), min(end, begin + unit)
            piece = memoryview(whole)[start - offset : stop - offset]
            if start > begin or self._partial(index, offset, end):
                self._patch(index, edges.get(index), start - begin, piece)
            else:
                self._set_dirty(index, piece if len(piece) == unit else bytearray(piece))
            if len(piece) == unit:
                self.edits[index] = WHOLE
            else:
                self.edits.setdefault(index, Edits()).add(start - begin, stop - begin)
        self.size = max(self.size, end)
        self.grown = max(self.grown, end)

    async def truncate(self, size: int) -> None:
        """Set the size; what is cut off is gone, what is added reads as zeros."""
        unit = self.sector_size
        if size < self.size:
            edge, rest = divmod(size, unit)
            if rest:
                content = (await self.sectors(edge, edge + 1))[0]
                self._drop_sent(edge)
                self._set_dirty(edge, bytearray(memoryview(content)[:rest]))
                self.edits[edge] = WHOLE
            count = edge + (rest > 0)
            for index in [index for index in self.dirty if index >= count]:
                self._drop_dirty(index)
            for index in [index for index in self.sent if index >= count]:
                self._drop_sent(index)
            self.edits = {index: edits for index, edits in self.edits.items() if index < count}
            self.keep = min(self.keep, count)
            self.trim = count if self.trim is None else min(self.trim, count)
            self.grown = min(self.grown, size)
        else:
            self.grown = max(self.grown, size)
        self.size = size

    def full(self) -> list[int]:
        """Dirty sectors that are whole: worth sending ahead of the commit."""
        unit = self.sector_size
        return [index for index, content in self.dirty.items() if len(content) == unit]

    def send(self, indexes: Sequence[int], *, put: bool) -> list[Batch]:
        """Seal some dirty sectors, and put them if asked to; they are `sent` from now on."""
        batches: list[Batch] = []
        for start in range(0, len(indexes), self.per_batch):
            some = indexes[start : start + self.per_batch]
            batch = Batch(self.cipher, [(index, self.dirty.pop(index)) for index in some])
            for index, sent in zip(some, batch.sent, strict=True):
                assert index not in self.sent
                self.sent[index] = sent
            self.engine.uploads.launch(batch, put=put)
            batches.append(batch)
        return batches

    def leave(self) -> None:
        """The file was removed: what is written stays here for those who have it open."""
        held = sum(map(len, self.dirty.values())) + sum(sent.size for sent in self.sent.values())
        self.budget.take(-held)
        self.budget = self.engine.leftovers
        self.budget.take(held)

    def discard(self) -> None:
        """Give up everything that is written and not committed."""
        for index in list(self.dirty):
            self._drop_dirty(index)
        for index in list(self.sent):
            self._drop_sent(index)
        self.edits.clear()

    def _partial(self, index: int, offset: int, end: int) -> bool:
        """Whether a write leaves some of what the sector shows now."""
        begin = index * self.sector_size
        shown = min(self.size - begin, self.sector_size)
        return shown > 0 and (offset > begin or end < begin + shown)

    def _patch(self, index: int, content: Buffer | None, start: int, piece: memoryview) -> None:
        buffer = self.dirty.get(index)
        had = len(buffer) if buffer is not None else 0
        if not isinstance(buffer, bytearray):
            buffer = bytearray(content if content is not None else b"")
        if len(buffer) < start:
            buffer.extend(bytes(start - len(buffer)))
        buffer[start : start + len(piece)] = piece
        self._drop_sent(index)
        self.dirty[index] = buffer
        self.budget.take(len(buffer) - had)

    def _set_dirty(self, index: int, content: Buffer) -> None:
        self._drop_sent(index)
        old = self.dirty.get(index)
        self.dirty[index] = content
        self.budget.take(len(content) - (len(old) if old is not None else 0))

    def _drop_dirty(self, index: int) -> None:
        content = self.dirty.pop(index, None)
        if content is not None:
            self.budget.take(-len(content))

    def _drop_sent(self, index: int) -> None:
        sent = self.sent.pop(index, None)
        if sent is not None:
            self.budget.take(-sent.size)


async def _arrived(answer: "Buffer | asyncio.Future[Held]") -> Buffer:
    return (await asyncio.shield(answer)).content if isinstance(answer, asyncio.Future) else answer


def _piece(content: Buffer, start: int, stop: int) -> Buffer:
    """Bytes `start` to `stop` of a sector; zeros where the content is shorter.

    Nothing of a `bytearray` is handed out, because writing to the sector goes on in it.
    """
    size = len(content)
    if start == 0 and stop == size and not isinstance(content, bytearray):
        return content
    if stop <= size:
        part = memoryview(content)[start:stop]
        return bytes(part) if isinstance(content, bytearray) else part
    return bytes(memoryview(content)[start:size]).ljust(stop - start, b"\0")
