"""Descriptions of microcontrollers are data that hangs together."""

import json
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from blocktree.fault import Fault
from blocktree_gateway.boards import describe
from board.running import APPS, ROOT

SECTIONS = {
    "board": {"name": str, "title": str, "kind": str},
    "firmware": {"port": str, "machine": str, "minimum": str, "image": str, "flasher": str},
    "limits": {"ram": int, "flash": int, "buffer": int},
    "links": {"serial": str, "udp": bool, "tls": bool, "wifi": bool},
}
PINS = {"led", "button", "sensor", "scl", "sda"}
EXPECTED = {"esp32", "esp32c3", "pico", "pico-w", "pico2-w", "unix"}


def microcontrollers() -> dict[str, dict[str, Any]]:
    read = {
        path.parent.name: tomllib.loads(path.read_text())
        for path in sorted((ROOT / "boards").glob("*/board.toml"))
    }
    return {name: one for name, one in read.items() if one["board"]["kind"] == "microcontroller"}


def test_every_board_of_the_design_is_described() -> None:
    assert set(microcontrollers()) == EXPECTED


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_board_says_all_of_its_sections_and_nothing_else(name: str) -> None:
    board = microcontrollers()[name]
    assert set(board) == {*SECTIONS, "pins"}
    for section, fields in SECTIONS.items():
        assert {key: type(value) for key, value in board[section].items()} == fields
    assert board["board"]["name"] == name
    pins = board["pins"]
    assert set(pins) == (set() if name == "unix" else PINS)
    numbers = [pin for pin in pins.values() if isinstance(pin, int)]
    assert len(numbers) == len(set(numbers))
    assert tuple(map(int, board["firmware"]["minimum"].split("."))) >= (1, 25)
    assert board["limits"]["buffer"] <= board["limits"]["flash"] * 1024 // 8
    assert not board["links"]["tls"] or board["links"]["udp"]


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Generic ESP32 module with ESP32", "esp32"),
        ("ESP32C3 module with ESP32C3", "esp32c3"),
        ("Raspberry Pi Pico with RP2040", "pico"),
        ("Raspberry Pi Pico W with RP2040", "pico-w"),
        ("Raspberry Pi Pico 2 W with RP2350", "pico2-w"),
    ],
)
def test_a_board_is_known_by_what_its_firmware_calls_it(said: str, name: str) -> None:
    assert describe(ROOT / "boards", "", said)["board"]["name"] == name


def test_a_board_that_nobody_described_is_to_be_named() -> None:
    with pytest.raises(Fault, match="--board"):
        describe(ROOT / "boards", "", "A Toaster with RP2040")
    assert describe(ROOT / "boards", "pico", "A Toaster with RP2040")["board"]["name"] == "pico"


def test_the_package_for_mip_lists_every_module_of_the_runtime() -> None:
    runtime = ROOT / "boards" / "runtime"
    package = json.loads((runtime / "package.json").read_text())
    modules = {
        f"bt/{path.name}"
        for path in (runtime / "bt").glob("*.py")
        if not path.stem.endswith("_cpython")
    }
    assert {target for target, _source in package["urls"]} == modules
    assert all(target == source for target, source in package["urls"])


@pytest.mark.parametrize("folder", sorted(APPS.iterdir()), ids=lambda path: path.name)
def test_an_app_fits_a_device(folder: Path) -> None:
    files = [path for path in folder.iterdir() if path.suffix == ".py"]
    assert folder / "app.py" in files
    assert sum(path.stat().st_size for path in files) < 48 << 10


def test_a_sensor_that_nobody_knows_is_said_and_not_simulated(micropython: str) -> None:
    """A misspelt name must not pass for measurements."""
    ask = "import sensors\ntry:\n sensors.open_sensor({'sensor': 'dht2'})\n"
    code = ask + "except ValueError as no: print(no)"
    done = subprocess.run(
        [micropython, "-c", code],
        env={**os.environ, "MICROPYPATH": f".frozen:{APPS / 'climate'}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.strip() == "no sensor is called dht2; there are: dht22, bme280, simulated"
