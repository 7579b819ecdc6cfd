"""`bt image verify`: check an image against its manifest and block map, or a card against both."""

import hashlib
from pathlib import Path
from typing import Any

import click

from blocktree.cli.asking import json_option
from blocktree.cli.output import print_json, say, size_text
from blocktree.cli.progress import progress
from blocktree.fault import Fault, Kind
from blocktree_images.cache import file_digest
from blocktree_images.card.blockmap import BlockMap
from blocktree_images.card.source import Source, find_source, read_exactly
from blocktree_images.card.target import OpenTarget
from blocktree_images.card.writing import verify_image

_CHUNK = 1 << 20


@click.command("verify")
@click.argument("image", type=click.Path(path_type=Path))
@click.argument("device", required=False, type=click.Path(path_type=Path))
@json_option
def command(image: Path, device: Path | None, *, as_json: bool) -> None:
    """Check IMAGE; or that DEVICE holds what IMAGE is.

    \b
    Examples:
      bt image verify blocktree-0.1.0-rpi4.img.zst
      bt image verify blocktree-0.1.0-rpi4.img.zst /dev/sdb

    A card that was customised or started differs from its image; one fresh from `bt image flash`
    without --node does not. Exit code 4 if something differs.
    """  # noqa: D301
    source = find_source(image)
    blocks = source.block_map()
    if device is None:
        checked = _check_image(source, blocks)
    else:
        checked = blocks.mapped_bytes
        with OpenTarget(device, 0) as target, progress(f"verify {device}") as bar:
            bar.found(blocks.mapped_bytes)
            verify_image(blocks, target, bar.moved)
    if as_json:
        told: dict[str, Any] = {"image": str(image), "device": str(device or ""), "bytes": checked}
        print_json("image.verify", told)
        return
    say(f"ok  {device or image}  {size_text(checked)} match")


def _check_image(source: Source, blocks: BlockMap) -> int:
    """Compare the file with the manifest, and what is in it with the block map."""
    told = source.manifest()
    if told is not None:
        _expect(file_digest(source.path), told["image"]["sha256"], source.path)
        _expect(file_digest(source.map_path), told["bmap"]["sha256"], source.map_path)
    at = 0
    with source.open() as stream, progress(f"verify {source.path.name}") as bar:
        bar.found(blocks.mapped_bytes)
        for run in blocks.runs:
            while at < run.start:
                at += len(read_exactly(stream, min(_CHUNK, run.start - at), str(source.path)))
            content = read_exactly(stream, run.size, str(source.path))
            _expect(hashlib.sha256(content).hexdigest(), run.sha256, source.path)
            bar.moved(run.size)
            at += run.size
    return blocks.mapped_bytes


def _expect(found: str, wanted: str, path: Path) -> None:
    if found != wanted:
        raise Fault(
            Kind.DAMAGED,
            "was changed or is damaged: its hash is another",
            path=str(path),
            next_step="get it again, or make it anew: bt image build",
        )
