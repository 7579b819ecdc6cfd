from collections.abc import Iterator
from pathlib import Path

import pytest

from board.world import World


@pytest.fixture
def world(micropython: str, tmp_path: Path) -> Iterator[World]:
    made = World(micropython, tmp_path)
    yield made
    made.close()
    if made.device is not None:
        log = made.running.log()
        assert "Traceback" not in log or "KeyboardInterrupt" in log
