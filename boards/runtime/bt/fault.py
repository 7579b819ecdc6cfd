"""The faults a device tells of: the numbers are those of the node's `Fault` kinds."""

FAILED, USAGE, CONTRACT, DAMAGED, DENIED = 1, 2, 3, 4, 5
UNREACHABLE, CONFLICT, MALFORMED, NOT_FOUND = 7, 8, 9, 10
BUSY, NO_SPACE, WRONG_TREE, TOO_LARGE, STOPPED, UNSUPPORTED = 13, 14, 15, 20, 21, 22


class Fault(Exception):  # noqa: N818 - the field's word
    """Something went wrong: a number that programs act on, and a sentence for people."""

    def __init__(self, kind, what):
        super().__init__(what)
        self.kind = kind
        self.what = what
