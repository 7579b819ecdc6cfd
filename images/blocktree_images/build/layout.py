"""The layout of every card: where each partition lies, and by which names it is known.

MBR with type 0x0c is the one layout that every board boots: the boot ROM of the Raspberry Pi 3 and
Zero 2 W reads nothing else. Two root partitions make room for updates: one runs while the other is
written. State lies on the data partition alone, which grows to the end of the card.
"""

import uuid
from dataclasses import dataclass

SECTOR = 512
MIB = 1 << 20
BOOT_LABEL = "BOOTFS"
DATA_LABEL = "data"
_NAMES = uuid.uuid5(uuid.NAMESPACE_DNS, "blocktree.images")


@dataclass(frozen=True, slots=True)
class Partition:
    """One partition, in bytes."""

    number: int
    label: str
    start: int
    size: int
    kind: str  # MBR type, hex
    slot: str = ""

    @property
    def end(self) -> int:
        """Where the next may start."""
        return self.start + self.size


def _partitions() -> tuple[Partition, ...]:
    sizes = (
        (BOOT_LABEL, 512 * MIB, "c", ""),
        ("root-a", 1280 * MIB, "83", "a"),
        ("root-b", 1280 * MIB, "83", "b"),
        (DATA_LABEL, 64 * MIB, "83", ""),
    )
    start, made = 4 * MIB, []
    for number, (label, size, kind, slot) in enumerate(sizes, 1):
        made.append(Partition(number, label, start, size, kind, slot))
        start += size
    return tuple(made)


PARTITIONS = _partitions()
BOOT, ROOT_A, ROOT_B, DATA = PARTITIONS
IMAGE_BYTES = DATA.end


def identity(*parts: str) -> uuid.UUID:
    """An id that follows from what it names, so that two builds give the same one."""
    return uuid.uuid5(_NAMES, "/".join(parts))


def disk_id(board: str) -> str:
    """The MBR's disk id, 8 hex digits."""
    return identity(board, "disk").hex[:8]


def table(board: str) -> str:
    """What sfdisk is told."""
    lines = ["label: dos", f"label-id: 0x{disk_id(board)}", "unit: sectors", "sector-size: 512"]
    for part in PARTITIONS:
        boot = ", bootable" if part is BOOT else ""
        lines.append(
            f"start={part.start // SECTOR}, size={part.size // SECTOR}, type={part.kind}{boot}"
        )
    return "\n".join(lines) + "\n"


def root_option(board: str, root: Partition) -> str:
    """How the kernel is told its root: by the table, whatever the card reader is called."""
    return f"root=PARTUUID={disk_id(board)}-{root.number:02}"
