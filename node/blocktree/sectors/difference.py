"""The difference of two hash trees: what one has that the other has not, in bounded memory.

It tells the blobs that die with a version (those of the old tree that its successor has not) and
the blobs that a version adds (the same, the other way round). Trees are compared place by place:
no blob is ever at two places, because a sector is sealed for its file and index. A writer who
builds pages against that, naming one page many times, cannot make the walk long: a page is opened
at the first place only.
"""

from blocktree.names import Digest
from blocktree.sectors.pages import HOLE, Pages, Tree, slots_of

BATCH = 64  # pages asked for at a time

Part = tuple[int, Digest]  # level (0: a sector, above: a hash page) and digest


class Difference:
    """Walks `tree` where it differs from `other`, depth first.

    While `missing()` names pages, fetch them and give them to `feed`, which returns the parts of
    `tree` that `other` has not.

    Invariants: the stack holds at most 128 pairs a level, and none whose first is a hole; the
    first's page of a pair is opened once, so there are no more steps than pages.
    """

    def __init__(self, tree: Tree, other: Tree) -> None:
        self._stack: list[tuple[int, Digest, int, Digest]] = []
        self._found: list[Part] = []
        self._opened: set[Digest] = set()
        self._put(tree.depth, _digest(tree), other.depth, _digest(other))

    def missing(self) -> list[Digest]:
        """The pages to fetch next; empty when the walk is over."""
        wanted: dict[Digest, None] = {}
        for level, mine, other_level, other in reversed(self._stack):
            if level >= other_level:
                wanted[mine] = None
            if other_level >= level and other != HOLE:
                wanted[other] = None
            if len(wanted) >= BATCH:
                break
        return list(wanted)

    def of_other(self) -> set[Digest]:
        """Those pages of `missing` that are `other`'s."""
        return {
            other
            for level, _, other_level, other in self._stack
            if other_level >= level and other != HOLE
        }

    def feed(self, pages: Pages) -> list[Part]:
        """Walk on as far as these pages reach; returns what was found since the last call.

        Raises:
            Fault: DAMAGED for a page that is not of our form.
        """
        while self._stack and self._step(pages):
            pass
        found, self._found = self._found, []
        return found

    def _step(self, pages: Pages) -> bool:
        """Open the pair on top of the stack; False if a page of it is not at hand."""
        level, mine, other_level, other = self._stack[-1]
        if level >= other_level and mine in self._opened:
            self._stack.pop()
            return True
        my_page = pages.get(mine) if level >= other_level else b""
        has_other = other_level >= level and other != HOLE
        other_page = pages.get(other) if has_other else b""
        if my_page is None or other_page is None:
            return False
        self._stack.pop()
        beside = slots_of(other, other_page) if has_other else []
        if level < other_level:  # my tree is lower: it lies beside the other's first slot
            self._put(level, mine, other_level - 1, beside[0])
            return True
        self._found.append((level, mine))
        self._opened.add(mine)
        if level > other_level:  # the other tree is lower: it lies beside my first slot
            beside, other_level = [other], other_level + 1
        self._compare(level - 1, slots_of(mine, my_page), other_level - 1, beside)
        return True

    def _compare(
        self, level: int, mine: list[Digest], other_level: int, beside: list[Digest]
    ) -> None:
        beside += [HOLE] * (len(mine) - len(beside))
        for digest, other in zip(reversed(mine), reversed(beside[: len(mine)]), strict=True):
            self._put(level, digest, other_level, other)

    def _put(self, level: int, mine: Digest, other_level: int, other: Digest) -> None:
        if other == HOLE:
            other_level = level
        if mine == HOLE or (mine == other and level == other_level):
            return
        if level or other_level:
            self._stack.append((level, mine, other_level, other))
        else:
            self._found.append((0, mine))


def _digest(tree: Tree) -> Digest:
    return Digest(tree.root) if tree.root else HOLE
