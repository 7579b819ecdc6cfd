"""Real devices on a real gateway: MicroPython over a serial line, UDP and TLS."""

import asyncio
import os
from pathlib import Path

from blocktree_gateway.pairing import write_code
from gateway.house import Cable, Program, house

ATTIC = (b"sensors", b"attic")


def test_a_device_is_paired_by_cable_and_its_readings_are_proved(
    tmp_path: Path, micropython: str
) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            cable = Cable(tmp_path / "cable")
            cable.plug()
            near, far = cable.ends
            gateway = await home.gateway()
            device = Program(micropython, tmp_path / "device")
            home.programs.append(device)
            device.start(links=[{"kind": "serial", "path": str(far)}])
            paired = await home.adopt(ATTIC, None, port=str(near))
            await home.stop("pi")
            gateway = await home.gateway(serial=(str(near),))
            state = await home.until_here(ATTIC, "serial")
            assert state.device == paired.device
            assert state.columns == ("temperature °C -2", "humidity % -1")
            proof = await home.until_readings(ATTIC, 5)
            assert proof.faults == []
            assert proof.gaps == []
            del gateway
            cable.pull()

    asyncio.run(scene())


def test_a_device_is_paired_by_its_setup_code_over_udp(tmp_path: Path, micropython: str) -> None:
    async def scene() -> None:
        async with house(tmp_path) as home:
            gateway = await home.gateway()
            assert gateway.udp is not None
            setup = os.urandom(16)
            device = Program(micropython, tmp_path / "device")
            home.programs.append(device)
            device.start(
                setup=write_code(setup),
                links=[
                    {
                        "kind": "udp",
                        "port": 45780,
                        "broadcast": False,
                        "gateways": [f"127.0.0.1:{gateway.udp.number}"],
                    }
                ],
            )
            await home.adopt(ATTIC, setup, udp=("127.0.0.1", 45780))
            await home.until_here(ATTIC, "udp")
            proof = await home.until_readings(ATTIC, 5)
            assert proof.holds

    asyncio.run(scene())
