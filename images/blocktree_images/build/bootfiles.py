"""What the boot partition holds: firmware, and for each slot a kernel, its initramfs and options.

Slot `a` is filled; slot `b` waits for the first update. On a Raspberry Pi `config.txt` names the
slot to start (`os_prefix`), and `tryboot.txt` the one that an update tries once.
"""

import fnmatch
import json
import shutil
import tarfile
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.build.boards import Board
from blocktree_images.build.layout import ROOT_A, root_option
from blocktree_images.card.provision import ABOUT

OPTIONS = (
    "rw",
    "rootwait",
    "fsck.repair=yes",
    "net.ifnames=0",
    "quiet",
    "loglevel=4",
    "systemd.default_device_timeout_sec=300",
)

_READ_ME = """This card belongs to a small computer that keeps a Blocktree.

STATUS.txt      how it is, written by the computer itself: read it here if something is wrong
blocktree.toml  settings for its first start; the computer removes it once it has joined its tree
a, b            the two systems that it starts; leave them alone
"""


def gather(
    board: Board, rootfs: Path, firmware: Path | None, about: dict[str, str], into: Path
) -> None:
    """Put the boot partition's files into a folder.

    Args:
        board: whose.
        rootfs: mmdebstrap's tar file: kernel, initramfs, device trees.
        firmware: where Debian's raspi-firmware is unpacked, if the board needs it.
        about: what the image says of itself.
        into: the folder.

    Raises:
        Fault: FAILED if the root file system has no kernel or lacks a device tree.
    """
    slot = into / ROOT_A.slot
    slot.mkdir(parents=True)
    (into / "b").mkdir()
    (into / "b" / "EMPTY.TXT").write_text("The first update goes here.\r\n")
    _extract(board, rootfs, slot)
    (slot / "cmdline.txt").write_text(options(board) + "\n")
    (into / "README.TXT").write_text(_READ_ME.replace("\n", "\r\n"))
    (into / ABOUT).write_text(json.dumps(about, indent=1, sort_keys=True) + "\n")
    if board.boot.loader == "raspberrypi":
        for name in board.boot.firmware:
            assert firmware is not None
            shutil.copyfile(firmware / "usr" / "lib" / "raspi-firmware" / name, into / name)
        for name, prefix in (("config.txt", "a"), ("tryboot.txt", "b")):
            (into / name).write_text(config(board, prefix))


def options(board: Board) -> str:
    """The kernel's command line for slot a."""
    consoles = [f"console={name}" for name in board.boot.consoles]
    return " ".join([*consoles, root_option(board.name, ROOT_A), *OPTIONS, *board.boot.options])


def config(board: Board, slot: str) -> str:
    """The firmware's configuration that starts one slot."""
    lines = board.boot.config.strip().splitlines()
    chosen = [f"os_prefix={slot}/", "kernel=vmlinuz", "initramfs initrd.img"]
    return "\n".join(["[all]", *lines, *chosen, ""])


def _extract(board: Board, rootfs: Path, slot: Path) -> None:
    found: set[str] = set()
    with tarfile.open(rootfs) as archive:
        for entry in archive:
            name = entry.name.removeprefix("./")
            target = _target(board, name)
            if target is None or not entry.isreg():
                continue
            content = archive.extractfile(entry)
            assert content is not None
            with (slot / target).open("wb") as file:
                shutil.copyfileobj(content, file)
            found.add(target)
    if not {"vmlinuz", "initrd.img"} <= found:
        raise Fault(Kind.FAILED, "the root file system has no kernel with an initramfs")
    for pattern in board.boot.devicetrees:
        if not fnmatch.filter(found, pattern.rpartition("/")[2]):
            raise Fault(
                Kind.FAILED,
                "the kernel's package has no such device tree",
                path=pattern,
                next_step=f"correct boards/{board.name}/board.toml",
            )


def _target(board: Board, name: str) -> str | None:
    """What a file of the root file system is called in the slot, if it belongs there."""
    if name.startswith("boot/vmlinuz-"):
        return "vmlinuz"
    if name.startswith("boot/initrd.img-"):
        return "initrd.img"
    if name.startswith("usr/lib/linux-image-"):
        below = name.split("/", 3)[-1]
        if any(fnmatch.fnmatch(below, pattern) for pattern in board.boot.devicetrees):
            return below.rpartition("/")[2]
    return None
