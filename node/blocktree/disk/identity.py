"""Whose disk a directory is: a small file, written once before anything else."""

from collections.abc import Callable
from dataclasses import dataclass

from blocktree.disk.batch import Keeper
from blocktree.disk.files import Files
from blocktree.disk.segment import (
    HEAD_SIZE,
    NO_NAME,
    VERSION,
    Key,
    RecordKind,
    checksum,
    encode_head,
    parse_head,
    segment_number,
)
from blocktree.fault import Fault, Kind
from blocktree.names import PrincipalId, TreeId
from blocktree.wire import Record, decode, encode, record

NAME = "identity"
_NEW = "identity.new"
_KEY = Key(0)  # the disk's own key comes from the id that is in here
_SIZE_MAX = 4096


@record(0x0603)
@dataclass(frozen=True, slots=True)
class Identity(Record):
    """What the file says."""

    version: int
    disk: bytes  # 16 random bytes
    tree: TreeId
    node: PrincipalId


def load_identity(files: Files, keeper: Keeper, dice: Callable[[int], bytes]) -> bytes:
    """The id of the keeper's disk; made if the directory is empty.

    Raises:
        Fault: WRONG_TREE or DENIED if it is somebody else's; DAMAGED if it cannot be read;
            UNSUPPORTED if the format is another one.
    """
    names = files.names()
    if _NEW in names:
        files.remove(_NEW)
    if NAME in names:
        return _check(_read(files), keeper).disk
    if any(segment_number(name) is not None for name in names):
        raise Fault(
            Kind.DAMAGED,
            "there are segments but no identity",
            path=NAME,
            next_step="restore the file, or remove the segments and join again",
        )
    identity = Identity(VERSION, dice(16), keeper.tree, keeper.node)
    _write(files, identity)
    return identity.disk


def _read(files: Files) -> Identity:
    raw = files.open(NAME).read(0, _SIZE_MAX)
    head = parse_head(raw, _KEY, 0, 0)
    payload = raw[HEAD_SIZE:]
    if head is None or len(payload) != head.length or checksum(payload, _KEY) != head.check:
        raise Fault(
            Kind.DAMAGED,
            "the identity cannot be read",
            path=NAME,
            next_step="restore the file, or remove the directory and join again",
        )
    return decode(payload, Identity)


def _check(identity: Identity, keeper: Keeper) -> Identity:
    if identity.version != VERSION:
        raise Fault(
            Kind.UNSUPPORTED,
            f"the disk has format {identity.version}, this program reads {VERSION}",
            path=NAME,
            next_step="update blocktree"
            if identity.version > VERSION
            else "copy the files out with the version that made it, then make the node anew",
        )
    if identity.tree != keeper.tree:
        raise Fault(
            Kind.WRONG_TREE,
            f"this state directory belongs to the tree {identity.tree}",
            path=NAME,
            next_step="choose another state directory",
        )
    if identity.node != keeper.node:
        raise Fault(
            Kind.DENIED,
            "this state directory belongs to another node of the tree",
            path=NAME,
            next_step="choose another state directory, or use the node's own credential",
        )
    return identity


def _write(files: Files, identity: Identity) -> None:
    payload = encode(identity)
    check = checksum(payload, _KEY)
    head = encode_head(_KEY, RecordKind.SEGMENT, 0, len(payload), check, 0, 0, 0, NO_NAME)
    file = files.create(_NEW)
    file.append([head, payload])
    file.sync()
    files.rename(_NEW, NAME)
    files.sync_directory()
