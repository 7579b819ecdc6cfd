"""Real devices on a real gateway: MicroPython over a serial line, UDP and TLS."""

import asyncio
import os
import time
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from blocktree.fault import Fault, Kind
from blocktree_gateway.adopting import circle_of, rotation
from blocktree_gateway.appfile import pack_app
from blocktree_gateway.devicemessages import Perform, Performed, Pushed
from blocktree_gateway.messages import AppStanding
from blocktree_gateway.pairing import write_code
from gateway.house import (
    BOARDS,
    Cable,
    Program,
    free_udp_port,
    house,
    tls_link,
    udp_device,
    udp_link,
)

ATTIC = (b"sensors", b"attic")
LOFT = (b"sensors", b"loft")


def perform(name: str, *arguments: object, wait_ms: int = 5000) -> Perform:
    return Perform(name, cbor2.dumps(list(arguments)), wait_ms)


def test_a_device_is_paired_by_cable_and_its_readings_are_proved(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            cable = Cable(tmp_path / "cable")
            cable.plug()
            near, far = cable.ends
            await home.gateway()
            device = Program(micropython, tmp_path / "device")
            home.programs.append(device)
            device.start(links=[{"kind": "serial", "path": str(far)}])
            paired = await home.adopt(ATTIC, None, port=str(near))
            await home.stop("pi")
            await home.gateway(serial=(str(near),))
            await home.until_here(ATTIC, "serial")
            proof = await home.until_readings(ATTIC, 5)
            assert proof.holds
            assert proof.signed_to is not None
            state = await home.state(ATTIC)
            assert state.device == paired.device
            assert state.columns == ("temperature °C -2", "humidity % -1")
            cable.pull()
            await home.until_away(ATTIC)
            cable.plug()
            await home.until_here(ATTIC, "serial")
            before = (await home.state(ATTIC)).kept_seq
            proof = await home.until_readings(ATTIC, before + 5)
            assert proof.holds
            cable.pull()

    asyncio.run(scene())


def test_a_command_is_acknowledged_with_its_result_and_its_time(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            await udp_device(home, micropython, ATTIC, app=app("switch"))
            await home.until_here(ATTIC, "udp")
            done = await home.ask(ATTIC, perform("Led.set", *[True]), Performed)
            assert done.kind == 0
            assert cbor2.loads(done.result) == [True]
            assert done.time_ms is None or abs(done.time_ms - time.time() * 1000) < 60_000
            wrong = await home.ask(ATTIC, perform("Led.set", "on"), Performed)
            assert Kind(wrong.kind) is Kind.USAGE
            assert "on:bool" in cbor2.loads(wrong.result)[0]
            unknown = await home.ask(ATTIC, perform("Door.open"), Performed)
            assert Kind(unknown.kind) is Kind.NOT_FOUND

    asyncio.run(scene())


def test_a_command_to_a_device_that_is_off_waits_and_is_done_once_when_it_is_back(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            program, _ = await udp_device(home, micropython, ATTIC, app=app("switch"))
            await home.until_here(ATTIC, "udp")
            program.stop()
            queued = await home.ask(ATTIC, perform("Led.toggle", wait_ms=200), Performed)
            assert Kind(queued.kind) is Kind.BUSY
            program.start()
            again = Perform("Led.toggle", b"\x80", 20_000, id=queued.id)
            done = await home.ask(ATTIC, again, Performed)
            assert done.kind == 0
            assert cbor2.loads(done.result) == [True]
            asked = await home.ask(ATTIC, perform("Led.get"), Performed)
            assert cbor2.loads(asked.result) == [True]

    asyncio.run(scene())


def test_a_device_that_moves_from_cable_to_network_keeps_identity_path_and_numbers(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            cable = Cable(tmp_path / "cable")
            cable.plug()
            near, far = cable.ends
            await home.gateway(serial=(str(near),))
            setup, port = os.urandom(16), free_udp_port()
            device = Program(micropython, tmp_path / "device", setup=write_code(setup))
            home.programs.append(device)
            serial = {"kind": "serial", "path": str(far)}
            device.start(links=[serial, udp_link(home, port)])
            paired = await home.adopt(ATTIC, setup, udp=("127.0.0.1", port))
            await home.until_here(ATTIC, "serial")
            await home.until_readings(ATTIC, 3)
            cable.pull()
            state = await home.until_here(ATTIC, "udp")
            assert state.device == paired.device
            proof = await home.until_readings(ATTIC, state.kept_seq + 5)
            assert proof.holds
            assert len({told.place[0] for told in proof.told}) == 1

    asyncio.run(scene())


def test_a_device_speaks_tls_and_is_known_by_its_certificate(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            setup, port = os.urandom(16), free_udp_port()
            device = Program(micropython, tmp_path / "device", setup=write_code(setup))
            home.programs.append(device)
            device.start(links=[tls_link(home), udp_link(home, port)])
            paired = await home.adopt(ATTIC, setup, udp=("127.0.0.1", port))
            state = await home.until_here(ATTIC, "mtls")
            assert state.device == paired.device
            assert (await home.until_readings(ATTIC, 4)).holds
            done = await home.ask(ATTIC, perform("Climate.now"), Performed)
            assert done.kind == 0

    asyncio.run(scene())


def test_an_hour_without_a_gateway_is_delivered_later_without_a_gap(
    tmp_path: Path, micropython: str
) -> None:
    """The hour is compressed: sixty readings are made while no gateway is there."""

    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            assert gateway.udp is not None
            port = gateway.udp.number
            await udp_device(
                home, micropython, ATTIC, settings={"sensor": "simulated", "every": 60}
            )
            before = await home.until_readings(ATTIC, 3)
            await home.stop("pi")
            gone = len((await home.proof(ATTIC)).readings)
            await asyncio.sleep(4.5)
            assert len((await home.proof(ATTIC)).readings) == gone
            await home.gateway(udp=port)
            proof = await home.until_readings(ATTIC, gone + 60)
            assert proof.gaps == []
            assert proof.faults == []
            assert len(before.readings) >= 3
            times = [told.time_ms for told in proof.readings]
            assert None not in times
            assert times == sorted(times, key=lambda each: each or 0)

    asyncio.run(scene())


def test_a_device_revoked_while_it_is_off_is_refused_at_its_first_packet_and_can_come_back(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            program, device = await udp_device(home, micropython, ATTIC)
            await home.until_readings(ATTIC, 2)
            program.stop()
            now = await home.devices.require(ATTIC)
            await home.devices.revoke(now, "sold it", int(time.time()))
            await home.until_unknown(gateway, device.device)
            count = len((await home.proof(ATTIC)).told)
            program.start()
            await asyncio.sleep(2)
            assert device.device not in gateway.speaking.held
            assert len((await home.proof(ATTIC)).told) == count
            again = await home.adopt(ATTIC, program.setup, udp=("127.0.0.1", program.port))
            assert again.device != device.device
            await home.until_here(ATTIC, "udp")
            assert (await home.until_readings(ATTIC, 2)).faults == []
            former = await home.devices.files.names((*ATTIC, b"former"))
            assert former == [device.device[:8].hex().encode()]

    asyncio.run(scene())


def test_a_device_revoked_while_it_is_on_is_put_out(tmp_path: Path, micropython: str) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            _, device = await udp_device(home, micropython, ATTIC)
            await home.until_here(ATTIC, "udp")
            now = await home.devices.require(ATTIC)
            await home.devices.revoke(now, "stolen", int(time.time()))
            await home.until_unknown(gateway, device.device)
            with pytest.raises(Fault):
                await home.state(ATTIC)

    asyncio.run(scene())


def test_new_keys_reach_a_device_and_old_readings_stay_readable(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            await udp_device(home, micropython, ATTIC)
            await home.until_readings(ATTIC, 3)
            device = await home.devices.require(ATTIC)
            circle = circle_of(home.user.tree, await home.devices.gateways(), (), home.user)
            record = rotation(device.record, home.user.key, circle)
            await home.devices.save(replace(device, record=record))
            await home.until_epoch(ATTIC, 2)
            before = len((await home.proof(ATTIC)).readings)
            await home.until_here(ATTIC, "udp")
            proof = await home.until_readings(ATTIC, before + 4)
            assert proof.holds
            newest = proof.readings[-1].place[1]
            await home.until_published(ATTIC, newest)

    asyncio.run(scene())


def test_a_renamed_device_keeps_its_history_and_the_old_path_leads_there(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            _, device = await udp_device(home, micropython, ATTIC)
            await home.until_readings(ATTIC, 3)
            await home.devices.rename(await home.devices.require(ATTIC), LOFT)
            await home.until_here(LOFT, "udp")
            before = len((await home.proof(LOFT)).readings)
            proof = await home.until_readings(LOFT, before + 3)
            assert proof.holds
            assert (await home.devices.require(ATTIC)).place == LOFT
            assert (await home.devices.require(LOFT)).device == device.device

    asyncio.run(scene())


def test_an_app_is_pushed_and_one_that_crashes_falls_back_by_itself(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            await udp_device(home, micropython, ATTIC)
            await home.until_here(ATTIC, "udp")
            good = pack_app({"app.py": GOOD_APP})
            pushed = await home.ask(ATTIC, await home.app(ATTIC, "counter", good), Pushed)
            assert (pushed.kind, pushed.sentence) == (0, "")
            done = await home.until_command(ATTIC, perform("Count.up"))
            assert cbor2.loads(done.result) == [1]
            await home.until_app(ATTIC, "counter", AppStanding.PROVEN)
            bad = pack_app({"app.py": BAD_APP})
            pushed = await home.ask(ATTIC, await home.app(ATTIC, "broken", bad), Pushed)
            assert pushed.kind == 0
            state = await home.until_app(ATTIC, "counter", AppStanding.FALLEN_BACK)
            assert "boom" in state.app_sentence
            done = await home.until_command(ATTIC, perform("Count.up"))
            assert cbor2.loads(done.result) == [1]

    asyncio.run(scene())


def app(name: str) -> dict[str, str]:
    return {"folder": str(BOARDS / "apps" / name), "name": name}


GOOD_APP = b"""
from bt.app import DeviceApp

class App(DeviceApp):
    columns = ("count - 0",)
    commands = ("Count.up",)

    def start(self):
        self._count = 0

    def count_up(self):
        self._count += 1
        self.reading(self._count)
        return self._count
"""

BAD_APP = b"""
from bt.app import DeviceApp

class App(DeviceApp):
    def start(self):
        raise ValueError("boom")
"""
