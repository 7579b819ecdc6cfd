"""The main job end to end, every byte checked: copy, kill the leader, go on, verify twice.

`Stage` is where it happens: this machine (`demo`), or hosts on a network (tests/integration).
"""

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import click

from blocktree.cli.output import duration_text, say, size_text
from blocktree.fault import Fault, Kind

_SOURCES = ("/usr/share", "/usr/lib", "/usr/include", "/etc")
FILES_MIN = 2000
_FILES_MAX = 2500
_BYTES_MAX = 200 << 20
_CHUNK = 1 << 20
_PATIENCE_S = 60.0


class Stage(Protocol):
    """A tree with three nodes, and a machine that can mount it."""

    def begin(self) -> None:
        """Make the tree and start its nodes."""

    def mount(self, point: Path) -> None:
        """Mount it on an empty directory."""

    def nodes(self) -> list[dict[str, Any]]:
        """Every node's `name`, `role` and `applied`."""

    def kill(self, name: str) -> None:
        """Kill a node by SIGKILL."""

    def start(self, name: str) -> None:
        """Start it again."""


@dataclass(slots=True)
class Step:
    """One line of the table at the end."""

    what: str
    seconds: float = 0.0
    result: str = ""


@dataclass(slots=True)
class MainJob:
    """One run on a stage, and what happened so far.

    Args:
        stage: where it happens.
        folder: for the mounts and the big file.
        source: a directory with at least FILES_MIN files.
        big_bytes: size of the big file.
    """

    stage: Stage
    folder: Path
    source: Path
    big_bytes: int
    steps: list[Step] = field(default_factory=list)

    @property
    def mounts(self) -> tuple[Path, Path]:
        """Where the tree is mounted, first and second."""
        return self.folder / "mount-1", self.folder / "mount-2"

    @contextmanager
    def step(self, what: str) -> Iterator[Step]:
        """Time a step and tell about it."""
        step = Step(what)
        begun = time.monotonic()
        yield step
        step.seconds = time.monotonic() - begun
        self.steps.append(step)
        mark = click.style("  ✓ ", fg="green")
        say(f"{mark}{what}: {step.result or 'ok'} in {duration_text(step.seconds)}")

    def run(self) -> None:
        """The whole story, in the order in which it is told.

        Raises:
            Fault: DAMAGED if a byte differs; whatever a step could not do.
        """
        here, there = self.mounts
        with self.step("make a tree and start three nodes") as step:
            self.stage.begin()
            step.result = f"{self._leader()} leads"
        with self.step("mount it"):
            here.mkdir()
            self.stage.mount(here)
        files = choose(self.source)
        with self.step(f"copy {len(files):,} files from {self.source}") as step:
            sums = _copy_all(self.source, here / "copied", [path for path, _ in files])
            step.result = size_text(sum(size for _, size in files))
        with self.step("verify every byte") as step:
            step.result = _verify(here / "copied", sums)
        killed = self._copy_through_a_death(here / "copied" / "big", sums)
        with self.step(f"start {killed} again and let it catch up") as step:
            self.stage.start(killed)
            step.result = self._wait_caught_up(killed)
        with self.step("mount a second time and verify every byte there") as step:
            there.mkdir()
            self.stage.mount(there)
            step.result = _verify(there / "copied", sums)

    def _copy_through_a_death(self, target: Path, sums: dict[str, str]) -> str:
        killed: list[str] = []

        def kill() -> None:
            killed.append(self._leader())
            self.stage.kill(killed[0])

        big = _make_big(self.folder / "big", self.big_bytes)
        with self.step(f"copy {size_text(self.big_bytes)}, kill the leader half-way") as step:
            sums["big"] = _copy(big, target, at_half=kill)
            step.result = f"{killed[0]} killed by SIGKILL, copy finished"
        return killed[0]

    def _leader(self) -> str:
        return next(str(node["name"]) for node in self.stage.nodes() if node["role"] == "leader")

    def _wait_caught_up(self, name: str) -> str:
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            applied = {node["name"]: int(node["applied"]) for node in self.stage.nodes()}
            goal = max(applied.values())
            if applied[name] == goal > 0:
                return f"{name} has applied all {goal:,} entries"
            time.sleep(0.2)
        raise Fault(Kind.FAILED, f"{name} did not catch up in {_PATIENCE_S:.0f} s")


def find_source() -> Path:
    """A directory of this machine with enough files.

    Raises:
        Fault: NOT_FOUND.
    """
    for candidate in map(Path, _SOURCES):
        if candidate.is_dir() and len(choose(candidate)) >= FILES_MIN:
            return candidate
    raise Fault(
        Kind.NOT_FOUND,
        f"no directory here has {FILES_MIN:,} files",
        next_step="name one: bt demo --from DIR",
    )


def choose(source: Path) -> list[tuple[Path, int]]:
    """Regular, readable files below `source`, up to the limits of a demo."""
    chosen: list[tuple[Path, int]] = []
    room = _BYTES_MAX
    for folder, names, files in os.walk(source):
        names.sort()
        for name in sorted(files):
            path = Path(folder, name)
            if path.is_symlink() or not path.is_file() or not os.access(path, os.R_OK):
                continue
            size = path.stat().st_size
            if size <= room:
                chosen.append((path.relative_to(source), size))
                room -= size
            if len(chosen) == _FILES_MAX:
                return chosen
    return chosen


def _copy_all(source: Path, target: Path, files: list[Path]) -> dict[str, str]:
    sums = {}
    for path in files:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        sums[str(path)] = _copy(source / path, target / path)
    return sums


def _copy(source: Path, target: Path, at_half: Callable[[], object] | None = None) -> str:
    """Copy one file and give the SHA-256 of what was read from the source."""
    digest, done, half = hashlib.sha256(), 0, source.stat().st_size // 2
    with source.open("rb") as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
            done += len(chunk)
            if at_half is not None and done >= half:
                at_half()
                at_half = None
        writer.flush()
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _verify(folder: Path, sums: dict[str, str]) -> str:
    """Compare every file with what was copied.

    Raises:
        Fault: DAMAGED, naming the first file that differs.
    """
    found = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    for name in found ^ sums.keys():
        raise Fault(Kind.DAMAGED, "is on one side only", path=str(folder / name))
    for name, expected in sums.items():
        with (folder / name).open("rb") as reader:
            if hashlib.file_digest(reader, "sha256").hexdigest() != expected:
                raise Fault(Kind.DAMAGED, "differs from its source", path=str(folder / name))
    return f"{len(sums):,} files equal"


def _make_big(path: Path, size: int) -> Path:
    with path.open("wb") as writer:
        for _ in range(size // _CHUNK):
            writer.write(secrets.token_bytes(_CHUNK))
    return path
