"""Reading what nobody asked for, so that bit rot is found while other nodes still have the blob."""

from blocktree.disk.batch import Scrubbed, ScrubbedLog
from blocktree.disk.catalogue import NOWHERE, describe
from blocktree.disk.ground import Ground
from blocktree.disk.log import DiskLog
from blocktree.disk.reading import read_blob
from blocktree.disk.segment import HEAD_SIZE, Place, length_of
from blocktree.fault import Fault, Kind
from blocktree.names import Digest

_AT_ONCE = 1024


def scrub(ground: Ground, after: Digest | None, budget: int) -> Scrubbed:
    """Check the blobs behind `after` until `budget` bytes are read, at least one."""
    rows = ground.catalogue.after(after or b"", _AT_ONCE)
    chosen: list[tuple[Place, Digest]] = []
    size = 0
    for digest, where in rows:
        if chosen and size >= budget:
            break
        size += HEAD_SIZE + length_of(where)
        chosen.append((where, digest))
    last = chosen[-1][1] if chosen else None
    damaged = [(d, where) for where, d in sorted(chosen) if not _is_sound(ground, d, where)]
    lost = tuple(digest for digest, _ in damaged)
    for digest in lost:
        ground.catalogue.damaged.setdefault(digest, (NOWHERE, True))  # the others are there
    done = len(rows) < _AT_ONCE and len(chosen) == len(rows)
    places = tuple(describe(where) for _, where in damaged)
    return Scrubbed(None if done else last, len(chosen), size, lost, places)


def scrub_log(log: DiskLog, low: int, budget: int) -> ScrubbedLog:
    """Any thread. Read entries from `low` on until `budget` bytes are read, at least one."""
    index, last, size = max(low, log.first_index), log.last_index, 0
    first, damaged, places = index, [], []
    while index <= last and (size < budget or index == first):
        size += HEAD_SIZE
        try:
            size += len(log.read(index).payload)
        except (Fault, FileNotFoundError) as cause:
            if isinstance(cause, Fault) and cause.kind is Kind.NOT_FOUND:
                pass  # dropped meanwhile
            else:
                damaged.append(index)
                places.append(describe(log.place(index) or NOWHERE))
        index += 1
    done = None if index > last else index
    return ScrubbedLog(done, index - first, size, tuple(damaged), tuple(places))


def _is_sound(ground: Ground, digest: Digest, where: Place) -> bool:
    while where != NOWHERE:
        try:
            read_blob(ground.shelf, ground.key, digest, where, verify=True)
        except (Fault, FileNotFoundError) as cause:
            now = ground.catalogue.find(digest)
            if now is None:
                return True  # deleted meanwhile
            if now == where:
                ground.catalogue.lost(digest, where, cause)
                return False
            where = now  # moved meanwhile
        else:
            ground.catalogue.found(digest)
            return True
    return False
