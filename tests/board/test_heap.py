"""What the runtime needs on an interpreter with 32-bit words, as boards have.

The loaded bytecode has a budget of its own: frozen into firmware it would be flash, not heap.
"""

import subprocess
import sys
from pathlib import Path

import pytest

import board.peer as p
from board.dialling import start_tls
from board.running import ROOT, environment
from board.small_gateway import SmallGateway
from board.world import World, chain_holds
from link.tree import make_node

CODE_MAX = 80 << 10
PACKETS_MAX = 32 << 10  # beside the code: serial or UDP
TLS_MAX = 40 << 10  # more, for one connection
TLS_LIBRARY = 27 << 10  # of it mbedTLS's own, measured on Cortex-M3; here it is outside this heap

COUNT = """
import gc, sys
gc.collect()
before = gc.mem_alloc()
import asyncio, json
from bt import device, wifi, app, serial_link, udp_link, tls_link
gc.collect()
print(gc.mem_alloc() - before)
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runtime as it is put on boards."""
    folder = tmp_path_factory.mktemp("runtime")
    command = [sys.executable, str(ROOT / "tools" / "compile_runtime.py"), str(folder)]
    subprocess.run(command, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def code(compiled: Path, micropython_32: str) -> int:
    """Bytes of heap that the loaded modules take."""
    done = subprocess.run(
        [micropython_32, "-c", COUNT],
        env=environment(compiled),
        capture_output=True,
        text=True,
        check=True,
    )
    return int(done.stdout)


def test_the_modules_fit_their_budget(code: int) -> None:
    assert code <= CODE_MAX


def put_to_work(gateway: SmallGateway) -> None:
    """Readings, commands, a checkpoint, and an app pushed in the largest packets there are."""
    gateway.until(lambda: len(gateway.readings()) >= 5)
    assert gateway.command("Climate.every", 60)[0] == 0
    app = b"from bt.app import DeviceApp\nclass App(DeviceApp):\n pass\n"
    filled = p.app_file({"app.py": app, "filler.txt": bytes(20_000)})
    assert gateway.push(1, "small", filled)[2] == 0
    gateway.until(lambda: bool(gateway.checkpoints), seconds=20)
    chain_holds(gateway)


@pytest.mark.parametrize("kind", ["serial", "udp"])
def test_packets_need_at_most_32_kib_beside_the_code(
    world: World, compiled: Path, code: int, micropython_32: str, kind: str
) -> None:
    world.program = micropython_32
    world.options = ["-X", f"heapsize={code + PACKETS_MAX}"]
    gateway = world.run(world.line(kind), runtime=compiled, checkpoint=1)
    gateway.connect()
    put_to_work(gateway)


def test_tls_needs_at_most_40_kib_more(
    world: World, compiled: Path, code: int, micropython_32: str
) -> None:
    world.program = micropython_32
    world.options = ["-X", f"heapsize={code + PACKETS_MAX + TLS_MAX - TLS_LIBRARY}"]
    gateway = start_tls(world, make_node("pi-1"), runtime=compiled, checkpoint=1)
    gateway.connect_tls()
    put_to_work(gateway)
