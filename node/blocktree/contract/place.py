"""Where a piece of a contract was written: file and line, so that each error points at it."""

import sys
from dataclasses import dataclass
from pathlib import PurePath

_HERE = str(PurePath(__file__).parent)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a source file; `file` is as Python knows it, "" for what was read from bytes."""

    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        """`file:line`, as editors and terminals follow it."""
        return f"{self.file}:{self.line}" if self.file else "(not from a file)"


def here(within: str = _HERE) -> Place:
    """The line outside of the package in directory `within` that is being executed."""
    frame = sys._getframe(1)  # noqa: SLF001 - the documented way to a caller's line
    while frame.f_back is not None and str(PurePath(frame.f_code.co_filename).parent) == within:
        frame = frame.f_back
    return Place(frame.f_code.co_filename, frame.f_lineno)
