"""Processes of packages above the node that come and go with this machine's nodes.

Such a package registers an object as an entry point of the group `blocktree.companions`; nothing
here names it. It is loaded by `bt up` and `bt down`, so its module imports little.
"""

from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Protocol

from blocktree.cli.places import Places


class Companion(Protocol):
    """What such an object does."""

    def start(self, places: Places, *, sim: bool) -> Sequence[str]:
        """Start its processes, without waiting for them; a line for people about each.

        `sim`: the tree is a throw-away one, and everything that shows what it can do is wanted.
        """

    def stop(self, places: Places) -> None:
        """Stop its processes; return when they have ended."""


def companions() -> list[Companion]:
    """Every registered one, by name."""
    return [found.load() for found in sorted(entry_points(group="blocktree.companions"))]
