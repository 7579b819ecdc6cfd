"""Time and chance: an event queue, a clock in microseconds, and one seeded generator."""

import heapq
import random
from collections.abc import Callable
from typing import Any

MILLISECOND = 1_000
SECOND = 1_000_000


class World:
    """Everything that happens, in order. The same seed gives the same story."""

    def __init__(self, seed: int, *, trace: bool = False) -> None:
        self.seed = seed
        self.dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self.now = 0
        self.events = 0
        self.story: list[str] | None = [] if trace else None
        self._queue: list[tuple[int, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0  # events at the same time happen in the order they were planned

    def after(self, delay: int, act: Callable[..., None], *args: Any) -> None:
        """Plan `act(*args)` for `delay` microseconds from now."""
        self._order += 1
        heapq.heappush(self._queue, (self.now + delay, self._order, act, args))

    def run(self, until: int, enough: Callable[[], bool] | None = None) -> bool:
        """Let time pass up to `until`, or until `enough()` says so; whether it did."""
        queue = self._queue
        while queue and queue[0][0] <= until:
            self.now, _, act, args = heapq.heappop(queue)
            self.events += 1
            act(*args)
            if enough is not None and enough():
                return True
        self.now = until
        return False

    def chance(self, probability: float) -> bool:
        """Whether something that happens with this probability happens now."""
        return self.dice.random() < probability

    def tell(self, text: str) -> None:
        """Add a line to the story, when one is told (`if world.story is not None`)."""
        if self.story is not None:
            self.story.append(f"{self.now / SECOND:10.6f}  {text}")
