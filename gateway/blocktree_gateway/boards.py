"""Where the device runtime, its apps and descriptions of boards lie: here, or in the checkout."""

import os
import shutil
import tomllib
from pathlib import Path as File
from typing import Any

from blocktree.fault import Fault, Kind

_HERE = File(__file__).parent
_SMALL = "microcontroller"


def boards_folder() -> File:
    """The folder `boards`.

    Raises:
        Fault: MISSING if this installation came without it.
    """
    for folder in (_HERE / "boards", _HERE.parent.parent / "boards"):
        if (folder / "runtime" / "bt").is_dir():
            return folder
    raise Fault(
        Kind.MISSING,
        "the device runtime is not part of this installation",
        next_step="use a checkout of the project, or a wheel made from one",
    )


def describe(folder: File, name: str, machine: str) -> dict[str, Any]:
    """The description of a microcontroller: by its name, else by how it calls itself.

    Raises:
        Fault: NOT_FOUND if no board is called `name`; USAGE if the machine is none that we know.
    """
    known = {each.parent.name: tomllib.loads(each.read_text()) for each in _described(folder)}
    boards = {key: each for key, each in known.items() if each["board"]["kind"] == _SMALL}
    names = ", ".join(sorted(boards))
    if name:
        if name not in boards:
            raise Fault(Kind.NOT_FOUND, f"no board is called {name}", next_step=f"one of {names}")
        return boards[name]
    for each in boards.values():
        if machine.endswith(each["firmware"]["machine"]):
            return each
    raise Fault(
        Kind.USAGE,
        f"no description of a board says {machine!r}",
        next_step=f"name the most alike with --board: {names}",
    )


def _described(folder: File) -> list[File]:
    return sorted(folder.glob("*/board.toml"))


def interpreter() -> str:
    """A MicroPython of this machine for simulated devices, or "".

    $BT_MICROPYTHON, else what `tools/get_micropython` fetched, else the program in the path.
    """
    named = os.environ.get("BT_MICROPYTHON")
    if named:
        return named
    fetched = _HERE.parent.parent / ".venv" / "micropython" / "micropython"
    if fetched.exists():
        return str(fetched)
    return shutil.which("micropython") or ""
