"""A network that loses, delays, duplicates, reorders and cuts, one direction at a time."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from blocktree.sim.world import MILLISECOND, World

Receive = Callable[[str, Any], None]  # (sender, message)


@dataclass(slots=True)
class Weather:
    """How bad the network is at present."""

    loss: float = 0.0
    duplicate: float = 0.0
    straggle: float = 0.0  # how often a message takes very long
    delay_min: int = MILLISECOND // 5
    delay_max: int = 2 * MILLISECOND
    straggle_max: int = 400 * MILLISECOND


class Network:
    """Carries messages between whoever attached. Messages are objects and must not be changed."""

    def __init__(self, world: World) -> None:
        self.weather = Weather()
        self._world = world
        self._receivers: dict[str, Receive] = {}
        self._cut: set[tuple[str, str]] = set()

    def attach(self, name: str, receive: Receive) -> None:
        """Let `name` receive from now on."""
        self._receivers[name] = receive

    def send(self, sender: str, to: str, message: Any) -> None:
        """Carry a message, or not."""
        world, weather = self._world, self.weather
        random = world.dice.random
        if to not in self._receivers or (weather.loss and random() < weather.loss):
            return
        span = weather.delay_max - weather.delay_min
        delay = weather.delay_min + int(random() * span)
        if weather.straggle and random() < weather.straggle:
            delay += int(random() * weather.straggle_max)
        world.after(delay, self._arrive, sender, to, message)
        if weather.duplicate and random() < weather.duplicate:
            world.after(delay + int(random() * 20 * span), self._arrive, sender, to, message)

    def tell_everybody(self, sender: str, message: Any) -> None:
        """Send to all who attached, but the sender."""
        for name in self._receivers:
            if name != sender:
                self.send(sender, name, message)

    def _arrive(self, sender: str, to: str, message: Any) -> None:
        if (sender, to) not in self._cut:
            self._receivers[to](sender, message)

    def cut(self, sender: str, to: str) -> None:
        """Nothing gets through this way any more, also not what is on its way."""
        self._cut.add((sender, to))

    def split(self, side: Iterable[str]) -> None:
        """Cut `side` off from everybody else, both ways."""
        inside = set(side)
        for name in inside:
            for other in self._receivers.keys() - inside:
                self.cut(name, other)
                self.cut(other, name)

    def mend(self) -> None:
        """Remove all cuts."""
        self._cut.clear()
