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

Versions are compared many at a time, for a directory has one more with each name: neighbours share
pages, and handing a page to a thread to be read costs more than the comparison.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from blocktree.disk import Disk
from blocktree.fault import Fault, Kind
from blocktree.names import Digest, digest_of
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
_PAGES_MAX = 256  # read in one go
_TURN = 4  # versions compared in one turn of the loop
_DELETE_MAX = 4096
_GONE = digest_of(b"blocktree: swept before")  # the only slot of a page that is gone


def _tree(encoded: bytes) -> Tree:
    return tree_of(load_header(encoded, exact=False).header) if encoded else Tree()


class _SuccessorGoneError(Exception):
    """A page of the version that a dropped one is compared with is not here, and not to come."""


@dataclass(slots=True)
class _Walk:
    """One dropped version's comparison with another, as far as it came."""

    key: bytes  # of its row
    header: Header
    difference: Difference
    of_oldest: bool = False  # the other version is the oldest that is kept, not the successor
    pages: list[Digest] = field(default_factory=list)  # that go, upper ones first


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
        walks = deque([_begun(key, row) for key, row in todo[:VERSIONS_MAX]])
        swept = 0
        while walks:
            swept += await self._advance(walks)
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

    async def _advance(self, walks: deque[_Walk]) -> int:
        """Read pages for some walks and go on with these; how many came to their end."""
        some: list[tuple[_Walk, list[Digest]]] = []
        wanted: dict[Digest, None] = {}
        while walks and len(wanted) < _PAGES_MAX:
            walk = walks.popleft()
            some.append((walk, walk.difference.missing()))
            wanted.update(dict.fromkeys(some[-1][1]))
        found = await run(self._crew, partial(self._read, tuple(wanted))) if wanted else {}
        swept = 0
        for number, (walk, pages) in enumerate(some):
            if number % _TURN == _TURN - 1:
                await asyncio.sleep(0)
            try:
                if not self._compare(walk, pages, found):
                    walks.append(walk)
                    continue
            except Fault as fault:
                if fault.kind is not Kind.NOT_FOUND:
                    raise
                log.debug("a sweep waits for a page that is not here: %s", fault)
                self._missed([Digest(bytes.fromhex(fault.path))])
                self._later.add(walk.key)
                continue
            except _SuccessorGoneError:
                if not walk.of_oldest:
                    other = self._oldest(walk.header)
                    again = Difference(tree_of(walk.header), other)
                    walks.append(_Walk(walk.key, walk.header, again, of_oldest=True))
                    continue
                # rather some waste than a loss
                log.warning("version %d of %s stays", walk.header.version, walk.header.file.hex())
            self._tree.owners.swept(walk.key)
            self._done.add(walk.key)
            swept += 1
        return swept

    def _oldest(self, header: Header) -> Tree:
        """The oldest version of a file that is kept."""
        past = self._tree.history(header.file, 0, HISTORY_MAX)
        if past:
            return _tree(past[-1])
        current = self._tree.header(header.file)
        return Tree() if current is None else tree_of(current.header)

    def _compare(
        self, walk: _Walk, wanted: Sequence[Digest], found: Mapping[Digest, bytes | None]
    ) -> bool:
        """Give up what a dropped version has and the other has not; whether that is all of it.

        Raises:
            Fault: NOT_FOUND for a page that should be here: repair comes first.
            _SuccessorGoneError: for a page of the other version that is not to come.
        """
        difference = walk.difference
        if wanted:
            pages = self._pages(wanted, difference.of_other(), found)
            gone = difference.feed(pages)
            walk.pages += [digest for level, digest in gone if level]
            self._doom(walk, [digest for level, digest in gone if not level])
            if difference.missing():
                return False
        self._doom(walk, [digest for _, digest in difference.feed({})])
        self._doom(walk, walk.pages[::-1])
        return True

    def _pages(
        self, wanted: Sequence[Digest], of_other: set[Digest], found: Mapping[Digest, bytes | None]
    ) -> dict[Digest, bytes]:
        pages = {}
        for digest in wanted:
            page = found.get(digest)
            if page is None:
                if self._tree.owners.of(digest) is not None:
                    raise Fault(Kind.NOT_FOUND, "a page is missing", path=digest.hex())
                if digest in of_other:
                    raise _SuccessorGoneError
                page = _GONE
            pages[digest] = page
        return pages

    def _read(self, digests: Sequence[Digest]) -> dict[Digest, bytes | None]:
        """On another thread: pages; None for one that is not to be had here."""
        pages: dict[Digest, bytes | None] = {}
        for digest in digests:
            try:
                page = bytes(self._disk.read_blob(digest))
                check_page(digest, page)
            except Fault as fault:
                if fault.kind not in (Kind.NOT_FOUND, Kind.DAMAGED):
                    raise
                pages[digest] = None
            else:
                pages[digest] = page
        return pages

    def _doom(self, walk: _Walk, digests: Sequence[Digest]) -> None:
        """Give up those that belong to this file and were not introduced again later."""
        header = walk.header
        for start in range(0, len(digests), _DELETE_MAX):
            mine = []
            for digest in digests[start : start + _DELETE_MAX]:
                owner = self._tree.owners.of(digest)
                if owner and owner.file == header.file and owner.version <= header.version:
                    mine.append(digest)
            if mine:
                self._tree.owners.doom(walk.key, mine)


def _begun(key: bytes, row: bytes) -> _Walk:
    dropped = read_dropped(row)
    header = load_header(dropped.old, exact=False).header
    return _Walk(key, header, Difference(tree_of(header), _tree(dropped.successor)))
