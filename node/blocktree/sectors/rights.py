"""Whose rights count where, as far as the replicated state knows: the way up to the root.

A file whose directory was deleted (a hard link can outlive the directory that governs it) is
governed by the root directory: rights only add up downwards, so nobody gains any by that, and who
may write there can put it in order. What is answered is remembered until a directory's access or
place, or a member, changes.
"""

from collections.abc import Callable, Mapping
from typing import Final

from blocktree.caps import Access, load_access, rights_of
from blocktree.fault import Fault, Kind
from blocktree.keys import Identity
from blocktree.names import PATH_COMPONENTS_MAX, ROOT_FILE, FileId, PrincipalId
from blocktree.sectors.header import FileKind, Header, SignedHeader

REMEMBERED_MAX: Final = 1 << 13
_NOTHING: Final[Mapping[FileId, Header]] = {}

FindHeader = Callable[[FileId], SignedHeader | None]


class Rights:
    """Rights of members in directories.

    Invariants: an answer in memory is what walking the present state would give; `forget` is
    called whenever that may have changed.
    """

    def __init__(self, find: FindHeader, identify: Callable[[PrincipalId], Identity]) -> None:
        self.find = find
        self.identify = identify
        self._known: dict[tuple[PrincipalId, FileId], int] = {}
        self._missed = False  # something remembered rests on a directory that was not there

    def forget(self) -> None:
        """Drop what is remembered: an access, a directory's place or a member changed."""
        self._known.clear()
        self._missed = False

    def appeared(self) -> None:
        """A directory was created."""
        if self._missed:
            self.forget()

    def of(self, principal: PrincipalId, directory: FileId) -> int:
        """What a member may do in a directory, or in what is left of one: a `Right`.

        A plain integer, because this is asked for every change and an IntFlag's `&` is slow.

        Raises:
            Fault: DENIED if the principal does not belong; as `way_up`, but for NOT_FOUND.
        """
        known = self._known.get((principal, directory))
        if known is not None:
            return known
        rights = int(rights_of(self.identify(principal), self.accesses(directory)))
        if len(self._known) >= REMEMBERED_MAX:
            self._known.clear()
        self._known[principal, directory] = rights
        return rights

    def accesses(self, directory: FileId) -> list[Access]:
        """The accesses that govern a directory, root first. Raises as `of`."""
        try:
            way = self.way_up(directory)
        except Fault as fault:
            if fault.kind is not Kind.NOT_FOUND or self.find(ROOT_FILE) is None:
                raise
            self._missed = True
            way = self.way_up(ROOT_FILE)
        return [load_access(header.access) for header in reversed(way) if header.access]

    def way_up(self, directory: FileId, new: Mapping[FileId, Header] = _NOTHING) -> list[Header]:
        """The directory and those above it, the root last; `new` headers count before the state's.

        Raises:
            Fault: NOT_FOUND if one is missing, NOT_DIRECTORY if one is something else, USAGE if
                there is no end to it: too deep, or a directory below itself.
        """
        way: list[Header] = []
        while len(way) < PATH_COMPONENTS_MAX:
            header = new.get(directory)
            if header is None:
                signed = self.find(directory)
                if signed is None:
                    raise Fault(Kind.NOT_FOUND, "no such directory", path=directory.hex())
                header = signed.header
            if header.kind is not FileKind.DIRECTORY:
                raise Fault(Kind.NOT_DIRECTORY, "not a directory", path=directory.hex())
            way.append(header)
            if directory == ROOT_FILE:
                return way
            directory = header.parent
        raise Fault(
            Kind.USAGE,
            f"a directory below itself, or more than {PATH_COMPONENTS_MAX} deep",
            path=way[0].file.hex(),
        )
