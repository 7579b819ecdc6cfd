"""Boards are data, read strictly: what is mistyped is said, not ignored."""

import re
from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree_images.build import wheels
from blocktree_images.build.boards import board_names, boards_folder, load_board, read_board
from blocktree_images.build.bootfiles import config, options

ROOT = Path(__file__).parents[2]
COMPUTERS = ["rpi-zero2w", "rpi3", "rpi4", "rpi5", "virt-amd64", "virt-arm64"]
SMALL = """
[board]
name = "x"
title = "X"
kind = "computer"
[system]
architecture = "arm64"
kernel = "linux-image-arm64"
[boot]
loader = "none"
"""


def test_every_computer_that_the_project_names_is_described() -> None:
    assert board_names(boards_folder()) == COMPUTERS


@pytest.mark.parametrize("name", COMPUTERS)
def test_board_starts_from_slot_a_by_the_partition_table(name: str) -> None:
    board = load_board(name)
    assert re.search(r"root=PARTUUID=[0-9a-f]{8}-02 ", options(board))
    assert board.boot.consoles
    if board.boot.loader == "raspberrypi":
        assert board.boot.devicetrees
        assert board.imager.devices
        assert "os_prefix=a/" in config(board, "a")
        assert "arm_64bit=1" in config(board, "a")


def test_the_raspberry_pi_5_takes_its_kernel_from_backports() -> None:
    assert "linux-image-arm64" in load_board("rpi5").system.backports


def test_unknown_board_is_answered_with_those_there_are() -> None:
    with pytest.raises(Fault, match="rpi-zero2w, rpi3") as caught:
        load_board("rpi9")
    assert caught.value.kind is Kind.NOT_FOUND


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("[boot]", "[boots]", r"\[boots\] is not a section"),
        ("loader", "loadr", r"\[boot\] has no loadr"),
        ('"none"', '"grub"', "loader is one of"),
        ('"none"', "7", "loader is of the wrong type"),
        ('"arm64"', '"armel"', "architecture is one of"),
        ('kernel = "linux-image-arm64"\n', "", r"\[system\] lacks something"),
        ('name = "x"', 'name = "y"', r'needs name = "x"'),
        ('"computer"', '"microcontroller"', "kind"),
        ("[boot]", "[boot", "board.toml"),
    ],
)
def test_a_mistake_in_a_description_is_named(before: str, after: str, said: str) -> None:
    read_board(SMALL, "x")
    with pytest.raises(Fault, match=said) as caught:
        read_board(SMALL.replace(before, after), "x")
    assert caught.value.kind is Kind.MALFORMED


def test_images_hold_the_versions_that_the_tests_run_with() -> None:
    line = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)
    tested = {n.lower(): v for n, v in line.findall((ROOT / "tools/requirements.txt").read_text())}
    held = dict(line.findall(wheels.PINS.read_text()))
    assert held.items() <= tested.items(), "run tools/pin_wheels.py"
    declared = re.findall(r'^  "([\w-]+)>=', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert set(declared) <= held.keys(), "run tools/pin_wheels.py"
