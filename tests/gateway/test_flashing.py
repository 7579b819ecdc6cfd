"""What is put on boards: the runtime as bytecode that MicroPython runs, and ports that are none."""

import os
import subprocess
import tty
from dataclasses import replace
from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree_gateway.boards import boards_folder, describe
from blocktree_gateway.cli.deviceflash import app_settings, board_files
from blocktree_gateway.cli.devicepair import qr_text
from blocktree_gateway.flashing import Board, Repl, compiled
from blocktree_gateway.pairing import write_code

STOCK = Board(
    version=(1, 26, 1),
    machine="Raspberry Pi Pico W with RP2040",
    mpy=6,
    cryptolib=True,
    tls=True,
    runtime=False,
)


def test_the_compiled_runtime_runs_in_micropython(tmp_path: Path, micropython: str) -> None:
    package = tmp_path / "lib" / "bt"
    package.mkdir(parents=True)
    work = tmp_path / "work"
    work.mkdir()
    names = []
    for name, code in compiled(boards_folder() / "runtime" / "bt", work):
        names.append(name)
        (package / name).write_bytes(code)
    assert "device.mpy" in names
    assert not [name for name in names if "cpython" in name]
    done = subprocess.run(
        [micropython, "-c", "import bt.device, bt.udp_link, bt.serial_link; print(bt.VERSION)"],
        env={**os.environ, "MICROPYPATH": f".frozen:{tmp_path / 'lib'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_what_lies_on_a_board_hides_none_of_its_modules(tmp_path: Path, micropython: str) -> None:
    """Boards look for modules at the root of their flash before they look in /lib."""
    work, root = tmp_path / "work", tmp_path / "root"
    work.mkdir()
    boards = boards_folder()
    for path, content in board_files(boards, boards / "apps" / "climate", b"{}", work).items():
        file = root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    done = subprocess.run(
        [micropython, "-c", "import main, bt; print(bt.VERSION)"],
        env={**os.environ, "MICROPYPATH": f":.frozen:{root / 'lib'}"},
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_board_simulates_its_sensor_unless_it_is_told_of_one() -> None:
    pins = describe(boards_folder(), "pico", "")["pins"]
    assert app_settings(pins, "climate", [])["sensor"] == "simulated"
    told = app_settings(pins, "climate", ["sensor=dht22", "every=500"])
    assert (told["sensor"], told["pin"], told["every"]) == ("dht22", pins["sensor"], 500)


def test_a_port_that_is_not_there_is_said_so() -> None:
    with pytest.raises(Fault) as caught, Repl("/dev/no-such-port"):
        pass
    assert caught.value.kind is Kind.NOT_FOUND


def test_a_port_on_which_nothing_answers_is_said_so_in_bounded_time() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    try:
        with pytest.raises(Fault) as caught, Repl(os.ttyname(slave)):
            pass
        assert caught.value.kind is Kind.UNREACHABLE
        assert "micropython.org" in caught.value.next_step
    finally:
        os.close(master)
        os.close(slave)


def test_boards_that_the_runtime_does_not_run_on_are_refused() -> None:
    STOCK.judge()
    for board in (
        replace(STOCK, version=(1, 24, 1)),
        replace(STOCK, cryptolib=False),
        replace(STOCK, mpy=7),
    ):
        with pytest.raises(Fault) as caught:
            board.judge()
        assert caught.value.kind is Kind.UNSUPPORTED


def test_a_setup_code_is_drawn_for_a_label() -> None:
    code = write_code(bytes(range(16)))
    *drawn, text = qr_text(code).splitlines()
    assert text == code
    assert len({len(line) for line in drawn}) == 1
    assert set("".join(drawn)) == set("█▀▄ ")
