"""Which drives are offered, which are refused, and which need their name typed."""

from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree_images.card.drives import Drive, Volume, check_drive, doubts, list_drives

GB = 10**9
CARD = Drive("/dev/sdb", "SanDisk Ultra", 31 * GB, removable=True)


def _block(sysfs: Path, name: str, size: int, **files: str) -> Path:
    folder = sysfs / "block" / name
    (folder / "device").mkdir(parents=True)
    (folder / "size").write_text(f"{size // 512}\n")
    for key, value in {"removable": "0", "ro": "0", **files}.items():
        (folder / key.replace("device_", "device/")).write_text(f"{value}\n")
    return folder


def test_drives_are_told_apart(tmp_path: Path) -> None:
    _block(tmp_path, "sda", 512 * GB, device_model="Disk")
    _block(tmp_path, "sdb", 31 * GB, removable="1", device_vendor="SanDisk", device_model="Ultra")
    _block(tmp_path, "mmcblk0", 31 * GB, device_type="SD", device_name="SC32G", ro="1")
    _block(tmp_path, "mmcblk1", 16 * GB, device_type="MMC", device_name="soldered")
    _block(tmp_path, "sdc", 0, removable="1")  # a reader without a card
    _block(tmp_path, "loop0", 5 * GB)
    part = tmp_path / "block" / "sda" / "sda1"
    part.mkdir()
    (part / "partition").write_text("1\n")
    found = {d.name: d for d in list_drives(tmp_path, "/dev/sda1 / ext4 rw 0 0\n")}
    assert list(found) == ["mmcblk0", "sdb", "mmcblk1", "sda"]
    assert found["sdb"].model == "SanDisk Ultra"
    assert found["mmcblk0"].read_only
    assert not found["mmcblk1"].removable
    assert found["sda"].busy == "mounted on /"


@pytest.mark.parametrize(
    ("drive", "kind"),
    [
        (Drive("/dev/sda", "Disk", 512 * GB, removable=False, busy="mounted on /"), Kind.IN_USE),
        (Drive("/dev/sdb", "Card", 31 * GB, removable=True, read_only=True), Kind.DENIED),
        (Drive("/dev/sdb", "Card", 2 * GB, removable=True), Kind.NO_SPACE),
    ],
)
def test_some_drives_are_refused_whatever_is_typed(drive: Drive, kind: Kind) -> None:
    with pytest.raises(Fault) as caught:
        check_drive(drive, 3 * GB)
    assert caught.value.kind is kind


@pytest.mark.parametrize(
    ("drive", "said"),
    [
        (Drive("/dev/sdb", "Disk", 31 * GB, removable=False), "built into"),
        (Drive("/dev/sdb", "Disk", 4000 * GB, removable=True), "large for a card: 4000 GB"),
        (
            Drive(
                "/dev/sdb",
                "Disk",
                31 * GB,
                removable=True,
                volumes=(Volume("/dev/sdb1", "ntfs", "Photos", ""),),
            ),
            'ntfs "Photos"',
        ),
    ],
)
def test_an_unlikely_card_is_doubted_aloud(drive: Drive, said: str) -> None:
    check_drive(drive, 3 * GB)
    assert said in "; ".join(doubts(drive))


def test_a_fresh_card_and_one_of_ours_are_not_doubted() -> None:
    fresh = (Volume("/dev/sdb1", "exfat", "", ""),)
    ours = (Volume("/dev/sdb1", "vfat", "BOOTFS", ""), Volume("/dev/sdb2", "ext4", "root-a", ""))
    for volumes in ((), fresh, ours):
        assert doubts(Drive("/dev/sdb", "x", 31 * GB, removable=True, volumes=volumes)) == []
