"""A file system as a dictionary: what the real one is compared with."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from blocktree.fault import Kind

Way = tuple[bytes, ...]


class Refused(Exception):  # noqa: N818
    """The operation is not possible; carries the kind of fault."""


@dataclass(eq=False)
class File:
    content: bytearray = field(default_factory=bytearray)
    links: int = 1


Directory = dict[bytes, "File | Directory"]


class Model:
    """Directories are dicts, files are shared objects."""

    def __init__(self) -> None:
        self.root: Directory = {}

    def _find(self, path: Way) -> "File | Directory":
        at: File | Directory = self.root
        for name in path:
            if not isinstance(at, dict):
                raise Refused(Kind.NOT_DIRECTORY)
            if name not in at:
                raise Refused(Kind.NOT_FOUND)
            at = at[name]
        return at

    def _directory(self, path: Way) -> Directory:
        at = self._find(path)
        if not isinstance(at, dict):
            raise Refused(Kind.NOT_DIRECTORY)
        return at

    def _file(self, path: Way) -> File:
        at = self._find(path)
        if isinstance(at, dict):
            raise Refused(Kind.IS_DIRECTORY)
        return at

    def write(self, path: Way, offset: int, size: int, fill: bytes) -> None:
        parent = self._directory(path[:-1])
        file = parent.setdefault(path[-1], File())
        if isinstance(file, dict):
            raise Refused(Kind.IS_DIRECTORY)
        if len(file.content) < offset:
            file.content.extend(bytes(offset - len(file.content)))
        file.content[offset : offset + size] = fill * size

    def truncate(self, path: Way, size: int) -> None:
        file = self._file(path)
        del file.content[size:]
        file.content.extend(bytes(size - len(file.content)))

    def mkdir(self, path: Way) -> None:
        parent = self._directory(path[:-1])
        if path[-1] in parent:
            raise Refused(Kind.EXISTS)
        parent[path[-1]] = {}

    def unlink(self, path: Way) -> None:
        parent = self._directory(path[:-1])
        self._file(path).links -= 1
        del parent[path[-1]]

    def rmdir(self, path: Way) -> None:
        parent = self._directory(path[:-1])
        found = self._find(path)
        if not isinstance(found, dict):
            raise Refused(Kind.NOT_DIRECTORY)
        if found:
            raise Refused(Kind.NOT_EMPTY)
        del parent[path[-1]]

    def rename(self, source: Way, target: Way) -> None:
        places = self._directory(source[:-1]), self._directory(target[:-1])
        moved = self._find(source)
        replaced = places[1].get(target[-1])
        if replaced is moved:
            return
        if isinstance(moved, dict) and target[: len(source)] == source:
            raise Refused(Kind.USAGE)
        if isinstance(replaced, dict):
            if not isinstance(moved, dict):
                raise Refused(Kind.IS_DIRECTORY)
            if replaced:
                raise Refused(Kind.NOT_EMPTY)
        elif isinstance(moved, dict) and replaced is not None:
            raise Refused(Kind.NOT_DIRECTORY)
        if isinstance(replaced, File):
            replaced.links -= 1
        places[1][target[-1]] = moved
        del places[0][source[-1]]

    def exchange(self, source: Way, target: Way) -> None:
        places = self._directory(source[:-1]), self._directory(target[:-1])
        first, second = self._find(source), self._find(target)
        if first is second:
            return
        if isinstance(first, dict) and target[: len(source)] == source:
            raise Refused(Kind.USAGE)
        if isinstance(second, dict) and source[: len(target)] == target:
            raise Refused(Kind.USAGE)
        places[0][source[-1]], places[1][target[-1]] = second, first

    def link(self, source: Way, target: Way) -> None:
        found = self._find(source)
        parent = self._directory(target[:-1])
        if isinstance(found, dict):
            raise Refused(Kind.IS_DIRECTORY)
        if target[-1] in parent:
            raise Refused(Kind.EXISTS)
        found.links += 1
        parent[target[-1]] = found

    def read(self, path: Way) -> tuple[bytes, int]:
        file = self._file(path)
        return bytes(file.content), file.links

    def list(self, path: Way) -> "list[bytes]":
        return sorted(self._directory(path))

    def files(self, below: Way = ()) -> Iterator[Way]:
        for name, node in self._directory(below).items():
            if isinstance(node, dict):
                yield from self.files((*below, name))
            else:
                yield (*below, name)

    def directories(self, below: Way = ()) -> Iterator[Way]:
        yield below
        for name, node in self._directory(below).items():
            if isinstance(node, dict):
                yield from self.directories((*below, name))
