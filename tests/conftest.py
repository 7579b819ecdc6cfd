"""What every test may ask for."""

import logging
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from blocktree.wire.record import _codecs

ROOT = Path(__file__).parent.parent

# A machine that is busy with other things is slow, not wrong: no example is timed.
settings.register_profile("blocktree", deadline=None)
settings.load_profile("blocktree")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rewrite", action="store_true", help="accept new scenario and vector output")
    parser.addoption(
        "--images",
        action="store_true",
        help="build SD-card images and boot them, although that takes half an hour",
    )
    parser.addoption(
        "--cortex-m3",
        action="store_true",
        help="build MicroPython for a board that QEMU emulates, and test flashing on it",
    )


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What a run leaves out is said first; the summary names each test that was left out."""
    left_out = []
    if not config.getoption("--images"):
        left_out += ["unless their system is cached: images that are built and booted (--images)"]
    if not config.getoption("--cortex-m3"):
        left_out += ["an emulated board: its firmware takes a minute to build (--cortex-m3)"]
    return [f"left out {each}" for each in left_out]


@pytest.fixture
def rewrite(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--rewrite"))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A command that was run in this process, and quiets our log, quiets no other test's."""
    yield
    for name in ("blocktree", "zeroconf", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _records_as_they_were() -> Iterator[None]:
    """A test that runs a copy of a file with records must not leave the copy's classes behind."""
    before = dict(_codecs)
    yield
    _codecs.update(before)


def interpreter(named: str, *arguments: str) -> str:
    """The program that the environment names, or Debian's in .venv."""
    if program := os.environ.get(named):
        return program
    command = [str(ROOT / "tools" / "get_micropython"), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="session")
def micropython() -> str:
    """The real interpreter."""
    return interpreter("BT_MICROPYTHON")


@pytest.fixture(scope="session")
def micropython_32() -> str:
    """The same with 32-bit words, as on boards."""
    return interpreter("BT_MICROPYTHON_32", "32")
