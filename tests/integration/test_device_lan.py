"""A device on a network: found, paired and served by broadcast, gateways found by multicast DNS.

Every machine is a host of its own: the node with a gateway, another gateway, a laptop, the board.
"""

import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable, Iterator
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
PATH = "/home/sensors/attic"
GATEWAYS = {"hall": "pi", "porch": "porch"}  # each with its host
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
seen, zc, end = Seen(), Zeroconf(), time.monotonic() + float(sys.argv[2])
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
        self.lan = Lan(["pi", "porch", "laptop", "board"])

    def bt(self, host: str, *arguments: str, state: str = "laptop", given: str = "") -> str:
        done = self.lan.run(
            host,
            [sys.executable, "-m", "blocktree.cli", *arguments],
            env={"BLOCKTREE_STATE": str(self.folder / state)},
            timeout=120,
            given=given,
        )
        assert done.returncode == 0, f"{host}: bt {' '.join(arguments)}\n{done.stderr}"
        return done.stdout

    def begin(self) -> None:
        secret = self.folder / "passphrase"
        secret.write_text("correct horse battery\n")
        sign = ("--no-input", "--passphrase-file", str(secret))
        self.bt("laptop", "init", "home", "--user", "ada", *sign)
        ticket = self.bt("laptop", "node", "invite", "/home/pi", *sign)
        self.bt("pi", "node", "join", "-", state="pi", given=ticket)
        for gateway, host in GATEWAYS.items():
            self.bt(host, "gateway", "up", gateway)

    def gateways(self, count: int, seconds: float = 10.0) -> dict[str, Any]:
        """The gateways that the laptop hears of by multicast DNS, once there are so many."""
        done = self.lan.run("laptop", [sys.executable, "-c", BROWSE, str(count), str(seconds)])
        assert done.returncode == 0, done.stderr
        heard = json.loads(done.stdout)
        return {each["name"].split(" ")[0].removeprefix("gateway-"): each for each in heard}

    def device(self) -> dict[str, Any]:
        (listed,) = json.loads(self.bt("laptop", "device", "ls", "--json"))["devices"]
        return dict(listed)

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


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    made = Network(tmp_path)
    try:
        made.begin()
        yield made
    finally:
        made.close()


def test_a_device_and_its_gateways_find_each_other(network: Network, micropython: str) -> None:
    heard = network.gateways(len(GATEWAYS))
    assert set(heard) == set(GATEWAYS)
    for name, host in GATEWAYS.items():
        assert network.lan.hosts[host] in heard[name]["addresses"]
        assert heard[name]["udp"] == UDP_PORT
        assert heard[name]["said"]["tls"] == str(TLS_PORT)

    setup = secrets.token_bytes(16)
    code = network.folder / "code"
    code.write_text(write_code(setup))
    links = [link for link in NETWORK_LINKS if link["kind"] != "serial"]  # as a board is flashed
    device = Program(micropython, network.folder / "device", setup=write_code(setup), links=links)
    device.before = network.lan.command("board", [])
    device.start()
    try:
        (found,) = json.loads(network.bt("laptop", "device", "scan", "--json"))["network"]
        assert found["address"] == network.lan.hosts["board"]
        network.bt("laptop", "device", "pair", "any", PATH, "--code-file", str(code))
        # By broadcast first; then it is told of its gateways, and prefers mutual TLS.
        network.wait_for("a session by TLS", lambda: network.device().get("link") == "mtls")
        assert "°C" in network.bt("laptop", "read", PATH)

        first = network.device()["gateway"].rsplit("gateway-", 1)[1]
        (second,) = set(GATEWAYS) - {first}
        network.kill(first)
        network.wait_for(
            "the other gateway",
            lambda: network.device().get("gateway", "").endswith(f"gateway-{second}"),
        )
        network.wait_for("a session there", lambda: bool(network.device()["link"]))
        proof = json.loads(network.bt("laptop", "history", PATH, "--verify", "--json"))
        assert proof["proof"]["holds"]
    finally:
        device.stop()
    network.bt("laptop", "gateway", "down", second)
    assert network.gateways(1, seconds=2.0) == {}
