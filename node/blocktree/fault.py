"""The one error type: a closed, append-only kind, what it happened to, and the next step.

A `Fault` crosses the wire (`wire.SPEC.md`), so kinds are numbered and numbers are never reused.
The command line maps kinds to exit codes and the mount maps them to errno, each in one table.
"""

from enum import IntEnum, unique
from typing import Self


@unique
class Kind(IntEnum):
    """What went wrong, as coarse as a caller can act on. Append only."""

    FAILED = 1  # nothing more precise is known
    USAGE = 2  # the caller asked for something that makes no sense
    CONTRACT = 3  # a message that the protocol does not allow here
    DAMAGED = 4  # bytes that do not match their hash, checksum or signature
    DENIED = 5  # the principal lacks the right, or its belonging was withdrawn
    NO_QUORUM = 6  # too few voters answer to decide
    UNREACHABLE = 7  # the process at that path does not answer in time
    CONFLICT = 8  # somebody else changed it first
    MALFORMED = 9  # bytes that are not of the format
    NOT_FOUND = 10
    EXISTS = 11
    NOT_LEADER = 12  # ask the process named in `next_step` instead
    BUSY = 13  # a bounded queue is full: try again later
    NO_SPACE = 14
    WRONG_TREE = 15
    EXPIRED = 16  # outside its time of validity, or this machine's clock is wrong
    NOT_DIRECTORY = 17
    IS_DIRECTORY = 18
    NOT_EMPTY = 19
    TOO_LARGE = 20
    STOPPED = 21  # the actor or process is shutting down
    UNSUPPORTED = 22
    SPENT = 23  # a ticket that was used before
    CANCELLED = 24  # interrupted before it finished
    IN_USE = 25  # a port, mount point or state directory that another process holds
    MISSING = 26  # a program, device or package this machine lacks
    MOVED = 27  # what was at that path answers elsewhere: nothing was done, look it up again


class Fault(Exception):  # noqa: N818 - the field's word; "Error" would say nothing more
    """Something went wrong, told for its reader.

    Args:
        kind: what a program can act on.
        what: one plain sentence, lower case, without a full stop.
        path: the tree path, file or peer it happened to, or "".
        next_step: what the reader can do next, or "".
    """

    def __init__(self, kind: Kind, what: str, *, path: str = "", next_step: str = "") -> None:
        super().__init__(kind, what, path, next_step)
        self.kind = kind
        self.what = what
        self.path = path
        self.next_step = next_step

    def at(self, path: str) -> Self:
        """The same fault, said of `path` unless it already names one."""
        if not self.path:
            self.path = path
        return self

    def __str__(self) -> str:
        """One line: `path: what (next step)`."""
        place = f"{self.path}: " if self.path else ""
        advice = f" ({self.next_step})" if self.next_step else ""
        return f"{place}{self.what}{advice}"
