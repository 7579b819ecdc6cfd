"""Block maps: which blocks of an image a card must get, each run with its hash (bmap 2.0).

Ours says more than which blocks are not zero: all of the boot partition (a FAT that kept an old
card's entries would be believed), and every block that ext4 uses. bmaptool reads it too.
"""

import hashlib
import xml.etree.ElementTree as Xml
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from blocktree.fault import Fault, Kind

BLOCK = 4096
_RUN_BLOCKS_MAX = 4096  # 16 MiB: a damaged download is found before much of it is written
_XML_MAX = 4 << 20
_EMPTY = "0" * 64


@dataclass(frozen=True, slots=True)
class Run:
    """Blocks in a row: first and last, both included."""

    first: int
    last: int
    sha256: str

    @property
    def start(self) -> int:
        """In bytes."""
        return self.first * BLOCK

    @property
    def size(self) -> int:
        """In bytes."""
        return (self.last - self.first + 1) * BLOCK


@dataclass(frozen=True, slots=True)
class BlockMap:
    """The runs of one image, in order."""

    image_bytes: int
    runs: tuple[Run, ...]

    @property
    def mapped_bytes(self) -> int:
        """How much is written."""
        return sum(run.size for run in self.runs)

    def encode(self) -> bytes:
        """The XML file."""
        text = self._text(_EMPTY)
        return self._text(hashlib.sha256(text).hexdigest())

    def _text(self, checksum: str) -> bytes:
        runs = [
            f'        <Range chksum="{run.sha256}"> {run.first}-{run.last} </Range>'
            for run in self.runs
        ]
        mapped = self.mapped_bytes // BLOCK
        head = [
            '<?xml version="1.0" ?>',
            '<bmap version="2.0">',
            f"    <ImageSize> {self.image_bytes} </ImageSize>",
            f"    <BlockSize> {BLOCK} </BlockSize>",
            f"    <BlocksCount> {self.image_bytes // BLOCK} </BlocksCount>",
            f"    <MappedBlocksCount> {mapped} </MappedBlocksCount>",
            "    <ChecksumType> sha256 </ChecksumType>",
            f"    <BmapFileChecksum> {checksum} </BmapFileChecksum>",
            "    <BlockMap>",
        ]
        return "\n".join([*head, *runs, "    </BlockMap>", "</bmap>", ""]).encode()


def decode_blockmap(content: bytes, path: str = "") -> BlockMap:
    """Read an XML file.

    Raises:
        Fault: MALFORMED if it is no block map of version 2, DAMAGED if its checksum is another.
    """
    try:
        size, declared, runs = _parse(content)
    except (Xml.ParseError, ValueError, KeyError) as cause:
        raise Fault(Kind.MALFORMED, f"not a block map: {cause}", path=path) from cause
    blank = content.replace(declared.encode(), _EMPTY.encode())
    if hashlib.sha256(blank).hexdigest() != declared:
        raise Fault(
            Kind.DAMAGED,
            "the block map was changed or cut short",
            path=path,
            next_step="get it again, or make it anew: bt image build",
        )
    return _checked(BlockMap(size, runs), path)


def _parse(content: bytes) -> tuple[int, str, tuple[Run, ...]]:
    if len(content) > _XML_MAX or b"<!D" in content or b"<!E" in content:
        raise ValueError("too large, or with a document type")
    root = Xml.fromstring(content)  # noqa: S314 - no entities get here
    runs = tuple(_run(element) for element in root.iterfind("BlockMap/Range"))
    if int(_text(root, "BlockSize")) != BLOCK or not runs or root.get("version") != "2.0":
        raise ValueError("of another version")
    return int(_text(root, "ImageSize")), _text(root, "BmapFileChecksum"), runs


def measure(image: Path, blocks: Iterable[tuple[int, int]]) -> BlockMap:
    """The map of an image, of runs (first and last block) that are joined and cut as needed."""
    with image.open("rb") as file:
        runs = []
        for first, last in _cut(_join(blocks)):
            file.seek(first * BLOCK)
            content = file.read((last - first + 1) * BLOCK)
            runs.append(Run(first, last, hashlib.sha256(content).hexdigest()))
    return BlockMap(image.stat().st_size, tuple(runs))


def _join(blocks: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(blocks):
        if joined and first <= joined[-1][1] + 1:
            joined[-1] = (joined[-1][0], max(last, joined[-1][1]))
        else:
            joined.append((first, last))
    return joined


def _cut(blocks: Iterable[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    for first, last in blocks:
        for start in range(first, last + 1, _RUN_BLOCKS_MAX):
            yield start, min(start + _RUN_BLOCKS_MAX - 1, last)


def _run(element: Xml.Element) -> Run:
    first, _, last = (element.text or "").strip().partition("-")
    return Run(int(first), int(last or first), element.attrib["chksum"])


def _text(root: Xml.Element, name: str) -> str:
    found = root.findtext(name)
    if found is None:
        raise ValueError(f"no {name}")
    return found.strip()


def _checked(made: BlockMap, path: str) -> BlockMap:
    at = 0
    for run in made.runs:
        if run.first < at or run.last < run.first or run.start + run.size > made.image_bytes:
            raise Fault(Kind.MALFORMED, "the block map's runs are not in order", path=path)
        if run.last - run.first >= _RUN_BLOCKS_MAX:
            raise Fault(Kind.MALFORMED, "the block map has a run over 16 MiB", path=path)
        at = run.last + 1
    return made
