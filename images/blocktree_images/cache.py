"""Steps kept by the hash of their inputs: what was made once is not made again.

$BLOCKTREE_CACHE  or  $XDG_CACHE_HOME/blocktree  or  ~/.cache/blocktree
  <step>-<hash>/        what the step made, and step.json: its inputs, its files' hashes
  .making-…/            a step that was interrupted; removed at the next start

An entry appears whole, by a rename, or not at all. One whose files do not match step.json is
dropped and made anew.
"""

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocktree.fault import Fault, Kind

_RECORD = "step.json"
_KEEP = 4  # entries of one step
_HASH_LETTERS = 20


def default_root() -> Path:
    """Where this user's cache is; it may not exist yet."""
    if chosen := os.environ.get("BLOCKTREE_CACHE"):
        return Path(chosen).absolute()
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "blocktree"


def file_digest(path: Path) -> str:
    """The SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def source_digest(*files: str | Path) -> str:
    """The SHA-256 of source files: an input of every step whose code decides its bytes."""
    return hashlib.sha256(b"".join(Path(file).read_bytes() for file in files)).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step made.

    Args:
        folder: where it is.
        key: names the inputs.
        anew: whether it was made just now.
    """

    folder: Path
    key: str
    anew: bool

    def digest(self, name: str) -> str:
        """The SHA-256 of one of its files, as it was when it was made or last checked."""
        record = json.loads((self.folder / _RECORD).read_text())
        return str(record["files"][name])


class Cache:
    """Entries below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def key(self, inputs: Mapping[str, Any]) -> str:
        """The name of these inputs."""
        text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:_HASH_LETTERS]

    def holds(self, step: str, inputs: Mapping[str, Any]) -> bool:
        """Whether the step need not run for these inputs."""
        return (self.root / f"{step}-{self.key(inputs)}" / _RECORD).exists()

    def obtain(self, step: str, inputs: Mapping[str, Any], make: Callable[[Path], object]) -> Kept:
        """What `make` makes of these inputs in the folder it is given, from earlier or from now.

        Raises:
            Fault: what `make` raises; NO_SPACE or FAILED if the cache cannot be written.
        """
        key = self.key(inputs)
        folder = self.root / f"{step}-{key}"
        try:
            with self._lock(f"{step}-{key}"):
                if _is_sound(folder):
                    os.utime(folder)
                    return Kept(folder, key, anew=False)
                self._make(folder, inputs, make)
                self._prune(step)
        except OSError as cause:
            kind = Kind.NO_SPACE if cause.errno == 28 else Kind.FAILED
            raise Fault(
                kind,
                f"the step {step} could not be kept: {cause}",
                path=str(self.root),
                next_step="free some space, or keep it elsewhere: BLOCKTREE_CACHE=DIR",
            ) from cause
        return Kept(folder, key, anew=True)

    def _make(
        self, folder: Path, inputs: Mapping[str, Any], make: Callable[[Path], object]
    ) -> None:
        part = self.root / f".making-{folder.name}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            make(part)
            record = {"inputs": dict(inputs), "made": int(time.time()), "files": _digests(part)}
            (part / _RECORD).write_text(json.dumps(record, indent=1, sort_keys=True))
            shutil.rmtree(folder, ignore_errors=True)
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise

    def _prune(self, step: str) -> None:
        """Keep the entries that were used last."""
        entries = [path for path in self.root.glob(f"{step}-*") if path.is_dir()]
        entries.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for old in entries[_KEEP:]:
            shutil.rmtree(old, ignore_errors=True)

    @contextmanager
    def _lock(self, name: str) -> Iterator[None]:
        """One process at a time makes one entry."""
        locks = self.root / "locks"
        locks.mkdir(parents=True, exist_ok=True)
        with (locks / name.partition("-")[0]).open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.name != _RECORD
    }


def _is_sound(folder: Path) -> bool:
    """Whether the entry is there and every file is as it was made."""
    try:
        record = json.loads((folder / _RECORD).read_text())
        return bool(record["files"] == _digests(folder))
    except (OSError, ValueError, KeyError):
        return False
