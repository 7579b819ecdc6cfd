"""How an actor that crashes is started again, and when that is given up. A pure machine.

One for one: a crash restarts that actor alone, at once the first time, then after 0.1 s · 2^n, at
most 10 s; a minute without a crash is forgiven. With `most`, the crash after that many is one too
many: the actor is stopped, whoever watches it is told, and its parent crashes for it in turn.
"""

from dataclasses import dataclass

RESTART_MIN_S = 0.1
RESTART_MAX_S = 10.0
FORGIVEN_S = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """How often one actor is started again.

    Args:
        most: crashes in a row that are borne; None: it is never given up.
        forgiven_s: seconds without a crash after which the row begins anew.
    """

    most: int | None = None
    forgiven_s: float = FORGIVEN_S


FOREVER = Restarts()


class ChildLostError(Exception):
    """What a parent crashes for when an actor that belongs to it was given up."""


class Supervision:
    """Counts the crashes of one actor."""

    def __init__(self, restarts: Restarts) -> None:
        self.restarts = restarts
        self.crashes = 0  # in a row
        self._last: float | None = None

    def crashed(self, now: float) -> float | None:
        """Count a crash; the seconds to wait before going on, None: it is given up."""
        if self._last is not None and now - self._last >= self.restarts.forgiven_s:
            self.crashes = 0
        self._last = now
        self.crashes += 1
        if self.restarts.most is not None and self.crashes > self.restarts.most:
            return None
        pause = RESTART_MIN_S * 2.0 ** min(self.crashes - 2, 10)
        return 0.0 if self.crashes == 1 else min(RESTART_MAX_S, pause)


class Family:
    """Which actor belongs to which, by name."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}  # in the order of birth

    def born(self, child: str, parent: str) -> None:
        """An actor was started on behalf of another."""
        self._parents[child] = parent

    def died(self, name: str) -> None:
        """An actor was stopped."""
        self._parents.pop(name, None)

    def parent(self, child: str) -> str | None:
        """On whose behalf an actor runs; None: nobody's."""
        return self._parents.get(child)

    def children(self, parent: str) -> list[str]:
        """What runs on an actor's behalf, the youngest first."""
        return [child for child, above in reversed(self._parents.items()) if above == parent]
