"""Asks for the headers of files that are likely to be looked at next.

Who looks at the files of a directory one by one, as `git status`, `rsync` and shells with a list of
names do, would wait for a round trip for each. When one lookup soon follows another and neither
header is at hand, the headers of names in the same bucket come along, twice as many each time.
"""

from collections.abc import Callable

from blocktree.files.headers import HeaderCache
from blocktree.files.nodes import Node

_SOON_S = 0.05
_MOST = 64  # headers that come along


class Neighbours:
    """Looks on while names are looked up.

    Args:
        headers: is asked for what comes along.
        clock: seconds, monotonic.
    """

    def __init__(self, headers: HeaderCache, clock: Callable[[], float]) -> None:
        self._headers = headers
        self._clock = clock

    def found(self, directory: Node, name: bytes, node: Node) -> None:
        """A name was found in a loaded table; the header of its file is wanted next."""
        if node.own or self._headers.fresh(node.file) is not None or directory.table is None:
            return
        now = self._clock()
        before, along = directory.missed
        along = min(max(1, 2 * along), _MOST) if now - before < _SOON_S else 0
        directory.missed = now, along
        if along:
            beside = directory.table.names.beside(name, along)
            fresh = self._headers.fresh
            files = [entry.file for entry in beside if fresh(entry.file) is None]
            self._headers.expect([node.file, *files])  # what is waited for comes first
