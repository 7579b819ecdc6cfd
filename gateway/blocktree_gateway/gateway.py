"""The one place where a gateway is wired: links to devices below, the tree above."""

import asyncio
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path as File

from blocktree.actors import Runtime
from blocktree.fault import Fault
from blocktree.files.volume import Volume
from blocktree.keys import Credential, Identity, Key, Principal, check_chain
from blocktree.keys.certificate import read_certificate
from blocktree.link.network import own_addresses
from blocktree.names import Path
from blocktree_gateway.announcing import Announcement
from blocktree_gateway.deviceactor import Surroundings
from blocktree_gateway.folder import Settings
from blocktree_gateway.keeping import COMMIT_S
from blocktree_gateway.links.serialport import SerialPort
from blocktree_gateway.links.tls import TlsPort, device_context
from blocktree_gateway.links.udp import UdpPort, open_udp
from blocktree_gateway.publishing import PUBLISH_S
from blocktree_gateway.reception import Reception
from blocktree_gateway.roll import Known, Roll
from blocktree_gateway.scanning import everyone
from blocktree_gateway.secured import SecureReception
from blocktree_gateway.session.door import Door
from blocktree_gateway.session.keys import Purpose
from blocktree_gateway.session.packets import encode_probe
from blocktree_gateway.speaking import Ask, Claims, Speaking, survey_pause
from blocktree_gateway.tree.devices import Devices
from blocktree_gateway.tree.records import GatewayRecord
from blocktree_gateway.tree.smallfiles import SmallFiles

log = logging.getLogger(__name__)

ROLL_S = 1.0  # between two looks at who belongs
PORTS_S = 1.0  # between two looks for serial ports
GATEWAYS_S = 3.0  # between two looks at the other gateways
GATEWAYS_TOLD_MAX = 3  # to a device, in one message
_AUTO = ("ttyUSB*", "ttyACM*")
_GATEWAYS_BYTES_MAX = 200
_LOOPBACK = "127."


class Survey:
    """Says at which paths anybody answers. Wired by the process (`__main__`)."""

    async def answered(self) -> Sequence[Path]:
        """Every such path of the tree."""
        return ()


@dataclass(frozen=True, slots=True)
class Above:
    """What a gateway uses of the tree.

    Args:
        credential: who the gateway is.
        user: for whom it runs: opens reading secrets so that readings can be published.
        runtime: its actors.
        volume: the tree's files.
        claims: holds paths alone.
        survey: finds devices that nobody speaks for.
        ask: asks who answers at a path.
    """

    credential: Credential
    user: Key
    runtime: Runtime
    volume: Volume
    claims: Claims
    survey: Survey
    ask: Ask


class Gateway:
    """A gateway: `start` it, `stop` it.

    Args:
        settings: where it listens.
        above: the tree.
        commit_s: between two commits of a busy device's readings.
        publish_s: between two writes of them for people.
        ports: further serial ports, and those to let go of now.
    """

    def __init__(
        self,
        settings: Settings,
        above: Above,
        *,
        commit_s: float = COMMIT_S,
        publish_s: float = PUBLISH_S,
        ports: Callable[[], tuple[set[str], set[str]]] = lambda: (set(), set()),
    ) -> None:
        self._settings = settings
        self._more_ports = ports
        self._above = above
        who = above.credential
        self.devices = Devices(SmallFiles(above.volume))
        self.roll = Roll(self.devices, who.key)
        self._door = Door(os.urandom(32))
        self.speaking = Speaking(
            tree=who.tree,
            runtime=above.runtime,
            claims=above.claims,
            devices=self.devices,
            roll=self.roll,
            reader_key=above.user,
            ask=above.ask,
            around=Surroundings(who.path, self._told_gateways, lambda *_: None, lambda _: None),
            call=self._call,
            commit_s=commit_s,
            publish_s=publish_s,
        )
        speaking = self.speaking
        self.reception = Reception(self.roll, self._door, speaking.listener, speaking.elsewhere)
        self._secure = SecureReception(self.roll, speaking.listener)
        self._context: ssl.SSLContext = device_context(who)
        self.tls = TlsPort(self._context, self._secure.heard, self._secure.gone)
        self._trusted = set(who.chain[1:])  # certificates that TLS knows
        self._given: object = None  # what was so when secrets were last given on
        self.udp: UdpPort | None = None
        self.ports: dict[str, SerialPort] = {}
        self._port_tasks: dict[str, asyncio.Task[None]] = {}
        self._announcement: Announcement | None = None
        self._gateways: list[GatewayRecord] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Listen, and speak for what nobody else speaks for.

        Raises:
            Fault: EXISTS if a port is taken; what the tree says if the gateway may not write there.
        """
        self.udp = await open_udp(self.reception.heard, self._settings.host, self._settings.udp)
        await self.tls.listen(self._settings.host, self._settings.tls)
        self._door.tls_port = self.tls.number
        await self._register()
        await self.roll.refresh()
        self._trust_pairers()
        if self._settings.discover:
            self._announcement = Announcement(
                self._above.credential, self.udp.number, self.tls.number
            )
            self._announcement.start()
        for work in (self._watch_roll, self._watch_ports, self._watch_gateways, self._look_around):
            self._tasks.append(asyncio.get_running_loop().create_task(work()))

    async def stop(self) -> None:
        """Keep what can be kept, and go."""
        for task in (*self._tasks, *self._port_tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, *self._port_tasks.values(), return_exceptions=True)
        if self._announcement is not None:
            await self._announcement.stop()
        await self.speaking.close()
        if self.udp is not None:
            self.udp.close()
        await self.tls.close()
        await asyncio.sleep(0)  # for what was closed to be gone

    # inside

    def _told_gateways(self) -> Sequence[str]:
        """What devices are told: this gateway first; what fits in one message."""
        mine = self._above.credential.path
        ordered = sorted(self._gateways, key=lambda each: each.path != mine)
        told: list[str] = []
        for each in ordered[:GATEWAYS_TOLD_MAX]:
            below = each.path.split("/", 2)[2]  # a device knows its tree
            line = f"/-/{below} {each.addresses[0]}" if each.addresses else ""
            if line and sum(map(len, told)) + len(line.encode()) <= _GATEWAYS_BYTES_MAX:
                told.append(line)
        return told

    def _call(self, known: Known) -> None:
        """Ask a device to say hello, on every network that is listened to."""
        if self.udp is None or self._settings.host.startswith(_LOOPBACK):
            return
        for where in everyone():
            self.udp.send(encode_probe(Purpose.SERVE, known.device.record.hint), where)

    async def _register(self) -> None:
        assert self.udp is not None
        who = self._above.credential
        hosts = (self._settings.host,) if self._settings.host else own_addresses()
        addresses = tuple(f"{host} {self.udp.number} {self.tls.number}" for host in hosts[:4])
        record = GatewayRecord(who.path, who.chain, addresses)
        await self.devices.add_gateway(who.principal, record)
        self._gateways = list(await self.devices.gateways())

    async def _watch_roll(self) -> None:
        while True:
            await asyncio.sleep(ROLL_S)
            try:
                changed = await self.roll.refresh()
            except Fault as fault:
                log.warning("cannot see who belongs now: %s", fault)
                continue
            if changed:
                self._trust_pairers()
                self.speaking.changed(changed)

    async def _watch_gateways(self) -> None:
        while True:
            try:
                self._gateways = list(await self.devices.gateways())
                await self._give_on()
            except Fault as fault:
                log.warning("cannot see the other gateways now: %s", fault)
            await asyncio.sleep(GATEWAYS_S)

    async def _give_on(self) -> None:
        lawful = self._lawful()
        state = [each.id for each in lawful], self.roll.version, len(self.speaking.held)
        if state != self._given:
            await self.speaking.give_on(lawful)
            self._given = state

    async def _look_around(self) -> None:
        while True:
            try:
                self.speaking.survey(await self._above.survey.answered())
            except Fault as fault:
                log.warning("cannot see who speaks for devices now: %s", fault)
            await asyncio.sleep(survey_pause())

    async def _watch_ports(self) -> None:
        while True:
            wanted = self._wanted_ports()
            for port in wanted - self._port_tasks.keys():
                made = self.ports[port] = SerialPort(port, self.reception.heard)
                self._port_tasks[port] = asyncio.get_running_loop().create_task(made.run())
            for port in self._port_tasks.keys() - wanted:
                self._port_tasks.pop(port).cancel()
                self.reception.gone(self.ports.pop(port))
            for made in self.ports.values():
                if not made.plugged:
                    self.reception.gone(made)
            await asyncio.sleep(PORTS_S)

    def _wanted_ports(self) -> set[str]:
        more, released = self._more_ports()
        wanted = {port for port in self._settings.serial if port != "auto"} | more
        if "auto" in self._settings.serial:
            for pattern in _AUTO:
                wanted |= set(map(str, File("/dev").glob(pattern)))
        return wanted - released

    def _lawful(self) -> list[Principal]:
        """The keys of gateways whose chains hold, and that act for a user of this tree."""
        found = []
        for each in self._gateways:
            try:
                identity: Identity = check_chain(each.chain, self._above.credential.tree, None)
            except Fault as fault:
                log.warning("the gateway %s is not trusted: %s", each.path, fault)
                continue
            if identity.path == each.path and identity.acts_for != identity.principal:
                found.append(read_certificate(each.chain[0]).principal)
        return found

    def _trust_pairers(self) -> None:
        """Let TLS know the certificates of users who paired devices."""
        chains = (known.device.record.chain[1:] for known in self.roll.by_id.values())
        for certificate in {each for chain in chains for each in chain} - self._trusted:
            self._context.load_verify_locations(cadata=certificate)
            self._trusted.add(certificate)
