"""Walks and rebuilds hash trees whose pages are fetched as they are needed."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from blocktree.files.cache import Held, SectorCache, as_it_is, open_sector
from blocktree.files.fetch import Fetcher
from blocktree.names import Buffer, Digest, Path
from blocktree.sectors.pages import (
    HOLE,
    PAGE_BYTES_MAX,
    Tree,
    Update,
    check_page,
    read,
    slots_of,
    update,
)
from blocktree.sectors.sector import SectorCipher

_ROUNDS_MAX = 64  # a walk asks once for each level, twice for a level that was just evicted


class _AtHand:
    """Pages of one walk: those it fetched itself, then those in the cache."""

    def __init__(self, cache: SectorCache) -> None:
        self._cache = cache
        self.own: dict[Digest, bytes] = {}

    def get(self, digest: Digest, /) -> bytes | None:
        page = self.own.get(digest)
        if page is not None:
            return page
        held = self._cache.get(digest)
        return None if held is None else bytes(held.content)


@dataclass(frozen=True, slots=True)
class SealedTree:
    """A hash tree with what opens its sectors."""

    tree: Tree
    cipher: SectorCipher
    sector_size: int


class Trees:
    """Hash trees over the blobs that `fetcher` reaches."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher

    async def digests(
        self, tree: Tree, first: int, stop: int, peers: Sequence[Path] = ()
    ) -> list[Digest]:
        """The digests of sectors `first` up to `stop`; HOLE for holes and past the end."""
        end = min(stop, tree.count)
        past = [HOLE] * (stop - max(first, end))
        if first >= end or not tree.root:
            return [HOLE] * (stop - first)
        if tree.count == 1:
            return [Digest(tree.root), *past]
        pages = _AtHand(self._fetcher.cache)
        for _ in range(_ROUNDS_MAX):
            found = read(tree, first, end, pages)
            if not found.missing:
                return found.digests + past
            await self._fetch(found.missing, pages, peers)
        raise AssertionError("a walk needs one round a level")

    async def want(
        self,
        sealed: SealedTree,
        indexes: range,
        far: Collection[int],
        peers: Sequence[Path] = (),
    ) -> dict[int, Buffer | asyncio.Future[Held]]:
        """Begin to fetch the sectors `far`, which lie in `indexes`; what is at hand comes at once.

        Raises:
            Fault: as `Fetcher.get`, for the pages on the way.
        """
        cipher, sector_size = sealed.cipher, sealed.sector_size
        digests = await self.digests(sealed.tree, indexes.start, indexes.stop, peers)
        found: dict[int, Buffer | asyncio.Future[Held]] = {}
        for index, digest in zip(indexes, digests, strict=True):
            if index not in far:
                continue
            if digest == HOLE:
                found[index] = b""
                continue
            held = self._fetcher.cache.get(digest)
            if held is None:
                opener = partial(open_sector, cipher, index)
                found[index] = self._fetcher.want(digest, sector_size, opener, peers)
            else:
                found[index] = held.content
        return found

    async def sector(self, sealed: SealedTree, index: int) -> Buffer:
        """The content of one sector.

        Raises:
            Fault: as `want`, and as `SectorCipher.open`.
        """
        found = await self.want(sealed, range(index, index + 1), {index})
        answer = found[index]
        if isinstance(answer, asyncio.Future):
            return (await asyncio.shield(answer)).content
        return answer

    async def update(
        self,
        tree: Tree,
        keep: int,
        changes: Mapping[int, Digest],
        count: int,
        peers: Sequence[Path] = (),
    ) -> Update:
        """Cut `tree` down to `keep` sectors, then set `changes` and the number of sectors."""
        pages = _AtHand(self._fetcher.cache)
        made: dict[Digest, bytes] = {}
        if keep < tree.count:
            cut = await self._update(tree, {}, keep, pages, peers)
            tree, made = cut.tree, dict(cut.made)
            pages.own.update(made)
        grown = await self._update(tree, changes, count, pages, peers)
        return Update(grown.tree, _reachable(grown.tree, {**made, **grown.made}), [])

    async def _update(
        self,
        tree: Tree,
        changes: Mapping[int, Digest],
        count: int,
        pages: _AtHand,
        peers: Sequence[Path],
    ) -> Update:
        for _ in range(_ROUNDS_MAX):
            done = update(tree, changes, count, pages)
            if not done.missing:
                return done
            await self._fetch(done.missing, pages, peers)
        raise AssertionError("an update needs one round a level")

    async def _fetch(
        self, missing: Sequence[Digest], pages: _AtHand, peers: Sequence[Path]
    ) -> None:
        wants = [
            (digest, self._fetcher.want(digest, PAGE_BYTES_MAX, partial(_open_page, digest), peers))
            for digest in dict.fromkeys(missing)
        ]
        for digest, answer in wants:
            pages.own[digest] = bytes((await asyncio.shield(answer)).content)


def held_page(page: bytes) -> Held:
    """A page as the cache keeps it: it is its own blob."""
    return Held(page, as_it_is)


def _open_page(digest: Digest, blob: Buffer) -> Held:
    page = bytes(blob)
    check_page(digest, page)
    return held_page(page)


def _reachable(tree: Tree, made: Mapping[Digest, bytes]) -> dict[Digest, bytes]:
    """The made pages that the tree has; above a new page there are only new pages."""
    if tree.count <= 1:
        return {}
    kept: dict[Digest, bytes] = {}
    level = [Digest(tree.root)] if tree.root else []
    while level:
        digest = level.pop()
        page = made.get(digest)
        if page is not None and digest not in kept:
            kept[digest] = page
            level.extend(slots_of(digest, page))
    return kept
