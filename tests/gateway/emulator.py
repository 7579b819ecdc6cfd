"""A board that QEMU emulates: stock MicroPython on a Cortex-M3, with its console on a port."""

import os
import re
import subprocess
import sys
from pathlib import Path

from gateway.house import ROOT


def build_firmware() -> Path:
    """MicroPython for the board; a minute or more the first time."""
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "build_cortex_m3.py"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return Path(done.stdout.strip())


class EmulatedBoard:
    """One board, switched on; its flash is lost when it is stopped, and only then."""

    def __init__(self, firmware: Path) -> None:
        machine = ["-machine", "mps2-an385", "-nographic", "-monitor", "none", "-semihosting"]
        self._process = subprocess.Popen(
            ["qemu-system-arm", *machine, "-serial", "pty", "-kernel", str(firmware)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "QEMU_AUDIO_DRV": "none"},
        )
        assert self._process.stdout is not None
        said = self._process.stdout.readline()
        port = re.search(r"/dev/pts/\d+", said)
        assert port is not None, said
        self.port = port[0]

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()
