"""The hash tree against the plainest model there is: a list of digests."""

import itertools
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blocktree.fault import Fault, Kind
from blocktree.names import Digest, digest_of
from blocktree.sectors.difference import Difference
from blocktree.sectors.pages import HOLE, Tree, check_page, depth_of, read, update


def sector(number: int, stamp: int = 0) -> Digest:
    return digest_of(f"{number} {stamp}".encode())


class Shelf:
    """Pages kept elsewhere, handed over only when asked for."""

    def __init__(self) -> None:
        self.kept: dict[Digest, bytes] = {}
        self.fetched = 0

    def fetch(self, missing: list[Digest]) -> dict[Digest, bytes]:
        self.fetched += len(missing)
        return {digest: self.kept[digest] for digest in missing}

    def read(self, tree: Tree, first: int, stop: int) -> list[Digest]:
        pages: dict[Digest, bytes] = {}
        while (found := read(tree, first, stop, pages)).missing:
            pages |= self.fetch(found.missing)
        return found.digests

    def update(
        self, tree: Tree, changes: Mapping[int, Digest], count: int
    ) -> tuple[Tree, set[Digest]]:
        pages: dict[Digest, bytes] = {}
        while (done := update(tree, changes, count, pages)).missing:
            pages |= self.fetch(done.missing)
        for digest, page in done.made.items():
            check_page(digest, page)
        self.kept |= done.made
        return done.tree, set(done.made)

    def difference(self, tree: Tree, other: Tree) -> list[Digest]:
        walk = Difference(tree, other)
        found = [digest for _, digest in walk.feed({})]
        while missing := walk.missing():
            found += [digest for _, digest in walk.feed(self.fetch(missing))]
        return found

    def blobs(self, tree: Tree) -> list[Digest]:
        return self.difference(tree, Tree())


@pytest.mark.parametrize(
    ("count", "depth"),
    [(0, 0), (1, 0), (2, 1), (128, 1), (129, 2), (128**2, 2), (128**2 + 1, 3), (128**3, 3)],
)
def test_depth_is_the_smallest_that_reaches_every_sector(count: int, depth: int) -> None:
    assert depth_of(count) == depth


def test_one_sector_is_its_own_root() -> None:
    tree, made = Shelf().update(Tree(), {0: sector(0)}, 1)
    assert tree == Tree(sector(0), 1)
    assert not made


def test_a_tree_of_holes_has_no_root_and_needs_no_pages() -> None:
    shelf = Shelf()
    tree, made = shelf.update(Tree(), {}, 10**9)
    assert tree == Tree(b"", 10**9)
    assert not made
    assert shelf.read(tree, 10**9 - 2, 10**9) == [HOLE, HOLE]


def test_a_change_of_one_sector_rewrites_one_path() -> None:
    shelf = Shelf()
    count = 128 * 128 * 3
    tree, _ = shelf.update(Tree(), {n: sector(n) for n in range(0, count, 5)}, count)
    shelf.fetched = 0
    after, made = shelf.update(tree, {20_000: sector(1, 1)}, count)
    assert len(made) == after.depth == 3
    assert shelf.fetched == 3
    assert shelf.read(after, 19_998, 20_003) == [
        HOLE,
        HOLE,
        sector(1, 1),
        HOLE,
        HOLE,
    ]


def test_a_range_is_read_with_the_pages_above_it_only() -> None:
    shelf = Shelf()
    count = 128 * 300
    tree, _ = shelf.update(Tree(), {n: sector(n) for n in range(count)}, count)
    shelf.fetched = 0
    assert shelf.read(tree, 1000, 1300) == [sector(n) for n in range(1000, 1300)]
    assert shelf.fetched == 1 + 1 + 4


@settings(max_examples=60)
@given(st.data())
def test_any_history_of_a_tree_reads_like_a_list(data: st.DataObject) -> None:
    shelf, tree, model = Shelf(), Tree(), list[Digest]()
    sizes = st.one_of(
        st.integers(0, 5),
        st.integers(120, 135),
        st.integers(16_380, 16_390),
        st.integers(0, 40_000),
    )
    for stamp in range(data.draw(st.integers(1, 6))):
        count = data.draw(sizes)
        indexes = st.integers(0, count - 1) if count else st.nothing()
        touched = data.draw(st.sets(indexes, max_size=8)) if count else set()
        holes = data.draw(st.sets(st.sampled_from(sorted(touched)))) if touched else set()
        changes = {n: HOLE if n in holes else sector(n, stamp) for n in touched}
        before, old_model = tree, list(model)
        tree, made = shelf.update(tree, changes, count)
        model = model[:count] + [HOLE] * (count - len(model))
        for index, digest in changes.items():
            model[index] = digest
        edges = sorted({0, count, *touched, *(n + 1 for n in touched)})
        for first, edge in itertools.pairwise(edges):
            stop = min(edge, first + 200)
            assert shelf.read(tree, first, stop) == model[first:stop]
        fresh = made | set(model) - set(old_model) - {HOLE}
        gone = shelf.difference(before, tree)
        assert len(gone) == len(set(gone))
        assert set(gone) == set(shelf.blobs(before)) - set(shelf.blobs(tree))
        assert set(shelf.difference(tree, before)) == set(shelf.blobs(tree)) - set(
            shelf.blobs(before)
        )
        assert set(shelf.difference(tree, before)) <= fresh
        rebuilt, _ = shelf.update(Tree(), {n: d for n, d in enumerate(model) if d != HOLE}, count)
        assert rebuilt == tree, "one content has one tree"


def test_the_difference_holds_little_of_a_large_tree_at_a_time() -> None:
    shelf = Shelf()
    count = 128 * 128 * 2
    tree, _ = shelf.update(Tree(), {n: sector(n) for n in range(count)}, count)
    walk = Difference(tree, Tree())
    total = 0
    while missing := walk.missing():
        assert len(missing) <= 64 + 1
        total += len(walk.feed(shelf.fetch(missing)))
        assert len(walk._stack) <= 128 * tree.depth
    assert total == count + 256 + 2 + 1


def test_a_tree_that_names_one_page_everywhere_is_walked_once() -> None:
    shelf = Shelf()
    tree, _ = shelf.update(Tree(), {n: sector(n) for n in range(128)}, 128)
    for _ in range(4):  # 128**5 places
        page = tree.root * 128
        tree = Tree(digest_of(page), tree.count * 128)
        shelf.kept[Digest(tree.root)] = page
    assert len(shelf.blobs(tree)) == 128 + 5


@pytest.mark.parametrize("page", [b"", b"x" * 33, b"x" * 4128, b"x" * 32 + bytes(32)])
def test_a_page_of_another_form_is_damaged(page: bytes) -> None:
    digest = digest_of(page)
    for use in (
        lambda: check_page(digest, page),
        lambda: read(Tree(digest, 100), 0, 2, {digest: page}),
        lambda: update(Tree(digest, 100), {0: sector(0)}, 100, {digest: page}),
        lambda: Difference(Tree(digest, 100), Tree()).feed({digest: page}),
    ):
        with pytest.raises(Fault) as caught:
            use()
        assert caught.value.kind is Kind.DAMAGED


def test_a_page_that_is_not_the_one_asked_for_is_damaged() -> None:
    with pytest.raises(Fault, match="does not match"):
        check_page(sector(0), bytes(31) + b"1")
