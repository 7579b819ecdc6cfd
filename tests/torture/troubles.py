"""What befalls the machines of a run: each trouble begins, lasts, and is mended.

A trouble leaves everything it touched as it was, except that `removed` nodes come back as new ones.
The run revives every node after a round, so a trouble need not start again what it killed.
"""

import random
import signal
from collections.abc import Callable

from torture.house import DESK, NODES, House

Mend = Callable[[], None]
Trouble = Callable[[House, random.Random], Mend]


def _nothing() -> None:
    """Nothing is left to mend but to revive the nodes."""


def _running(house: House) -> list[str]:
    return [name for name in NODES if house.machines[name].runs]


def _one(house: House, dice: random.Random) -> str:
    return dice.choice(_running(house) or [NODES[0]])


def kill_leader(house: House, dice: random.Random) -> Mend:
    """SIGKILL of the node that leads."""
    house.end(house.leader() or _one(house, dice))
    return _nothing


def kill_one(house: House, dice: random.Random) -> Mend:
    """SIGKILL of any node."""
    house.end(_one(house, dice))
    return _nothing


def kill_two(house: House, dice: random.Random) -> Mend:
    """SIGKILL of two nodes: no quorum until one is back."""
    running = _running(house)
    for name in dice.sample(running, min(2, len(running))):
        house.end(name)
    return _nothing


def kill_all(house: House, dice: random.Random) -> Mend:
    """SIGKILL of all nodes at once."""
    del dice
    for name in _running(house):
        house.end(name)
    return _nothing


def kill_twice(house: House, dice: random.Random) -> Mend:
    """SIGKILL, start, and SIGKILL again while it is starting."""
    name = _one(house, dice)
    house.end(name)
    house.start(name)

    def mend() -> None:
        house.end(name)

    return mend


def restart_one(house: House, dice: random.Random) -> Mend:
    """SIGTERM: it hands over, leaves a checkpoint, and comes back."""
    house.end(_one(house, dice), signal.SIGTERM)
    return _nothing


def stop_leader(house: House, dice: random.Random) -> Mend:
    """SIGSTOP of the leader, which does not know that time passes."""
    house.pause(house.leader() or _one(house, dice))
    return _nothing


def stop_one(house: House, dice: random.Random) -> Mend:
    """SIGSTOP of any node."""
    house.pause(_one(house, dice))
    return _nothing


def _cut(house: House, name: str, *rules: str) -> Mend:
    house.rules(name, *rules)
    return lambda: house.rules(name)


def cut_off(house: House, dice: random.Random) -> Mend:
    """A node is cut off, both ways."""
    name = house.leader() or _one(house, dice)
    return _cut(house, name, "ip saddr 10.77.0.0/24 drop", "ip daddr 10.77.0.0/24 drop")


def deaf(house: House, dice: random.Random) -> Mend:
    """A node is heard but hears nothing."""
    return _cut(house, _one(house, dice), "ip saddr 10.77.0.0/24 drop")


def mute(house: House, dice: random.Random) -> Mend:
    """A node hears but is not heard."""
    name = house.leader() or _one(house, dice)
    return _cut(house, name, "ip daddr 10.77.0.0/24 drop")


def split_pair(house: House, dice: random.Random) -> Mend:
    """Two nodes cannot reach each other, while everybody else can."""
    one, other = dice.sample(NODES[:3], 2)
    there = house.lan.hosts[other]
    return _cut(house, one, f"ip saddr {there} drop", f"ip daddr {there} drop")


def away_from_clients(house: House, dice: random.Random) -> Mend:
    """The clients cannot reach the leader."""
    name = house.leader() or _one(house, dice)
    return _cut(house, name, f"ip saddr {house.lan.hosts[DESK]} drop")


def lossy(house: House, dice: random.Random) -> Mend:
    """A fifth of the packets to a node is lost."""
    rule = "ip saddr 10.77.0.0/24 numgen random mod 100 < 20 drop"
    return _cut(house, _one(house, dice), rule)


def wrong_clock(house: House, dice: random.Random) -> Mend:
    """A node starts again with its wall clock days ahead or behind."""
    name = _one(house, dice)
    house.end(name)
    house.start(name, clock=dice.choice(("+3d", "-300d", "+40m")))
    return lambda: house.end(name)


def full_disk(house: House, dice: random.Random) -> Mend:
    """The small disk has no room: below the reserve, or none at all."""
    house.fill(dice.choice((100 << 20, 8 << 20, 64 << 10)))
    return lambda: house.fill(0)


def kill_client(house: House, dice: random.Random) -> Mend:
    """SIGKILL of a client process; another one takes its place."""
    hand = dice.choice([each for each in house.hands if each.process.poll() is None])
    hand.process.kill()
    hand.process.wait()

    def mend() -> None:
        house.hire(hand.settings.role)

    return mend


def remove_and_join(house: House, dice: random.Random) -> Mend:
    """`bt node remove` of a node that may be dead; its host joins anew."""
    name = dice.choice(house.names())
    if dice.random() < 0.5:
        house.end(name)
    addresses = [f"--addr={address}" for address in house.addresses()]
    secret = str(house.folder / "passphrase")
    done = house.bt(
        "node", "remove", name, "--yes", name, "--passphrase-file", secret, "--force", *addresses
    )
    if done.returncode == 0:
        house.machines[name].gone = True
    return _nothing


def rot(house: House, dice: random.Random) -> Mend:
    """Bytes of a node's segments rot, or are written over, while it is down.

    Only while all others are sound: of three copies of one log two must be.
    """
    name = _one(house, dice)
    if house.is_sound():
        house.end(name)
        house.rot(name)
    return _nothing


TROUBLES: dict[str, tuple[int, Trouble]] = {  # with how often it is drawn
    "kill leader": (6, kill_leader),
    "kill one": (6, kill_one),
    "kill two": (3, kill_two),
    "kill all": (2, kill_all),
    "kill while starting": (2, kill_twice),
    "restart": (2, restart_one),
    "stop leader": (3, stop_leader),
    "stop one": (2, stop_one),
    "cut off leader": (3, cut_off),
    "deaf": (2, deaf),
    "mute leader": (3, mute),
    "split pair": (2, split_pair),
    "leader out of reach": (2, away_from_clients),
    "packet loss": (2, lossy),
    "wrong clock": (2, wrong_clock),
    "full disk": (3, full_disk),
    "kill client": (2, kill_client),
    "remove and join": (3, remove_and_join),
    "rotten disk": (3, rot),
}
