"""A device of this machine: the real runtime in a real interpreter, as a process."""

import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import cbor2

from board.device_vectors import device_of

ROOT = Path(__file__).parent.parent.parent
RUNTIME = ROOT / "boards" / "runtime"
APPS = ROOT / "boards" / "apps"


def environment(runtime: Path) -> dict[str, str]:
    """Where the interpreters find the runtime."""
    places = {"PYTHONPATH": str(runtime), "MICROPYPATH": f".frozen:{runtime}"}
    return {**os.environ, **places}


class Running:
    """One device process; `stop` pulls the plug."""

    def __init__(self, program: str, folder: Path, *options: str, **settings: Any) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        app = settings.pop("app", "climate")
        self._runtime = settings.pop("runtime", RUNTIME)
        self._console = settings.pop("console", None)
        told = {
            "folder": str(folder / "state"),
            "board": "unix",
            "app": {"name": app, "folder": str(APPS / app)} if app else {},
            **settings,
        }
        self._config = folder / "config.json"
        self._config.write_text(json.dumps(told))
        self._program = [program, *options]
        self._log = folder / "log"
        self.start()

    def start(self) -> None:
        """Start it, again."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._program, str(self._runtime / "main.py"), str(self._config)],
                env=environment(self._runtime),
                stdin=subprocess.DEVNULL if self._console is None else self._console,
                stdout=log if self._console is None else self._console,
                stderr=log,
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def log(self) -> str:
        """What it printed."""
        return self._log.read_text()

    def pause(self, *, on: bool) -> None:
        """Stop or continue the process."""
        self._process.send_signal(19 if on else 18)

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()


def save(path: Path, data: bytes) -> None:
    """A small file as the device writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(hashlib.sha256(data).digest()[:4] + data)


def adopt_by_hand(
    folder: Path, link: bytes, reading: bytes, scalar: bytes, tree: bytes = bytes(32)
) -> None:
    """Write the identity that pairing would."""
    device = device_of(scalar)
    values = [1, link, reading, scalar, device, tree, "/home/attic", "", "", []]
    save(folder / "state" / "id", cbor2.dumps(values))
