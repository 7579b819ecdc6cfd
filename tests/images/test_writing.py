"""Flashing: everything is read back, and nothing half-written ever looks whole."""

import lzma
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from blocktree.fault import Fault, Kind
from blocktree_images.card.blockmap import BLOCK, BlockMap, measure
from blocktree_images.card.source import Source, find_source
from blocktree_images.card.target import OpenTarget
from blocktree_images.card.writing import verify_image, write_image

BLOCKS = 64
MAPPED = [(0, 15), (30, 40), (63, 63)]


def silent(count: int) -> None:
    del count


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An image with holes, its block map beside it."""
    dice = random.Random(6)
    path = tmp_path / "x.img"
    with path.open("wb") as file:
        file.truncate(BLOCKS * BLOCK)
        for first, last in MAPPED:
            file.seek(first * BLOCK)
            file.write(dice.randbytes((last - first + 1) * BLOCK))
    (tmp_path / "x.bmap").write_bytes(measure(path, MAPPED).encode())
    return path


def _opened(image: Path) -> tuple[Source, BlockMap]:
    source = find_source(image)
    return source, source.block_map()


class Faulty:
    """A card that gives back one wrong bit, or stops taking bytes."""

    def __init__(self, target: OpenTarget, *, flip_at: int = -1, stop_at: int = -1) -> None:
        self._target, self._flip, self._stop = target, flip_at, stop_at

    @property
    def size(self) -> int:
        return self._target.size

    def write(self, at: int, content: bytes) -> None:
        if at <= self._stop < at + len(content):
            raise KeyboardInterrupt
        self._target.write(at, content)

    def read(self, at: int, count: int) -> bytes:
        content = bytearray(self._target.read(at, count))
        if at <= self._flip < at + len(content):
            content[self._flip - at] ^= 1
        return bytes(content)

    def flush(self) -> None:
        self._target.flush()


def test_every_mapped_block_arrives_and_the_rest_is_left(image: Path, tmp_path: Path) -> None:
    card = tmp_path / "card"
    card.write_bytes(b"\xaa" * (BLOCKS + 8) * BLOCK)
    source, blocks = _opened(image)
    moved: list[int] = []
    with OpenTarget(card, blocks.image_bytes) as target:
        write_image(source, blocks, target, moved.append)
        verify_image(blocks, target, silent)
    written, wanted = card.read_bytes(), image.read_bytes()
    for first, last in MAPPED:
        part = slice(first * BLOCK, (last + 1) * BLOCK)
        assert written[part] == wanted[part]
    assert written[20 * BLOCK : 30 * BLOCK] == b"\xaa" * 10 * BLOCK
    assert sum(moved) == 2 * blocks.mapped_bytes - 2 * BLOCK  # the first block is not counted


@pytest.mark.parametrize("place", [BLOCK, 7 * BLOCK + 11, 40 * BLOCK + 4095, 63 * BLOCK, 5])
def test_a_flipped_bit_is_caught_by_reading_back(image: Path, tmp_path: Path, place: int) -> None:
    card = tmp_path / "card"
    source, blocks = _opened(image)
    with OpenTarget(card, blocks.image_bytes) as target:
        with pytest.raises(Fault, match="read back differs") as caught:
            write_image(source, blocks, Faulty(target, flip_at=place), silent)
        assert caught.value.kind is Kind.DAMAGED
    if place >= BLOCK:
        assert card.read_bytes()[:BLOCK] == bytes(BLOCK)  # it starts nothing


@pytest.mark.parametrize("place", [2 * BLOCK, 35 * BLOCK, 63 * BLOCK])
def test_an_interrupted_card_starts_nothing(image: Path, tmp_path: Path, place: int) -> None:
    card = tmp_path / "card"
    shutil.copy(image, card)  # it held a whole image before
    source, blocks = _opened(image)
    with OpenTarget(card, blocks.image_bytes) as target, pytest.raises(KeyboardInterrupt):
        write_image(source, blocks, Faulty(target, stop_at=place), silent)
    assert card.read_bytes()[:BLOCK] == bytes(BLOCK)
    with OpenTarget(card, blocks.image_bytes) as target:
        write_image(source, blocks, target, silent)  # and is written again from the beginning
        verify_image(blocks, target, silent)


def _refused(source: Source, blocks: BlockMap, card: Path, said: str) -> Fault:
    with OpenTarget(card, blocks.image_bytes) as target, pytest.raises(Fault, match=said) as caught:
        write_image(source, blocks, target, silent)
    return caught.value


def _xz(image: Path) -> Path:
    packed = image.with_name("x.img.xz")
    packed.write_bytes(lzma.compress(image.read_bytes()))
    return packed


def _zst(image: Path) -> Path:
    packed = image.with_name("x.img.zst")
    subprocess.run(["zstd", "-q", str(image), "-o", str(packed)], check=True)
    return packed


@pytest.mark.parametrize("pack", [_xz, _zst])
def test_a_compressed_image_is_unpacked_on_the_way(
    image: Path, tmp_path: Path, pack: Callable[[Path], Path]
) -> None:
    source, blocks = _opened(pack(image))
    with OpenTarget(tmp_path / "card", blocks.image_bytes) as target:
        write_image(source, blocks, target, silent)
        verify_image(blocks, target, silent)


@pytest.mark.parametrize("pack", [_xz, _zst])
def test_a_download_that_was_cut_short_is_refused(
    image: Path, tmp_path: Path, pack: Callable[[Path], Path]
) -> None:
    packed = pack(image)
    packed.write_bytes(packed.read_bytes()[: packed.stat().st_size // 2])
    source, blocks = _opened(packed)
    caught = _refused(source, blocks, tmp_path / "card", "damaged")
    assert caught.kind is Kind.DAMAGED
    assert (tmp_path / "card").read_bytes()[:BLOCK] == bytes(BLOCK)


def test_an_image_that_is_not_what_its_map_says_is_refused(image: Path, tmp_path: Path) -> None:
    with image.open("r+b") as file:
        file.seek(33 * BLOCK)
        file.write(b"x")
    source, blocks = _opened(image)
    _refused(source, blocks, tmp_path / "card", "does not match its block map")


def test_an_image_without_its_map_is_refused(image: Path) -> None:
    image.with_name("x.bmap").unlink()
    with pytest.raises(Fault, match="not beside it") as caught:
        _opened(image)
    assert caught.value.kind is Kind.NOT_FOUND


def test_a_device_that_is_not_there_is_not_made_as_a_file() -> None:
    with pytest.raises(Fault, match="no such drive"):
        OpenTarget(Path("/dev/blocktree-no-such-drive"), 4096)
    assert not Path("/dev/blocktree-no-such-drive").exists()
