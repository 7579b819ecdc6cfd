"""Where the device runtime, its apps and descriptions of boards lie: here, or in the checkout."""

import os
import shutil
from pathlib import Path as File

from blocktree.fault import Fault, Kind

_HERE = File(__file__).parent


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
