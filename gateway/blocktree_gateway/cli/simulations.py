"""The simulated devices of this machine: their folders, starting them. Imports little."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from blocktree.cli.daemons import Daemon
from blocktree.cli.places import Places, TreePlace
from blocktree.names import parse_name
from blocktree_gateway.cli.gateways import SIM_NAME, gateway_daemon, prepare_gateway
from blocktree_gateway.folder import Settings

MODULE = "blocktree_gateway.cli.simulated"
FIRST = ("sensors", "attic")
LINKS = ("serial", "udp", "mtls")


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a simulated device is, as `settings.json` in its folder."""

    tree: str  # the folder of the tree's place
    gateway: str  # the folder of the gateway that it speaks to
    path: str  # below the tree: "sensors/attic"
    link: str
    app: str
    every_ms: int

    def save(self, folder: Path) -> None:
        """Keep it."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "settings.json").write_text(json.dumps(asdict(self)))

    @classmethod
    def load(cls, folder: Path) -> "Simulation":
        """As it was kept."""
        return cls(**json.loads((folder / "settings.json").read_text()))


def device_daemons(places: Places) -> list[Daemon]:
    """The simulated devices of this machine, by name."""
    folder = places.root / "devices"
    if not folder.is_dir():
        return []
    return [Daemon(each) for each in sorted(folder.iterdir()) if each.is_dir()]


def sim_gateway(places: Places, place: TreePlace) -> Daemon:
    """The gateway that simulated devices speak to; its folder is made if it lacks."""
    daemon = gateway_daemon(places, SIM_NAME)
    if not (daemon.folder / "settings.json").exists():
        settings = Settings(
            str(place.folder), host="127.0.0.1", udp=0, tls=0, serial=(), discover=False
        )
        prepare_gateway(places, SIM_NAME, settings)
    return daemon


def start_simulation(places: Places, simulation: Simulation, name: str) -> Daemon:
    """Start a simulated device; it pairs itself, and says so in its log."""
    daemon = Daemon(places.root / "devices" / parse_name(name))
    simulation.save(daemon.folder)
    (daemon.folder / "paired").unlink(missing_ok=True)
    daemon.start(MODULE, [str(daemon.folder)])
    return daemon


def begin_simulation(places: Places) -> list[str]:
    """Have a throw-away tree show a device, too; nothing is waited for."""
    place = places.only_tree()
    gateway = sim_gateway(places, place)
    names = [daemon.folder.name for daemon in device_daemons(places)]
    if not names:
        path = "/".join(FIRST)
        simulation = Simulation(
            str(place.folder), str(gateway.folder), path, "udp", "climate", 2000
        )
        start_simulation(places, simulation, "-".join(FIRST))
    for daemon in device_daemons(places):
        if daemon.pid() is None:
            daemon.start(MODULE, [str(daemon.folder)])
    where = "/".join([place.alias, *FIRST])
    return [f"A simulated device comes to /{where} in a moment: bt read /{where} --follow"]


def wait_paired(daemon: Daemon, seconds: float) -> bool:
    """Whether a simulated device has become part of the tree in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and daemon.pid() is not None:
        if (daemon.folder / "paired").exists():
            return True
        time.sleep(0.1)
    return (daemon.folder / "paired").exists()
