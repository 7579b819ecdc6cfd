"""Programs of another architecture run here while a root file system is made of them.

The kernel is told once (binfmt_misc) to run them with the toolbox's emulator. The emulator's file
is opened at that moment (flag F), so that it also works inside the new root.
"""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.build.toolbox import Toolbox

_FORMATS = Path("/proc/sys/fs/binfmt_misc")
_ELF = {  # Debian's name: the emulator, and the machine's number in an ELF header
    "arm64": ("qemu-aarch64", 183),
    "amd64": ("qemu-x86_64", 62),
}


@contextmanager
def emulated(architecture: str, toolbox: Toolbox) -> Iterator[None]:
    """While it lasts, this machine runs programs of `architecture`.

    Raises:
        Fault: MISSING if it cannot and may not be taught.
    """
    if architecture == toolbox.architecture:
        yield
        return
    emulator, machine = _ELF[architecture]
    entry = _FORMATS / f"blocktree-{emulator}"
    if not _register(entry, toolbox.path(emulator), machine):
        if any(_FORMATS.glob(f"{emulator}*")):  # the system's own, from qemu-user-static
            yield
            return
        raise Fault(
            Kind.MISSING,
            f"this machine does not run {architecture} programs, and only root may teach it",
            next_step="sudo apt-get install qemu-user-static; or run this as root",
        )
    try:
        yield
    finally:
        entry.write_text("-1")


def _register(entry: Path, emulator: Path, machine: int) -> bool:
    """Register the emulator, in place of what an interrupted build left; whether it took."""
    if not (_FORMATS / "register").exists():
        words = ["mount", "-t", "binfmt_misc", "binfmt_misc", str(_FORMATS)]
        subprocess.run(words, capture_output=True, check=False)  # noqa: S603
    try:
        if entry.exists():
            entry.write_text("-1")
        (_FORMATS / "register").write_text(_rule(entry.name, emulator, machine))
    except OSError:
        return False
    return True


def _rule(name: str, emulator: Path, machine: int) -> str:
    """One line for the kernel: a 64-bit little-endian ELF program or library of this machine."""
    magic = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00" + bytes([machine, 0])
    mask = b"\xff" * 7 + b"\x00" + b"\xff" * 8 + b"\xfe\xff\xff\xff"
    escaped = ["".join(f"\\x{byte:02x}" for byte in part) for part in (magic, mask)]
    return f":{name}:M::{escaped[0]}:{escaped[1]}:{emulator.absolute()}:F"
