"""Images as they lie on disk: raw, .xz or .zst, with their block map and manifest beside them."""

import contextlib
import json
import lzma
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from blocktree.fault import Fault, Kind
from blocktree_images.card.blockmap import BlockMap, decode_blockmap
from blocktree_images.programs import find, need

_SUFFIXES = (".img", ".img.xz", ".img.zst")


@dataclass(frozen=True, slots=True)
class Source:
    """An image's files.

    Args:
        path: of the image.
        stem: what the names of all its files begin with.
    """

    path: Path
    stem: str

    @property
    def map_path(self) -> Path:
        """Where the block map is."""
        return self.path.with_name(f"{self.stem}.bmap")

    @property
    def is_raw(self) -> bool:
        """Whether it is not compressed."""
        return self.path.suffix == ".img"

    def block_map(self) -> BlockMap:
        """Its block map.

        Raises:
            Fault: NOT_FOUND; as `decode_blockmap`.
        """
        path = self.map_path
        try:
            return decode_blockmap(path.read_bytes(), str(path))
        except FileNotFoundError as cause:
            raise Fault(
                Kind.NOT_FOUND,
                "the image's block map is not beside it",
                path=str(path),
                next_step="get both files, or make both: bt image build",
            ) from cause

    def manifest(self) -> dict[str, Any] | None:
        """What its manifest says, or None if there is none or it makes no sense."""
        try:
            told = json.loads(self.path.with_name(f"{self.stem}.json").read_text())
        except (OSError, ValueError):
            return None
        return told if isinstance(told, dict) else None

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Its bytes, unpacked on the way.

        Raises:
            Fault: MISSING if zstd is not here.
        """
        match self.path.suffix:
            case ".xz":
                with lzma.open(self.path) as file:
                    yield file
            case ".zst":
                with _zstd(self.path) as stream:
                    yield stream
            case _:
                with self.path.open("rb") as raw:
                    yield raw


def find_source(path: Path) -> Source:
    """The image at a path.

    Raises:
        Fault: NOT_FOUND, USAGE if its name does not end like an image's.
    """
    suffix = next((s for s in _SUFFIXES if path.name.endswith(s)), None)
    if suffix is None:
        ends = ", ".join(_SUFFIXES)
        raise Fault(Kind.USAGE, f"an image's name ends in {ends}", path=str(path))
    if not path.is_file():
        raise Fault(
            Kind.NOT_FOUND, "there is no such image", path=str(path), next_step="bt image build"
        )
    return Source(path, path.name.removesuffix(suffix))


def read_exactly(stream: IO[bytes], count: int, path: str) -> bytes:
    """So many bytes of an image.

    Raises:
        Fault: DAMAGED if it ends early or cannot be unpacked.
    """
    parts = []
    while count:
        try:
            part = stream.read(min(count, 1 << 20))
        except (lzma.LZMAError, EOFError) as cause:
            raise _damaged(path, str(cause)) from cause
        if not part:
            raise _damaged(path, "it ends early")
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


@contextmanager
def _zstd(path: Path) -> Iterator[IO[bytes]]:
    need("zstd")
    program = find("zstd")
    assert program is not None
    process = subprocess.Popen(  # noqa: S603
        [program, "--decompress", "--stdout", "--quiet", "--long=27", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.stdout.close()
        with contextlib.suppress(OSError):
            process.terminate()
        process.wait()


def _damaged(path: str, what: str) -> Fault:
    return Fault(
        Kind.DAMAGED,
        f"the image is damaged: {what}",
        path=path,
        next_step="get it again, or make it anew: bt image build",
    )
