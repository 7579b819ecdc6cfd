"""The drives of this machine, from /sys/block: what each is and holds, and what forbids erasing."""

import os
import stat
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from blocktree.fault import Fault, Kind

LARGE_BYTES = 256 << 30  # nobody's card; somebody's backup
_OWN_LABELS = {"BOOTFS", "bootfs", "root-a", "root-b", "rootfs", "data"}
_SECTOR = 512
_SKIPPED = ("loop", "ram", "zram", "sr", "fd", "dm-", "md", "nbd")


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system on a drive."""

    device: str
    kind: str  # "vfat", "ext4", … or ""
    label: str
    mounted: str  # where, or ""


@dataclass(frozen=True, slots=True)
class Drive:
    """One whole drive.

    Args:
        device: "/dev/sdb".
        model: as it calls itself.
        size: bytes.
        removable: whether it is a card, a card reader's, or on USB.
        read_only: whether its switch says so.
        busy: who uses it: "mounted on /", "swap", "part of dm-0"; "" for nobody.
        volumes: the file systems on it.
    """

    device: str
    model: str
    size: int
    removable: bool
    read_only: bool = False
    busy: str = ""
    volumes: tuple[Volume, ...] = field(default=())

    @property
    def name(self) -> str:
        """What a person types to mean it."""
        return self.device.removeprefix("/dev/")

    @property
    def foreign(self) -> tuple[Volume, ...]:
        """File systems that none of our images or a fresh card has."""
        ours = [v for v in self.volumes if v.label in _OWN_LABELS]
        fresh = [v for v in self.volumes if v.kind in {"vfat", "exfat"} and not v.label]
        return tuple(v for v in self.volumes if v.kind and v not in ours and v not in fresh)

    def contents(self) -> str:
        """What is on it, for people."""
        told = [f'{v.kind} "{v.label}"' if v.label else v.kind for v in self.volumes if v.kind]
        return ", ".join(told) or "empty"


def list_drives(sysfs: Path = Path("/sys"), mounts: str | None = None) -> list[Drive]:
    """Every drive of this machine that could be a card; the removable ones first."""
    table = mounts if mounts is not None else Path("/proc/self/mounts").read_text()
    found = [
        _read(path, _mount_points(table))
        for path in sorted((sysfs / "block").iterdir())
        if not path.name.startswith(_SKIPPED)
    ]
    return sorted((d for d in found if d.size), key=lambda d: (not d.removable, d.device))


def check_drive(drive: Drive, needed: int) -> None:
    """Refuse what must not be erased, whatever is typed.

    Raises:
        Fault: IN_USE, DENIED or NO_SPACE, saying why.
    """
    if drive.busy:
        raise Fault(
            Kind.IN_USE,
            f"is in use: {drive.busy}",
            path=drive.device,
            next_step="unmount it first if it is the card you mean",
        )
    if drive.read_only:
        raise Fault(Kind.DENIED, "is write-protected: look for a switch", path=drive.device)
    if drive.size < needed:
        raise Fault(
            Kind.NO_SPACE,
            f"holds {drive.size >> 20} MiB, the image takes {needed >> 20} MiB",
            path=drive.device,
            next_step="take a card of 4 GB or more",
        )


def doubts(drive: Drive) -> list[str]:
    """What makes a drive an unlikely card: it is erased only if its name is typed all the same."""
    found = []
    if not drive.removable:
        found.append("it is built into this machine")
    if drive.size > LARGE_BYTES:
        found.append(f"it is large for a card: {drive.size / 1e9:.0f} GB")
    if drive.foreign:
        told = ", ".join(f'{v.kind} "{v.label}"' if v.label else v.kind for v in drive.foreign)
        found.append(f"it holds {told}")
    return found


def is_device(path: Path) -> bool:
    """Whether the path is a block device."""
    try:
        return stat.S_ISBLK(path.stat().st_mode)
    except OSError:
        return False


def _read(path: Path, mounts: dict[str, str]) -> Drive:
    parts = sorted(p for p in path.iterdir() if (p / "partition").exists())
    volumes = tuple(_volume(p.name, mounts) for p in (path, *parts))
    uses = [f"mounted on {v.mounted}" for v in volumes if v.mounted]
    for one in (path, *parts):
        holders = one / "holders"
        uses += [f"part of {p.name}" for p in (holders.iterdir() if holders.is_dir() else ())]
    vendor, model = _text(path / "device" / "vendor"), _text(path / "device" / "model")
    card = _text(path / "device" / "type")  # mmc alone has it: SD, or MMC for a soldered one
    usb = "/usb" in str(path.resolve())
    return Drive(
        f"/dev/{path.name}",
        " ".join(f"{vendor} {model or _text(path / 'device' / 'name')}".split()) or "no name",
        int(_text(path / "size") or 0) * _SECTOR,
        removable=_text(path / "removable") == "1" or usb or card == "SD",
        read_only=_text(path / "ro") == "1",
        busy="; ".join(dict.fromkeys(uses)),
        volumes=tuple(v for v in volumes if v.kind or v.mounted),
    )


def _volume(name: str, mounts: dict[str, str]) -> Volume:
    device = f"/dev/{name}"
    told = _blkid(device)
    return Volume(device, told.get("TYPE", ""), told.get("LABEL", ""), mounts.get(device, ""))


def _blkid(device: str) -> dict[str, str]:
    if not os.access(device, os.R_OK):
        return {}
    try:
        done = subprocess.run(  # noqa: S603
            ["/sbin/blkid", "-p", "-o", "export", device],
            capture_output=True,
            text=True,
            check=False,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    pairs: Iterable[tuple[str, str, str]] = (s.partition("=") for s in done.stdout.splitlines())
    return {name: value for name, _, value in pairs}


def _mount_points(table: str) -> dict[str, str]:
    """Device to where it is mounted; swap counts too."""
    found: dict[str, str] = {}
    for line in table.splitlines():
        device, point = line.split()[:2]
        if device.startswith("/dev/"):
            found.setdefault(os.path.realpath(device), point)
    try:
        for line in Path("/proc/swaps").read_text().splitlines()[1:]:
            found.setdefault(line.split()[0], "swap")
    except OSError:
        pass
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
