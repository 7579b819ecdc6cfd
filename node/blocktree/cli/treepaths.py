"""What a person types for a file: a path in a tree, or one of this machine.

Names are taken byte for byte, as the file system keeps them; only the tree is looked up.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from blocktree.cli.places import Places, TreePlace
from blocktree.fault import Fault, Kind
from blocktree.names import COMPONENT_BYTES_MAX, TreeId

LOCAL_MARK = "file:"
_TREE_ID_CHARACTERS = 55

PATHS_HELP = """A path is in a tree if it starts with / and the name of a tree of this machine
    (/home/…), or with a tree's id (/bt1…). Every other path is of this machine; so is all below
    your home directory (~/…). For a local path that starts like a tree's, write file:/home/…
    or a relative path (./…)."""


@dataclass(frozen=True, slots=True)
class TreePath:
    """A file in a tree, whether it exists or not."""

    place: TreePlace
    names: tuple[bytes, ...]  # from the root of the tree; none: the root itself
    inside: bool = False  # typed with a slash at the end: must be a directory
    content: bool = False  # typed with `/.` at the end: what is in the directory

    def __str__(self) -> str:
        return "/" + "/".join([self.place.alias, *map(printable, self.names)])

    @property
    def leaf(self) -> bytes:
        """The last name; of a tree's root, its alias."""
        return self.names[-1] if self.names else self.place.alias.encode()

    @property
    def parent(self) -> "TreePath":
        """The directory it is in; a root is its own."""
        return TreePath(self.place, self.names[:-1])

    def below(self, name: bytes) -> "TreePath":
        """What is called `name` in it."""
        return TreePath(self.place, (*self.names, name))


def printable(name: bytes) -> str:
    """A name for people: one line, and no character that moves the cursor."""
    text = name.decode(errors="backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def parse_tree_path(text: str, places: Places) -> TreePath:
    """Read a path that must be in a tree.

    Raises:
        Fault: USAGE if it cannot be one, NOT_FOUND for a tree that this machine does not know.
    """
    if not text.startswith("/"):
        trees = places.trees()
        alias = trees[0].alias if len(trees) == 1 else "home"
        raise Fault(
            Kind.USAGE,
            "a path in a tree starts with / and the tree's name",
            path=text,
            next_step=f"/{alias}" if text == alias else f"/{alias}/{text}",
        )
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if not parts:
        raise Fault(Kind.USAGE, "which tree?", path=text, next_step="bt ls / lists them")
    if ".." in parts:
        raise Fault(Kind.USAGE, "write the path without ..", path=text)
    place = _find_place(parts[0], text, places)
    names = tuple(os.fsencode(part) for part in parts[1:])
    for name in names:
        if len(name) > COMPONENT_BYTES_MAX or b"\0" in name:
            raise Fault(Kind.USAGE, f"no name has {len(name)} bytes", path=text)
    return TreePath(place, names, inside=text.endswith("/"), content=text.endswith("/."))


def parse_path(text: str, places: Places) -> TreePath | Path:
    """Read a path that is in a tree or of this machine; `PATHS_HELP` says which is which.

    Raises:
        Fault: as `parse_tree_path`.
    """
    if text.startswith(LOCAL_MARK):
        return Path("/" + text[5:].lstrip("/")) if text[5:].startswith("/") else Path(text[5:])
    if is_tree_path(text, places):
        return parse_tree_path(text, places)
    return Path(text)


def is_tree_path(text: str, places: Places) -> bool:
    """Whether `parse_path` takes it for a path in a tree."""
    if not text.startswith("/"):
        return False
    first = next((part for part in text.split("/") if part), "")
    home = str(Path.home())
    if len(home) > 1 and (text == home or text.startswith(home + "/")):
        return False
    known = any(place.alias == first for place in places.trees())
    return known or (first.startswith("bt1") and len(first) == _TREE_ID_CHARACTERS)


def tree_id_text(path: Path, places: Places) -> str:
    """How a local path that looks like a tree's is written to mean the tree's, or ""."""
    parts = str(path).split("/")
    for place in places.trees():
        if len(parts) > 1 and parts[0] == "" and parts[1] == place.alias:
            return "/" + "/".join([place.tree(), *parts[2:]])
    return ""


def _find_place(first: str, text: str, places: Places) -> TreePlace:
    trees = places.trees()
    for place in trees:
        if first == place.alias:
            return place
    if first.startswith("bt1"):
        return places.tree_of(TreeId(first))
    known = ", ".join(f"/{place.alias}" for place in trees) or "none yet: bt init home"
    raise Fault(Kind.NOT_FOUND, "no such tree here", path=text, next_step=f"known: {known}")
