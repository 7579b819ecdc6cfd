"""`bt image flash`: onto a card, verified by reading back, with what the computer will be."""

import time
from pathlib import Path
from typing import Any

import click

from blocktree.cli.asking import confirm_by_name
from blocktree.cli.output import duration_text, print_table, say, size_text
from blocktree.cli.progress import progress
from blocktree.fault import Fault, Kind
from blocktree_images.card.blockmap import BlockMap
from blocktree_images.card.drives import (
    Drive,
    check_drive,
    doubts,
    is_device,
    list_drives,
)
from blocktree_images.card.provision import put_settings
from blocktree_images.card.source import Source, find_source
from blocktree_images.card.target import OpenTarget
from blocktree_images.card.writing import write_image
from blocktree_images.verbs.customise import tell
from blocktree_images.verbs.options import Wishes, card_options, settings_for


@click.command("flash")
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.argument("device", required=False, type=click.Path(path_type=Path))
@click.option("--board", default="", help="Take the newest image of this board in this folder.")
@click.option("--yes", default=None, metavar="NAME", help="Erase the drive of this name, unasked.")
@card_options
def command(
    image: Path | None, device: Path | None, board: str, yes: str | None, **given: Any
) -> None:
    """Write IMAGE onto DEVICE and verify it; without DEVICE, list the drives.

    \b
    Examples:
      bt image flash                                    list the drives that could be cards
      bt image flash --board rpi4 /dev/sdb --node /home/pi-1 --wifi HomeNet --country DE
      bt image flash rpi4.img.zst /dev/sdb --node /home/pi-1 --yes=sdb
      bt image flash rpi4.img.zst card.img --node /home/pi-1     a file instead of a card

    Drives that are mounted or part of this system are refused. One that is built in, large, or
    holds a foreign file system is erased only if its name is typed. Everything written is read
    back; the partition table is written last, so that an interrupted card starts nothing.
    """  # noqa: D301
    if board and image is not None and device is None:
        image, device = None, image  # `flash --board B DEVICE`
    if image is not None and device is None and is_device(image):
        image, device = None, image
    if device is None:
        _list(list_drives())
        return
    source = find_source(image if image is not None else _newest(board))
    blocks = source.block_map()
    drive = _drive(device)
    if drive is not None:
        check_drive(drive, blocks.image_bytes)
        _confirm(drive, given["no_input"], yes)
    settings = settings_for(Wishes(**given)) if _asked(given) else None
    _write(source, blocks, device)
    if settings is not None:
        put_settings(device, settings)
        tell(settings, str(device), given["node"], given["days"])


def _write(source: Source, blocks: BlockMap, device: Path) -> None:
    begun = time.monotonic()
    with OpenTarget(device, blocks.image_bytes) as target:
        try:
            with progress(f"write and verify {device}") as bar:
                bar.found(2 * blocks.mapped_bytes)
                write_image(source, blocks, target, bar.moved)
        except Fault as fault:
            raise fault.at(str(device)) from None
    took = duration_text(time.monotonic() - begun)
    say(f"Wrote {size_text(blocks.mapped_bytes)} to {device} in {took}. Read back: ok.")


def _list(drives: list[Drive]) -> None:
    if not any(drive.removable for drive in drives):
        say("No card or USB drive is here. Put one in, then run this again.")
    rows = [
        (d.device, d.model, _decimal(d.size), d.contents(), d.busy or "; ".join(doubts(d)) or "ok")
        for d in drives
    ]
    print_table(("DEVICE", "MODEL", "SIZE", "CONTAINS", "NOTE"), rows)


def _decimal(size: int) -> str:
    """As it is printed on cards."""
    return f"{size / 1e9:.1f} GB"


def _drive(device: Path) -> Drive | None:
    """The drive, or None for a plain file.

    Raises:
        Fault: USAGE for a partition, NOT_FOUND.
    """
    if not is_device(device):
        return None
    found = next((d for d in list_drives() if Path(d.device) == device.resolve()), None)
    if found is None:
        loop = device.name.startswith("loop")
        if loop:
            return None
        raise Fault(
            Kind.USAGE,
            "is not a whole drive",
            path=str(device),
            next_step="bt image flash lists those there are",
        )
    return found


def _confirm(drive: Drive, no_input: bool, yes: str | None) -> None:  # noqa: FBT001
    reasons = doubts(drive)
    what = f"Erase {drive.device} ({drive.model}, {_decimal(drive.size)}, {drive.contents()})?"
    if reasons:
        what = f"{what} Careful: {'; '.join(reasons)}."
    confirm_by_name(drive.name, what, given=yes, no_input=no_input)


def _newest(board: str) -> Path:
    found = sorted(
        Path().glob(f"*-{board}.img*" if board else "blocktree-*.img*"),
        key=lambda path: path.stat().st_mtime,
    )
    found = [path for path in found if path.name.endswith((".img", ".img.xz", ".img.zst"))]
    if not found:
        raise Fault(
            Kind.NOT_FOUND,
            f"there is no image{f' for {board}' if board else ''} in this folder",
            next_step=f"bt image build --board {board or 'rpi4'}",
        )
    return found[-1]


def _asked(given: dict[str, Any]) -> bool:
    """Whether any option says what the computer will be."""
    names = ("node", "hostname", "timezone", "wifi", "ssh_keys")
    return any(given[name] for name in names)
