"""What `bench_devices` measures beside us: MQTT through Mosquitto, CoAP with OSCORE.

Each answers one small request after the other; what comes back is the seconds of each round trip.
The answering side is a process of its own, as a device is.
"""

# ruff: noqa: ANN001, ANN202, ASYNC220, PLC0415, SLF001 - peers are loaded when they are measured

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

PAYLOAD = b"\xa1\x62on\xf5"
_READY_SECONDS = 10.0
_MASTER = "0102030405060708090a0b0c0d0e0f10"


def free_port(kind: socket.SocketKind = socket.SOCK_STREAM) -> int:
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def mqtt(folder: Path, count: int) -> list[float]:
    """QoS 1 publishes, each waiting for the broker's acknowledgement; TCP_NODELAY on both sides."""
    import aiomqtt

    program = shutil.which("mosquitto", path=os.environ["PATH"] + ":/usr/sbin")
    if program is None:
        sys.exit("mosquitto is missing: apt-get install mosquitto")
    port = free_port()
    config = folder / "mosquitto.conf"
    config.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\n")
    broker = subprocess.Popen([program, "-c", str(config)], stderr=subprocess.DEVNULL)
    try:
        await _until_open(port)
        async with aiomqtt.Client("127.0.0.1", port) as client:
            sock = client._client.socket()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return await _timed(lambda: client.publish("lamp/set", PAYLOAD, qos=1), count)
    finally:
        broker.terminate()
        broker.wait()


async def coap(folder: Path, count: int) -> list[float]:
    """Confirmable PUTs under OSCORE (RFC 8613), answered piggybacked."""
    import aiocoap
    from aiocoap import oscore

    port = free_port(socket.SOCK_DGRAM)
    for name, mine, theirs in (("client", "01", "02"), ("server", "02", "01")):
        context = folder / name
        context.mkdir()
        settings = {
            "sender-id_hex": mine,
            "recipient-id_hex": theirs,
            "secret_hex": _MASTER,
            "algorithm": "AES-CCM-16-64-128",
        }
        (context / "settings.json").write_text(json.dumps(settings))
    server = subprocess.Popen([sys.executable, __file__, str(folder / "server"), str(port)])
    try:
        context = await aiocoap.Context.create_client_context()
        uri = f"coap://127.0.0.1:{port}/lamp"
        context.client_credentials[uri] = oscore.FilesystemSecurityContext(str(folder / "client"))

        async def put() -> None:
            request = aiocoap.Message(code=aiocoap.PUT, payload=PAYLOAD, uri=uri)
            answer = await context.request(request).response
            assert answer.code.is_successful(), answer.code

        for _ in range(50):  # until the server is up
            try:
                await asyncio.wait_for(put(), 1.0)
                break
            except (TimeoutError, OSError, aiocoap.error.Error):
                await asyncio.sleep(0.2)
        times = await _timed(put, count)
        await context.shutdown()
        return times
    finally:
        server.terminate()
        server.wait()


async def _timed(call, count: int) -> list[float]:
    for _ in range(20):
        await call()
    times = []
    for _ in range(count):
        begun = time.perf_counter()
        await call()
        times.append(time.perf_counter() - begun)
    return times


async def _until_open(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        await asyncio.sleep(0.05)
    sys.exit("the broker does not start")


async def serve_coap(folder: str, port: int) -> None:
    """The answering side of `coap`."""
    import aiocoap
    from aiocoap import oscore, resource
    from aiocoap.oscore_sitewrapper import OscoreSiteWrapper

    class Lamp(resource.Resource):
        async def render_put(self, request):
            return aiocoap.Message(code=aiocoap.CHANGED, payload=request.payload)

    site = resource.Site()
    site.add_resource(["lamp"], Lamp())
    context = await aiocoap.Context.create_server_context(None, bind=("127.0.0.1", port))
    context.server_credentials[":a"] = oscore.FilesystemSecurityContext(folder)
    context.serversite = OscoreSiteWrapper(site, context.server_credentials)
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve_coap(sys.argv[1], int(sys.argv[2])))
