"""Random operations compared with a plain model: one file's content, and a tree on two mounts.

The dice are seeded, so a failure repeats; it names the seed and the step.
"""

# ruff: noqa: PTH104, PTH208 - the system calls themselves are what is tested

import mmap
import os
import random
import stat
from collections.abc import Callable
from pathlib import Path

from conformance.posix import Check, named, opened
from conformance.sharing import SharedCheck

FILE_MAX = 400_000
STEPS = 300
NAMES = [f"n{number}" for number in range(6)]


class _File:
    """One file, its model, and what can be done to both."""

    def __init__(self, path: Path, dice: random.Random) -> None:
        self.path = path
        self.dice = dice
        self.model = bytearray()
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def _range(self) -> tuple[int, int]:
        start = self.dice.randrange(FILE_MAX)
        return start, self.dice.choice([1, 100, 4096, 5000, 65536, 70_000, FILE_MAX - start])

    def write(self) -> None:
        start, size = self._range()
        content = self.dice.randbytes(size)
        assert os.pwrite(self.descriptor, content, start) == size
        self._put(start, content)

    def _put(self, start: int, content: bytes) -> None:
        self.model.extend(bytes(max(0, start - len(self.model))))
        self.model[start : start + len(content)] = content

    def append(self) -> None:
        content = self.dice.randbytes(self.dice.choice([1, 5000]))
        if len(self.model) < FILE_MAX:
            with opened(self.path, os.O_WRONLY | os.O_APPEND) as end:
                os.write(end, content)
            self.model += content

    def truncate(self) -> None:
        size = self.dice.randrange(FILE_MAX)
        os.ftruncate(self.descriptor, size)
        del self.model[size:]
        self.model.extend(bytes(size - len(self.model)))

    def read(self) -> None:
        start, size = self._range()
        assert os.pread(self.descriptor, size, start) == self.model[start : start + size]

    def read_otherwise(self) -> None:
        assert self.path.read_bytes() == self.model

    def map(self) -> None:
        if not self.model:
            return
        with mmap.mmap(self.descriptor, len(self.model)) as view:
            start = self.dice.randrange(len(self.model))
            end = min(len(self.model), start + self.dice.choice([1, 4096, 50_000]))
            assert view[start:end] == self.model[start:end]
            view[start:end] = self.model[start:end] = self.dice.randbytes(end - start)

    def look(self) -> None:
        assert os.fstat(self.descriptor).st_size == len(self.model)

    def sync(self) -> None:
        os.fsync(self.descriptor)

    def reopen(self) -> None:
        os.close(self.descriptor)
        self.descriptor = os.open(self.path, os.O_RDWR)


def a_file_holds_what_a_model_says(d: Path) -> None:
    for seed in range(4):
        dice = random.Random(seed)
        file = _File(d / f"f{seed}", dice)
        acts: list[Callable[[], None]] = [
            *(file.write, file.write, file.write, file.read, file.read, file.map, file.append),
            *(file.truncate, file.read_otherwise, file.look, file.sync, file.reopen),
        ]
        for step in range(STEPS):
            act = dice.choice(acts)
            try:
                act()
            except AssertionError:
                raise AssertionError(f"seed {seed}, step {step}: {act.__name__}") from None
        os.close(file.descriptor)
        assert file.path.read_bytes() == file.model, seed


Tree = dict[str, bytes | None]  # path: content, or None for a directory


class _Places:
    """A small tree acted on through either mount, and its model."""

    def __init__(self, mounts: tuple[Path, Path], dice: random.Random) -> None:
        self.mounts = mounts
        self.dice = dice
        self.model: Tree = {"": None}

    def _at(self, path: str) -> Path:
        return self.dice.choice(self.mounts) / path

    def _free(self) -> str | None:
        directory = self.dice.choice([path for path, kept in self.model.items() if kept is None])
        path = f"{directory}/{self.dice.choice(NAMES)}".lstrip("/")
        return path if path not in self.model and path.count("/") < 4 else None

    def _any(self, *, directory: bool) -> str | None:
        paths = [p for p, kept in self.model.items() if p and (kept is None) == directory]
        return self.dice.choice(paths) if paths else None

    def make(self) -> None:
        if path := self._free():
            content = self.dice.randbytes(self.dice.choice([0, 10, 3000, 100_000]))
            self._at(path).write_bytes(content)
            self.model[path] = content

    def make_directory(self) -> None:
        if path := self._free():
            self._at(path).mkdir()
            self.model[path] = None

    def change(self) -> None:
        path = self._any(directory=False)
        kept = self.model[path] if path else None
        if path and kept:
            start = self.dice.randrange(len(kept))
            piece = self.dice.randbytes(self.dice.choice([1, 5000]))
            with opened(self._at(path), os.O_WRONLY) as f:
                os.pwrite(f, piece, start)
            self.model[path] = kept[:start] + piece + kept[start + len(piece) :]

    def remove(self) -> None:
        if path := self._any(directory=False):
            self._at(path).unlink()
            del self.model[path]

    def remove_directory(self) -> None:
        if path := self._any(directory=True):
            if any(other.startswith(path + "/") for other in self.model):
                return
            self._at(path).rmdir()
            del self.model[path]

    def move(self) -> None:
        source = self._any(directory=self.dice.random() < 0.3)
        target = self._free()
        if source and target and not (target + "/").startswith(source + "/"):
            mount = self.dice.choice(self.mounts)
            os.rename(mount / source, mount / target)
            for path in [p for p in self.model if p == source or p.startswith(source + "/")]:
                self.model[target + path[len(source) :]] = self.model.pop(path)

    def replace(self) -> None:
        source, target = self._any(directory=False), self._any(directory=False)
        if source and target and source != target:
            mount = self.dice.choice(self.mounts)
            os.rename(mount / source, mount / target)
            self.model[target] = self.model.pop(source)

    def read(self) -> None:
        if path := self._any(directory=False):
            assert self._at(path).read_bytes() == self.model[path], path

    def look(self) -> None:
        path = self._any(directory=False) or ""
        for mount in self.mounts:
            status = (mount / path).stat()
            kept = self.model[path]
            assert stat.S_ISDIR(status.st_mode) == (kept is None), path
            assert kept is None or status.st_size == len(kept), path

    def miss(self) -> None:
        if path := self._free():
            for mount in self.mounts:
                assert not (mount / path).exists(), path

    def list(self) -> None:
        directory = self._any(directory=True) or ""
        inside = f"{directory}/" if directory else ""
        wanted = {p[len(inside) :] for p in self.model if p and p.startswith(inside)}
        for mount in self.mounts:
            found = os.listdir(mount / directory)
            assert sorted(found) == sorted(p for p in wanted if "/" not in p), directory


def two_mounts_show_what_a_model_says(here: Path, there: Path) -> None:
    for seed in range(3):
        dice = random.Random(seed)
        (here / str(seed)).mkdir()
        places = _Places((here / str(seed), there / str(seed)), dice)
        acts: list[Callable[[], None]] = [
            *(places.make, places.make, places.make_directory, places.change, places.remove),
            *(places.remove_directory, places.move, places.replace, places.read, places.look),
            *(places.miss, places.list),
        ]
        for step in range(STEPS):
            act = dice.choice(acts)
            try:
                act()
            except (AssertionError, OSError) as error:
                what = f"seed {seed}, step {step}: {act.__name__}: {error}"
                raise AssertionError(what) from error


CHECKS: dict[str, Check] = named(a_file_holds_what_a_model_says)
SHARED: dict[str, SharedCheck] = named(two_mounts_show_what_a_model_says)
