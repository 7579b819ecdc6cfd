"""`bt image build`: a board's image, its block map, manifest, SBOM and Imager entry."""

import time
from pathlib import Path

import click

from blocktree import __version__
from blocktree.cli.asking import json_option
from blocktree.cli.output import duration_text, print_json, say, size_text
from blocktree.fault import Fault, Kind
from blocktree_images.build.boards import board_names, boards_folder, load_board
from blocktree_images.build.export import export
from blocktree_images.build.pipeline import Pipeline, check_room
from blocktree_images.cache import Cache, default_root

_ROOM = 6 << 30


@click.command("build")
@click.option("--board", "name", required=True, help="What it is for; --board help lists them.")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Where the image goes: a folder, or a file that ends in .img, .img.xz or .img.zst.",
)
@click.option("--refresh", is_flag=True, help="Take the newest packages of Debian.")
@click.option(
    "--url",
    default="",
    metavar="URL",
    help="Where the image will be served, for Raspberry Pi Imager's manifest.",
)
@json_option
def command(name: str, out: Path | None, url: str, *, refresh: bool, as_json: bool) -> None:
    """Build the image of a board.

    \b
    Examples:
      bt image build --board rpi4
      bt image build --board rpi3 --out /var/www/images --url https://images.example.org
      bt image build --board virt-arm64 --out card.img

    The first build downloads about 300 MB of Debian and takes 6 to 20 minutes; what has not
    changed is kept in $BLOCKTREE_CACHE (or ~/.cache/blocktree), so a later one takes a minute.
    The same inputs give the same bytes.
    """  # noqa: D301
    if name == "help":
        for each in board_names(boards_folder()):
            click.echo(f"{each:<12} {load_board(each).title}")
        return
    board = load_board(name)
    target = _target(out, board.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    cache = Cache(default_root())
    cache.root.mkdir(parents=True, exist_ok=True)
    check_room(cache.root, _ROOM)
    begun = time.monotonic()
    made = export(Pipeline(board, cache, refresh), target, url or target.parent.absolute().as_uri())
    if as_json:
        print_json("image.build", made)
        return
    image = made["image"]
    say(
        f"{target}: {size_text(image['size'])}, {size_text(image['raw_size'])} unpacked, "
        f"in {duration_text(time.monotonic() - begun)}"
    )
    say(f"Next: bt image flash {target} --node /home/NAME")


def _target(out: Path | None, board: str) -> Path:
    """The image's file.

    Raises:
        Fault: USAGE for a name that does not tell the compression.
    """
    usual = f"blocktree-{__version__}-{board}.img.zst"
    if out is None:
        return Path(usual)
    if out.is_dir() or not out.suffix:
        return out / usual
    if not out.name.endswith((".img", ".img.xz", ".img.zst")):
        raise Fault(Kind.USAGE, "an image's name ends in .img, .img.xz or .img.zst", path=str(out))
    return out
