"""The hash tree over a file's sectors, in pages of up to 128 digests.

A tree is named by its root and the number of its sectors. Depth 0: the root is the digest of the
only sector. Depth d: the root is a page whose digests name subtrees of 128**(d-1) sectors. The zero
digest is a hole; trailing holes of a page are left out, a page of nothing but holes does not exist,
and the root of a tree of holes is b"": so one content has one tree.

Pages are fetched by somebody else. Each function here takes those at hand and says which are
`missing`; call it again with them until none is. Pages must have been checked against their digest
(`check_page`, or by whoever fetched the blob).
"""

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from blocktree.fault import Fault, Kind
from blocktree.names import Digest, digest_of

DIGEST_BYTES = 32
FANOUT = 128
PAGE_BYTES_MAX = FANOUT * DIGEST_BYTES
HOLE: Final = Digest(bytes(DIGEST_BYTES))
_BITS = 7  # 2**7 = FANOUT


@dataclass(frozen=True, slots=True)
class Tree:
    """The sectors of one version of a file."""

    root: bytes = b""  # b"": no sectors, or holes only
    count: int = 0  # of sectors

    @property
    def depth(self) -> int:
        """Levels of pages above the sectors: the smallest d with 128**d >= count."""
        return depth_of(self.count)


class Pages(Protocol):
    """Where pages are looked up: a dict, or a cache with that much of a dict's face."""

    def get(self, digest: Digest, /) -> bytes | None:
        """The page with this digest, or None if it is not at hand."""


@dataclass(frozen=True, slots=True)
class Found:
    """The digests of a range of sectors (HOLE for holes), once nothing is missing."""

    digests: list[Digest]
    missing: list[Digest]


@dataclass(frozen=True, slots=True)
class Update:
    """The tree after a change and the pages it is made of that are new, once nothing is missing."""

    tree: Tree
    made: dict[Digest, bytes]
    missing: list[Digest]


def depth_of(count: int) -> int:
    """The depth of a tree over so many sectors."""
    return (max(count - 1, 0).bit_length() + _BITS - 1) // _BITS


def check_page(digest: Digest, page: bytes) -> None:
    """Check that a fetched page is the one that was asked for, and well formed.

    Raises:
        Fault: DAMAGED if it is not.
    """
    if digest_of(page) != digest:
        raise Fault(Kind.DAMAGED, "a hash page that does not match its digest", path=digest.hex())
    _check_form(digest, page)


def slots_of(digest: Digest, page: bytes) -> list[Digest]:
    """The digests in a page, without trailing holes.

    Raises:
        Fault: DAMAGED if it is not of the form that we write.
    """
    _check_form(digest, page)
    return [Digest(page[at : at + DIGEST_BYTES]) for at in range(0, len(page), DIGEST_BYTES)]


def read(tree: Tree, first: int, stop: int, pages: Pages) -> Found:
    """Find the digests of sectors `first` up to but not including `stop`."""
    assert 0 <= first <= stop <= tree.count
    missing: list[Digest] = []
    if first == stop:
        return Found([], missing)
    row, start = [Digest(tree.root) if tree.root else HOLE], 0
    for level in range(tree.depth - 1, -1, -1):
        low, high = first >> _BITS * level, ((stop - 1) >> _BITS * level) + 1
        below: list[Digest] = []
        for number, digest in enumerate(row, start):
            from_slot = max(low - number * FANOUT, 0)
            to_slot = min(high - number * FANOUT, FANOUT)
            below += _slots_between(digest, from_slot, to_slot, pages, missing)
        row, start = below, low
    return Found(row, missing)


def update(tree: Tree, changes: Mapping[int, Digest], count: int, pages: Pages) -> Update:
    """Set some sectors' digests (HOLE punches a hole) and the number of sectors.

    Sectors from `count` on are cut off; growing adds holes. Only pages on the way to a change, and
    on the new edge when the file shrinks, are needed and made.
    """
    assert all(0 <= index < count for index in changes)
    rebuild = _Rebuild(tree, changes, count, pages)
    root = rebuild.root()
    return Update(Tree(b"" if root == HOLE else root, count), rebuild.made, rebuild.missing)


class _Rebuild:
    """One run of `update`."""

    def __init__(self, old: Tree, changes: Mapping[int, Digest], count: int, pages: Pages) -> None:
        self.made: dict[Digest, bytes] = {}
        self.missing: list[Digest] = []
        self._changes = changes
        self._indexes = sorted(changes)
        self._count = count
        self._shrinks = count < old.count
        self._pages = pages
        self._old = old
        self._old_depth = old.depth

    def root(self) -> Digest:
        """The digest of the new root."""
        if not self._count:
            return HOLE
        depth = depth_of(self._count)
        digest = Digest(self._old.root) if self._old.root else HOLE
        while self._old_depth > depth:  # the lower tree is all that stays
            slots = self._slots(digest)
            digest = slots[0] if slots else HOLE
            self._old_depth -= 1
        return self._node(depth, 0, digest, 0, len(self._indexes))

    def _node(self, level: int, number: int, digest: Digest, low: int, high: int) -> Digest:
        """Rebuild the subtree `number` of its level; its changes are `_indexes[low:high]`."""
        if level == 0:
            return self._changes[self._indexes[low]] if low < high else digest
        begin, stop = number << _BITS * level, (number + 1) << _BITS * level
        cut = self._shrinks and stop > self._count and digest != HOLE
        lifted = level > self._old_depth and not number  # the old tree becomes my first child
        if low == high and not cut and not (lifted and digest != HOLE):
            return digest
        slots = [digest] if lifted else self._slots(digest)
        slots += [HOLE] * (FANOUT - len(slots))
        touched = {self._indexes[at] >> _BITS * (level - 1) for at in range(low, high)}
        if lifted:
            touched.add(0)
        if cut:
            kept = (self._count - begin - 1 >> _BITS * (level - 1)) + 1
            slots[kept:] = [HOLE] * (FANOUT - kept)
            touched.add((number << _BITS) + kept - 1)
        if level == 1:
            for at in range(low, high):
                slots[self._indexes[at] - begin] = self._changes[self._indexes[at]]
        else:
            self._children(level - 1, number << _BITS, slots, touched)
        return self._page(slots, digest)

    def _children(self, level: int, first: int, slots: list[Digest], touched: set[int]) -> None:
        for child in touched:
            low = bisect_left(self._indexes, child << _BITS * level)
            high = bisect_left(self._indexes, (child + 1) << _BITS * level)
            slots[child - first] = self._node(level, child, slots[child - first], low, high)

    def _page(self, slots: list[Digest], old: Digest) -> Digest:
        while slots and slots[-1] == HOLE:
            slots.pop()
        if not slots:
            return HOLE
        page = b"".join(slots)
        digest = digest_of(page)
        if digest != old:
            self.made[digest] = page
        return digest

    def _slots(self, digest: Digest) -> list[Digest]:
        if digest == HOLE:
            return []
        page = self._pages.get(digest)
        if page is None:
            self.missing.append(digest)
            return []
        return slots_of(digest, page)


def _slots_between(
    digest: Digest, first: int, stop: int, pages: Pages, missing: list[Digest]
) -> list[Digest]:
    page = None if digest == HOLE else pages.get(digest)
    if page is None:
        if digest != HOLE:
            missing.append(digest)
        return [HOLE] * (stop - first)
    _check_form(digest, page)
    end = min(stop * DIGEST_BYTES, len(page))
    slots = [
        Digest(page[at : at + DIGEST_BYTES])
        for at in range(first * DIGEST_BYTES, end, DIGEST_BYTES)
    ]
    return slots + [HOLE] * (stop - first - len(slots))


def _check_form(digest: Digest, page: bytes) -> None:
    size = len(page)
    if not 0 < size <= PAGE_BYTES_MAX or size % DIGEST_BYTES or page[-DIGEST_BYTES:] == HOLE:
        raise Fault(Kind.DAMAGED, "a hash page of the wrong form", path=digest.hex())
