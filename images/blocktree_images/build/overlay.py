"""The root partition's content: Debian, less what is dropped, with our files laid over it."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blocktree_images.build.boards import Board
from blocktree_images.build.mirror import Mirror
from blocktree_images.build.system import System
from blocktree_images.build.tarball import compose, matcher

FILES = Path(__file__).parents[1] / "overlay"
LISTS = Path(__file__).with_name("overlay.toml")
_UNITS = "etc/systemd/system"
_TARGET = "multi-user.target.wants"
_OURS = {
    "etc/machine-id": b"",  # made at the first start, which systemd then takes for no first boot
    "etc/hostname": b"blocktree\n",
    "etc/.updated": b"",  # caches were built with the packages: nothing to do at the first start
    "var/.updated": b"",
}


@dataclass(frozen=True, slots=True)
class Overlay:
    """The lists of `overlay.toml`."""

    folders: tuple[str, ...]
    enable: tuple[str, ...]
    mask: tuple[str, ...]
    disable: tuple[str, ...]
    links: dict[str, str]
    append: dict[str, str]


def load_overlay() -> Overlay:
    """Read `overlay.toml`."""
    lists: dict[str, Any] = tomllib.loads(LISTS.read_text())
    return Overlay(
        tuple(lists["folders"]),
        tuple(lists["enable"]),
        tuple(lists["mask"]),
        tuple(lists["disable"]),
        lists["links"],
        lists["append"],
    )


def overlay_files() -> list[Path]:
    """The files of `overlay/` and the lists: inputs."""
    return [LISTS, *sorted(path for path in FILES.rglob("*") if path.is_file())]


def make_root(
    board: Board,
    system: System,
    mirror: Mirror,
    *,
    rootfs: Path,
    environment: Path,
    epoch: int,
    archive: Path,
) -> None:
    """Write the root partition's tar file.

    Args:
        board: whose.
        system: what is dropped of Debian.
        mirror: what the board's own apt asks.
        rootfs: mmdebstrap's tar file.
        environment: a folder that holds `opt/blocktree`.
        epoch: the date of all that is ours.
        archive: where it is written.
    """
    overlay = load_overlay()
    ours = {str(path.relative_to(FILES)) for path in FILES.rglob("*") if path.is_file()}
    ours |= overlay.links.keys() | _OURS.keys() | {"etc/apt/sources.list", "etc/resolv.conf"}
    off = [f"etc/systemd/system/*/{unit}" for unit in (*overlay.disable, *overlay.mask)]
    off += [f"etc/systemd/system/{unit}" for unit in (*overlay.disable, *overlay.mask)]
    dropped = matcher([*system.drop, *off])
    enabled = {f"{_UNITS}/{_TARGET}/{unit}" for unit in overlay.enable}
    masked = {f"{_UNITS}/{unit}" for unit in overlay.mask}
    with compose(archive, epoch) as root:
        root.take(
            rootfs,
            lambda name: name not in ours | enabled | masked and not dropped(name),
            lambda name, content: _append(overlay, name, content),
        )
        for folder in overlay.folders:
            root.folder(folder, mode=0o1777 if folder == "tmp" else 0o755)
        root.tree(FILES)
        root.tree(environment)
        for name, target in overlay.links.items():
            root.link(name, target)
        for name in sorted(enabled):
            unit = name.rpartition("/")[2]
            ours_too = (FILES / _UNITS / unit).exists()
            root.link(name, f"/{_UNITS if ours_too else 'usr/lib/systemd/system'}/{unit}")
        for name in sorted(masked):
            root.link(name, "/dev/null")
        for name, content in _OURS.items():
            root.file(name, content)
        root.link("etc/resolv.conf", "/run/systemd/resolve/stub-resolv.conf")
        sources = mirror.sources(board.suite, ("main", "non-free-firmware"), keyring=False)
        root.file("etc/apt/sources.list", sources.encode())


def make_data(epoch: int, archive: Path) -> None:
    """Write the data partition's tar file: empty places with the right owners."""
    with compose(archive, epoch) as data:
        data.folder("blocktree", mode=0o700, owner=900)
        data.folder("settings", mode=0o700)
        data.folder("ssh", mode=0o755)


def _append(overlay: Overlay, name: str, content: bytes) -> bytes | None:
    added = overlay.append.get(name)
    return content + added.encode() + b"\n" if added is not None else None
