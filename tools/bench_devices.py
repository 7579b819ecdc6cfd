#!/usr/bin/env python3
"""Devices: a request and its acknowledgement over each link, and a hundred devices on one gateway.

    tools/bench_devices.py [--count 300] [--seconds 60] [--devices 100] [--only links|many] [--json]

Links: a command from the gateway to a device that runs the real runtime in MicroPython, and its
answer, beside MQTT (QoS 1, Mosquitto, aiomqtt, TCP_NODELAY) and CoAP (OSCORE, aiocoap), each one
after the other in the same run. Many: a gateway process over a tree kept by three nodes, each
device one reading a second; CPU is user and system time, memory the resident set, of the gateway.

The peers need: pip install aiomqtt==2.5.1 'aiocoap[oscore]==0.4.17', and Debian's mosquitto.
"""

# ruff: noqa: ASYNC110, E402, PLC0415 - the tests' house is found only once sys.path is set

import argparse
import asyncio
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tools")]

import device_peers
from bench_idle import bt, cpu_seconds, resident_mib

from blocktree.cli.places import Places
from blocktree.client import Client
from blocktree.names import Path as TreePath
from blocktree_gateway.adopting import circle_of, new_adoption, settle
from blocktree_gateway.cli.gateways import gateway_daemon, running
from blocktree_gateway.devicemessages import Perform, Performed
from blocktree_gateway.messages import Reading, Start
from blocktree_gateway.tree.devices import Devices
from blocktree_gateway.tree.smallfiles import SmallFiles
from gateway.house import BOARDS, Cable, House, Program, free_udp_port, house, tls_link, udp_link
from gateway.peer import Peer

LAMP = (b"lamps", b"desk")
SWITCH = {"folder": str(BOARDS / "apps" / "switch"), "name": "switch"}
GET = Perform("Led.get", b"\x80", 8000)
SETTLE_S = 15.0


def micropython() -> str:
    done = subprocess.run(
        [ROOT / "tools" / "get_micropython"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip() or sys.exit(done.stderr)


async def device_link(kind: str, folder: Path, count: int) -> list[float]:
    """Round trips of one of our links."""
    async with house(folder) as home:
        cable = Cable(folder / "cable")
        cable.plug()
        near, far = cable.ends
        await home.gateway(serial=(str(near),))
        setup, port = os.urandom(16), free_udp_port()
        program = Program(micropython(), folder / "device", app=SWITCH, settings={})
        home.programs.append(program)
        links = {"udp": [], "mtls": [tls_link(home)], "serial": [line(far)]}[kind]
        from blocktree_gateway.pairing import write_code

        program.start(setup=write_code(setup), links=[*links, udp_link(home, port)])
        await home.adopt(LAMP, setup, udp=("127.0.0.1", port))
        await home.until_here(LAMP, kind)
        await home.until_command(LAMP, GET)
        times = await timed(home, count)
        cable.pull()
        return times


PEERS_STEP = ".venv/bin/pip install 'aiocoap[oscore]' aiomqtt, and apt-get install mosquitto"


def line(far: Path) -> dict[str, str]:
    return {"kind": "serial", "path": str(far)}


async def timed(home: House, count: int) -> list[float]:
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        done = await home.ask(LAMP, GET, Performed)
        times.append(time.perf_counter() - begun)
        assert done.kind == 0, done
    return times


async def links(count: int) -> list[dict[str, Any]]:
    ways: dict[str, Callable[[Path], Awaitable[list[float]]]] = {
        "ours, UDP": lambda folder: device_link("udp", folder, count),
        "ours, serial": lambda folder: device_link("serial", folder, count),
        "ours, mTLS": lambda folder: device_link("mtls", folder, count),
        "CoAP, OSCORE (aiocoap)": lambda folder: device_peers.coap(folder, count),
        "MQTT, QoS 1 (Mosquitto)": lambda folder: device_peers.mqtt(folder, count),
    }
    rows = []
    for name, way in ways.items():
        with tempfile.TemporaryDirectory(prefix="bench-", dir=fast_folder()) as folder:
            try:
                times = sorted(await way(Path(folder)))
            except ModuleNotFoundError as missing:
                print(f"{name}: not measured, {missing}: {PEERS_STEP}", file=sys.stderr)
                continue
        at = {p: times[int(len(times) * p / 100)] * 1000 for p in (50, 99)}
        rows.append({"way": name, "p50_ms": at[50], "p99_ms": at[99]})
        print(f"{name}: p50 {at[50]:.2f} ms, p99 {at[99]:.2f} ms", file=sys.stderr)
    return rows


def fast_folder() -> str | None:
    """Memory, where there is such a folder: OSCORE saves its counters in files, and waits."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


async def many(devices: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="bench-devices-") as folder:
        state = Path(folder) / "state"
        os.environ["BLOCKTREE_STATE"] = str(state)
        try:
            bt(state, "up", "--sim", "3")
            return await crowd(Places(state), devices, seconds)
        finally:
            bt(state, "down", "--purge", "--yes", "home")


async def crowd(places: Places, count: int, seconds: float) -> dict[str, Any]:
    daemon = gateway_daemon(places, "sim")
    while (ready := running(daemon)) is None:
        await asyncio.sleep(0.2)
    pid = daemon.pid()
    assert pid is not None
    peers: list[Peer] = []
    await adopt_all(places, count, ready.udp, peers)
    await asyncio.gather(*(peer.enter(60.0) for peer in peers))
    stop = asyncio.Event()
    work = [asyncio.create_task(measure(peer, n / count, stop)) for n, peer in enumerate(peers)]
    await asyncio.sleep(SETTLE_S)
    cpu, begun = cpu_seconds(pid), time.monotonic()
    sent = sum(peer.seq for peer in peers)
    await asyncio.sleep(seconds)
    took = time.monotonic() - begun
    share = 100 * (cpu_seconds(pid) - cpu) / took
    rate = (sum(peer.seq for peer in peers) - sent) / took
    memory = resident_mib(pid)
    stop.set()
    await asyncio.gather(*work)
    for peer in peers:
        peer.close()
    await asyncio.sleep(0)
    return {
        "devices": count,
        "readings_s": rate,
        "cpu_percent": share,
        "memory_mib": memory,
    }


async def adopt_all(places: Places, count: int, port: int, peers: list[Peer]) -> None:
    """Records of so many devices, as pairing makes them."""
    place = places.only_tree()
    user = place.user()
    client = Client(user, seeds=place.seeds())
    await client.start()
    try:
        devices = Devices(SmallFiles(await client.open_files()))
        circle = circle_of(user.tree, await devices.gateways(), client.members, user)
        for number in range(count):
            where = (b"crowd", b"%03d" % number)
            path = TreePath(f"/{user.tree}/crowd/{number:03d}")
            adoption, record = new_adoption(user, path, circle, "peer", ("", ""))
            await settle(devices, where, record)
            await Peer(adoption, ("127.0.0.1", port)).open(peers)
    finally:
        await client.close()


async def measure(peer: Peer, phase: float, stop: asyncio.Event) -> None:
    """One device: a reading a second."""
    peer.on_message = lambda _: None
    peer.greet()
    peer.say(peer.entry(Start("", bytes(8), ("count - 0",), 0, 0, bytes(32))))
    await asyncio.sleep(phase)
    value, due = 0, time.monotonic()
    while not stop.is_set():
        value, due = value + 1, due + 1.0
        assert peer.session is not None
        if peer.session.room > 0:
            now = time.time_ns() // 1_000_000
            peer.say(peer.entry(Reading(value * 1000, now, (value,))))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(0.0, due - time.monotonic()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300, help="round trips of each link")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--devices", type=int, default=100)
    parser.add_argument("--only", choices=("links", "many"))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    result: dict[str, Any] = {"schema": "bench.devices/1"}
    if chosen.only != "many":
        result["links"] = asyncio.run(links(chosen.count))
    if chosen.only != "links":
        result["many"] = asyncio.run(many(chosen.devices, chosen.seconds))
    if chosen.json:
        print(json.dumps(result, indent=2))
        return
    for row in result.get("links", []):
        print(f"{row['way']:<26} p50 {row['p50_ms']:7.2f} ms   p99 {row['p99_ms']:7.2f} ms")
    if crowd_row := result.get("many"):
        print(
            f"{crowd_row['devices']} devices, {crowd_row['readings_s']:.0f} readings/s: "
            f"{crowd_row['cpu_percent']:.1f} % of a core, {crowd_row['memory_mib']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
