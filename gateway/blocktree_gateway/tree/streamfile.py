"""The stream of one device in the tree: append-only segments of sealed entries and checkpoints.

`<device>/stream/<boot>-<seq>` holds the items from that place on: for each a length (u16) and its
canonical bytes, as the device made them. Nothing in a segment is ever changed, and a segment that
is full is followed by another, so old history is never written again.
"""

from collections.abc import Iterator, Sequence

from blocktree.fault import Fault, Kind
from blocktree.wire import Record, encode
from blocktree_gateway.decoding import decode_message
from blocktree_gateway.messages import Checkpoint, Entry, Place
from blocktree_gateway.stream.entries import entry_hash
from blocktree_gateway.tree.smallfiles import Place as TreePlace
from blocktree_gateway.tree.smallfiles import SmallFiles, said

STREAM = b"stream"
SEGMENT_BYTES = 256 << 10
ITEM_BYTES_MAX = 1 << 10
Item = Entry | Checkpoint


class StreamFile:
    """A device's stream, as files below `place`."""

    def __init__(self, files: SmallFiles, place: TreePlace) -> None:
        self.files = files
        self.place = place
        self._place = (*place, STREAM)
        self._segment: bytes | None = None  # the one that grows
        self._size = 0
        self.last: Place | None = None  # of the newest entry
        self.last_hash = b""

    def move(self, place: TreePlace) -> None:
        """The device's directory was renamed, with all in it."""
        self.place, self._place = place, (*place, STREAM)

    async def load(self) -> None:
        """Find the end of the stream.

        Raises:
            Fault: DAMAGED if the newest segment cannot be read.
        """
        for name in reversed(await self.segments()):
            content = await self.files.read((*self._place, name)) or b""
            if self._segment is None:
                self._segment, self._size = name, len(content)
            entries = [item for item in split_items(content, name) if isinstance(item, Entry)]
            if entries:
                self.last, self.last_hash = entries[-1].place, entry_hash(entries[-1])
                return

    async def append(self, items: Sequence[Item]) -> None:
        """Add items at the end; durable in the tree when this returns.

        Raises:
            Fault: CONFLICT if the end is not where it was: another gateway has written.
        """
        content = b"".join(map(join_item, items))
        newest = [item for item in items if isinstance(item, Entry)]
        if self._segment is None or self._size + len(content) > SEGMENT_BYTES:
            first = newest[0].place if newest else items[0].place
            self._segment, self._size = b"%010d-%010d" % first, 0
        # A device that was just renamed is not brought back at its old path: this fails then, and
        # is tried again when the new one is known.
        place = (*self._place, self._segment)
        await self.files.append(place, content, base=len(self.place), size=self._size)
        self._size += len(content)
        if newest:
            self.last, self.last_hash = newest[-1].place, entry_hash(newest[-1])

    async def segments(self) -> Sequence[bytes]:
        """The names of all segments, oldest first."""
        names = await self.files.names(self._place)
        return [name for name in names if len(name) == 21 and name[10:11] == b"-"]

    async def read(self, segment: bytes) -> list[Item]:
        """Everything in a segment.

        Raises:
            Fault: DAMAGED if it is not what `append` wrote.
        """
        content = await self.files.read((*self._place, segment)) or b""
        return list(split_items(content, segment))

    async def read_all(self) -> list[Item]:
        """Everything in every segment.

        Raises:
            Fault: DAMAGED.
        """
        items: list[Item] = []
        for segment in await self.segments():
            items += await self.read(segment)
        return items

    @property
    def path(self) -> str:
        """Where it is, for people."""
        return said(self._place)


def segment_place(segment: bytes) -> Place:
    """The place of the first item in a segment."""
    return int(segment[:10]), int(segment[11:])


def join_item(item: Item) -> bytes:
    """One item as it lies in a segment."""
    encoded = encode(item)
    return len(encoded).to_bytes(2) + encoded


def split_items(content: bytes, segment: bytes) -> Iterator[Item]:
    """The items of a segment.

    Raises:
        Fault: DAMAGED if it holds anything else.
    """
    at = 0
    while at < len(content):
        size = int.from_bytes(content[at : at + 2])
        piece = content[at + 2 : at + 2 + size]
        item: Record | None = None
        if 0 < size == len(piece) <= ITEM_BYTES_MAX:
            try:
                item = decode_message(piece)
            except Fault:
                item = None
        if not isinstance(item, Entry | Checkpoint):
            where = f"{segment.decode(errors='replace')} at byte {at}"
            raise Fault(Kind.DAMAGED, "is no stream of readings", path=where)
        yield item
        at += 2 + size
