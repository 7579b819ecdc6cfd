"""What a content builds on, and what one commit of it carries."""

from dataclasses import dataclass, field

from blocktree.files.edits import Edits
from blocktree.files.upload import Sent
from blocktree.names import Buffer
from blocktree.sectors.pages import Tree


@dataclass(frozen=True, slots=True)
class Version:
    """The committed content that this client builds on."""

    tree: Tree = field(default_factory=Tree)
    size: int = 0
    inline: bytes = b""  # opened


@dataclass(slots=True)
class Frozen:
    """The state of a content that one commit carries."""

    size: int
    keep: int
    trim: int | None
    grown: int
    edits: dict[int, Edits] = field(default_factory=dict)
    inline: bytes | None = None  # the whole content, if it goes into the header
    dirty: Buffer | None = None  # the dirty first sector that `inline` covers
    sent: dict[int, Sent] = field(default_factory=dict)
