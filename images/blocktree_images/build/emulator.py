"""QEMU's command line for a board's stand-in, from what the image itself says."""

import json
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault, Kind
from blocktree_images.build.boards import Board, EmulatePart, load_board
from blocktree_images.build.layout import MIB
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.card.provision import ABOUT, read_file
from blocktree_images.card.sparse import copy_sparse

_PROGRAMS = {"arm64": "qemu-system-aarch64", "amd64": "qemu-system-x86_64"}


@dataclass(frozen=True, slots=True)
class Machine:
    """A board's stand-in, ready to be switched on.

    Args:
        board: whose.
        card: the raw card, which it writes to.
        folder: where kernel, initramfs and device tree were put.
        memory: MiB.
        forward: ports of this machine's loopback address that lead to ports of the board.
        network: words for QEMU in place of its user network, or "".
    """

    board: Board
    card: Path
    folder: Path
    memory: int = 0
    forward: tuple[tuple[int, int], ...] = ()
    network: str = ""

    @property
    def part(self) -> EmulatePart:
        """How the board is emulated."""
        return emulation(self.board)

    def words(self, toolbox: Toolbox) -> list[str]:
        """The program and its arguments; its console is on standard input and output."""
        part = self.part
        words = [
            "env",
            f"QEMU_MODULE_DIR={toolbox.libraries / 'qemu'}",  # else it finds this machine's own
            *toolbox.command(_PROGRAMS[self.board.architecture]),
            *("-L", str(toolbox.root / "usr" / "share" / "qemu")),
            *("-machine", part.machine, "-cpu", part.cpu, "-smp", str(part.cores)),
            *("-m", str(self.memory or part.memory), "-accel", "tcg,tb-size=256"),
            *("-display", "none", "-monitor", "none", "-no-reboot"),
            *("-kernel", str(self.folder / "vmlinuz"), "-initrd", str(self.folder / "initrd.img")),
            *("-append", (self.folder / "options").read_text()),
        ]
        if part.devicetree:
            words += ["-dtb", str(self.folder / part.devicetree)]
        return [*words, *self._serial(), *self._card(), *self._network()]

    def _serial(self) -> list[str]:
        second = self.part.console.endswith("S1")  # the first is the Raspberry Pi's other UART
        return ["-serial", "null", "-serial", "stdio"] if second else ["-serial", "stdio"]

    def _card(self) -> list[str]:
        drive = f"file={self.card},format=raw,cache=writeback"
        if self.part.card == "sd":
            return ["-drive", f"{drive},if=sd"]
        return ["-drive", f"{drive},if=none,id=card", "-device", "virtio-blk-pci,drive=card"]

    def _network(self) -> list[str]:
        doors = "".join(f",hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in self.forward)
        netdev = self.network or f"user,id=net{doors}"
        if self.part.network == "usb":
            return ["-netdev", netdev, "-device", "usb-net,netdev=net"]
        return ["-netdev", netdev, "-device", "virtio-net-pci,netdev=net,romfile="]


def emulation(board: Board) -> EmulatePart:
    """How the board is emulated.

    Raises:
        Fault: UNSUPPORTED if QEMU has no such machine.
    """
    if board.emulate is None:
        raise Fault(
            Kind.UNSUPPORTED,
            "QEMU has no machine for this board",
            path=board.name,
            next_step="boot the image of virt-arm64 or rpi3: the same system",
        )
    return board.emulate


def board_of(image: Path) -> Board:
    """The board that an image or card says it is for.

    Raises:
        Fault: MALFORMED if it says nothing.
    """
    try:
        return load_board(str(json.loads(read_file(image, ABOUT))["board"]))
    except (ValueError, KeyError) as cause:
        raise Fault(
            Kind.MALFORMED, "does not say which board it is for", path=str(image)
        ) from cause


def take_boot_files(card: Path, board: Board, folder: Path, extra: str = "") -> None:
    """Put what the firmware would load into a folder: QEMU has no such firmware."""
    part = emulation(board)
    names = ["vmlinuz", "initrd.img", *([part.devicetree] if part.devicetree else [])]
    for name in names:
        (folder / name).write_bytes(read_file(card, f"a/{name}"))
    options = read_file(card, "a/cmdline.txt").decode().split()
    options = [word for word in options if word != "quiet"]
    (folder / "options").write_text(" ".join([*options, *part.options, extra]).strip())


def make_card(image: Path, card: Path, size: int) -> None:
    """A card that holds a raw image: a plain file as large as a card, a power of two.

    Raises:
        Fault: USAGE for a size that no card has.
    """
    if size & (size - 1) or size < 4096 * MIB:
        raise Fault(Kind.USAGE, "a card has 4096, 8192, 16384, … MiB", path=str(card))
    copy_sparse(image, card, size)
