"""What is asked of actor `services` of a node: how the actors that it runs are."""

from dataclasses import dataclass

from blocktree.names import Path
from blocktree.wire import Record, record

SERVICES_ACTOR = "services"


@record(0x0B40)
@dataclass(frozen=True, slots=True)
class GetWards(Record):
    """Ask how all actors of the tree are that run on this node."""


@record(0x0B41)
@dataclass(frozen=True, slots=True)
class WardStatus(Record):
    """How one actor is."""

    path: Path
    state: str  # "starting", "running", "restarting"
    pid: int
    crashes: int  # in a row
    epoch: int


@record(0x0B42)
@dataclass(frozen=True, slots=True)
class Wards(Record):
    """The answer to `GetWards`."""

    wards: tuple[WardStatus, ...]


@record(0x0B43)
@dataclass(frozen=True, slots=True)
class ReadLog(Record):
    """Ask for what an actor printed behind line `after` (0: all that is kept); needs READ there.

    Faults: NOT_FOUND (it does not run here), DENIED.
    """

    path: Path
    after: int = 0


@record(0x0B44)
@dataclass(frozen=True, slots=True)
class LogLines(Record):
    """The answer to `ReadLog`."""

    lines: tuple[str, ...]
    last: int  # the number of the last line
