"""Finding files in an open tree, and listing its directories."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from blocktree.cli.treepaths import TreePath, printable
from blocktree.fault import Fault, Kind
from blocktree.files.volume import ROOT_INO, Attributes, Entry, NodeKind, Volume

_PAGE = 1000  # entries asked for at once
_LINKS_MAX = 40  # symbolic links on the way to one file


@dataclass(frozen=True, slots=True)
class Found:
    """A file of a tree, and how it was reached once all links were followed."""

    attributes: Attributes
    name: bytes  # in the last of `above`; b"" for the root
    above: tuple[int, ...]  # its directories' numbers, the root first; none for the root

    @property
    def ino(self) -> int:
        """Its number."""
        return self.attributes.ino

    @property
    def is_directory(self) -> bool:
        """Whether it is one."""
        return self.attributes.kind is NodeKind.DIRECTORY


async def find(files: Volume, path: TreePath, *, follow: bool = True) -> Found:
    """Walk to a file. Links on the way are followed, a link at its end if `follow`.

    Raises:
        Fault: NOT_FOUND, NOT_DIRECTORY; UNSUPPORTED for a link that leads out of the tree.
    """
    trail = [Found(await files.getattr(ROOT_INO), b"", ())]
    names, links = deque(path.names), 0
    while names:
        name = names.popleft()
        if name == b"..":
            del trail[max(1, len(trail) - 1) :]
            continue
        here = trail[-1]
        if not here.is_directory:
            raise Fault(Kind.NOT_DIRECTORY, f"{printable(here.name)} is not a directory")
        attributes = await files.lookup(here.ino, name)
        if attributes.kind is NodeKind.SYMLINK and (names or follow or path.inside):
            links += 1
            names.extendleft(reversed(await _target(files, attributes.ino, links)))
            continue
        trail.append(Found(attributes, name, (*here.above, here.ino)))
    if path.inside and not trail[-1].is_directory:
        raise Fault(Kind.NOT_DIRECTORY, "is not a directory")
    return trail[-1]


async def find_if_there(files: Volume, path: TreePath) -> Found | None:
    """The same; None if only the last name does not exist.

    Raises:
        Fault: NOT_FOUND if the directory it would be in does not exist; as `find`.
    """
    try:
        return await find(files, path)
    except Fault as fault:
        if fault.kind is not Kind.NOT_FOUND:
            raise
    await find_directory(files, path.parent)
    return None


async def find_directory(files: Volume, path: TreePath) -> Found:
    """Walk to a directory.

    Raises:
        Fault: NOT_FOUND or NOT_DIRECTORY, said of the directory itself.
    """
    try:
        found = await find(files, path)
    except Fault as fault:
        if fault.kind is Kind.NOT_FOUND:
            fault.what, fault.next_step = f"there is no directory {path}", f"bt mkdir -p {path}"
        raise
    if not found.is_directory:
        raise Fault(Kind.NOT_DIRECTORY, f"{path} is not a directory")
    return found


async def listing(files: Volume, directory: int, *, attributes: bool = False) -> Sequence[Entry]:
    """All entries of a directory, by name.

    Raises:
        Fault: DAMAGED for a name that no file can have.
    """
    entries: list[Entry] = []
    after = 0
    while some := await files.readdir(directory, after, _PAGE, attributes=attributes):
        entries.extend(some)
        after = some[-1].cookie
    for entry in entries:
        # A writer's names end up in paths of this machine: none may lead elsewhere.
        if entry.name in {b"", b".", b".."} or b"/" in entry.name or b"\0" in entry.name:
            raise Fault(Kind.DAMAGED, f"holds the name {printable(entry.name)!r}")
    return sorted(entries, key=lambda entry: entry.name)


async def _target(files: Volume, ino: int, links: int) -> list[bytes]:
    target = await files.readlink(ino)
    if links > _LINKS_MAX:
        raise Fault(Kind.USAGE, f"more than {_LINKS_MAX} symbolic links on the way")
    if target.startswith(b"/"):
        raise Fault(Kind.UNSUPPORTED, f"a link to {printable(target)} leads out of the tree")
    return [name for name in target.split(b"/") if name not in {b"", b"."}]
