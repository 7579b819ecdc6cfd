"""Exit codes: the one table from fault kinds to what a script sees."""

from blocktree.fault import Kind

INTERRUPTED = 130

# 0 to 8 are the design's; 9 and up name what a script most often wants to tell apart.
_CODES = {
    Kind.FAILED: 1,
    Kind.USAGE: 2,
    Kind.MALFORMED: 2,
    Kind.CONTRACT: 3,
    Kind.DAMAGED: 4,
    Kind.DENIED: 5,
    Kind.WRONG_TREE: 5,
    Kind.SPENT: 5,
    Kind.NO_QUORUM: 6,
    Kind.NOT_LEADER: 6,
    Kind.UNREACHABLE: 7,
    Kind.STOPPED: 7,
    Kind.BUSY: 7,
    Kind.CONFLICT: 8,
    Kind.NOT_FOUND: 9,
    Kind.EXISTS: 10,
    Kind.IN_USE: 11,
    Kind.NO_SPACE: 12,
    Kind.EXPIRED: 13,
    Kind.MISSING: 14,
    Kind.MOVED: 7,
    Kind.CANCELLED: INTERRUPTED,
}


def exit_code(kind: Kind) -> int:
    """The exit code for a fault of this kind; 1 for all that have none of their own."""
    return _CODES.get(kind, 1)
