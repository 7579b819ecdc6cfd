"""The two ends of a copy: where each source is, where it goes, and what cannot be."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from blocktree.cli.folders import Folder, Item, Source
from blocktree.cli.localfolder import LocalFolder, look_at
from blocktree.cli.places import Places
from blocktree.cli.session import Session
from blocktree.cli.standardinput import ITEM, StandardInput
from blocktree.cli.treefolder import TreeFolder, item_of
from blocktree.cli.treepaths import TreePath, parse_path, printable, tree_id_text
from blocktree.cli.trees import find, find_directory, find_if_there
from blocktree.fault import Fault, Kind


@dataclass(frozen=True, slots=True)
class End:
    """A path as it was typed, and where it is; None is standard input."""

    text: str
    where: TreePath | Path | None
    next_step: str = ""  # if nothing is there

    @property
    def inside(self) -> bool:
        """Typed so that it must be a directory."""
        return self.text.endswith("/")

    @property
    def content(self) -> bool:
        """Typed so that what is in the directory is meant, not the directory."""
        return self.text in {".", ".."} or self.text.endswith(("/.", "/.."))

    def __str__(self) -> str:
        if self.where is None:
            return "standard input"
        return str(self.where) if isinstance(self.where, TreePath) else self.text


@dataclass(frozen=True, slots=True)
class From:
    """One source: what is called `name` in `folder`; b"" is the folder itself."""

    folder: Source
    name: bytes
    item: Item
    new_name: bytes  # what it is called in a directory it is copied into; b"": only its content


@dataclass(frozen=True, slots=True)
class To:
    """The target: what is called `name` in `folder`, or the folder itself if that is b""."""

    folder: Folder
    name: bytes
    item: Item | None  # what is there
    above: Sequence[int] = ()  # numbers of the directories it is in, and its own


def parse_end(text: str, places: Places) -> End:
    """Read a source or target.

    Raises:
        Fault: as `parse_path`.
    """
    if text == "-":
        return End(text, None)
    where = parse_path(text, places)
    if isinstance(where, TreePath):
        return End(text, where)
    meant = tree_id_text(where, places)
    return End(text, where, f"if you mean the tree's: {meant}" if meant else "")


async def find_source(session: Session, end: End, *, recursive: bool) -> From:
    """What a source is.

    Raises:
        Fault: NOT_FOUND; IS_DIRECTORY without `recursive`.
    """
    if end.where is None:
        return From(StandardInput(), b"-", ITEM, b"stdin")
    follow = not recursive or end.content
    if isinstance(end.where, TreePath):
        found = await _tree_source(session, end.where, follow=follow)
    else:
        found = _local_source(end, follow=follow)
    if found.item.is_directory and not recursive:
        raise Fault(
            Kind.IS_DIRECTORY, "is a directory", next_step="copy it with all in it: bt cp -r"
        )
    return found


async def find_target(session: Session, end: End) -> To:
    """Where the copies go.

    Raises:
        Fault: NOT_FOUND if the directory that it would be in does not exist.
    """
    if end.where is None:
        raise Fault(Kind.USAGE, "is no target", next_step="write a file to the terminal: bt cat")
    if isinstance(end.where, TreePath):
        return await _tree_target(session, end.where)
    return _local_target(end)


async def _tree_source(session: Session, path: TreePath, *, follow: bool) -> From:
    files = (await session.tree(path.place)).files
    found = await find(files, path, follow=follow)
    item = item_of(found.attributes)
    new_name = b"" if path.content else path.leaf
    if path.content or not found.above:
        return From(TreeFolder(files, path, found.ino), b"", item, new_name)
    return From(TreeFolder(files, path.parent, found.above[-1]), found.name, item, new_name)


def _local_source(end: End, *, follow: bool) -> From:
    path = os.fsencode(os.path.abspath(str(end.where)))  # noqa: PTH100 - a link stays a link
    item = look_at(path, follow=follow)
    if item is None:
        raise Fault(
            Kind.NOT_FOUND, "no such file or directory on this machine", next_step=end.next_step
        )
    if end.content or path == b"/":
        return From(LocalFolder(path), b"", item, b"")
    folder, name = os.path.split(path)
    return From(LocalFolder(folder), name, item, name)


async def _tree_target(session: Session, path: TreePath) -> To:
    files = (await session.tree(path.place)).files
    there = await find_if_there(files, path)
    if there is None:
        above = await find_directory(files, path.parent)
        folder = TreeFolder(files, path.parent, above.ino)
        return To(folder, path.leaf, None, (*above.above, above.ino))
    item = item_of(there.attributes)
    if there.is_directory:
        return To(TreeFolder(files, path, there.ino), b"", item, (*there.above, there.ino))
    return To(TreeFolder(files, path.parent, there.above[-1]), there.name, item)


def _local_target(end: End) -> To:
    path = os.fsencode(os.path.abspath(str(end.where)))  # noqa: PTH100
    item = look_at(path, follow=True)
    if item is not None and item.is_directory:
        return To(LocalFolder(path), b"", item)
    folder, name = os.path.split(path)
    if look_at(folder, follow=True) is None:
        raise Fault(
            Kind.NOT_FOUND,
            f"there is no directory {printable(folder)} on this machine",
            next_step=end.next_step or f"mkdir -p {printable(folder)}",
        )
    return To(LocalFolder(folder), name, item)
