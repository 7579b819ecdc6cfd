"""What the core holds back is released in time, once, and by nobody who has no reason to."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from blocktree.raft import Raft
from blocktree.store.holding import HOLD_SECONDS, Holding


class Scene:
    """As much of a core and of a loop as it asks; time passes by itself alone."""

    def __init__(self) -> None:
        self.now = 0.0
        self.held_from = 0
        self.releases: list[tuple[float, int]] = []
        self.told: list[float] = []
        self.timers: dict[object, tuple[float, Callable[[], None]]] = {}
        self.holding = Holding(
            lambda: cast("Raft", self), lambda: self.told.append(self.now), cast("Any", self.later)
        )

    def later(self, seconds: float, call: Callable[[], None]) -> asyncio.TimerHandle:
        key = object()
        self.timers[key] = (self.now + seconds, call)
        return cast("asyncio.TimerHandle", Timer(self, key))

    def release(self) -> None:
        self.releases.append((self.now, self.held_from))
        self.held_from = 0

    def holds(self, index: int) -> None:
        self.held_from = index
        self.holding.look()

    def run(self, until: float) -> None:
        while due := [(at, key) for key, (at, _) in self.timers.items() if at <= until]:
            self.now, key = min(due, key=lambda each: each[0])
            self.timers.pop(key)[1]()
        self.now = until


class Timer:
    def __init__(self, scene: Scene, key: object) -> None:
        self.scene, self.key = scene, key

    def cancel(self) -> None:
        self.scene.timers.pop(self.key, None)


def test_what_is_held_back_is_released_once_and_said() -> None:
    scene = Scene()
    scene.holds(5)
    scene.run(HOLD_SECONDS / 2)
    scene.holds(5)  # more joins it: its time began with the first
    scene.run(10 * HOLD_SECONDS)
    assert scene.releases == [(HOLD_SECONDS, 5)]
    assert scene.told == [HOLD_SECONDS]


def test_what_left_by_itself_gives_its_time_to_nobody_else() -> None:
    scene = Scene()
    scene.holds(5)
    scene.run(HOLD_SECONDS / 2)
    scene.holds(0)  # something large took it along
    scene.holds(7)
    scene.run(10 * HOLD_SECONDS)
    assert scene.releases == [(HOLD_SECONDS * 1.5, 7)]


def test_a_driver_that_stops_releases_nothing() -> None:
    scene = Scene()
    scene.holds(5)
    scene.holding.stop()
    scene.run(10 * HOLD_SECONDS)
    assert scene.releases == []
