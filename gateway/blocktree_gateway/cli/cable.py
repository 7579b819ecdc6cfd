"""A serial cable between two programs of this machine: two pseudo-terminals, joined."""

import contextlib
import os
import select
import tty
from collections.abc import Callable
from pathlib import Path

_BYTES = 4096
_POLL_S = 1.0


class SimulatedCable:
    """Two ends with names; use it in a `with`, and carry.

    Args:
        ends: where the two device files are to be found.
    """

    def __init__(self, *ends: Path) -> None:
        self._ends = ends
        self._masters: list[int] = []
        self._slaves: list[int] = []

    def __enter__(self) -> "SimulatedCable":
        for end in self._ends:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters.append(master)
            self._slaves.append(slave)  # kept open, so that the line outlives its users
            end.unlink(missing_ok=True)
            end.symlink_to(os.ttyname(slave))
        return self

    def __exit__(self, *_: object) -> None:
        for end in self._ends:
            end.unlink(missing_ok=True)
        for descriptor in (*self._masters, *self._slaves):
            os.close(descriptor)

    def carry_until(self, over: Callable[[], bool]) -> None:
        """Carry bytes both ways until `over`; what does not fit is lost, as on a real line."""
        first, second = self._masters
        other = {first: second, second: first}
        while not over():
            ready, _, _ = select.select(self._masters, [], [], _POLL_S)
            for master in ready:
                with contextlib.suppress(OSError):
                    os.write(other[master], os.read(master, _BYTES))
