import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from board.world import World

ROOT = Path(__file__).parent.parent.parent


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


@pytest.fixture
def world(micropython: str, tmp_path: Path) -> Iterator[World]:
    made = World(micropython, tmp_path)
    yield made
    made.close()
    if made.device is not None:
        log = made.running.log()
        assert "Traceback" not in log or "KeyboardInterrupt" in log
