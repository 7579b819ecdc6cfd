"""`bt image boot`: an image in QEMU, its serial console on this terminal."""

import subprocess
import sys
import tempfile
from pathlib import Path

import click

from blocktree.cli.output import say
from blocktree.fault import Fault, Kind
from blocktree_images.build.emulator import Machine, board_of, make_card, take_boot_files
from blocktree_images.build.layout import MIB
from blocktree_images.build.pipeline import Pipeline
from blocktree_images.cache import Cache, default_root
from blocktree_images.card.source import find_source


@click.command("boot")
@click.argument("image", type=click.Path(path_type=Path))
@click.option("--memory", default=0, metavar="MIB", help="Of the machine; the board's by default.")
@click.option(
    "--card",
    type=click.Path(path_type=Path),
    help="Keep the card in this file; made from IMAGE if it is not there.",
)
@click.option("--card-size", default=4096, show_default=True, metavar="MIB", help="Of a new card.")
@click.option(
    "--forward",
    multiple=True,
    metavar="PORT:PORT",
    help="Lead a port of this machine to one of the board's. May be given several times.",
)
def command(
    image: Path, memory: int, card: Path | None, card_size: int, forward: tuple[str, ...]
) -> int:
    """Boot IMAGE, which must be raw (.img), in QEMU. Ctrl-C switches it off.

    \b
    Examples:
      bt image boot virt.img                            a throw-away card
      bt image boot virt.img --card pi-4.img            what it writes stays in pi-4.img
      bt image boot virt.img --memory 512 --forward 2222:22

    The board reaches this machine at 10.0.2.2. Multicast does not pass: give the addresses of
    nodes with `bt image customise --addr 10.0.2.2:PORT`.
    """  # noqa: D301
    source = find_source(image)
    if not source.is_raw:
        raise Fault(
            Kind.USAGE,
            "is compressed",
            path=str(image),
            next_step=f"bt image flash {image} card.img, then boot card.img",
        )
    board = board_of(image)
    pairs = tuple(_pair(text) for text in forward)
    with tempfile.TemporaryDirectory(prefix="blocktree-boot-") as scratch:
        folder = Path(scratch)
        place = card or folder / "card.img"
        if not place.exists():
            make_card(image, place, card_size * MIB)
        take_boot_files(place, board, folder)
        machine = Machine(board, place, folder, memory, pairs)
        toolbox = Pipeline(board, Cache(default_root())).toolbox
        say(f"{board.title}: {memory or machine.part.memory} MiB. Ctrl-C switches it off.")
        try:
            return subprocess.run(  # noqa: S603
                machine.words(toolbox), check=False, stdin=sys.stdin
            ).returncode
        except KeyboardInterrupt:
            return 0


def _pair(text: str) -> tuple[int, int]:
    here, _, there = text.partition(":")
    if not (here.isdecimal() and there.isdecimal()):
        raise Fault(Kind.USAGE, "a forward is PORT:PORT", path=text, next_step="--forward 2222:22")
    return int(here), int(there)
