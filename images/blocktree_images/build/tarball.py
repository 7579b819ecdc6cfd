"""Tar files that become file systems: composed in order, dated alike, without being unpacked.

`mke2fs` reads them directly, so owners and modes need no root here.
"""

import fnmatch
import io
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

Keep = Callable[[str], bool]


class Composition:
    """A tar file in the making: a later entry never replaces an earlier one, it is refused.

    Args:
        archive: where it is written.
        epoch: the date of every entry that has a later one.
    """

    def __init__(self, archive: tarfile.TarFile, epoch: int) -> None:
        self._archive = archive
        self._epoch = epoch
        self._names: set[str] = set()

    def take(self, source: Path, keep: Keep, change: Callable[[str, bytes], bytes | None]) -> None:
        """Copy another tar file's entries.

        Args:
            source: the other tar file.
            keep: whether an entry of this name (no leading slash) is wanted.
            change: the new content of a file, or None to leave it.
        """
        with tarfile.open(source) as archive:
            for entry in archive:
                name = entry.name.removeprefix("./").strip("/")
                if name in {"", "."} or not keep(name) or not _is_plain(entry):
                    continue
                if "/" in name:
                    self.folder(name.rpartition("/")[0])
                content = None
                if entry.isreg():
                    content = archive.extractfile(entry)
                    if entry.size < 1 << 20:
                        before = content.read() if content else b""
                        after = change(name, before)
                        content = io.BytesIO(before if after is None else after)
                        entry.size = len(content.getbuffer())
                self._put(name, entry, content)

    def folder(self, name: str, *, mode: int = 0o755, owner: int = 0) -> None:
        """Add a directory, and those above it, unless it is there."""
        above = name.rpartition("/")[0]
        if above:
            self.folder(above)
        if name not in self._names:
            entry = self._entry(name, tarfile.DIRTYPE, mode)
            entry.uid = entry.gid = owner
            self._put(name, entry, None)

    def file(self, name: str, content: bytes, *, mode: int = 0o644) -> None:
        """Add a file."""
        self.folder(name.rpartition("/")[0])
        entry = self._entry(name, tarfile.REGTYPE, mode)
        entry.size = len(content)
        self._put(name, entry, io.BytesIO(content))

    def link(self, name: str, target: str) -> None:
        """Add a symbolic link."""
        self.folder(name.rpartition("/")[0])
        entry = self._entry(name, tarfile.SYMTYPE, 0o777)
        entry.linkname = target
        self._put(name, entry, None)

    def tree(self, folder: Path, below: str = "") -> None:
        """Add what lies in a folder: directories, files and links; 0755 in a bin, else 0644."""
        for path in sorted(folder.rglob("*")):
            name = f"{below}{path.relative_to(folder)}"
            if "__pycache__" in path.parts and path.suffix != ".pyc":
                continue
            if path.is_symlink():
                self.link(name, str(path.readlink()))
            elif path.is_file():
                mode = 0o755 if "bin" in Path(name).parts[:-1] else 0o644
                self.file(name, path.read_bytes(), mode=mode)

    def _entry(self, name: str, kind: bytes, mode: int) -> tarfile.TarInfo:
        entry = tarfile.TarInfo(name)
        entry.type, entry.mode, entry.mtime = kind, mode, self._epoch
        return entry

    def _put(self, name: str, entry: tarfile.TarInfo, content: io.BufferedIOBase | object) -> None:
        assert name not in self._names, f"{name} is there already"
        self._names.add(name)
        entry.name = name
        entry.mtime = min(int(entry.mtime), self._epoch)
        entry.uname = entry.gname = ""
        entry.pax_headers = {k: v for k, v in entry.pax_headers.items() if k.startswith("SCHILY")}
        self._archive.addfile(entry, content)  # type: ignore[arg-type]


@contextmanager
def compose(path: Path, epoch: int) -> Iterator[Composition]:
    """Write a tar file while it lasts."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        yield Composition(archive, epoch)


def matcher(patterns: Iterable[str]) -> Keep:
    """Whether a name, or a directory above it, matches one of the patterns."""
    joined = "|".join(fnmatch.translate(pattern) for pattern in patterns)
    match = re.compile(joined).match
    return lambda name: bool(joined) and (match(name) is not None)


def _is_plain(entry: tarfile.TarInfo) -> bool:
    return entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()
