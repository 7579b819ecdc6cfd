"""The whole way: build, flash with a ticket, boot in QEMU, join, keep what is written elsewhere."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blocktree.cli.running import free_ports
from blocktree.fault import Fault
from blocktree_images.build.emulator import Machine, board_of, make_card, take_boot_files
from blocktree_images.build.export import export
from blocktree_images.build.layout import DATA
from blocktree_images.build.pipeline import IMAGE, Pipeline
from blocktree_images.build.toolbox import Toolbox
from blocktree_images.cache import Cache, file_digest
from blocktree_images.card.provision import read_file
from images.kept import blobs, data_partition

JOIN_SECONDS = 1500
PLAIN = b"what the household wrote " * 4000


class Tree:
    """Three nodes on this machine, made by `bt`."""

    def __init__(self, folder: Path, door: str) -> None:
        self.state = folder / "state"
        self._door = door
        self.bt("up", "--sim", "3", "--bare")
        for number in (1, 2, 3):
            self._seed(f"sim-{number}")

    def bt(self, *words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "blocktree.cli", *words],
            env={**os.environ, "BLOCKTREE_STATE": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def ports(self) -> list[int]:
        listed = json.loads(self.bt("sim", "ls", "--json"))["nodes"]
        return [int(node["address"].rpartition(":")[2]) for node in listed]

    @property
    def passphrase(self) -> Path:
        return self.state / "trees" / "home" / "passphrase"

    def node(self, name: str) -> Path:
        return self.state / "nodes" / name

    def _seed(self, name: str) -> None:
        """Tell a node where the board is reached: QEMU's user network hides its own address."""
        file = self.node(name) / "settings.json"
        settings = json.loads(file.read_text())
        settings["seeds"].append(self._door)
        file.write_text(json.dumps(settings))
        self.bt("sim", "kill", name)
        self.bt("sim", "start", name)


@pytest.fixture
def tree(pipeline: Pipeline, tmp_path: Path) -> Iterator[Tree]:
    del pipeline  # skips first
    (port,) = free_ports(1)
    made = Tree(tmp_path, f"127.0.0.1:{port}")
    yield made
    made.bt("down", "--purge", "--yes", "home")


@contextlib.contextmanager
def switched_on(machine: Machine, toolbox: Toolbox, console: Path) -> Iterator[None]:
    with console.open("wb") as log:
        process = subprocess.Popen(
            machine.words(toolbox), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def _wait(what: str, ask: Callable[[], bool], console: Path) -> None:
    deadline = time.monotonic() + JOIN_SECONDS
    while not ask():
        assert time.monotonic() < deadline, f"{what}\n{console.read_text(errors='replace')[-4000:]}"
        time.sleep(3.0)


def _status(card: Path) -> str:
    try:
        return read_file(card, "STATUS.txt").decode()
    except Fault:
        return ""


def test_two_builds_give_the_same_bytes(pipeline: Pipeline, tmp_path: Path) -> None:
    first = pipeline.image.folder / IMAGE
    again = Pipeline(pipeline.board, Cache(tmp_path))
    again.__dict__.update({name: getattr(pipeline, name) for name in ("toolbox", "selection")})
    again.__dict__["rootfs"] = pipeline.rootfs
    assert file_digest(again.image.folder / IMAGE) == file_digest(first)


def test_a_flashed_card_joins_and_keeps(pipeline: Pipeline, tree: Tree, tmp_path: Path) -> None:
    image, card, console = tmp_path / "virt.img", tmp_path / "card.img", tmp_path / "console"
    export(pipeline, image, tmp_path.as_uri())
    door = int(tree._door.rpartition(":")[2])
    words = [f"--addr=10.0.2.2:{port}" for port in tree.ports()]
    words += ["--node=/home/pi-4", "--timezone=Europe/Berlin"]
    tree.bt("image", "flash", str(image), str(card), *words, f"--passphrase-file={tree.passphrase}")
    assert b"btt1" in read_file(card, "blocktree.toml")
    os.truncate(card, 4 << 30)
    board = board_of(card)
    take_boot_files(card, board, tmp_path)
    machine = Machine(board, card, tmp_path, forward=((door, 7400),))
    with switched_on(machine, pipeline.toolbox, console):
        _wait("it joins", lambda: "OK: it has joined" in _status(card), console)
        mount = tmp_path / "mount"
        mount.mkdir()
        tree.bt("mount", "/home", str(mount))
        (mount / "kept").write_bytes(PLAIN)
        tree.bt("umount", str(mount))

        def caught_up() -> bool:
            told = json.loads(tree.bt("node", "ls", f"--addr={tree._door}", "--json"))["nodes"]
            applied = {node["path"].rpartition("/")[2]: node["applied"] for node in told}
            return bool(applied["pi-4"] == max(applied.values()))

        _wait("it catches up", caught_up, console)
    tree.bt("down")
    with pytest.raises(Fault):
        read_file(card, "blocktree.toml")
    assert b"btt1" not in _boot_partition(card)
    files = data_partition(pipeline.toolbox, card, tmp_path)
    node, theirs = files / "blocktree" / "nodes" / "pi-4", blobs(tree.node("sim-1"))
    assert sum(map(len, theirs.values())) > len(PLAIN)
    assert blobs(node, theirs) == theirs
    for segment in (node / "log").glob("segment-*"):
        assert PLAIN[:25] not in segment.read_bytes()  # sealed


def test_a_card_is_as_large_as_cards_are(tmp_path: Path) -> None:
    image = tmp_path / "x.img"
    image.write_bytes(b"x" * 4096)
    with pytest.raises(Fault, match="4096, 8192"):
        make_card(image, tmp_path / "card", 5 << 30)
    make_card(image, tmp_path / "card", 4 << 30)
    assert (tmp_path / "card").stat().st_size == 4 << 30 > DATA.end
    assert (tmp_path / "card").stat().st_blocks < 1000


def _boot_partition(card: Path) -> bytes:
    """What lies on the boot partition, also in places that no file uses."""
    with card.open("rb") as file:
        return file.read(516 << 20)
