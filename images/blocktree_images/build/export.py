"""From the cache to what a person gets: the image compressed, with all that lies beside it.

Every file appears whole, by a rename, the image last: what is interrupted leaves no half image.
"""

from pathlib import Path
from typing import Any

from blocktree_images.build.manifest import (
    Product,
    Wheel,
    imager_entry,
    manifest,
    read_wheel,
    sbom,
    write_json,
)
from blocktree_images.build.pipeline import IMAGE, MAP, Pipeline
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.cache import file_digest
from blocktree_images.card.blockmap import decode_blockmap
from blocktree_images.card.sparse import copy_sparse
from blocktree_images.programs import Watch

_LEVELS = {".zst": ("zstd", "-10", "-T2", "--long=27"), ".xz": ("xz", "-2", "-T2")}


def export(pipeline: Pipeline, target: Path, where: str) -> dict[str, Any]:
    """Build the board's image and put it at `target`; its manifest.

    Args:
        pipeline: the board's.
        target: ends in .img, .img.xz or .img.zst.
        where: the address of the folder that it will be served from.
    """
    pipeline.image  # noqa: B018 - the steps run, and tell, before the files are written
    folder, stem = target.parent, target.name.split(".img")[0]
    raw = pipeline.image.folder / IMAGE
    packed, digest = _packed(pipeline, target)
    _place(packed, target)
    raw_digest = pipeline.image.digest(IMAGE)
    size = target.stat().st_size
    product = Product(target.name, size, digest, raw.stat().st_size, raw_digest)
    blocks = (pipeline.image.folder / MAP).read_bytes()
    decode_blockmap(blocks)
    (folder / f"{stem}.bmap").write_bytes(blocks)
    found = _wheels(pipeline)
    debs, board, epoch = pipeline.selection.debs, pipeline.board, pipeline.epoch
    map_digest = file_digest(folder / f"{stem}.bmap")
    told = manifest(
        board,
        epoch,
        product,
        bmap_sha256=map_digest,
        debs=debs,
        wheels=found,
        steps=pipeline.steps,
    )
    write_json(folder / f"{stem}.spdx.json", sbom(board, epoch, debs, found))
    if board.imager.devices:
        entry = imager_entry(board, epoch, product, where)
        write_json(folder / f"{stem}.rpi-imager-manifest", entry)
    write_json(folder / f"{stem}.json", told)
    return told


def compress(toolbox: Toolbox, raw: Path, packed: Path, watch: Watch) -> None:
    """Compress an image by what its new name ends in."""
    program, *words = _LEVELS[packed.suffix]
    if program == "xz":  # it takes no name for its output
        link = packed.with_suffix("")
        link.symlink_to(raw)
        toolbox.run(program, *words, "--keep", "--force", link, watch=watch)
        link.unlink()
        return
    toolbox.run(program, *words, "--quiet", raw, "-o", packed, watch=watch)


def _packed(pipeline: Pipeline, target: Path) -> tuple[Path, str]:
    """The image as its name asks for it, and its hash."""
    kept = pipeline.image
    raw = kept.folder / IMAGE
    if target.suffix == ".img":
        return raw, kept.digest(IMAGE)
    packed = f"image.img{target.suffix}"
    made = pipeline.cached_step(
        "packed",
        {"image": kept.key, "toolbox": pipeline.toolbox.key, "words": _LEVELS[target.suffix]},
        lambda into, watch: compress(pipeline.toolbox, raw, into / packed, watch),
    )
    return made.folder / packed, made.digest(packed)


def _wheels(pipeline: Pipeline) -> list[Wheel]:
    paths = [path for kept in (pipeline.wheels, pipeline.own) for path in kept.folder.glob("*.whl")]
    return sorted((read_wheel(p, file_digest(p)) for p in paths), key=lambda one: one.name)


def _place(source: Path, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    try:
        copy_sparse(source, part)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
