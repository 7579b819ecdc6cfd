"""What all parts of one disk stand on."""

from dataclasses import dataclass

from blocktree.disk.batch import Keeper, Limits
from blocktree.disk.catalogue import Catalogue
from blocktree.disk.files import Files
from blocktree.disk.index import Index
from blocktree.disk.segment import Key
from blocktree.disk.shelf import Shelf
from blocktree.disk.usage import Usage


@dataclass(frozen=True, slots=True)
class Ground:
    """The directory, the index, and what is known of the segments.

    Attributes:
        disk: the disk's id, 16 random bytes.
        key: what seeds its checksums.
    """

    files: Files
    index: Index
    limits: Limits
    keeper: Keeper
    disk: bytes
    key: Key
    shelf: Shelf
    usage: Usage
    catalogue: Catalogue
