"""Places: which directory a public path means, so that rights at it can be judged without keys.

Names in directories are sealed, and nodes have no keys; but what answers at a path has to be judged
by the rights there. So whoever may write in a directory may publish the name of one below it. A
path is governed by the deepest published directory on its way: rights only add up downwards, so
what is not published yet can only give less, never more.
"""

from dataclasses import dataclass

from blocktree.caps import Right
from blocktree.fault import Fault, Kind
from blocktree.names import ROOT_FILE, FileId, Path, PrincipalId, components, parent, parse_path
from blocktree.sectors.header import FileKind
from blocktree.sectors.rights import Rights
from blocktree.sectors.table import Rows, Table
from blocktree.wire import Record, record

PLACES_MAX = 4096
PLACE_PREFIX = b"n"


@record(0x0B01)
@dataclass(frozen=True, slots=True)
class Publish(Record):
    """Say which directory a path means; by who may write in the directory above it."""

    path: Path
    directory: FileId
    principal: PrincipalId
    time_ns: int


def place_key(path: Path) -> bytes:
    """The row of a published directory."""
    return PLACE_PREFIX + path.encode()


def check_place(path: str, tree: str) -> Path:
    """A path below the root of the tree, in canonical form.

    Raises:
        Fault: MALFORMED, WRONG_TREE.
    """
    try:
        canonical = parse_path(path)
    except Fault as fault:
        raise Fault(Kind.MALFORMED, f"no path: {fault.what}", path=path) from None
    parts = components(canonical)
    if canonical != path or len(parts) < 2:
        raise Fault(Kind.MALFORMED, "a place is a canonical path below a tree's root", path=path)
    if parts[0] != tree:
        raise Fault(Kind.WRONG_TREE, "a path of another tree", path=path)
    return canonical


def place_of(rows: Rows, rights: Rights, path: Path) -> FileId:
    """The deepest published directory at or above `path`; the root directory if there is none."""
    while len(components(path)) > 1:
        row = rows.get(place_key(path))
        if row is not None:
            signed = rights.find(FileId(row))
            if signed is not None and signed.header.kind is FileKind.DIRECTORY:
                return FileId(row)
        path = parent(path)
    return ROOT_FILE


def need_write(rows: Rows, rights: Rights, principal: PrincipalId, path: Path) -> None:
    """Refuse unless a member may write where `path` lies.

    Raises:
        Fault: DENIED.
    """
    if not rights.of(principal, place_of(rows, rights, parent(path))) & int(Right.WRITE):
        raise Fault(
            Kind.DENIED,
            f"{rights.identify(principal).path} lacks the right to write there",
            path=path,
            next_step="whoever may grant there can give it, and publish the directory",
        )


def publish(table: Table, rights: Rights, command: Publish, tree: str) -> None:
    """Record a place.

    Raises:
        Fault: DENIED, NOT_FOUND, CONTRACT (the directory lies elsewhere), TOO_LARGE, MALFORMED.
    """
    path = check_place(command.path, tree)
    signed = rights.find(FileId(command.directory))
    if signed is None or signed.header.kind is not FileKind.DIRECTORY:
        raise Fault(Kind.NOT_FOUND, "no such directory", path=path)
    above = ROOT_FILE if len(components(path)) == 2 else place_of(table, rights, parent(path))
    if signed.header.parent != above:
        raise Fault(
            Kind.CONTRACT,
            "that directory does not lie in the one above it",
            path=path,
            next_step="publish the directories above it first",
        )
    need_write(table, rights, command.principal, path)
    known = table.get(place_key(path)) is not None
    if not known and len(table.items(PLACE_PREFIX, b"", PLACES_MAX)) >= PLACES_MAX:
        raise Fault(Kind.TOO_LARGE, f"more than {PLACES_MAX} published directories", path=path)
    table.put(place_key(path), command.directory)
