"""The gateways of this machine: started, stopped, told of serial ports. Imports little."""

import socket
import time

from blocktree.cli.daemons import Daemon
from blocktree.cli.places import Places
from blocktree.names import parse_name
from blocktree_gateway.folder import GatewayFolder, Ready, Settings

START_SECONDS = 30.0
SIM_NAME = "sim"
_RELEASE_SECONDS = 120


def gateway_daemon(places: Places, name: str) -> Daemon:
    """The gateway of this name on this machine, whether it exists or not."""
    return Daemon(places.root / "gateways" / parse_name(name))


def gateway_daemons(places: Places) -> list[Daemon]:
    """The gateways of this machine, by name."""
    folder = places.root / "gateways"
    if not folder.is_dir():
        return []
    return [Daemon(each) for each in sorted(folder.iterdir()) if each.is_dir()]


def usual_name() -> str:
    """What a gateway of this machine is called if nobody says otherwise."""
    return parse_name(socket.gethostname().split(".")[0] or "gateway")


def running(daemon: Daemon) -> Ready | None:
    """What a gateway that serves says of itself."""
    return GatewayFolder(daemon.folder).ready(daemon.pid())


def start_gateway(daemon: Daemon, *, wait: bool = True) -> None:
    """Start a gateway's process, and wait until it serves.

    Raises:
        Fault: as `Daemon.wait_ready`; IN_USE if it runs already.
    """
    GatewayFolder(daemon.folder).withdraw()
    daemon.start("blocktree_gateway", [str(daemon.folder)])
    if wait:
        daemon.wait_ready(lambda: running(daemon) is not None, START_SECONDS)


def prepare_gateway(places: Places, name: str, settings: Settings) -> Daemon:
    """Make a gateway's folder, or change how an existing one is reached."""
    daemon = gateway_daemon(places, name)
    GatewayFolder(daemon.folder).save_settings(settings)
    return daemon


class Port:
    """A serial port that this machine's gateways let go of while it is used here.

    Args:
        places: this machine's state.
        port: the device file.
    """

    def __init__(self, places: Places, port: str) -> None:
        running_ones = [each for each in gateway_daemons(places) if each.pid() is not None]
        self._folders = [GatewayFolder(each.folder) for each in running_ones]
        self._port = port

    def __enter__(self) -> "Port":
        for folder in self._folders:
            folder.release(self._port, int(time.time()) + _RELEASE_SECONDS)
        if self._folders:
            time.sleep(1.5)  # gateways look once a second
        return self

    def __exit__(self, *_: object) -> None:
        for folder in self._folders:
            folder.release("", 0)
