import os
import subprocess

import pytest

from gateway.house import ROOT


@pytest.fixture(scope="session")
def micropython() -> str:
    """The real interpreter: BT_MICROPYTHON, or Debian's in .venv."""
    named = os.environ.get("BT_MICROPYTHON")
    if named:
        return named
    done = subprocess.run(
        [ROOT / "tools" / "get_micropython"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
