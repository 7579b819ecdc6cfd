"""The process of one simulated device: pairs it once, then becomes the device itself.

`python -m blocktree_gateway.cli.simulated FOLDER`. The device is the runtime that boards run, in
the real MicroPython where this machine has one, in CPython otherwise.
"""

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from blocktree.cli.places import TreePlace
from blocktree.client import Client
from blocktree.fault import Fault, Kind
from blocktree.names import join, parse_path
from blocktree_gateway.adopting import circle_of, new_adoption, settle
from blocktree_gateway.boards import boards_folder, interpreter
from blocktree_gateway.cli.cable import SimulatedCable
from blocktree_gateway.cli.simulations import Simulation
from blocktree_gateway.folder import GatewayFolder, Ready
from blocktree_gateway.links.udp import open_udp
from blocktree_gateway.pairer import Pairer
from blocktree_gateway.pairing import write_code
from blocktree_gateway.tree.devices import Devices
from blocktree_gateway.tree.smallfiles import SmallFiles

log = logging.getLogger(__name__)

_PATIENCE_S = 60.0
_POLL_S = 0.2
_FIND_SECONDS = 60.0
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class Simulated:
    """One simulated device.

    Args:
        folder: where everything of it lies; what is in `flash` is what a board keeps.
        simulation: what it is.
    """

    folder: Path
    simulation: Simulation

    async def prepare(self) -> None:
        """Make it part of the tree, unless it is already.

        Raises:
            Fault: what the gateway, the tree or the device says.
        """
        ready = await self._gateway()
        if (self.folder / "flash" / "id").exists():
            self._configure(ready, b"")
            self._tell_paired()
            return
        setup = os.urandom(16)
        self._configure(ready, setup, alone=True)
        program = self.begin()
        try:
            await self._pair(setup)
        finally:
            program.kill()
            program.wait()
        self._configure(ready, b"")
        self._tell_paired()

    def command(self) -> list[str]:
        """What runs the device."""
        program = interpreter() or sys.executable
        return [program, str(boards_folder() / "runtime" / "main.py"), str(self._config)]

    def environment(self) -> dict[str, str]:
        """Where both interpreters find the runtime."""
        runtime = str(boards_folder() / "runtime")
        return {**os.environ, "MICROPYPATH": f".frozen:{runtime}", "PYTHONPATH": runtime}

    def begin(self) -> "subprocess.Popen[bytes]":
        """Start the device as a child, which ends with this process."""
        return subprocess.Popen(  # noqa: S603 - an interpreter and our own program
            self.command(),
            env=self.environment(),
            preexec_fn=_end_with_parent,  # noqa: PLW1509
        )

    def run(self) -> int:
        """Become the device; on a serial line, hold the line for it and its gateway instead."""
        if self.simulation.link != "serial":
            command = self.command()
            os.execve(command[0], command, self.environment())  # noqa: S606
        with SimulatedCable(self.folder / "tty", self.folder / "tty-gateway") as cable:
            GatewayFolder(Path(self.simulation.gateway)).add_port(str(self.folder / "tty-gateway"))
            program = self.begin()
            cable.carry_until(lambda: program.poll() is not None)
            return program.returncode

    # inside

    @property
    def _config(self) -> Path:
        return self.folder / "config.json"

    async def _gateway(self) -> Ready:
        """Wait for the gateway."""
        folder = Path(self.simulation.gateway)
        for _ in range(int(_PATIENCE_S / _POLL_S)):
            with contextlib.suppress(OSError, ValueError, KeyError):
                pid = json.loads((folder / "pid").read_text())["pid"]
                ready = GatewayFolder(folder).ready(pid)
                if ready is not None:
                    return ready
            await asyncio.sleep(_POLL_S)
        raise Fault(Kind.UNREACHABLE, "its gateway does not start", path=str(folder))

    def _configure(self, ready: Ready, setup: bytes, *, alone: bool = False) -> None:
        sim = self.simulation
        (self.folder / "flash").mkdir(parents=True, exist_ok=True)
        udp = {"kind": "udp", "broadcast": False, "gateways": [f"127.0.0.1:{ready.udp}"]}
        if alone:
            udp |= {"port": self._port(), "gateways": []}
        tls = {"kind": "tls", "gateways": [f"{ready.path} 127.0.0.1 {ready.tls}"]}
        serial = {"kind": "serial", "path": str(self.folder / "tty")}
        chosen = {"udp": udp, "mtls": tls, "serial": serial}[sim.link]
        config = {
            "folder": str(self.folder / "flash"),
            "board": "unix",
            "app": {"folder": str(boards_folder() / "apps" / sim.app), "name": sim.app},
            "settings": {"sensor": "simulated", "every": sim.every_ms},
            "checkpoint": 60,
            "links": [udp if alone else chosen],
        }
        if setup:
            config["setup"] = write_code(setup)
        self._config.write_text(json.dumps(config))

    def _port(self) -> int:
        """A UDP port of its own, the same each time."""
        return 20_000 + int.from_bytes(os.fsencode(self.folder)[-8:]) % 20_000

    async def _pair(self, setup: bytes) -> None:
        place = TreePlace(Path(self.simulation.tree))
        user = place.user()
        client = Client(user, seeds=place.seeds())
        try:
            await client.start(find_seconds=_FIND_SECONDS)
            devices = Devices(SmallFiles(await client.open_files()))
            names = self.simulation.path.split("/")
            where = tuple(name.encode() for name in names)
            await devices.judge_place(b"", where)
            circle = circle_of(user.tree, await devices.gateways(), client.members, user)
            path = join(parse_path(f"/{user.tree}"), *names)
            adoption, record = new_adoption(user, path, circle, "unix", ("", ""))
            pairer = Pairer(setup)
            sock = await open_udp(pairer.heard, "127.0.0.1", 0)
            target = ("127.0.0.1", self._port())
            await pairer.adopt(adoption, lambda probe: sock.send(probe, target))
            await settle(devices, where, record)
            await pairer.close()
            sock.close()
        finally:
            await client.close()

    def _tell_paired(self) -> None:
        (self.folder / "paired").write_text("")


def main(arguments: list[str]) -> int:
    """Run the simulated device whose folder is the only argument; the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    folder = Path(arguments[0])
    simulated = Simulated(folder, Simulation.load(folder))
    try:
        asyncio.run(simulated.prepare())
    except Fault as fault:
        log.error("%s", fault)  # noqa: TRY400 - a sentence for people, not a traceback
        return 1
    return simulated.run()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
