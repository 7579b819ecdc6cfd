"""A whole board, emulated: stock MicroPython of another instruction set, behind its own raw REPL.

Only with --cortex-m3: the firmware is built from Debian's sources, which takes a minute or more.
"""

import ast
import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cbor2
import pytest

from blocktree.fault import Fault, Kind
from blocktree_gateway.adopting import circle_of, rotation
from blocktree_gateway.appfile import pack_app
from blocktree_gateway.devicemessages import Performed, Pushed
from blocktree_gateway.flashing import Repl, compiled
from blocktree_gateway.messages import AppStanding
from gateway.emulator import EmulatedBoard, build_firmware
from gateway.house import BOARDS, ROOT, house
from gateway.test_devices import BAD_APP, GOOD_APP, perform

VECTORS = ROOT / "tests" / "vectors"
PLACE = (b"sensors", b"attic")


@pytest.fixture(scope="module")
def firmware(request: pytest.FixtureRequest) -> Path:
    if not request.config.getoption("--cortex-m3"):
        pytest.skip("the firmware takes a minute to build: --cortex-m3")
    return build_firmware()


@pytest.fixture
def board(firmware: Path) -> Iterator[EmulatedBoard]:
    made = EmulatedBoard(firmware)
    try:
        yield made
    finally:
        made.stop()


def bt(state: Path, *arguments: str) -> str:
    """What `bt` says; a failure fails the test with it."""
    done = subprocess.run(
        [sys.executable, "-m", "blocktree.cli", *arguments],
        env={**os.environ, "BLOCKTREE_STATE": str(state)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_every_vector_holds_on_the_board(board: EmulatedBoard, tmp_path: Path) -> None:
    checks = ROOT / "tests" / "board" / "device" / "vector_checks.py"
    cases = [*VECTORS.glob("device_*/*.txt"), *VECTORS.glob("contract/*.txt")]
    assert len(cases) > 100
    with Repl(board.port) as repl:
        for name, code in compiled(BOARDS / "runtime" / "bt", tmp_path):
            assert repl.put(f"/lib/bt/{name}", code)
        repl.put("/lib/vector_checks.py", checks.read_bytes())
        repl._transport.exec("import gc, vector_checks")
        for path in cases:
            call = f"vector_checks.judge({path.parent.name!r}, {path.read_text()!r})"
            said = repl._transport.exec(f"print({call})\ngc.collect()").decode()
            found, expected = ast.literal_eval(said)
            assert found == expected, path


def test_a_full_board_and_one_that_says_no_are_told_apart(board: EmulatedBoard) -> None:
    with Repl(board.port) as repl:
        room = "import os\nfree = os.statvfs('/')[3] - 4\n"  # blocks; a tree of them takes some
        repl.run(
            room + "f=open('/full','wb')\nfor _ in range(free): f.write(bytes(4064))\nf.close()"
        )
        with pytest.raises(Fault) as caught:
            repl.put("/lib/large", bytes(60_000))
        assert caught.value.kind is Kind.NO_SPACE
        repl.run("import os\nos.remove('/full')")
        assert repl.put("/lib/large", bytes(60_000))
        assert not repl.put("/lib/large", bytes(60_000))
        with pytest.raises(Fault) as caught:
            repl.run("import nothing_of_this_name")
        assert caught.value.kind is Kind.FAILED
        assert "nothing_of_this_name" in caught.value.what


def test_a_board_takes_apps_keys_commands_and_a_restart(
    board: EmulatedBoard, tmp_path: Path
) -> None:
    flash = ("device", "flash", board.port, "--board", "pico", "--app", "switch")
    # The emulated board has no pins: its app is one that needs none, from the beginning.
    bt(tmp_path / "state", *flash, "--set", "pin=null")

    async def scene() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            await home.adopt(PLACE, None, port=board.port)
            await home.stop("pi")
            await home.gateway(serial=(board.port,))
            state = await home.until_here(PLACE, "serial")
            assert state.free_heap > 64 << 10  # of the 240 KiB of a Pico, before it tidied up
            done = await home.ask(PLACE, perform("Led.set", *[True]), Performed)
            assert cbor2.loads(done.result) == [True]

            good = pack_app({"app.py": GOOD_APP})
            pushed = await home.ask(PLACE, await home.app(PLACE, "counter", good), Pushed)
            assert (pushed.kind, pushed.sentence) == (0, "")
            done = await home.until_command(PLACE, perform("Count.up"))
            assert cbor2.loads(done.result) == [1]
            bad = pack_app({"app.py": BAD_APP})
            await home.ask(PLACE, await home.app(PLACE, "broken", bad), Pushed)
            await home.until_app(PLACE, "counter", AppStanding.FALLEN_BACK)

            device = await home.devices.require(PLACE)
            circle = circle_of(home.user.tree, await home.devices.gateways(), (), home.user)
            record = rotation(device.record, home.user.key, circle)
            await home.devices.save(replace(device, record=record))
            await home.until_epoch(PLACE, 2)
            await home.until_here(PLACE, "serial")
            before = await home.state(PLACE)
            await home.stop("pi")
            with Repl(board.port) as repl:
                repl.reset()
            await home.gateway(serial=(board.port,))
            state = await home.until_here(PLACE, "serial")
            assert state.boot == before.boot + 1
            assert state.app == "counter"
            done = await home.until_command(PLACE, perform("Count.up"))
            assert cbor2.loads(done.result) == [1]
            assert (await home.until_readings(PLACE, 3)).holds

    asyncio.run(scene())


def test_a_blank_board_is_flashed_paired_and_read_and_flashed_again(
    board: EmulatedBoard, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    blank = bt(state, "device", "scan", board.port)
    assert "blank" in blank
    assert f"bt device flash {board.port}" in blank
    flash = ("device", "flash", board.port, "--board", "pico", "--set", "every=200")
    listed = bt(state, *flash, "--dry-run").splitlines()
    files = [line.split()[0] for line in listed if line.startswith("/")]
    assert {"/main.py", "/device/config.json", "/lib/bt/device.mpy"} < set(files)
    assert f"{len(files)} of {len(files)} files written" in bt(state, *flash)

    async def paired() -> None:
        async with house(tmp_path) as home:
            await home.gateway()
            device = await home.adopt(PLACE, None, port=board.port)
            await home.stop("pi")
            gateway = await home.gateway(serial=(board.port,))
            await home.until_here(PLACE, "serial")
            proof = await home.until_readings(PLACE, 5)
            assert proof.holds
            await home.stop("pi")
            # A board at work gives way to `bt device flash`; what did not change is not written.
            assert f"0 of {len(files)} files written" in await asyncio.to_thread(bt, state, *flash)
            faster = (*flash, "--set", "every=100")
            assert f"1 of {len(files)} files written" in await asyncio.to_thread(bt, state, *faster)
            gateway = await home.gateway(serial=(board.port,))
            await home.until_here(PLACE, "serial")
            before = len((await home.proof(PLACE)).readings)
            proof = await home.until_readings(PLACE, before + 5)
            assert proof.holds
            assert device.device in gateway.speaking.held

    asyncio.run(paired())
    assert "with our runtime" in bt(state, "device", "scan", board.port)
