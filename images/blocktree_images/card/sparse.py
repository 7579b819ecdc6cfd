"""Copying files without filling their holes."""

import os
from pathlib import Path

_CHUNK = 1 << 20


def copy_sparse(source: Path, target: Path, size: int = 0, at: int = 0) -> None:
    """Copy what a file holds into another, its holes left out.

    Args:
        source: read.
        target: made if it is not there; what is beside the copied bytes stays.
        size: the target is made at least so long; 0 takes the source's.
        at: where in the target the source's first byte goes.
    """
    descriptor = os.open(target, os.O_RDWR | os.O_CREAT, 0o644)
    with source.open("rb") as reader, os.fdopen(descriptor, "r+b") as writer:
        length = source.stat().st_size
        writer.truncate(max(writer.seek(0, os.SEEK_END), size, at + length))
        here = 0
        while here < length:
            try:
                here = os.lseek(reader.fileno(), here, os.SEEK_DATA)
            except OSError:  # nothing but a hole from here to the end
                break
            end = os.lseek(reader.fileno(), here, os.SEEK_HOLE)
            reader.seek(here)
            writer.seek(at + here)
            while here < end:
                chunk = reader.read(min(_CHUNK, end - here))
                writer.write(chunk)
                here += len(chunk)
