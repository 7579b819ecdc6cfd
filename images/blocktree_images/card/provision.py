"""Putting the settings file into a card's or image's boot partition, in place, by mtools."""

import tempfile
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.card.settings import FILE, Settings, decode_settings
from blocktree_images.programs import need, run

_SECTOR = 512
_FAT = {0x0B, 0x0C, 0x0E}
ABOUT = "blocktree-image.json"
_ENV = {"MTOOLS_SKIP_CHECK": "1", "TZ": "UTC"}


def boot_offset(path: Path) -> int:
    """Where the boot partition begins, in bytes: from the partition table.

    Raises:
        Fault: MALFORMED if there is no such table; DENIED if it may not be read.
    """
    try:
        with path.open("rb") as file:
            sector = file.read(_SECTOR)
    except PermissionError as cause:
        raise Fault(
            Kind.DENIED, "may not be read", path=str(path), next_step="run it as root: sudo bt …"
        ) from cause
    except FileNotFoundError as cause:
        raise Fault(Kind.NOT_FOUND, "there is no such image or drive", path=str(path)) from cause
    entry = sector[446:462]
    if sector[510:512] != b"\x55\xaa" or entry[4] not in _FAT:
        raise Fault(
            Kind.MALFORMED,
            "is not an image or card of ours: it has no boot partition",
            path=str(path),
            next_step="compressed images are customised while they are flashed: bt image flash",
        )
    return int.from_bytes(entry[8:12], "little") * _SECTOR


def put_settings(path: Path, settings: Settings) -> None:
    """Write the settings file and read it back.

    Raises:
        Fault: MISSING if mtools is not here, MALFORMED if this is none of our images, DAMAGED if
            it cannot be read back.
    """
    need("mcopy")
    _check_ours(path)
    with tempfile.TemporaryDirectory() as scratch:  # mode 0700: the file is a secret
        file = Path(scratch) / FILE
        file.write_text(settings.encode())
        run(["mcopy", "-o", "-n", "-i", _volume(path), file, f"::/{FILE}"], env=_ENV)
        file.unlink()
    if decode_settings(read_file(path, FILE)) != settings:
        raise Fault(Kind.DAMAGED, "the settings cannot be read back from it", path=str(path))


def read_file(path: Path, name: str) -> bytes:
    """A file of the boot partition.

    Raises:
        Fault: FAILED, with mtools' words, if there is none.
    """
    need("mcopy")
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "file"
        run(["mcopy", "-n", "-i", _volume(path), f"::/{name}", target], env=_ENV)
        return target.read_bytes()


def _volume(path: Path) -> str:
    return f"{path}@@{boot_offset(path)}"


def _check_ours(path: Path) -> None:
    try:
        read_file(path, ABOUT)
    except Fault as fault:
        if fault.kind is not Kind.FAILED:
            raise
        raise Fault(Kind.MALFORMED, "is not an image or card of ours", path=str(path)) from fault
