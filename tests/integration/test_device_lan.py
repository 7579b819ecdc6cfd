"""A device on a network: found, paired and served by broadcast, gateways found by multicast DNS.

Every machine is a host of its own: the node with a gateway, another gateway, a laptop, the board.
"""

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from blocktree.cli.daemons import Daemon
from blocktree_gateway.cli.deviceflash import NETWORK_LINKS
from blocktree_gateway.folder import TLS_PORT, UDP_PORT
from blocktree_gateway.pairing import write_code
from gateway.house import Program
from lan import Lan, needs_root

pytestmark = needs_root
PORTS = {"hall": (UDP_PORT, TLS_PORT), "porch": (5780, 5781)}
BOARDS = (("attic", ("tls", "udp")), ("shed", ("udp",)))  # each with its links
GATEWAYS = {"hall": "pi", "porch": "porch"}  # each with its host
CALLED_S = 18.0
_PATIENCE_S = 60.0
BROWSE = """
import json, sys, time
from zeroconf import ServiceBrowser, ServiceListener, Zeroconf

class Seen(ServiceListener):
    def __init__(self): self.names = set()
    def add_service(self, zc, kind, name): self.names.add(name)
    def update_service(self, zc, kind, name): pass
    def remove_service(self, zc, kind, name): self.names.discard(name)

kind, count = "_btgateway._udp.local.", int(sys.argv[1])
seen, zc, end = Seen(), Zeroconf(), time.monotonic() + 10
browser = ServiceBrowser(zc, kind, seen)
while len(seen.names) < count and time.monotonic() < end: time.sleep(0.05)
found = [zc.get_service_info(kind, name) for name in seen.names]
print(json.dumps([
    {"name": one.name, "addresses": one.parsed_addresses(), "udp": one.port,
     "said": {key.decode(): value.decode() for key, value in one.properties.items()}}
    for one in found if one is not None
]))
zc.close()
"""


class Network:
    """A tree on hosts; the laptop's user runs the gateways of the other machines, too."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.lan = Lan(["pi", "porch", "laptop", "attic", "shed"])

    def bt(self, host: str, *arguments: str, state: str = "laptop", given: str = "") -> str:
        return self.lan.bt(host, *arguments, state=self.folder / state, given=given)

    def begin(self) -> None:
        secret = self.folder / "passphrase"
        secret.write_text("correct horse battery\n")
        sign = ("--no-input", "--passphrase-file", str(secret))
        self.bt("laptop", "init", "home", "--user", "ada", *sign)
        ticket = self.bt("laptop", "node", "invite", "/home/pi", *sign)
        self.bt("pi", "node", "join", "-", state="pi", given=ticket)
        self.up("porch")

    def up(self, gateway: str) -> None:
        """Start a gateway."""
        udp, tls = PORTS[gateway]
        ports = ("--udp", str(udp), "--tls", str(tls))
        self.bt(GATEWAYS[gateway], "gateway", "up", gateway, *ports)

    def gateways(self, count: int) -> dict[str, Any]:
        """The gateways that the laptop hears of by multicast DNS, once there are so many."""
        done = self.lan.run("laptop", [sys.executable, "-c", BROWSE, str(count)])
        assert done.returncode == 0, done.stderr
        heard = json.loads(done.stdout)
        return {each["name"].split(" ")[0].removeprefix("gateway-"): each for each in heard}

    def seen(self) -> dict[str, tuple[str, str]]:
        """By which link, and through which gateway, each device speaks."""
        listed = json.loads(self.bt("laptop", "device", "ls", "--json"))["devices"]
        return {
            each["path"]: (
                each.get("link", ""),
                each.get("gateway", "").rpartition("gateway-")[2],
            )
            for each in listed
        }

    def record_size(self, path: str) -> int:
        """Bytes of a device's record: it has its secrets once for each gateway."""
        (file,) = json.loads(self.bt("laptop", "stat", f"{path}/device", "--json"))["files"]
        return int(file["size"])

    def wait_for(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + _PATIENCE_S
        while not holds():
            assert time.monotonic() < deadline, f"not within {_PATIENCE_S:.0f} s: {what}"
            time.sleep(0.3)

    def kill(self, gateway: str) -> None:
        pid = Daemon(self.folder / "laptop" / "gateways" / gateway).pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    def close(self) -> None:
        self.lan.close()


class Board:
    """A device on a host of its own, configured as a board is flashed, but for the console."""

    def __init__(self, network: Network, micropython: str, host: str, links: Sequence[str]) -> None:
        self.network = network
        self.path = f"/home/sensors/{host}"
        self.address = network.lan.hosts[host]
        setup = write_code(secrets.token_bytes(16))
        self._code = network.folder / f"code of {host}"
        self._code.write_text(setup)
        chosen = [link for link in NETWORK_LINKS if link["kind"] in links]
        self.program = Program(micropython, network.folder / f"{host}'s", setup=setup, links=chosen)
        self.program.before = network.lan.command(host, [])
        self.program.start()

    def pair(self) -> None:
        """Nobody says where it is."""
        code = ("--code-file", str(self._code))
        self.network.bt("laptop", "device", "pair", "any", self.path, *code)


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def test_devices_and_gateways_find_each_other(network: Network, micropython: str) -> None:
    devices = [Board(network, micropython, *each) for each in BOARDS]
    try:
        scanned = json.loads(network.bt("laptop", "device", "scan", "--json"))["network"]
        assert {each["address"] for each in scanned} == {each.address for each in devices}
        for device in devices:
            device.pair()
        # Nobody listens where their broadcasts go, but multicast DNS tells them of a gateway. Then
        # they are told where it takes TLS, which one of them prefers.
        tls, udp = (each.path for each in devices)
        here = {tls: ("mtls", "porch"), udp: ("udp", "porch")}
        network.wait_for("sessions", lambda: network.seen() == here)
        assert "°C" in network.bt("laptop", "read", udp)

        before = network.record_size(udp), network.record_size(tls)
        network.up("hall")
        heard = network.gateways(len(GATEWAYS))
        assert set(heard) == set(GATEWAYS)
        for name, host in GATEWAYS.items():
            assert network.lan.hosts[host] in heard[name]["addresses"]
            assert (heard[name]["udp"], int(heard[name]["said"]["tls"])) == PORTS[name]

        # The first gateway gives the secrets of its devices on.
        network.wait_for("secrets", lambda: network.record_size(udp) > before[0])
        network.wait_for("secrets", lambda: network.record_size(tls) > before[1])
        # What they were told of is gone; the other gateway calls them, and they find it.
        first, second = "porch", "hall"
        network.kill(first)
        killed = time.monotonic()
        network.wait_for("the other gateway", lambda: network.seen()[udp] == ("udp", second))
        took = time.monotonic() - killed
        assert took < CALLED_S  # it was called: alone it takes 25 s to notice
        network.wait_for("the same by TLS", lambda: network.seen()[tls] == ("mtls", second))
        for device in devices:
            proof = json.loads(network.bt("laptop", "history", device.path, "--verify", "--json"))
            assert proof["proof"]["holds"]
    finally:
        for device in devices:
            device.program.stop()
