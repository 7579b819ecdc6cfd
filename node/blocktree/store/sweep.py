"""Deletes the blobs of versions that retention gave up, a few at a time, in the background.

What goes is the difference of two hash trees: the dropped version's and its successor's. Only
versions whose dropping is in a durable checkpoint are swept, so no entry that a restart applies
again can need what is deleted.

That a blob is named no more is durable before it is deleted: `sweep` takes its row of `owners` away
and notes it, `purge` deletes what a durable checkpoint notes. In the other order a crash would
leave blobs that are named and nowhere to be had: others would wait for them, and no sweep could go
on. A page of the dropped version that is gone says that what it named is gone too, so both are
repeated without harm. A page of its successor that is gone says nothing: a node that joined late
may have the one and not the other. Then the oldest version that is kept takes the successor's
place: what is in the dropped version and in any that is kept is in that one, or was introduced
again later.
"""

import hashlib
import logging
from collections.abc import Callable, Container, Sequence
from functools import partial

from blocktree.disk import Disk
from blocktree.fault import Fault, Kind
from blocktree.names import Digest
from blocktree.sectors.check import tree_of
from blocktree.sectors.difference import Difference
from blocktree.sectors.header import Header, load_header
from blocktree.sectors.pages import Tree, check_page
from blocktree.store.owners import DOOMED_PREFIX, SWEEP_PREFIX, read_dropped
from blocktree.store.staging import Staging
from blocktree.store.tree import HISTORY_MAX, TreeState
from blocktree.store.worker import Worker, run

log = logging.getLogger(__name__)

VERSIONS_MAX = 64  # swept in one go
NOTES_MAX = 1024  # purged in one go
_DELETE_MAX = 4096
_GONE = hashlib.sha256(b"blocktree: swept before").digest()  # the only slot of a page that is gone


def _tree(encoded: bytes) -> Tree:
    return tree_of(load_header(encoded, exact=False).header) if encoded else Tree()


class _SuccessorGoneError(Exception):
    """A page of the version that a dropped one is compared with is not here, and not to come."""


class Sweeper:
    """Works off the rows of dropped versions."""

    def __init__(
        self,
        disk: Disk,
        worker: Worker,
        crew: Worker,
        tree: TreeState,
        staging: Staging,
        *,
        missed: Callable[[Sequence[Digest]], None],
    ) -> None:
        self._missed = missed  # told of pages that should be here, to fetch them
        self._disk = disk
        self._worker = worker
        self._crew = crew
        self._tree = tree
        self._staging = staging
        self._done: set[bytes] = set()  # swept, and the checkpoint does not say so yet
        self._later: set[bytes] = set()  # waits for a page, tried again after all others
        self._purged: set[bytes] = set()  # deleted, and the checkpoint does not say so yet
        self.deleted = 0

    async def sweep(self) -> int:
        """Sweep some versions; how many. Those that wait for repair do not hold up the others."""
        limit = VERSIONS_MAX + len(self._done) + len(self._later)
        rows = await run(self._worker, partial(self._disk.table_items, SWEEP_PREFIX, limit=limit))
        self._done &= {key for key, _ in rows}
        todo = [(key, row) for key, row in rows if key not in self._done | self._later]
        if not todo:
            self._later.clear()
        swept = 0
        for key, row in todo[:VERSIONS_MAX]:
            try:
                await self._version(key, row)
            except Fault as fault:
                if fault.kind is not Kind.NOT_FOUND:
                    raise
                log.debug("a sweep waits for a page that is not here: %s", fault)
                self._missed([Digest(bytes.fromhex(fault.path))])
                self._later.add(key)
                continue
            self._tree.owners.swept(key)
            self._done.add(key)
            swept += 1
        return swept

    async def purge(self) -> int:
        """Delete what a durable checkpoint says is doomed; how many blobs."""
        limit = NOTES_MAX + len(self._purged)
        rows = await run(self._worker, partial(self._disk.table_items, DOOMED_PREFIX, limit=limit))
        self._purged &= {key for key, _ in rows}
        before = self.deleted
        for key, row in rows:
            if key in self._purged:
                continue
            noted = (Digest(row[at : at + 32]) for at in range(0, len(row), 32))
            gone = [digest for digest in noted if not self._staging.needs(digest)]
            await self._staging.drop(gone)
            self.deleted += len(gone)
            self._tree.owners.swept(key)
            self._purged.add(key)
        return self.deleted - before

    async def _version(self, key: bytes, row: bytes) -> None:
        dropped = read_dropped(row)
        header = load_header(dropped.old, exact=False).header
        try:
            await self._compare(key, header, _tree(dropped.successor))
        except _SuccessorGoneError:
            try:
                await self._compare(key, header, self._oldest(header))
            except _SuccessorGoneError:  # rather some waste than a loss
                log.warning("version %d of %s stays", header.version, header.file.hex())

    def _oldest(self, header: Header) -> Tree:
        """The oldest version of a file that is kept."""
        past = self._tree.history(header.file, 0, HISTORY_MAX)
        if past:
            return _tree(past[-1])
        current = self._tree.header(header.file)
        return Tree() if current is None else tree_of(current.header)

    async def _compare(self, key: bytes, header: Header, other: Tree) -> None:
        """Give up what a dropped version has and another has not."""
        walk = Difference(tree_of(header), other)
        pages: list[Digest] = []
        while wanted := walk.missing():
            found = await run(self._crew, partial(self._read, wanted, walk.of_other()))
            gone = walk.feed(found)
            pages += [digest for level, digest in gone if level]
            self._doom(key, header, [digest for level, digest in gone if not level])
        self._doom(key, header, [digest for _, digest in walk.feed({})])
        self._doom(key, header, pages[::-1])

    def _read(self, digests: Sequence[Digest], needed: Container[Digest]) -> dict[Digest, bytes]:
        pages = {}
        for digest in digests:
            try:
                page = bytes(self._disk.read_blob(digest))
                check_page(digest, page)
            except Fault as fault:
                if fault.kind not in (Kind.NOT_FOUND, Kind.DAMAGED):
                    raise
                if (
                    self._tree.owners.of(digest) is not None
                ):  # it should be here: repair comes first
                    raise Fault(Kind.NOT_FOUND, "a page is missing", path=digest.hex()) from None
                if digest in needed:
                    raise _SuccessorGoneError from None
                page = _GONE
            pages[digest] = page
        return pages

    def _doom(self, key: bytes, header: Header, digests: Sequence[Digest]) -> None:
        """Give up those that belong to this file and were not introduced again later."""
        for start in range(0, len(digests), _DELETE_MAX):
            mine = []
            for digest in digests[start : start + _DELETE_MAX]:
                owner = self._tree.owners.of(digest)
                if owner and owner.file == header.file and owner.version <= header.version:
                    mine.append(digest)
            if mine:
                self._tree.owners.doom(key, mine)
