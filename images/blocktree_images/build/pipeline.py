"""The steps of one image in order, each taken from the cache unless an input changed.

toolbox ─┐
packages ┼─ rootfs ──┐
wheels ──┼─ own wheel┼─ root ─┬─ image ── compressed, block map, manifest
firmware ┘           └─ boot ─┘
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from blocktree.fault import Fault, Kind
from blocktree_images.build import bootfiles, overlay, rootfs, wheels
from blocktree_images.build.assembly import assemble
from blocktree_images.build.boards import Board
from blocktree_images.build.debs import Apt, Selection, unpack
from blocktree_images.build.filesystems import make_ext4, make_fat
from blocktree_images.build.layout import DATA, ROOT_A
from blocktree_images.build.mirror import Mirror, find_mirror, own_architecture
from blocktree_images.build.system import load_system
from blocktree_images.build.toolbox import PACKAGES, SUITE, Toolbox, unpack_toolbox
from blocktree_images.cache import Cache, Kept, source_digest
from blocktree_images.programs import Watch
from blocktree_images.progress import step

IMAGE = "image.img"
MAP = "image.bmap"
_FIRMWARE = "raspi-firmware"


@dataclass
class Pipeline:
    """One board's image in the making.

    Args:
        board: what it is for.
        cache: where steps are kept.
        refresh: whether to ask the mirror for newer packages.
    """

    board: Board
    cache: Cache
    refresh: bool = False
    steps: dict[str, str] = field(default_factory=dict)

    @cached_property
    def mirror(self) -> Mirror:
        """Where packages come from."""
        return find_mirror()

    @cached_property
    def toolbox(self) -> Toolbox:
        """The programs that build."""
        architecture = own_architecture()
        chosen = self._settled("toolbox", architecture, (SUITE,), PACKAGES)
        kept = self.cached_step(
            "toolbox",
            {"packages": chosen.digest_inputs()},
            lambda into, watch: unpack_toolbox(
                chosen, self._fetched(chosen, architecture, watch), into, watch
            ),
        )
        return Toolbox(kept.folder, architecture, kept.key)

    @cached_property
    def selection(self) -> Selection:
        """Debian's packages for the board's root file system."""
        system, part = load_system(), self.board.system
        wanted = ["?essential", *system.packages, *part.packages, part.kernel]
        suites: tuple[str, ...] = (part.suite,)
        if part.backports:
            late = f"{part.suite}-backports"
            suites = (part.suite, late)
            wanted = [f"{one}/{late}" if one in part.backports else one for one in wanted]
        return self._settled("system", self.board.architecture, suites, wanted)

    @property
    def epoch(self) -> int:
        """The date of all that is made."""
        return self.selection.epoch

    @cached_property
    def rootfs(self) -> Kept:
        """Debian, as a tar file."""
        system, toolbox = load_system(), self.toolbox
        return self.cached_step(
            "rootfs",
            rootfs.inputs(self.board, system, self.selection),
            lambda into, watch: rootfs.make_rootfs(
                self.board,
                system,
                self.selection,
                store=self._fetched(self.selection, self.board.architecture, watch),
                toolbox=toolbox,
                into=into,
                watch=watch,
            ),
        )

    @cached_property
    def wheels(self) -> Kept:
        """The pinned wheels."""
        return self.cached_step(
            "wheels",
            wheels.wheel_inputs(self.board),
            lambda into, watch: wheels.download_wheels(self.board, into, watch),
        )

    @cached_property
    def own(self) -> Kept:
        """Our own wheel."""
        return self.cached_step(
            "blocktree",
            wheels.own_inputs(self.epoch),
            lambda into, watch: wheels.build_own(self.epoch, into, watch),
        )

    @cached_property
    def firmware(self) -> Kept | None:
        """What a Raspberry Pi starts before the kernel."""
        if not self.board.boot.firmware:
            return None
        chosen = self._settled("firmware", self.board.architecture, (SUITE,), (_FIRMWARE,))
        only = Selection(chosen.epoch, tuple(d for d in chosen.debs if d.name == _FIRMWARE))
        return self.cached_step(
            "firmware",
            {"packages": only.digest_inputs()},
            lambda into, watch: unpack(
                only, self._fetched(only, self.board.architecture, watch), into, watch
            ),
        )

    @cached_property
    def image(self) -> Kept:
        """The raw image and its block map."""
        inputs = self._image_inputs()
        return self.cached_step("image", inputs, self._make_image)

    def warm(self) -> bool:
        """Whether the step that takes long is in the cache, as far as one can tell offline."""
        try:
            chosen = Selection.load(self._lock("system", self.board.architecture))
        except (OSError, ValueError, KeyError):
            return False
        self.__dict__["selection"] = chosen
        return self.cache.holds("rootfs", rootfs.inputs(self.board, load_system(), chosen))

    # inside

    def _image_inputs(self) -> dict[str, Any]:
        here = Path(__file__).parent
        code = [here / f"{name}.py" for name in ("overlay", "tarball", "bootfiles", "assembly")]
        code += [here / f"{name}.py" for name in ("layout", "filesystems", "wheels")]
        return {
            "board": repr(self.board),
            "drop": load_system().drop,
            "mirror": [self.mirror.packages, self.mirror.security],
            "toolbox": self.toolbox.key,
            "rootfs": self.rootfs.key,
            "wheels": self.wheels.key,
            "own": self.own.key,
            "firmware": self.firmware.key if self.firmware else "",
            "overlay": source_digest(*overlay.overlay_files()),
            "overlay names": [str(p.relative_to(here.parent)) for p in overlay.overlay_files()],
            "code": source_digest(*code, here.parent / "card" / "blockmap.py"),
        }

    def _make_image(self, into: Path, watch: Watch) -> None:
        board, epoch, work = self.board, self.epoch, into / "work"
        archive = self.rootfs.folder / rootfs.ARCHIVE
        packages = sorted(p for k in (self.wheels, self.own) for p in k.folder.glob("*.whl"))
        watch("laying out the Python environment")
        environment = work / "environment"
        wheels.lay_out(board, packages, self.toolbox, epoch=epoch, into=environment, watch=watch)
        watch("laying our files over Debian")
        overlay.make_root(
            board,
            load_system(),
            self.mirror,
            rootfs=archive,
            environment=environment,
            epoch=epoch,
            archive=work / "root.tar",
        )
        overlay.make_data(epoch, work / "data.tar")
        for part, name in ((ROOT_A, "root"), (DATA, "data")):
            watch(f"making the {name} partition")
            make_ext4(
                self.toolbox,
                board.name,
                part,
                epoch=epoch,
                archive=work / f"{name}.tar",
                image=work / f"{name}.ext4",
                watch=watch,
            )
        watch("making the boot partition")
        firmware = self.firmware.folder if self.firmware else None
        about = {"board": board.name, "rootfs": self.rootfs.key, "own": self.own.key}
        bootfiles.gather(board, archive, firmware, about, work / "boot")
        fat = work / "boot.fat"
        make_fat(
            self.toolbox, board.name, epoch=epoch, content=work / "boot", image=fat, watch=watch
        )
        watch("putting them together")
        made_map = assemble(
            self.toolbox,
            board.name,
            boot=fat,
            root=work / "root.ext4",
            data=work / "data.ext4",
            image=into / IMAGE,
        )
        (into / MAP).write_bytes(made_map.encode())
        shutil.rmtree(work)

    def cached_step(
        self, name: str, inputs: dict[str, Any], make: Callable[[Path, Watch], object]
    ) -> Kept:
        """What a step makes of its inputs, told of while it runs."""
        with step(name) as told:
            kept = self.cache.obtain(name, inputs, lambda into: make(into, told.watch))
            told.result = "made" if kept.anew else "as before"
        self.steps[name] = kept.key
        return kept

    def _settled(
        self, name: str, architecture: str, suites: tuple[str, ...], wanted: Any
    ) -> Selection:
        """A selection from the last time, unless something else is wanted now or a fresh one is."""
        lock = self._lock(name, architecture)
        if not self.refresh:
            try:
                return Selection.load(lock)
            except (OSError, ValueError, KeyError):
                pass
        with step(f"settle {name} packages") as told:
            chosen = self._apt(architecture, suites).settle(wanted, told.watch)
            lock.parent.mkdir(parents=True, exist_ok=True)
            chosen.save(lock)
            told.result = f"{len(chosen.debs)} packages"
        return chosen

    def _lock(self, name: str, architecture: str) -> Path:
        part, system = self.board.system, load_system()
        asked = {
            "toolbox": [SUITE, PACKAGES],
            "firmware": [SUITE, _FIRMWARE],
            "system": [
                part.suite,
                part.kernel,
                part.packages,
                part.backports,
                system.packages,
            ],
        }[name]
        key = self.cache.key({"asked": asked, "architecture": architecture})
        return self.cache.root / "packages" / f"{name}-{architecture}-{key}.json"

    def _apt(self, architecture: str, suites: tuple[str, ...]) -> Apt:
        folder = self.cache.root / "apt" / f"{architecture}-{'-'.join(suites)}"
        return Apt(folder, architecture, self.mirror, suites)

    def _fetched(self, chosen: Selection, architecture: str, watch: Watch) -> Path:
        store = self.cache.root / "debs"
        suites: tuple[str, ...] = (SUITE,)
        if any("~bpo" in deb.version for deb in chosen.debs):
            suites = (SUITE, f"{SUITE}-backports")
        self._apt(architecture, suites).download(chosen, store, watch)
        return store


def check_room(folder: Path, wanted: int) -> None:
    """Refuse to begin what cannot end.

    Raises:
        Fault: NO_SPACE.
    """
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise Fault(
            Kind.NO_SPACE,
            f"{free >> 20} MiB are free, {wanted >> 20} MiB are needed",
            path=str(folder),
        )
