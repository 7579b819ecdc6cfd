"""A house for the tests: a tree in memory, gateways in this process, devices that are programs.

The tree is the real file system service over the real state machine (`files.memory_store`). A
device is the runtime of `boards/runtime`, run by MicroPython (or CPython) as a process of its own.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
import tty
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from blocktree.actors import Runtime
from blocktree.fault import Fault, Kind
from blocktree.files.service import Filesystem
from blocktree.keys import Credential, process_credential
from blocktree.names import Address
from blocktree.names import Path as TreePath
from blocktree.wire import Record
from blocktree_gateway.adopting import Circle, circle_of, new_adoption, settle
from blocktree_gateway.devicemessages import DeviceState, GetDevice, Perform, Performed, PushApp
from blocktree_gateway.folder import Settings
from blocktree_gateway.gateway import Above, Gateway, Survey
from blocktree_gateway.links.serialport import SerialPort
from blocktree_gateway.links.udp import open_udp
from blocktree_gateway.messages import AppStanding
from blocktree_gateway.pairer import Pairer
from blocktree_gateway.pairing import vouch, write_code
from blocktree_gateway.stream.entries import Reader
from blocktree_gateway.stream.proof import Proof, prove
from blocktree_gateway.tree.devices import Device, Devices
from blocktree_gateway.tree.smallfiles import Place, SmallFiles
from blocktree_gateway.tree.streamfile import StreamFile
from files.memory_store import MemoryStore, client
from gateway.peer import Peer
from keys.forge import drawn

ROOT = Path(__file__).parent.parent.parent
BOARDS = Path(os.environ.get("BT_BOARDS", ROOT / "boards"))
_T = TypeVar("_T")


class MemoryClaims:
    """Who alone answers at which path, for the gateways of one house; a lease ends when it dies."""

    def __init__(self, house: "House", runtime: Runtime) -> None:
        self._house = house
        self._runtime = runtime
        self.alive = True

    async def hold(
        self,
        path: TreePath,
        actor: str,
        lost: Callable[[TreePath], None] | None = None,
        *,
        wait_s: float = 0.0,
    ) -> int:
        del lost
        end = time.monotonic() + wait_s
        while True:
            holder = self._house.held.get(path)
            if holder is None or holder[0] is self or not holder[0].alive:
                self._house.epoch += 1
                self._house.held[path] = self, actor
                self._runtime.host(path, actor)
                return self._house.epoch
            if time.monotonic() >= end:
                raise Fault(Kind.CONFLICT, "another holds it", path=path)
            await asyncio.sleep(0.05)

    def holds(self, path: TreePath, epoch: int) -> bool:
        del epoch
        holder = self._house.held.get(path)
        return self.alive and holder is not None and holder[0] is self

    async def withdraw(self, path: TreePath) -> None:
        holder = self._house.held.get(path)
        if holder is not None and holder[0] is self:
            del self._house.held[path]
        self._runtime.unhost(path)

    async def ask(self, path: TreePath, message: Record, /, *, timeout: float = 10.0) -> Record:
        del timeout
        holder = self._house.held.get(path)
        if holder is None or not holder[0].alive:
            raise Fault(Kind.UNREACHABLE, "nobody answers there", path=path)
        runtime = holder[0]._runtime
        return await runtime.ask(Address(runtime.here, holder[1]), message)


class MemorySurvey(Survey):
    def __init__(self, house: "House") -> None:
        self._house = house

    async def answered(self) -> Sequence[TreePath]:
        return [path for path, (claims, _) in self._house.held.items() if claims.alive]


class House:
    """One tree with its gateways; make it with `house`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.user: Credential = self.store.tree.user
        self.files: Filesystem = client(self.store)
        self.devices = Devices(SmallFiles(self.files))
        self.held: dict[TreePath, tuple[MemoryClaims, str]] = {}
        self.epoch = 0
        self.gateways: dict[str, tuple[Gateway, Filesystem, MemoryClaims, Runtime]] = {}
        self.programs: list[Program] = []
        self.opened: list[Peer] = []

    def path(self, *names: str) -> TreePath:
        return TreePath("/" + "/".join([self.user.tree, *names]))

    async def gateway(self, name: str = "pi", **settings: Any) -> Gateway:
        """Start a gateway on this machine."""
        who = process_credential(
            self.user, name, now=int(time.time()), draw=drawn(zlib.crc32(name.encode()))
        )
        runtime = Runtime(who.path)
        claims = MemoryClaims(self, runtime)
        files = client(self.store, name)
        await files.start()
        given = {"host": "127.0.0.1", "udp": 0, "tls": 0, "serial": (), "discover": False}
        above = Above(who, self.user.key, runtime, files, claims, MemorySurvey(self), claims.ask)
        chosen = Settings("", **{**given, **settings})
        gateway = Gateway(chosen, above, commit_s=0.1, publish_s=0.1)
        await gateway.start()
        self.gateways[name] = gateway, files, claims, runtime
        return gateway

    async def kill(self, name: str) -> None:
        """A gateway dies: nothing is committed, nothing withdrawn; its lease ends."""
        self.gateways[name][2].alive = False
        await self.drop(name)

    async def drop(self, name: str) -> None:
        """Everything that a gateway does ends where it is."""
        gateway, *_ = self.gateways.pop(name)
        for task in gateway._tasks:
            task.cancel()
        for actor in gateway.speaking.held.values():
            if actor.keeper is not None:
                actor.keeper._task.cancel()
        if gateway.udp is not None:
            gateway.udp.close()
        for task in gateway._port_tasks.values():
            task.cancel()
        await gateway.tls.close()

    async def stop(self, name: str) -> None:
        """A gateway stops in order."""
        gateway, files, _, runtime = self.gateways.pop(name)
        await gateway.stop()
        await runtime.close()
        await files.close()

    async def close(self) -> None:
        for program in self.programs:
            program.stop()
        for peer in self.opened:
            peer.close()
        for name in list(self.gateways):
            await self.stop(name)
        await self.files.close()

    # devices

    async def adopt(
        self, place: Place, setup: bytes | None, *, port: str = "", udp: tuple[str, int] = ("", 0)
    ) -> Device:
        """Pair a device: by cable on `port`, or by its setup code at the address `udp`."""
        records = await self.devices.gateways()
        circle: Circle = circle_of(self.user.tree, records, (), self.user)
        path = self.path(*[name.decode() for name in place])
        adoption, record = new_adoption(self.user, path, circle, "unix", ("", ""))
        pairer = Pairer(setup)
        if port:
            line = SerialPort(port, pairer.heard)
            task = asyncio.get_running_loop().create_task(line.run())
            try:
                await pairer.adopt(adoption, line.send)
                device = await settle(self.devices, place, record)
                await pairer.close()
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            return device
        sock = await open_udp(pairer.heard, "127.0.0.1", 0)
        try:
            await pairer.adopt(adoption, lambda probe: sock.send(probe, udp))
            device = await settle(self.devices, place, record)
            await pairer.close()
        finally:
            sock.close()
            await asyncio.sleep(0)
        return device

    async def app(self, place: Place, name: str, content: bytes) -> PushApp:
        """An app that this house's user vouches for."""
        record = (await self.devices.require(place)).record
        secret = record.reading_secrets(self.user.key)[record.epoch]
        digest = hashlib.sha256(content).digest()
        return PushApp(name, vouch(record.device, secret, record.epoch, digest), content)

    async def ask(self, place: Place, message: Record, expect: type[_T]) -> _T:
        """Ask whoever speaks for a device."""
        path = self.path(*[name.decode() for name in place])
        holder = self.held.get(path)
        if holder is None or not holder[0].alive:
            raise Fault(Kind.UNREACHABLE, "nobody answers there", path=path)
        answer = await holder[0].ask(path, message)
        assert isinstance(answer, expect)
        return answer

    async def state(self, place: Place) -> DeviceState:
        return await self.ask(place, GetDevice(), DeviceState)

    async def until_here(self, place: Place, link: str = "", seconds: float = 30.0) -> DeviceState:
        """Wait until a device is in session."""

        async def here() -> DeviceState | None:
            try:
                state = await self.state(place)
            except Fault:
                return None
            fits = state.link == link if link else state.link != ""
            return state if fits and state.runtime else None

        return await until(here, seconds)

    async def until_away(self, place: Place) -> DeviceState:
        async def away() -> DeviceState | None:
            state = await self.state(place)
            return None if state.link else state

        return await until(away)

    async def until_app(self, place: Place, name: str, standing: AppStanding) -> DeviceState:
        async def runs() -> DeviceState | None:
            state = await self.state(place)
            return state if (state.app, state.app_state) == (name, standing) else None

        return await until(runs)

    async def until_command(self, place: Place, perform: Perform) -> Performed:
        """Try a command until the app that takes it runs."""

        async def done() -> Performed | None:
            performed = await self.ask(place, perform, Performed)
            return performed if performed.kind == 0 else None

        return await until(done)

    async def until_epoch(self, place: Place, epoch: int) -> Device:
        async def there() -> Device | None:
            device = await self.devices.require(place)
            return device if device.record.epoch == epoch else None

        return await until(there)

    async def until_published(self, place: Place, seq: int) -> None:
        """Wait until `last` tells of this reading or a later one."""

        async def told() -> bool | None:
            last = await self.devices.files.read((*place, b"last")) or b"seq -1"
            return True if int(last.split()[-1]) >= seq else None

        await until(told)

    async def until_unknown(self, gateway: Gateway, device: bytes) -> None:
        """Wait until a gateway speaks for a device no more."""

        async def gone() -> bool | None:
            known = gateway.roll.by_id.get(device)
            out = known is not None and not known.belongs
            return True if out and device not in gateway.speaking.held else None

        await until(gone)

    async def until_held(self, gateway: Gateway, device: bytes) -> None:
        async def held() -> bool | None:
            return True if device in gateway.speaking.held else None

        await until(held)

    async def proof(self, place: Place) -> Proof:
        """What a reader finds in the tree."""
        device = await self.devices.require(place)
        record = device.record
        reader = Reader(record.device, record.reading_secrets(self.user.key), record.principal)
        return prove(await StreamFile(self.devices.files, place).read_all(), reader)

    async def until_readings(self, place: Place, count: int) -> Proof:
        async def enough() -> Proof | None:
            proof = await self.proof(place)
            return proof if len(proof.readings) >= count else None

        return await until(enough)


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    made = House(folder)
    await made.files.start()
    try:
        yield made
    finally:
        await made.close()


async def until(look: Callable[[], Awaitable[_T | None]], seconds: float = 30.0) -> _T:
    """Wait until `look` finds something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = await look()
        if found is not None:
            return found
        await asyncio.sleep(0.05)
    raise AssertionError(f"did not come within {seconds} s")


class Program:
    """A device: the real runtime as a process."""

    def __init__(self, interpreter: str, folder: Path, **config: Any) -> None:
        self.interpreter = interpreter
        self.folder = folder
        self.config = {
            "folder": str(folder / "flash"),
            "board": "unix",
            "app": {"folder": str(BOARDS / "apps" / "climate"), "name": "climate"},
            "settings": {"sensor": "simulated", "every": 200},
            "checkpoint": 1,
            "prove": 3,
            **config,
        }
        self.setup, self.port = b"", 0
        self.before: list[str] = []  # of its command: where it runs
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, **changes: Any) -> None:
        self.config.update(changes)
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "flash").mkdir(exist_ok=True)
        settings = self.folder / "config.json"
        settings.write_text(json.dumps(self.config))
        runtime = BOARDS / "runtime"
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self.before, self.interpreter, str(runtime / "main.py"), str(settings)],
                env={**os.environ, "MICROPYPATH": f".frozen:{runtime}", "PYTHONPATH": str(runtime)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
            )

    def stop(self) -> None:
        """Pull its plug."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")


class Cable:
    """A serial line between two device files, which can be pulled and plugged in again."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.ends = folder / "tty-a", folder / "tty-b"
        self._masters: list[int] = []
        self._slaves: list[int] = []
        self.noise = b""
        self.cut = False

    def plug(self) -> None:
        loop = asyncio.get_running_loop()
        for end in self.ends:
            master, slave = os.openpty()
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._masters.append(master)
            self._slaves.append(slave)
            end.unlink(missing_ok=True)
            end.symlink_to(os.ttyname(slave))
        a, b = self._masters
        loop.add_reader(a, self._carry, a, b)
        loop.add_reader(b, self._carry, b, a)

    def pull(self) -> None:
        for master in self._masters:
            asyncio.get_running_loop().remove_reader(master)
            os.close(master)
        for slave in self._slaves:
            os.close(slave)
        self._masters, self._slaves = [], []
        for end in self.ends:
            end.unlink(missing_ok=True)

    def _carry(self, source: int, target: int) -> None:
        with contextlib.suppress(OSError):
            data = os.read(source, 4096)
            if not self.cut:
                os.write(target, self.noise + data)


PYTHON = sys.executable


async def udp_device(
    home: House, interpreter: str, place: Place, name: str = "device", **config: Any
) -> tuple[Program, Device]:
    """A device that was paired by its setup code and speaks UDP with every gateway there is."""
    setup, port = os.urandom(16), free_udp_port()
    program = Program(interpreter, home.folder / name, setup=write_code(setup), **config)
    program.setup, program.port = setup, port
    home.programs.append(program)
    program.start(links=[udp_link(home, port)])
    device = await home.adopt(place, setup, udp=("127.0.0.1", port))
    return program, device


def udp_link(home: House, port: int = 0) -> dict[str, Any]:
    numbers = [gateway.udp.number for gateway, *_ in home.gateways.values() if gateway.udp]
    known = [f"127.0.0.1:{number}" for number in numbers]
    return {"kind": "udp", "port": port, "broadcast": False, "gateways": known}


def tls_link(home: House) -> dict[str, Any]:
    known = [
        f"{gateway._above.credential.path} 127.0.0.1 {gateway.tls.number}"
        for gateway, *_ in home.gateways.values()
    ]
    return {"kind": "tls", "gateways": known}


def free_udp_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
