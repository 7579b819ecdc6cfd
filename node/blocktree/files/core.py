"""The parts of one volume, and the retry of transactions that met a conflict."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from blocktree.fault import Fault, Kind
from blocktree.files.client import SectorService
from blocktree.files.commit import Commits
from blocktree.files.directories import Directories
from blocktree.files.engine import Engine
from blocktree.files.headers import HeaderCache
from blocktree.files.nodes import GONE, NodeTable
from blocktree.files.opened import Opened
from blocktree.files.parts import Parts
from blocktree.files.trust import Trust
from blocktree.sectors.header import Cipher

_T = TypeVar("_T")
_ATTEMPTS = 40
_GONE_MAX = 2
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.002, 0.1


@dataclass(frozen=True, slots=True)
class Core:
    """What names, nodes and handles work with."""

    service: SectorService
    engine: Engine
    nodes: NodeTable
    headers: HeaderCache
    opened: Opened
    directories: Directories
    commits: Commits
    parts: Parts
    trust: Trust
    now_ns: Callable[[], int]
    draw: Callable[[int], bytes]
    cipher: Cipher  # of new files


async def until_agreed(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Run `attempt` again for as long as it meets files that somebody else changed meanwhile.

    A file that is gone may only mean that a name has another meaning now, which the next attempt
    finds out; when it stays gone, that is the answer.

    Raises:
        Fault: BUSY after 40 conflicts; any other that `attempt` raised.
    """
    pause = _PAUSE_MIN_S
    gone = 0
    for _ in range(_ATTEMPTS):
        try:
            return await attempt()
        except Fault as fault:
            gone += fault.what == GONE
            if fault.kind is not Kind.CONFLICT or gone > _GONE_MAX:
                raise
        await asyncio.sleep(pause * random.random())  # noqa: S311 - not a secret
        pause = min(pause * 2, _PAUSE_MAX_S)
    raise Fault(Kind.BUSY, "others change the same files all the time")
