"""Claims: who alone answers at a path, decided by the log; and the small state he keeps there.

The index of the entry that gave a path to its holder is its *epoch*, the fencing number: it only
goes up, and what carries an older one is refused. When a holder may be replaced is the leader's
matter, which has a clock (`store/registry.py`); that there is one at a time is decided here.
"""

from dataclasses import dataclass

from blocktree.fault import Fault, Kind
from blocktree.names import FileId, Path, PrincipalId, parse_name
from blocktree.sectors.header import FileKind
from blocktree.sectors.places import check_place, need_write
from blocktree.sectors.rights import Rights
from blocktree.sectors.table import Rows, Table
from blocktree.wire import Record, decode, encode, record

CLAIMS_MAX = 4096
KEPT_BYTES_MAX = 16 << 10
SESSION_BYTES = 16
CLAIM_PREFIX = b"a"
KEPT_PREFIX = b"k"


@record(0x0B02)
@dataclass(frozen=True, slots=True)
class Claim(Record):
    """Give a path to a holder, if it is still held under `expected` (0: by nobody)."""

    path: Path
    holder: PrincipalId  # who acts there; needs WRITE there, unless `file` gives it to him
    process: Path
    actor: str
    session: bytes  # of the process: a new life is a new holder
    expected: int
    time_ns: int
    file: bytes = b""  # a header of kind ACTOR on whose behalf the holder runs it; b"": his own


@record(0x0B03)
@dataclass(frozen=True, slots=True)
class Release(Record):
    """The holder under `epoch` acts no more. With `forget`, what was kept there goes too.

    Epoch 0 is for what nobody holds: then there is something to forget only.
    """

    path: Path
    epoch: int
    forget: bool = False


@record(0x0B04)
@dataclass(frozen=True, slots=True)
class Keep(Record):
    """Replace the state kept at a path, if it is still held under `epoch`."""

    path: Path
    epoch: int
    serial: int  # one more than what was kept before
    state: bytes


@record(0x0B08)
@dataclass(frozen=True, slots=True)
class Holding(Record):
    """Who holds a path."""

    holder: PrincipalId
    process: Path
    actor: str
    session: bytes
    epoch: int
    file: bytes = b""


@record(0x0B09)
@dataclass(frozen=True, slots=True)
class Kept(Record):
    """The state kept at a path."""

    epoch: int  # under which it was kept
    serial: int  # 1, 2, 3, …; 0: nothing was kept yet
    state: bytes


NOTHING = Kept(0, 0, b"")


def claim_key(path: Path) -> bytes:
    """The row of a held path."""
    return CLAIM_PREFIX + path.encode()


def kept_key(path: Path) -> bytes:
    """The row of the state kept at a path."""
    return KEPT_PREFIX + path.encode()


def fenced(path: str, tried: int, now: int) -> Fault:
    """What everybody gets who acts under an epoch that is over."""
    held = f"it is held under epoch {now}" if now else "nobody holds it"
    return Fault(
        Kind.CONFLICT,
        f"epoch {tried} is over: {held} now",
        path=path,
        next_step="stop acting there, and register again",
    )


def holding(rows: Rows, path: Path) -> Holding | None:
    """Who holds a path."""
    row = rows.get(claim_key(path))
    return None if row is None else decode(row, Holding)


def holdings(rows: Rows) -> dict[Path, Holding]:
    """All held paths."""
    cut = len(CLAIM_PREFIX)
    return {
        Path(key[cut:].decode()): decode(row, Holding)
        for key, row in rows.items(CLAIM_PREFIX, b"", CLAIMS_MAX)
    }


def kept(rows: Rows, path: Path) -> Kept:
    """The state kept at a path."""
    row = rows.get(kept_key(path))
    return NOTHING if row is None else decode(row, Kept)


def claim(table: Table, index: int, rights: Rights, command: Claim, tree: str) -> None:
    """Give a path to a holder; `index` becomes the epoch.

    Raises:
        Fault: CONFLICT, DENIED, NOT_FOUND (no such actor file), TOO_LARGE, MALFORMED.
    """
    path = check_place(command.path, tree)
    parse_name(command.actor)
    if len(command.session) != SESSION_BYTES:
        raise Fault(Kind.MALFORMED, "a session id of the wrong length", path=path)
    before = holding(table, path)
    epoch = 0 if before is None else before.epoch
    if epoch != command.expected:
        raise fenced(path, command.expected, epoch)
    _check_right(table, rights, command, path)
    if before is None and len(table.items(CLAIM_PREFIX, b"", CLAIMS_MAX)) >= CLAIMS_MAX:
        raise Fault(Kind.TOO_LARGE, f"more than {CLAIMS_MAX} held paths", path=path)
    row = Holding(
        command.holder, command.process, command.actor, command.session, index, command.file
    )
    table.put(claim_key(path), encode(row))


def release(table: Table, command: Release) -> None:
    """Nobody holds the path any more.

    Raises:
        Fault: CONFLICT.
    """
    before = holding(table, command.path)
    epoch = 0 if before is None else before.epoch
    if epoch != command.epoch or (not epoch and not command.forget):
        raise fenced(command.path, command.epoch, epoch)
    table.delete(claim_key(command.path))
    if command.forget:
        table.delete(kept_key(command.path))


def keep(table: Table, command: Keep) -> None:
    """Replace what is kept; the same again changes nothing.

    Raises:
        Fault: CONFLICT for an epoch that is over or a serial that does not follow, TOO_LARGE.
    """
    if len(command.state) > KEPT_BYTES_MAX:
        raise Fault(
            Kind.TOO_LARGE,
            f"a state of {len(command.state)} bytes is over {KEPT_BYTES_MAX}",
            path=command.path,
            next_step="keep larger things in files",
        )
    now = holding(table, command.path)
    if now is None or now.epoch != command.epoch:
        raise fenced(command.path, command.epoch, now.epoch if now else 0)
    before = kept(table, command.path)
    new = Kept(command.epoch, command.serial, command.state)
    if new == before:
        return
    if command.serial != before.serial + 1:
        what = f"state {command.serial} does not follow state {before.serial}"
        raise Fault(Kind.CONFLICT, what, path=command.path)
    table.put(kept_key(command.path), encode(new))


def _check_right(rows: Rows, rights: Rights, command: Claim, path: Path) -> None:
    """The holder's own right, or that of whoever wrote the file on whose behalf he runs it."""
    rights.identify(command.holder)
    if not command.file:
        need_write(rows, rights, command.holder, path)
        return
    signed = rights.find(FileId(command.file))
    if signed is None or signed.header.kind is not FileKind.ACTOR:
        raise Fault(Kind.NOT_FOUND, "no such actor in the tree", path=path)
    need_write(rows, rights, signed.header.writer, path)
